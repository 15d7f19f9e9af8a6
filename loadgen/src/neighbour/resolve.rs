//! Asks who has an address, a bounded number of times.

use std::collections::BTreeSet;

use weir_dataplane::batch::Batch;
use weir_dataplane::frame::HEADROOM_BYTES;
use weir_dataplane::wire::MacAddr;

use super::answer::Answerer;
use super::message::{self, BYTES_MAX, Message};
use super::played::{Played, destinations};
use crate::address::Address;
use crate::engine::{Equipment, Ports};
use crate::packet::Tag;
use crate::profile::{Profile, Side};
use crate::users::Actor;

/// How often it is asked.
pub const TRIES: u32 = 10;

/// How long after a question the next one comes, or the end.
const GAP_NS: u64 = 300_000_000;

/// Who has an address on a side?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The side.
    pub side: Side,
    /// The address.
    pub target: Address,
    /// The VLAN in which it is asked, if any.
    pub tag: Option<Tag>,
    /// In whose name it is asked; `None`: in nobody's (a probe of RFC 5227, an address of the link).
    pub asker: Option<Address>,
}

/// Why there is no next hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopError {
    /// Nobody answers for a gateway.
    #[error(
        "nobody on {interface} answers for {target}, asked {TRIES} times in 3 s by {asker}: is it the box's address on \
         this side, is its interface up, and would it answer {asker}? Else give its MAC address: --{side}-mac"
    )]
    Silent {
        /// The interface.
        interface: String,
        /// The address.
        target: Address,
        /// In whose name it was asked.
        asker: String,
        /// The side.
        side: Side,
    },
    /// Two stations on one side.
    #[error(
        "{interface} has several next hops ({hops}), and each side sends to one: run what goes by each for itself, or \
         choose: --{side}-mac"
    )]
    Several {
        /// The interface.
        interface: String,
        /// Who answered for what.
        hops: String,
        /// The side.
        side: Side,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// What is asked on the sides for which no MAC address is given.
#[must_use]
fn questions(profile: &Profile, ports: &Ports, asked: [bool; 2]) -> Vec<Question> {
    let mut questions = Vec::new();
    for side in Side::BOTH.into_iter().filter(|side| asked[side.index()]) {
        let residents = &ports.residents[side.index()];
        let played = Played::of(profile, side, residents);
        for (destination, tag) in destinations(profile, side) {
            let gateways = &residents.gateways;
            let of_family = gateways.iter().find(|one| one.is_ipv4() == destination.is_ipv4());
            // One of another family is as good as a name for the box.
            let target = *of_family.or(gateways.first()).unwrap_or(&destination);
            let question = Question { side, target, tag, asker: played.asker(target, tag) };
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    questions
}

/// Asks until all are answered or have been asked [`TRIES`] times; answers meanwhile for the hosts that are played, for
/// on a cable it is they who are asked. `clock` tells the time in nanoseconds, after a rest; `None` ends it.
///
/// # Errors
/// [`NextHopError::Interrupted`].
pub fn resolve(
    profile: &Profile,
    ports: &mut Ports,
    questions: &[Question],
    clock: &mut dyn FnMut() -> Option<u64>,
) -> Result<Vec<Option<MacAddr>>, NextHopError> {
    let answerer = |side: Side| {
        let played = Played::of(profile, side, &ports.residents[side.index()]);
        Answerer::new(played, ports.macs[side.index()][0])
    };
    let mut answerers = Side::BOTH.map(answerer);
    let macs = Side::BOTH.map(|side| ports.macs[side.index()][0]);
    let mut pending: Vec<Pending> = questions.iter().map(Pending::new).collect();
    let mut batch = Batch::new();
    while !pending.is_empty() {
        let now_ns = clock().ok_or(NextHopError::Interrupted)?;
        if pending.iter().all(|pending| pending.is_over(now_ns)) {
            break;
        }
        if let Some(first) = ports.equipment.first_mut() {
            for pending in &mut pending {
                let side = pending.question.side;
                let mut ask = |out: &mut [u8]| pending.next(now_ns, macs[side.index()], out);
                send(first, side, &mut ask);
            }
            for side in Side::BOTH {
                let answerer = &mut answerers[side.index()];
                while answerer.due_ns().is_some() {
                    send(first, side, &mut |out| answerer.send(now_ns, out));
                }
            }
        }
        for equipment in &mut ports.equipment {
            receive(equipment, &mut batch, &mut |side, frame| {
                let answerer = &mut answerers[side.index()];
                if answerer.owns(frame) {
                    answerer.receive(now_ns, frame);
                }
                pending.iter_mut().for_each(|pending| pending.hear(side, frame));
            });
        }
    }
    Ok(pending.into_iter().map(|pending| pending.answer).collect())
}

/// A question on its way.
struct Pending {
    question: Question,
    tries: u32,
    next_ns: u64,
    answer: Option<MacAddr>,
}

impl Pending {
    fn new(question: &Question) -> Self {
        Self { question: *question, tries: 0, next_ns: 0, answer: None }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        self.answer.is_some() || (self.tries == TRIES && now_ns >= self.next_ns)
    }

    /// Writes the question if it is due.
    fn next(&mut self, now_ns: u64, mac: MacAddr, out: &mut [u8]) -> Option<usize> {
        if self.answer.is_some() || self.tries == TRIES || now_ns < self.next_ns {
            return None;
        }
        self.tries += 1;
        self.next_ns = now_ns.saturating_add(GAP_NS);
        let Question { target, tag, asker, .. } = self.question;
        message::ask(target, asker, (mac, tag), out)
    }

    fn hear(&mut self, side: Side, frame: &[u8]) {
        if side != self.question.side || self.answer.is_some() || !message::is_candidate(frame) {
            return;
        }
        if let Some(Message::Tell { target, mac }) = message::read(frame)
            && target == self.question.target
        {
            self.answer = Some(mac);
        }
    }
}

/// Sends one frame by the first queue of a side, if there is one to send. Without room it is as if lost.
fn send(equipment: &mut Equipment, side: Side, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) {
    let mut bytes = [0; BYTES_MAX];
    let Some(length) = write(&mut bytes) else { return };
    let Equipment { ports, pool, .. } = equipment;
    let Some(port) = ports[side.index()].first_mut() else { return };
    let Some(mut frame) = pool.take() else { return };
    if !frame.set_window(usize::from(HEADROOM_BYTES), length) {
        return pool.put(frame);
    }
    frame.bytes_mut().copy_from_slice(&bytes[..length]);
    let mut outbox = vec![frame];
    port.transmit(&mut outbox);
    port.kick();
    outbox.into_iter().for_each(|frame| pool.put(frame));
}

/// Hands out what has come by all queues.
fn receive(equipment: &mut Equipment, batch: &mut Batch, hear: &mut dyn FnMut(Side, &[u8])) {
    let Equipment { ports, pool, .. } = equipment;
    pool.collect_returns();
    for side in Side::BOTH {
        for port in &mut ports[side.index()] {
            port.recycle(pool);
            port.receive(batch);
            batch.drain().for_each(|frame| {
                hear(side, frame.bytes());
                pool.put(frame);
            });
        }
    }
}

/// Finds the next hops of the sides for which none is given, and sets them. What is to be said of it comes as lines.
///
/// Where no gateway is named, what packets go to is asked for, as on a cable or through a bridge, and when nobody
/// answers they go to the other interface's station, as if there were one.
///
/// # Errors
/// A gateway that nobody answers for; several stations on one side; Ctrl-C.
pub fn find_next_hops(
    profile: &Profile,
    ports: &mut Ports,
    interfaces: &[String; 2],
    asked: [bool; 2],
    clock: &mut dyn FnMut() -> Option<u64>,
) -> Result<Vec<String>, NextHopError> {
    let questions = questions(profile, ports, asked);
    let answers = resolve(profile, ports, &questions, clock)?;
    let mut said = Vec::new();
    for side in Side::BOTH {
        let interface = &interfaces[side.index()];
        let here = || questions.iter().zip(&answers).filter(|(question, _)| question.side == side);
        let hops: BTreeSet<MacAddr> = here().filter_map(|(_, answer)| *answer).collect();
        if hops.len() > 1 {
            let each = here().filter_map(|(question, answer)| {
                answer.map(|mac| format!("{mac} for {}", question.target))
            });
            let hops = each.collect::<Vec<_>>().join(", ");
            return Err(NextHopError::Several { interface: interface.clone(), hops, side });
        }
        let silent = here().find(|(_, answer)| answer.is_none()).map(|(question, _)| question);
        match (silent, hops.first()) {
            (_, Some(mac)) => ports.macs[side.index()][1] = *mac,
            (Some(question), None) if ports.residents[side.index()].gateways.is_empty() => {
                let (target, mac) = (question.target, ports.macs[side.index()][1]);
                said.push(format!(
                    "nobody on {interface} answers for {target}: frames go to {mac}, the other interface, as on a cable; \
                     with a router between, name its address on this side (--{side}-gateway) or its MAC address \
                     (--{side}-mac)"
                ));
            }
            (Some(question), None) => {
                let asker = question.asker.map_or("nobody".to_owned(), |asker| asker.to_string());
                let (interface, target) = (interface.clone(), question.target);
                return Err(NextHopError::Silent { interface, target, asker, side });
            }
            (None, None) => {}
        }
    }
    Ok(said)
}
