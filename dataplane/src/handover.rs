//! Hand-over: packets on their way to the worker of their flow.
//!
//! A flow lives on the worker that its symmetric hash names. Where the NIC's own hash puts a packet on
//! another worker's queue, that worker passes the frame on as it is: one UMEM serves the process, so
//! nothing is copied. Each worker has one bounded inbox; when it is full the packet is dropped and
//! counted by the sender. The order of one flow is kept, for all of its packets that come by one queue
//! take the same way.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ahash::RandomState;
use crossbeam_queue::ArrayQueue;

use crate::conntrack::{Tuple, bits6};
use crate::frame::Frame;
use crate::port::PortIndex;
use crate::wake::Waker;
use crate::wire::IpProtocol;

/// Packets that a worker's inbox holds at most.
pub const INBOX_PACKETS_MAX: usize = 4096;

/// A packet between workers.
#[derive(Debug)]
pub struct HandedOver {
    /// The packet.
    pub frame: Frame,
    /// Where it came in.
    pub ingress: PortIndex,
}

/// All workers' inboxes.
#[derive(Debug, Clone)]
pub struct Inboxes(Arc<[Inbox]>);

#[derive(Debug)]
struct Inbox {
    packets: ArrayQueue<HandedOver>,
    waker: Arc<Waker>,
}

impl Inboxes {
    /// One inbox a worker, each for `packets_max` packets.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new(workers: usize, packets_max: usize) -> io::Result<Self> {
        let inbox =
            |_| Ok(Inbox { packets: ArrayQueue::new(packets_max), waker: Arc::new(Waker::new()?) });
        Ok(Self((0..workers).map(inbox).collect::<io::Result<_>>()?))
    }

    /// What ends a worker's sleep.
    #[must_use]
    pub fn waker(&self, worker: usize) -> &Arc<Waker> {
        &self.0[worker].waker
    }

    /// Wakes the workers that sleep although packets wait for them.
    pub fn wake_receivers(&self) {
        for inbox in self.0.iter() {
            if !inbox.packets.is_empty() {
                inbox.waker.wake();
            }
        }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// Sends a packet to a worker.
    ///
    /// # Errors
    /// Gives the packet back when that inbox is full.
    pub fn send(&self, worker: usize, packet: HandedOver) -> Result<(), HandedOver> {
        self.0[worker].packets.push(packet)
    }

    /// Takes the next packet for a worker.
    #[must_use]
    pub fn take(&self, worker: usize) -> Option<HandedOver> {
        self.0[worker].packets.pop()
    }

    /// Packets that wait in a worker's inbox.
    #[must_use]
    pub fn waiting(&self, worker: usize) -> usize {
        self.0[worker].packets.len()
    }
}

/// Names the worker of a flow: the same for both directions.
#[derive(Debug, Clone)]
pub struct FlowHash {
    keys: RandomState,
    workers: u64,
}

impl FlowHash {
    /// A hash under the given seed, over `workers` workers. The seed should be drawn from the operating
    /// system at start: who knows it can choose flows that all meet on one worker.
    #[must_use]
    pub fn new(seed: [u64; 4], workers: usize) -> Self {
        let [a, b, c, d] = seed;
        Self { keys: RandomState::with_seeds(a, b, c, d), workers: workers as u64 }
    }

    /// The hash of a flow, the same for both of its directions.
    #[must_use]
    #[inline]
    pub fn flow(&self, tuple: &Tuple) -> u64 {
        let (source_port, destination_port) = match IpProtocol(tuple.protocol) {
            // A query and its answer differ in type; the identifier is one for both.
            IpProtocol::ICMP | IpProtocol::ICMPV6 => (tuple.source_port, tuple.source_port),
            _ => (tuple.source_port, tuple.destination_port),
        };
        match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.hash4(
                end(source, source_port),
                end(destination, destination_port),
                tuple.protocol,
            ),
            (source, destination) => {
                let from = (bits6(source), source_port);
                let to = (bits6(destination), destination_port);
                let (low, high) = if from <= to { (from, to) } else { (to, from) };
                let ports = u64::from(low.1) << 32 | u64::from(high.1) << 16;
                let mut hasher = self.keys.build_hasher();
                hasher.write_u128(low.0);
                hasher.write_u128(high.0);
                hasher.write_u64(ports | u64::from(tuple.protocol));
                hasher.finish()
            }
        }
    }

    /// The same of source and destination, and of both ports, of IPv4 each in a word.
    #[inline]
    pub(crate) fn ports4(&self, addresses: u64, ports: u32, protocol: u8) -> u64 {
        let from = (addresses >> 32) << 16 | u64::from(ports >> 16);
        let to = (addresses & 0xffff_ffff) << 16 | u64::from(ports & 0xffff);
        self.hash4(from, to, protocol)
    }

    #[inline]
    fn hash4(&self, from: u64, to: u64, protocol: u8) -> u64 {
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        // Two aligned words: an address with its port each, the protocol above the lower one's port.
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(low | u64::from(protocol) << 48);
        hasher.write_u64(high);
        hasher.finish()
    }

    /// The worker of the flow with this hash.
    #[must_use]
    #[inline]
    pub fn worker_of(&self, hash: u64) -> usize {
        // The high half of the product: an unbiased enough range reduction without a division.
        let worker = (u128::from(hash) * u128::from(self.workers)) >> 64;
        usize::try_from(worker).unwrap_or(0)
    }

    /// The worker of a flow.
    #[must_use]
    pub fn worker(&self, tuple: &Tuple) -> usize {
        self.worker_of(self.flow(tuple))
    }
}

