//! What the `pkttype` match looks at (net/netfilter/xt_pkttype.c).

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, SavedWords, negation};

/// To whom a frame was sent. What a router forwards was sent to itself ([`Self::Unicast`]): it
/// takes no others in (`ip_rcv_core`, `ip_forward`), so rules for those never match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketType {
    /// To this machine.
    #[default]
    Unicast,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
    /// To another machine.
    OtherHost,
}

impl PacketType {
    /// All names; the first of a type is that which is printed.
    pub(crate) const NAMES: [(&'static str, Self); 7] = [
        ("unicast", Self::Unicast),
        ("broadcast", Self::Broadcast),
        ("multicast", Self::Multicast),
        ("otherhost", Self::OtherHost),
        ("bcast", Self::Broadcast),
        ("mcast", Self::Multicast),
        ("host", Self::Unicast),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::OtherHost => "otherhost",
        }
    }
}

/// The `pkttype` match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PkttypeMatch {
    /// `--pkt-type`
    pub packet_type: Negatable<PacketType>,
}

impl Extension for PkttypeMatch {
    fn name(&self) -> &'static str {
        "pkttype"
    }

    fn save(&self, words: &mut SavedWords) {
        words.flag("--pkt-type", self.packet_type.negated);
        words.word(self.packet_type.value.name());
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.packet_type;
        line.push(format_args!(" PKTTYPE {}= {}", negation(negated), value.name()));
    }
}
