//! Answers for the hosts that are played.

use std::collections::VecDeque;

use weir_dataplane::wire::MacAddr;

use super::message::{self, Message};
use super::played::Played;
use crate::address::Address;
use crate::packet::{Tag, tag};
use crate::result::UsersResult;
use crate::users::{Actor, Progress};

/// Answers that may wait to be sent. Whoever gets none asks again.
const WAITING_MAX: usize = 256;

/// One side's.
#[derive(Debug)]
pub struct Answerer {
    played: Played,
    mac: MacAddr,
    waiting: VecDeque<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    target: Address,
    tag: Option<Tag>,
    to: (Address, MacAddr),
}

impl Answerer {
    /// Answers that `mac` has what is played.
    #[must_use]
    pub fn new(played: Played, mac: MacAddr) -> Self {
        Self { played, mac, waiting: VecDeque::with_capacity(WAITING_MAX) }
    }

    /// What is asked, if it is asked of us.
    fn question(&self, frame: &[u8]) -> Option<Answer> {
        if !message::is_candidate(frame) {
            return None;
        }
        let to = MacAddr(*frame.first_chunk()?);
        let Message::Ask { target, asker, asker_mac } = message::read(frame)? else { return None };
        if !to.is_multicast() && to != self.mac {
            return None;
        }
        let tag = self.played.answers(target, tag::of(frame))?;
        Some(Answer { target, tag, to: (asker, asker_mac) })
    }
}

impl Actor for Answerer {
    fn begin(&mut self, _now_ns: u64) {}

    fn owns(&self, frame: &[u8]) -> bool {
        self.question(frame).is_some()
    }

    fn receive(&mut self, _now_ns: u64, frame: &[u8]) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.extend(self.question(frame));
        }
    }

    fn due_ns(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(0)
    }

    fn send(&mut self, _now_ns: u64, out: &mut [u8]) -> Option<usize> {
        let Answer { target, tag, to } = self.waiting.pop_front()?;
        message::tell(target, (self.mac, tag), to, out)
    }

    fn frame_bytes_max(&self) -> usize {
        message::BYTES_MAX
    }

    fn wind_down(&mut self, _now_ns: u64) {}

    fn is_idle(&self) -> bool {
        true
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn tell(&self, _result: &mut UsersResult) {}
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::played::Residents;
    use super::*;
    use crate::profile::{Profile, Side};

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn question(target: &str, asker: &str) -> Vec<u8> {
        let mut out = vec![0; 100];
        let length =
            message::ask(address(target), Some(address(asker)), (ROUTER, None), &mut out).unwrap();
        out.truncate(length);
        out
    }

    #[test]
    fn who_asks_for_a_server_is_answered_and_nobody_else() {
        let profile = Profile::find("users").unwrap();
        let residents = Residents {
            own: vec![address("2001:db8::2")],
            gateways: vec![address("198.19.0.1")],
            ..Residents::default()
        };
        let mut right = Answerer::new(Played::of(&profile, Side::Right, &residents), OWN);
        for (target, asker) in [("198.19.0.2", "198.19.0.1"), ("2001:db8::2", "fe80::1")] {
            let frame = question(target, asker);
            assert!(right.owns(&frame) && right.due_ns().is_none());
            right.receive(5, &frame);
            assert_eq!(right.due_ns(), Some(0));
            let mut out = [0; 100];
            let length = right.send(5, &mut out).unwrap();
            let answer = message::read(&out[..length]);
            assert_eq!(answer, Some(Message::Tell { target: address(target), mac: OWN }));
            assert_eq!((out[..6].to_vec(), right.due_ns()), (ROUTER.0.to_vec(), None));
        }
        let mut elsewhere = question("198.19.0.2", "198.19.0.1");
        elsewhere[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        let others = [
            question("198.18.128.1", "198.19.0.1"),
            question("198.19.0.1", "198.19.0.2"),
            question("2001:db8::3", "fe80::1"),
            elsewhere,
        ];
        assert!(others.iter().all(|frame| !right.owns(frame)));
    }

    #[test]
    fn a_storm_of_questions_is_bounded() {
        let profile = Profile::find("users").unwrap();
        let mut right =
            Answerer::new(Played::of(&profile, Side::Right, &Residents::default()), OWN);
        let frame = question("198.19.0.2", "198.19.0.1");
        for _ in 0..3 * WAITING_MAX {
            right.receive(0, &frame);
        }
        let answers = std::iter::from_fn(|| right.send(0, &mut [0; 100]));
        assert_eq!(answers.count(), WAITING_MAX);
    }
}
