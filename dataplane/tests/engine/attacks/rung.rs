//! The rungs of the ladder: what rules say about SYNs.

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
    Synproxy,
}

impl Rung {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Fuzzy,
        Self::FuzzyBySource,
        Self::Hashlimit,
        Self::Recent,
        Self::Connlimit,
        Self::Synproxy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Fuzzy => "fuzzy",
            Self::FuzzyBySource => "fuzzy by source",
            Self::Hashlimit => "hashlimit",
            Self::Recent => "recent",
            Self::Connlimit => "connlimit",
            Self::Synproxy => "SYNPROXY",
        }
    }

    /// Rules of table raw.
    pub(crate) fn raw(self) -> Vec<String> {
        match self {
            Self::Synproxy => vec!["-A PREROUTING -i east -p tcp --syn -j CT --notrack".to_owned()],
            _ => Vec::new(),
        }
    }

    /// Rules of table filter.
    pub(crate) fn filter(self) -> Vec<String> {
        let limited = |limit: &str| vec![format!("-A FORWARD -i east -p tcp --syn {limit} -j DROP")];
        let own = match self {
            Self::Nothing => Vec::new(),
            Self::Fuzzy => limited("-m fuzzy --lower-limit 100 --upper-limit 1000"),
            Self::FuzzyBySource => {
                limited("-m fuzzy --lower-limit 20 --upper-limit 200 --fuzzy-mode srcip")
            }
            Self::Hashlimit => limited(
                "-m hashlimit --hashlimit-above 20/s --hashlimit-burst 20 --hashlimit-mode srcip \
                 --hashlimit-name syn",
            ),
            Self::Recent => [
                vec!["-A FORWARD -i east -p tcp --syn -m recent --name syn --set".to_owned()],
                limited("-m recent --name syn --rcheck --seconds 2 --hitcount 20"),
            ]
            .concat(),
            Self::Connlimit => limited("-m connlimit --connlimit-above 12"),
            Self::Synproxy => vec![
                "-A FORWARD -i east -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460"
                    .to_owned(),
            ],
        };
        let invalid = vec!["-A FORWARD -m state --state INVALID -j DROP".to_owned()];
        [own, invalid].concat()
    }
}
