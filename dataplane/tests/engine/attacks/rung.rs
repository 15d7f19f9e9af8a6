//! The rungs of the ladder: what rules say about SYNs.

use crate::attacks::SECOND_NS;
use crate::attacks::play::HALF_OPEN_S;

/// What the rule with `recent` looks back for.
const RECENT_S: u64 = 2;

/// What holds for a source, and for all others together.
const UNVERIFIED: &str = "-m fuzzy --lower-limit 100 --upper-limit 500 --fuzzy-net 50:200 --fuzzy-wide-net 100:400 --fuzzy-dst 100:400";

/// Which users are served during an attack: of a hundred of these 95 at least, of others 80 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    All,
    /// All but those behind the address that they share.
    Others,
    /// All that have been there in the five seconds before: of those apart, who have 40 addresses, some have not.
    Most,
    None,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Connections are tracked, no SYN is held back.
    Nothing,
    /// The module of 2002: all SYNs alike.
    Fuzzy,
    FuzzyBySource,
    Hashlimit,
    Recent,
    Connlimit,
    /// Sources that have completed a handshake are limited each, all others together.
    Unverified,
    /// The same, but those above a limit are asked for a cookie.
    UnverifiedProxied,
    Synproxy,
    /// The same, but only while there are too many SYNs, and ten seconds longer.
    UnderFlood,
}

impl Rung {
    pub(crate) const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Fuzzy,
        Self::FuzzyBySource,
        Self::Hashlimit,
        Self::Recent,
        Self::Connlimit,
        Self::Unverified,
        Self::UnverifiedProxied,
        Self::Synproxy,
        Self::UnderFlood,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Fuzzy => "fuzzy",
            Self::FuzzyBySource => "fuzzy by source",
            Self::Hashlimit => "hashlimit",
            Self::Recent => "recent",
            Self::Connlimit => "connlimit",
            Self::Unverified => "unverified",
            Self::UnverifiedProxied => "unv., SYNPROXY",
            Self::Synproxy => "SYNPROXY",
            Self::UnderFlood => "under flood",
        }
    }

    /// Whether connections are proxied.
    pub(crate) fn proxies(self) -> bool {
        matches!(self, Self::UnverifiedProxied | Self::Synproxy | Self::UnderFlood)
    }

    /// How long after an attack its users may still be locked out: the recovery time that is promised.
    pub(crate) fn recovery_ns(self) -> u64 {
        match self {
            Self::Nothing | Self::UnverifiedProxied | Self::Synproxy | Self::UnderFlood => 0,
            // The window after the first packet that follows, which comes within a second here; but what users send
            // again because it was thrown away is for this one limit part of the flood, until they lose patience.
            Self::FuzzyBySource | Self::Unverified => SECOND_NS,
            Self::Fuzzy => 7 * SECOND_NS,
            // The burst is used up, and comes back within a second.
            Self::Hashlimit => SECOND_NS,
            // What is looked back for.
            Self::Recent => RECENT_S * SECOND_NS,
            // What forged SYNs have begun counts as long as it is remembered.
            Self::Connlimit => (u64::from(HALF_OPEN_S) + 1) * SECOND_NS,
        }
    }

    /// Which users it serves during each attack, in the order of [`Attack::ALL`].
    pub(crate) fn worth(self) -> [Worth; 5] {
        use Worth::{All, Most, None, Others};
        match self {
            Self::Nothing => [None, None, None, None, None],
            // It thins all alike; a pulse is over before users lose patience.
            Self::Fuzzy => [None, None, None, None, All],
            // No address of a net is too fast for itself, nor one that is drawn at random.
            Self::FuzzyBySource | Self::Hashlimit | Self::Recent => [All, None, None, None, All],
            // The only one that is about connections that stay.
            Self::Connlimit => [All, None, None, All, Others],
            // Who has been there before gets by; who comes for the first time among random sources does not.
            Self::Unverified => [All, All, Most, None, All],
            // Who is there gets by.
            Self::UnverifiedProxied | Self::Synproxy | Self::UnderFlood => {
                [All, All, All, None, All]
            }
        }
    }

    /// Rules of table raw.
    pub(crate) fn raw(self) -> Vec<String> {
        match self {
            Self::Synproxy => vec!["-A PREROUTING -i east -p tcp --syn -j CT --notrack".to_owned()],
            Self::UnderFlood => vec![
                "-A PREROUTING -i east -p tcp --syn -m hashlimit --hashlimit-above 100/s \
                 --hashlimit-burst 50 --hashlimit-mode dstip --hashlimit-name syn \
                 -m recent --name flood --rdest --set"
                    .to_owned(),
                "-A PREROUTING -i east -p tcp --syn -m recent --name flood --rdest --rcheck \
                 --seconds 10 -j CT --notrack"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    /// Rules of table filter.
    pub(crate) fn filter(self) -> Vec<String> {
        let limited =
            |limit: &str| vec![format!("-A FORWARD -i east -p tcp --syn {limit} -j DROP")];
        let own = match self {
            Self::Nothing => Vec::new(),
            Self::Fuzzy => limited("-m fuzzy --lower-limit 100 --upper-limit 1000"),
            Self::FuzzyBySource => {
                limited("-m fuzzy --lower-limit 100 --upper-limit 500 --fuzzy-mode srcip")
            }
            Self::Hashlimit => limited(
                "-m hashlimit --hashlimit-above 30/s --hashlimit-burst 30 --hashlimit-mode srcip \
                 --hashlimit-name syn",
            ),
            Self::Recent => [
                vec!["-A FORWARD -i east -p tcp --syn -m recent --name syn --set".to_owned()],
                limited(&format!(
                    "-m recent --name syn --rcheck --seconds {RECENT_S} --hitcount 60"
                )),
            ]
            .concat(),
            Self::Connlimit => limited("-m connlimit --connlimit-above 12"),
            Self::Unverified => limited(UNVERIFIED),
            Self::UnverifiedProxied => vec![
                format!("-A FORWARD -i east -p tcp --syn {UNVERIFIED} -j SYNPROXY --mss 1460"),
                "-A FORWARD -i east -p tcp -m state --state INVALID -j SYNPROXY --mss 1460"
                    .to_owned(),
            ],
            Self::Synproxy | Self::UnderFlood => vec![
                "-A FORWARD -i east -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460"
                    .to_owned(),
            ],
        };
        let invalid = vec!["-A FORWARD -m state --state INVALID -j DROP".to_owned()];
        [own, invalid].concat()
    }
}
