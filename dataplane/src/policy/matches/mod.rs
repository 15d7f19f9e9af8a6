//! The matches of a rule, compiled: what `-m` says, ready to be asked of a packet. One file a match.
//!
//! A new match is a file here with its test, a variant of [`MatchTest`], and a line in each of its functions.

mod connection;
mod forwarded;
mod statistic;
mod string;
mod time;
mod transport;
mod u32;

pub use connection::Connection;
pub use transport::{FlagsTest, Ports, TransportTest};

use weir_control::rule::Match;

use connection::ConnectionTest;
use statistic::StatisticTest;
use string::StringTest;
use time::TimeTest;
use u32::WordTest;

use super::Candidate;
use super::rule::Evaluation;

/// A match of a rule.
#[derive(Debug)]
pub(super) enum MatchTest {
    /// `-m tcp`, `-m udp`.
    Transport(TransportTest),
    /// `-m state`, `-m conntrack`.
    Connection(Box<ConnectionTest>),
    /// `-m statistic`.
    Statistic(StatisticTest),
    /// `-m string`.
    String(Box<StringTest>),
    /// `-m time`.
    Time(TimeTest),
    /// `-m u32`.
    Word(WordTest),
}

impl MatchTest {
    /// Compiles a match; its name, if this engine cannot enforce it.
    pub(super) fn compile(asked: &Match) -> Result<Self, &'static str> {
        Ok(match asked {
            Match::Tcp(tcp) => Self::Transport((*tcp).into()),
            Match::Udp(udp) => Self::Transport((*udp).into()),
            Match::State(state) => Self::Connection(Box::new((*state).into())),
            Match::Conntrack(conntrack) => Self::Connection(Box::new((*conntrack).into())),
            Match::Statistic(statistic) => Self::Statistic(statistic.into()),
            Match::String(string) => Self::String(Box::new(string.into())),
            Match::Time(time) => Self::Time((*time).into()),
            Match::U32(u32) => Self::Word(u32.into()),
            other => return Err(other.name()),
        })
    }

    /// Asks it of a packet.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        match self {
            Self::Transport(test) => test.evaluate(candidate.headers),
            Self::Connection(test) => test.holds(&candidate.connection).into(),
            Self::Statistic(test) => test.holds(candidate.dice).into(),
            Self::String(test) => test.holds(candidate.packet).into(),
            Self::Time(test) => test.holds(candidate.wall_s).into(),
            Self::Word(test) => test.holds(candidate.packet).into(),
        }
    }

    /// Whether it asks for connection tracking.
    pub(super) fn tracks(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether it asks for more of a flow than the state of the packet.
    pub(super) fn inspects_flows(&self) -> bool {
        matches!(self, Self::Connection(test) if test.flow.is_some())
    }
}
