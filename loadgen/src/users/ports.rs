//! Which port of a client's address the next connection gets.
//!
//! A host takes its ephemeral ports in an order that strangers cannot guess (RFC 6056), and so does a NAT with the
//! ports of the address that its users share. Here every address goes through its range by a stride of its own seed,
//! so a port comes again only after all others: that is what makes an address run out of ports when its connections
//! end in TIME-WAIT faster than that ends.

/// Ports that are tried for one connection.
const TRIES_MAX: u32 = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    count: u32,
    stride: u32,
    /// For each address, how many it has tried.
    tried: Box<[u32]>,
    seed: u64,
}

impl Ports {
    /// `first..=last`, for so many addresses.
    pub(super) fn new(first: u16, last: u16, addresses: u32, seed: u64) -> Self {
        let count = u32::from(last.saturating_sub(first)) + 1;
        // An odd golden section of the range, and then on to what shares no divisor with it.
        let start = (u64::from(count) * 618 / 1_000).max(1);
        let stride =
            (start..).find(|stride| greatest_divisor(*stride, u64::from(count)) == 1).unwrap_or(1);
        let stride = u32::try_from(stride).unwrap_or(1);
        Self { first, count, stride, tried: vec![0; addresses as usize].into(), seed }
    }

    /// The next port of an address for which `is_free` holds.
    pub(super) fn take(
        &mut self,
        address: u32,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let offset = (self.seed ^ u64::from(address)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let tried = self.tried.get_mut(address as usize)?;
        for _ in 0..self.count.min(TRIES_MAX) {
            let step =
                (u64::from(*tried) * u64::from(self.stride) + offset) % u64::from(self.count);
            *tried = (*tried + 1) % self.count;
            let port = self.first + u16::try_from(step).unwrap_or(0);
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_comes_again_after_all_others() {
        for (first, last) in [(32_768, 60_999), (1_024, 65_535), (7, 7), (10, 11), (0, 65_535)] {
            let mut ports = Ports::new(first, last, 2, 0x5eed);
            let count = usize::from(last - first) + 1;
            let round: Vec<u16> = (0..count).map(|_| ports.take(1, |_| true).unwrap()).collect();
            assert_eq!(round.iter().collect::<HashSet<_>>().len(), count);
            assert!(round.iter().all(|port| (first..=last).contains(port)));
            assert_eq!(ports.take(1, |_| true), Some(round[0]));
            assert!(
                count < 100 || ports.take(0, |_| true) != Some(round[0]),
                "another address, another beginning"
            );
        }
    }

    #[test]
    fn ports_in_use_are_passed_over_until_there_are_none() {
        let mut ports = Ports::new(100, 109, 1, 1);
        let mut used = HashSet::new();
        for _ in 0..10 {
            let port = ports.take(0, |port| !used.contains(&port)).unwrap();
            used.insert(port);
        }
        assert_eq!(ports.take(0, |port| !used.contains(&port)), None);
        used.remove(&104);
        assert_eq!(ports.take(0, |port| !used.contains(&port)), Some(104));
    }
}
