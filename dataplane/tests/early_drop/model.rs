//! What the XDP program does with its maps, in Rust: a hash, a trie that finds the longest prefix, slots that grow.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use weir_dataplane::early_drop::{
    CONDITIONS_MAX, Condition, FOR_EVER, Held, Hook, MapChange, MapEntry, Maps, Net, Sizes,
};
use weir_dataplane::program::PacketCount;

/// The maps of a program, shared with who runs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    held: u32,
    blocked: BTreeMap<Net, MapEntry>,
    allowed: BTreeMap<Net, u64>,
    conditions: [Option<Condition>; CONDITIONS_MAX],
    counts: BTreeMap<u32, PacketCount>,
    sizes: Option<Sizes>,
}

impl Model {
    pub(crate) fn new(sizes: Sizes) -> Self {
        let model = Self::default();
        model.0.borrow_mut().sizes = Some(sizes);
        model
    }

    /// Runs the program on a frame that is bound for chain FORWARD; `dice` is the random number it draws. True if the
    /// packet ends there.
    pub(crate) fn drops(&self, source: IpAddr, frame: &[u8], now_ns: u64, dice: u32) -> bool {
        let mut inner = self.0.borrow_mut();
        let Some(entry) = inner.find(Net::host(source), now_ns) else { return false };
        let met = entry.condition.is_none_or(|number| {
            let condition = inner.conditions[number.index()];
            condition.is_some_and(|condition| condition.is_met(Hook::Forward, 1, frame))
        });
        if !met || (entry.acceptance > 0 && dice < entry.acceptance) {
            return false;
        }
        let bytes = frame.len() as u64;
        *inner.counts.entry(entry.slot).or_default() += PacketCount { packets: 1, bytes };
        true
    }
}

/// Bits of [`Held`], by family, as in the program.
fn bits(source: Net) -> [u32; 3] {
    let shift = u32::from(source.address().is_ipv6());
    [1 << shift, 4 << shift, 16 << shift]
}

impl Inner {
    fn find(&self, host: Net, now_ns: u64) -> Option<MapEntry> {
        let [sources, prefixes, allowed] = bits(host);
        let alive = |until_ns: u64| until_ns == FOR_EVER || now_ns < until_ns;
        let longest = |len| host.shortened(len);
        let exact = self.blocked.get(&host).filter(|_| self.held & sources != 0);
        let mut shorter = (0..host.prefix_len()).rev().map(longest);
        let prefix = shorter.find_map(|net| self.blocked.get(&net));
        let prefix = prefix.filter(|_| self.held & prefixes != 0);
        let exact = exact.filter(|entry| alive(entry.until_ns));
        let prefix = prefix.filter(|entry| alive(entry.until_ns));
        let found = match (exact, prefix) {
            (Some(exact), Some(prefix))
                if exact.condition.is_some() && prefix.condition.is_none() =>
            {
                prefix
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        let mut all = (0..=host.prefix_len()).rev().map(longest);
        let allowed =
            all.find_map(|net| self.allowed.get(&net)).filter(|_| self.held & allowed != 0);
        if allowed.is_some_and(|until_ns| alive(*until_ns)) { None } else { Some(*found) }
    }

    /// No map holds more than it has room for, nor anything that the program does not look for.
    fn check(&self) {
        let Some(sizes) = self.sizes else { return };
        for v6 in [false, true] {
            let of = |nets: Vec<&Net>, host: Option<bool>| {
                let is_of = |net: &&&Net| {
                    net.address().is_ipv6() == v6 && host.is_none_or(|host| net.is_host() == host)
                };
                nets.iter().filter(is_of).count()
            };
            let [sources, prefixes, allowed] =
                [1, 4, 16].map(|bit: u32| self.held & bit << u32::from(v6) != 0);
            for (count, max, held) in [
                (of(self.blocked.keys().collect(), Some(true)), sizes.sources_max, sources),
                (of(self.blocked.keys().collect(), Some(false)), sizes.prefixes_max, prefixes),
                (of(self.allowed.keys().collect(), None), sizes.prefixes_max, allowed),
            ] {
                assert!(count <= max as usize, "{count} entries, and there is room for {max}");
                assert_eq!(count > 0, held, "whether the program looks for {count} entries");
            }
        }
    }
}

impl Maps for Model {
    type Error = Infallible;

    fn apply(&self, changes: &[MapChange]) -> Result<(), Infallible> {
        let mut inner = self.0.borrow_mut();
        for change in changes {
            match *change {
                MapChange::Hold(Held(bits)) => inner.held = bits,
                MapChange::Block(source, entry) => _ = inner.blocked.insert(source, entry),
                MapChange::Unblock(source) => _ = inner.blocked.remove(&source),
                MapChange::Allow(source, until_ns) => _ = inner.allowed.insert(source, until_ns),
                MapChange::Unallow(source) => _ = inner.allowed.remove(&source),
                MapChange::Condition(number, condition) => {
                    inner.conditions[number.index()] = Some(condition);
                }
            }
        }
        inner.check();
        Ok(())
    }

    fn count(&self, slot: u32) -> Result<PacketCount, Infallible> {
        Ok(self.0.borrow().counts.get(&slot).copied().unwrap_or_default())
    }

    fn counts(&self, slots: u32) -> Result<Vec<PacketCount>, Infallible> {
        (0..slots).map(|slot| self.count(slot)).collect()
    }
}
