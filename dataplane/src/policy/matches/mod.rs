//! The matches of a rule, compiled: what `-m` says, ready to be asked of a packet. One file a match, but for those
//! that compare one field, which are in `header.rs`.
//!
//! A new match is a file here with its test, a variant of [`MatchTest`], and a line in each of its functions. What the
//! rules say is evaluated as it is where there is nothing to prepare.

mod addrtype;
mod connbytes;
mod connection;
mod connlimit;
mod ecn;
mod forwarded;
mod fuzzy;
mod hashlimit;
mod header;
mod icmp;
mod icmp6;
mod keyed;
mod limit;
mod multiport;
mod recent;
mod rt;
mod set;
mod statistic;
mod string;
mod tcp_options;
mod tcpmss;
mod time;
mod transport;
mod u32;

pub use connection::Connection;
pub(crate) use fuzzy::FUZZY;
pub(crate) use hashlimit::HASHLIMIT;
pub use transport::{FlagsTest, Ports, TransportTest};

use std::sync::Arc;

use weir_control::rule::{
    AddrtypeMatch, ConnmarkMatch, DscpMatch, EcnMatch, Family, Icmp6Match, IcmpMatch, IprangeMatch,
    LengthMatch, MacMatch, MarkMatch, Match, MultiportMatch, PkttypeMatch, RtMatch, TcpMssMatch,
    TosMatch, TtlMatch,
};

use connbytes::CountTest;
use connection::ConnectionTest;
use connlimit::ConnlimitTest;
use fuzzy::FuzzyTest;
use hashlimit::HashlimitTest;
use limit::LimitTest;
use recent::RecentTest;
use set::SetTest;
use statistic::StatisticTest;
use string::StringTest;
use time::TimeTest;
use u32::WordTest;

use super::candidate::has_ports;
use super::near::Keyed;
use super::room::Room;
use super::rule::Evaluation;
use super::{Candidate, Unenforced};
use crate::limit::kept::Keeper;
use crate::limit::verified::Verified;
use crate::set::Sets;

/// What a match is compiled with.
#[derive(Debug)]
pub(super) struct Around<'k, 'd> {
    /// The family of its rule.
    pub(super) family: Family,
    /// The sets that it may look into.
    pub(super) sets: &'k Sets,
    /// Who has what it keeps from packet to packet.
    pub(super) keeper: Keeper<'k, 'd>,
    /// How much that may be.
    pub(super) room: &'k mut Room,
}

