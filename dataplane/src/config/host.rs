//! `host`: whose business the machine's own traffic is.

use super::{Config, ConfigError, refuse};
use crate::port::PORTS_MAX;

/// Whose business the machine's own traffic is. Its IPv6 is the kernel's in any case where IPv6 is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMode {
    /// The kernel's: it never meets Weir, and rules of INPUT and OUTPUT are refused.
    Kernel,
    /// Weir's: what comes by a port to one of the machine's addresses meets chain INPUT, what it sends by one chain
    /// OUTPUT ([`crate::host`]).
    Firewalled,
}

impl HostMode {
    pub(super) fn parse(word: &str) -> Result<Self, ConfigError> {
        match word {
            "kernel" => Ok(Self::Kernel),
            "firewalled" => Ok(Self::Firewalled),
            other => refuse("host", format!("{other:?}"), "`kernel` or `firewalled`"),
        }
    }

    /// How many ports the configuration may name: where the machine itself is one, one less than there are.
    pub(super) fn interfaces_max(self) -> usize {
        match self {
            Self::Kernel => PORTS_MAX,
            Self::Firewalled => PORTS_MAX - 1,
        }
    }

    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Firewalled => "firewalled",
        }
    }
}

impl Config {
    /// The names of all ports for rules, by port index. That of the machine itself has none: what comes by it, or
    /// leaves by it, has no interface there.
    #[must_use]
    pub fn port_names(&self) -> Vec<String> {
        let host = (self.host == HostMode::Firewalled).then(String::new);
        self.interfaces.iter().cloned().chain(host).collect()
    }
}