fn end(address: Ipv4Addr, port: u16) -> u64 {
    u64::from(u32::from(address)) << 16 | u64::from(port)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn tuple(protocol: u8, source_port: u16, destination_port: u16) -> Tuple {
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        Tuple { source, destination, source_port, destination_port, protocol }
    }

    proptest! {
        #[test]
        fn both_directions_live_on_one_worker(
            source: u128, destination: u128, six: bool, source_port: u16, destination_port: u16,
            protocol in prop::sample::select(vec![1_u8, 6, 17, 58, 89]), seed: [u64; 4],
        ) {
            let hash = FlowHash::new(seed, 3);
            let address = |bits: u128| if six {
                IpAddr::V6(bits.into())
            } else {
                IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32))
            };
            let there = Tuple {
                source: address(source), destination: address(destination),
                source_port, destination_port, protocol,
            };
            if let (IpAddr::V4(source), IpAddr::V4(destination)) = (there.source, there.destination)
                && protocol != 1 && protocol != 58
            {
                let addresses = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
                let ports = u32::from(source_port) << 16 | u32::from(destination_port);
                prop_assert_eq!(hash.ports4(addresses, ports, protocol), hash.flow(&there));
            }
            if let Some(back) = there.inverted() {
                prop_assert_eq!(hash.flow(&there), hash.flow(&back));
                prop_assert!(hash.worker(&there) < 3);
            }
        }
    }

    #[test]
    fn flows_spread_over_all_workers() {
        let hash = FlowHash::new([1, 2, 3, 4], 4);
        let mut flows = [0_u32; 4];
        for source_port in 0..4000 {
            flows[hash.worker(&tuple(6, source_port, 80))] += 1;
        }
        for count in flows {
            assert!((850..1150).contains(&count), "{flows:?}");
        }
    }

    /// Whoever has the source of this program finds flows that meet in a bucket, or on a worker, under a seed of his
    /// own: under one that he does not know they are as any others.
    #[test]
    fn flows_that_meet_under_one_seed_do_not_under_another() {
        const BUCKETS: usize = 1024;
        let known = FlowHash::new([1, 2, 3, 4], 8);
        let unknown = FlowHash::new([0x9e37_79b9_7f4a_7c15, 5, !0, 0x2545_f491], 8);
        let bucket = |hash: u64| (hash & 0xffff_ffff) as usize % BUCKETS;
        let from = |source: IpAddr, destination: IpAddr, source_port: u16| Tuple {
            source,
            destination,
            source_port,
            destination_port: 80,
            protocol: 6,
        };
        let flow4 = |n: u32| {
            let source = Ipv4Addr::from_bits(0x4000_0000 | n >> 8);
            from(source.into(), [192, 0, 2, 80].into(), 1024 | (n & 0xff) as u16)
        };
        let flow6 = |n: u32| {
            let net = 0x2001_0db8_u128 << 96;
            let source = Ipv6Addr::from_bits(net | u128::from(n >> 8) << 64 | 1);
            let destination = Ipv6Addr::from_bits(net | 80);
            from(source.into(), destination.into(), 1024 | (n & 0xff) as u16)
        };
        let flows: [&dyn Fn(u32) -> Tuple; 2] = [&flow4, &flow6];
        for flow in flows {
            let meets = |flow: &Tuple| bucket(known.flow(flow)) == 7 && known.worker(flow) == 3;
            let chosen: Vec<Tuple> = (0..).map(flow).filter(meets).take(2_000).collect();
            let (mut buckets, mut workers) = ([0_u32; BUCKETS], [0_u32; 8]);
            for flow in &chosen {
                buckets[bucket(unknown.flow(flow))] += 1;
                workers[unknown.worker(flow)] += 1;
            }
            // Two are expected in each; with chance alone one in 10^9 such tests sees more than 16 in one.
            assert!(buckets.iter().all(|count| *count <= 16), "{buckets:?}");
            assert!(workers.iter().all(|count| (150..=350).contains(count)), "{workers:?}");
        }
    }
}