/// A match of a rule.
#[derive(Debug)]
pub(super) enum MatchTest {
    /// `-m addrtype`.
    Addrtype(AddrtypeMatch),
    /// `-m comment`, which holds for every packet.
    Comment,
    /// `-m connbytes`.
    Connbytes(CountTest),
    /// `-m connlimit`.
    Connlimit(Box<ConnlimitTest>),
    /// `-m connmark`.
    Connmark(ConnmarkMatch),
    /// `-m state`, `-m conntrack`.
    Connection(Box<ConnectionTest>),
    /// `-m dscp`.
    Dscp(DscpMatch),
    /// `-m ecn`.
    Ecn(EcnMatch),
    /// `-m fuzzy`.
    Fuzzy(FuzzyTest),
    /// `-m hashlimit`.
    Hashlimit(HashlimitTest),
    /// `-m icmp`.
    Icmp(IcmpMatch),
    /// `-m icmp6`.
    Icmp6(Icmp6Match),
    /// `-m iprange`.
    Iprange(Box<IprangeMatch>),
    /// `-m length`.
    Length(LengthMatch),
    /// `-m limit`.
    Limit(LimitTest),
    /// `-m mac`.
    Mac(MacMatch),
    /// `-m mark`.
    Mark(MarkMatch),
    /// `-m multiport`.
    Multiport(Box<MultiportMatch>),
    /// `-m pkttype`.
    Pkttype(PkttypeMatch),
    /// `-m recent`.
    Recent(Box<RecentTest>),
    /// `-m rt`.
    Rt(RtMatch),
    /// `-m set`.
    Set(SetTest),
    /// `-m tcpmss`.
    TcpMss(TcpMssMatch),
    /// `-m tos`.
    Tos(TosMatch),
    /// `-m tcp`, `-m udp`.
    Transport(TransportTest),
    /// `-m ttl`, `-m hl`.
    Ttl(TtlMatch),
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
    /// Compiles a match of a rule.
    ///
    /// # Errors
    /// Why this engine cannot enforce it.
    pub(super) fn compile(asked: &Match, around: &mut Around<'_, '_>) -> Result<Self, Unenforced> {
        let sets = around.sets;
        Ok(match asked {
            Match::Addrtype(addrtype) => Self::Addrtype(*addrtype),
            Match::Comment(_) => Self::Comment,
            Match::Connbytes(connbytes) => Self::Connbytes((*connbytes).try_into()?),
            Match::Connlimit(connlimit) => {
                Self::Connlimit(Box::new(ConnlimitTest::compile(connlimit, around)?))
            }
            Match::Connmark(connmark) => Self::Connmark(*connmark),
            Match::Conntrack(conntrack) => Self::Connection(Box::new((**conntrack).into())),
            Match::Dscp(dscp) => Self::Dscp(*dscp),
            Match::Ecn(ecn) => Self::Ecn(*ecn),
            Match::Fuzzy(fuzzy) => Self::Fuzzy(FuzzyTest::compile(fuzzy, around)?),
            Match::Hashlimit(hashlimit) => {
                Self::Hashlimit(HashlimitTest::compile(hashlimit, around)?)
            }
            Match::Hl(hl) => Self::Ttl(hl.0),
            Match::Icmp(icmp) => Self::Icmp(*icmp),
            Match::Icmp6(icmp6) => Self::Icmp6(*icmp6),
            Match::Iprange(iprange) => Self::Iprange(Box::new(*iprange)),
            Match::Length(length) => Self::Length(*length),
            Match::Limit(limit) => Self::Limit(LimitTest::compile(limit, &mut around.keeper)),
            Match::Mac(mac) => Self::Mac(*mac),
            Match::Mark(mark) => Self::Mark(*mark),
            Match::Multiport(multiport) => Self::Multiport(Box::new(multiport.clone())),
            Match::Pkttype(pkttype) => Self::Pkttype(*pkttype),
            Match::Recent(recent) => Self::Recent(Box::new(RecentTest::compile(recent, around)?)),
            Match::Rt(rt) => Self::Rt(*rt),
            Match::Set(set) => Self::Set(
                SetTest::compile(set, sets).ok_or("--match-set with a set that is not there")?,
            ),
            Match::State(state) => Self::Connection(Box::new((*state).into())),
            Match::Tcp(tcp) => Self::Transport((*tcp).into()),
            Match::TcpMss(tcpmss) => Self::TcpMss(*tcpmss),
            Match::Tos(tos) => Self::Tos(*tos),
            Match::Ttl(ttl) => Self::Ttl(*ttl),
            Match::Udp(udp) => Self::Transport((*udp).into()),
            Match::Statistic(statistic) => Self::Statistic(statistic.into()),
            Match::String(string) => Self::String(Box::new(string.into())),
            Match::Time(time) => Self::Time((*time).into()),
            Match::U32(u32) => Self::Word(u32.into()),
            other => return Err(other.name().into()),
        })
    }

