//! What both ends are compared by.

use std::fmt;

use weir_dataplane::conntrack::{CtState, Direction, TcpState, Tuple};

/// The kernel tells whole seconds, rounded down; both dumps take their time.
const TOLERANCE_MS: u64 = 2500;

/// What a packet was to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: CtState,
    pub(crate) direction: Direction,
    /// Of its flow, as the rules saw it: answered, assured, in the table.
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    pub(crate) confirmed: bool,
}

impl Verdict {
    pub(crate) fn name(&self) -> &'static str {
        match self.state {
            CtState::Invalid => "packet INVALID",
            CtState::Untracked => "packet UNTRACKED",
            CtState::New => "packet NEW",
            CtState::Established => "packet ESTABLISHED",
            CtState::Related => "packet RELATED",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            CtState::Invalid => return formatter.pad("INVALID"),
            CtState::Untracked => return formatter.pad("UNTRACKED"),
            CtState::New => "NEW",
            CtState::Established => "ESTABLISHED",
            CtState::Related => "RELATED",
        };
        let mut text = state.to_owned();
        for (set, word) in [
            (self.direction == Direction::Reply, "reply"),
            (self.seen_reply, "seen"),
            (self.assured, "assured"),
            (!self.confirmed, "unconfirmed"),
        ] {
            if set {
                text += if text == state { ":" } else { "," };
                text += word;
            }
        }
        formatter.pad(&text)
    }
}

/// A flow in the table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) tcp_state: Option<TcpState>,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    pub(crate) expires_ms: u64,
    /// What else the kernel tells. Not compared.
    pub(crate) internals: String,
}

impl Entry {
    /// Whether both may say the same flow at nearly the same time.
    fn agrees(&self, other: &Self) -> bool {
        let plain = |entry: &Self| {
            (entry.original, entry.reply, entry.tcp_state, entry.seen_reply, entry.assured)
        };
        plain(self) == plain(other) && self.expires_ms.abs_diff(other.expires_ms) <= TOLERANCE_MS
    }

    fn ends_now(&self) -> bool {
        self.expires_ms <= TOLERANCE_MS
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tcp_state {
            Some(state) => write!(formatter, "{}", state.name())?,
            None => write!(formatter, "flow")?,
        }
        write!(formatter, " {}", (self.expires_ms + 500) / 1000)?;
        for (set, word) in [(self.seen_reply, " seen"), (self.assured, " assured")] {
            if set {
                write!(formatter, "{word}")?;
            }
        }
        if !self.internals.is_empty() {
            write!(formatter, " ({})", self.internals)?;
        }
        Ok(())
    }
}

/// After one packet: what it was, and the flows of its sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) entries: Vec<Entry>,
}

impl Seen {
    /// Whether the kernel's and Weir's agree. A flow whose time comes just now may be there or not.
    pub(crate) fn agrees(&self, weir: &Self) -> bool {
        let covers = |one: &[Entry], other: &[Entry]| {
            one.iter().all(|entry| {
                let same = other.iter().find(|candidate| candidate.original == entry.original);
                same.map_or(entry.ends_now(), |same| entry.agrees(same))
            })
        };
        self.verdict == weir.verdict
            && covers(&self.entries, &weir.entries)
            && covers(&weir.entries, &self.entries)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Some(verdict) => write!(formatter, "{verdict:<12}")?,
            None => write!(formatter, "{:<12}", "(never came)")?,
        }
        if self.entries.is_empty() {
            write!(formatter, " -")?;
        }
        for (number, entry) in self.entries.iter().enumerate() {
            write!(formatter, "{}{entry}", if number == 0 { " " } else { " + " })?;
        }
        Ok(())
    }
}