    /// Asks it of a packet.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>, sets: &Sets) -> Evaluation {
        match self {
            Self::Addrtype(test) => addrtype::holds(test, candidate).into(),
            Self::Comment => Evaluation::Matches,
            Self::Connbytes(test) => test.holds(&candidate.connection).into(),
            Self::Connlimit(test) => test.evaluate(candidate),
            Self::Connmark(test) => connection::connmark(test, &candidate.connection).into(),
            Self::Connection(test) => test.holds(&candidate.connection).into(),
            Self::Dscp(test) => header::dscp(test, candidate).into(),
            Self::Ecn(test) => ecn::holds(test, candidate).into(),
            Self::Fuzzy(test) => test.evaluate(candidate),
            Self::Hashlimit(test) => test.evaluate(candidate),
            Self::Icmp(test) => icmp::evaluate(test, candidate),
            Self::Icmp6(test) => icmp6::evaluate(test, candidate),
            Self::Iprange(test) => header::iprange(test, candidate).into(),
            Self::Length(test) => header::length(test, candidate).into(),
            Self::Limit(test) => test.holds(candidate.now_ns).into(),
            Self::Mac(test) => header::mac(test, candidate).into(),
            Self::Mark(test) => header::mark(test, candidate).into(),
            Self::Multiport(test) => multiport::evaluate(test, candidate),
            Self::Pkttype(test) => header::pkttype(test).into(),
            Self::Recent(test) => test.holds(candidate).into(),
            Self::Rt(test) => rt::holds(test, candidate).into(),
            Self::Set(test) => test.holds(candidate, sets).into(),
            Self::TcpMss(test) => tcpmss::evaluate(test, candidate),
            Self::Tos(test) => header::tos(test, candidate).into(),
            Self::Transport(test) => test.evaluate(candidate),
            Self::Ttl(test) => header::ttl(*test, candidate).into(),
            Self::Statistic(test) => test.holds(candidate.dice).into(),
            Self::String(test) => test.holds(candidate.packet, candidate.hook).into(),
            Self::Time(test) => test.holds(candidate.wall_s).into(),
            Self::Word(test) => test.holds(candidate.packet, candidate.hook).into(),
        }
    }

    /// What it says of all packets of the flow that `candidate` belongs to, in the same state and by the same
    /// interfaces, for as long as the policy is in force; `None` where that may differ from packet to packet, or with
    /// something else than the policy. The packet has a [key](super::cache_key).
    pub(super) fn settled(&self, candidate: &Candidate<'_>) -> Option<bool> {
        match self {
            Self::Comment => Some(true),
            Self::Connection(test) if test.flow.is_none() => {
                Some(test.holds(&candidate.connection))
            }
            Self::Iprange(test) => Some(header::iprange(test, candidate)),
            Self::Pkttype(test) => Some(header::pkttype(test)),
            Self::Multiport(test) if has_ports(candidate.headers.protocol) => {
                Some(multiport::evaluate(test, candidate) == Evaluation::Matches)
            }
            Self::Transport(test) => test.settled(candidate),
            _ => None,
        }
    }

    /// Whether it leaves everything as it was, and lets packets with a whole transport header pass or not, but never
    /// ends them: then it does not matter whether it is asked at all, if a later test does not hold anyway.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Addrtype(_)
            | Self::Comment
            | Self::Connbytes(_)
            | Self::Connmark(_)
            | Self::Connection(_)
            | Self::Dscp(_)
            | Self::Iprange(_)
            | Self::Length(_)
            | Self::Mac(_)
            | Self::Mark(_)
            | Self::Pkttype(_)
            | Self::Rt(_)
            | Self::Set(_)
            | Self::String(_)
            | Self::Time(_)
            | Self::Tos(_)
            | Self::Ttl(_)
            | Self::Word(_) => true,
            Self::Transport(test) => test.option.is_none(),
            // They look into headers that may be broken, or count.
            Self::Connlimit(_)
            | Self::Ecn(_)
            | Self::Fuzzy(_)
            | Self::Hashlimit(_)
            | Self::Icmp(_)
            | Self::Icmp6(_)
            | Self::Limit(_)
            | Self::Multiport(_)
            | Self::Recent(_)
            | Self::Statistic(_)
            | Self::TcpMss(_) => false,
        }
    }

    /// Gets ready what it shares with other rules, now that its rule is about to be in force.
    pub(super) fn prepare(&self) {
        if let Self::Recent(test) = self {
            test.prepare();
        }
    }

    /// What it keeps of keys, if it does.
    pub(super) fn keyed(&self) -> Option<Keyed> {
        match self {
            Self::Fuzzy(test) => test.keyed(),
            Self::Hashlimit(test) => Some(test.keyed()),
            _ => None,
        }
    }

    /// Whether it asks for connection tracking.
    pub(super) fn tracks(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Connbytes(_) | Self::Connlimit(_) | Self::Connmark(_) => {
                true
            }
            Self::Fuzzy(test) => test.verified().is_some(),
            _ => false,
        }
    }

    /// Where it looks for verified sources, if it does.
    pub(super) fn verified(&self) -> Option<Arc<Verified>> {
        if let Self::Fuzzy(test) = self { test.verified().cloned() } else { None }
    }

    /// Whether it keeps something of packets and forgets it at every change of the rules.
    pub(super) fn begins_anew(&self) -> bool {
        matches!(self, Self::Statistic(_))
    }

    /// Whether it asks for what the packets of a flow have come to.
    pub(super) fn counts_flows(&self) -> bool {
        matches!(self, Self::Connbytes(_))
    }

    /// Whether it asks for more of a flow than the state of the packet, or whether it counts.
    pub(super) fn inspects_flows(&self) -> bool {
        match self {
            Self::Connection(test) => test.flow.is_some(),
            Self::Connbytes(_) | Self::Connmark(_) => true,
            _ => false,
        }
    }
}
