//! The maps of early drop (`bpf/early_drop.h`), which the programs of all ports share.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, MapType};
use libbpf_sys::bpf_map_create_opts;
use weir_control::rule::Family;

use super::front::{CELL_BYTES, Front, Written};
use super::skeleton::OpenWeirXdpSkel;
use super::{PacketCount, ProgramError};
use crate::early_drop::{CONDITIONS_MAX, Condition, Hook, MapChange, MapEntry, Maps, Net, Sizes};

/// Bytes of `struct early_entry`, `struct early_condition` and `struct count`.
const ENTRY_BYTES: u32 = 24;
const CONDITION_BYTES: u32 = 48;
const COUNT_BYTES: u32 = 16;

/// `hook` of a condition, as in `enum nf_inet_hooks` of `linux/netfilter.h`.
const HOOK_INPUT: u8 = 1;
const HOOK_FORWARD: u8 = 2;

/// A bit of `map_flags` in `linux/bpf.h`; a trie cannot do without.
const NO_PREALLOC: u32 = 1;

/// Slots of a block of counts (`EARLY_BLOCK_SLOTS` in the program).
const BLOCK_SLOTS: u32 = 64;

/// A map for each family.
#[derive(Debug)]
struct Pair {
    v4: MapHandle,
    v6: MapHandle,
}

impl Pair {
    fn hash(name: [&str; 2], entries: u32) -> libbpf_rs::Result<Self> {
        let create = |name, key| create(MapType::Hash, name, key, ENTRY_BYTES, entries);
        Ok(Self { v4: create(name[0], 4)?, v6: create(name[1], 16)? })
    }

    fn trie(name: [&str; 2], value: u32, entries: u32) -> libbpf_rs::Result<Self> {
        let create = |name, key| create(MapType::LpmTrie, name, key, value, entries);
        Ok(Self { v4: create(name[0], 8)?, v6: create(name[1], 20)? })
    }

    fn of(&self, family: Family) -> &MapHandle {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The maps. They live as long as this, or a program that was loaded with them.
#[derive(Debug)]
pub struct EarlyMaps {
    lists: MapHandle,
    front: MapHandle,
    sources: Pair,
    prefixes: Pair,
    allowed: Pair,
    conditions: MapHandle,
    counts: MapHandle,
    /// Who stands where in `front`.
    cells: Mutex<Front>,
}

fn create(
    kind: MapType,
    name: &str,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
) -> libbpf_rs::Result<MapHandle> {
    let options = bpf_map_create_opts {
        sz: size_of::<bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: if kind == MapType::LpmTrie { NO_PREALLOC } else { 0 },
        ..Default::default()
    };
    MapHandle::create(kind, Some(name), key_bytes, value_bytes, entries, &options)
}

impl EarlyMaps {
    /// Makes empty maps of these sizes. What tables of single addresses and counts (of each CPU that the machine may
    /// have) take is allocated here; prefixes as they come.
    ///
    /// # Errors
    /// [`ProgramError::EarlyMaps`]: no right to it, or no memory.
    pub fn new(sizes: Sizes) -> Result<Self, ProgramError> {
        let make = || {
            let (sources, prefixes) = (sizes.sources_max, sizes.prefixes_max);
            let conditions = u32::try_from(CONDITIONS_MAX).unwrap_or(u32::MAX);
            let cells = Front::new(sources);
            // The names are the program's: it takes no map of another.
            Ok(Self {
                lists: create(MapType::Array, "early_lists", 4, 4, 1)?,
                front: create(MapType::Array, "early_front_v4", 4, CELL_BYTES, cells.len())?,
                sources: Pair::hash(["early_sources_v4", "early_sources_v6"], sources)?,
                prefixes: Pair::trie(
                    ["early_prefixes_v4", "early_prefixes_v6"],
                    ENTRY_BYTES,
                    prefixes,
                )?,
                allowed: Pair::trie(["early_allowed_v4", "early_allowed_v6"], 8, prefixes)?,
                conditions: create(
                    MapType::Array,
                    "early_conditions",
                    4,
                    CONDITION_BYTES,
                    conditions,
                )?,
                counts: create(
                    MapType::PercpuArray,
                    "early_counts",
                    4,
                    BLOCK_SLOTS * COUNT_BYTES,
                    sizes.slots().div_ceil(BLOCK_SLOTS),
                )?,
                cells: Mutex::new(cells),
            })
        };
        make().map_err(|source| ProgramError::EarlyMaps { sizes, source })
    }

    /// Has a program use them that is not loaded yet.
    pub(super) fn lend(&self, open: &mut OpenWeirXdpSkel<'_>) -> libbpf_rs::Result<()> {
        let maps = &mut open.maps;
        maps.early_lists.reuse_fd(self.lists.as_fd())?;
        maps.early_front_v4.reuse_fd(self.front.as_fd())?;
        maps.early_sources_v4.reuse_fd(self.sources.v4.as_fd())?;
        maps.early_sources_v6.reuse_fd(self.sources.v6.as_fd())?;
        maps.early_prefixes_v4.reuse_fd(self.prefixes.v4.as_fd())?;
        maps.early_prefixes_v6.reuse_fd(self.prefixes.v6.as_fd())?;
        maps.early_allowed_v4.reuse_fd(self.allowed.v4.as_fd())?;
        maps.early_allowed_v6.reuse_fd(self.allowed.v6.as_fd())?;
        maps.early_conditions.reuse_fd(self.conditions.as_fd())?;
        maps.early_counts.reuse_fd(self.counts.as_fd())
    }

    fn blocking(&self, source: Net) -> &MapHandle {
        let pair = if source.is_host() { &self.sources } else { &self.prefixes };
        pair.of(source.family())
    }

    /// Writes entries that follow each other and belong into one map.
    fn block(&self, entries: &[(Net, MapEntry)]) -> libbpf_rs::Result<()> {
        let Some((first, _)) = entries.first() else { return Ok(()) };
        if !first.is_host() {
            // Only kernels since 5.13 take many entries of a trie at once, and prefixes are few.
            return entries.iter().try_for_each(|(source, entry)| {
                let map = self.blocking(*source);
                map.update(&trie_key(*source), &entry_bytes(entry), MapFlags::ANY)
            });
        }
        let keys: Vec<u8> = entries.iter().flat_map(|(source, _)| key(*source)).collect();
        let values: Vec<u8> = entries.iter().flat_map(|(_, entry)| entry_bytes(entry)).collect();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let map = self.blocking(*first);
        map.update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY)?;
        let mut cells = self.cells();
        let mut begun = Vec::new();
        let mut done = Vec::new();
        for (source, entry) in entries {
            if let IpAddr::V4(address) = source.address() {
                let (first, then) = cells.block(address, *entry);
                begun.extend(first);
                done.extend(then);
            }
        }
        self.write_cells(&begun)?;
        self.write_cells(&done)
    }

    fn unblock(&self, source: Net) -> libbpf_rs::Result<()> {
        let (first, then) = match source.address() {
            IpAddr::V4(address) if source.is_host() => self.cells().unblock(address),
            _ => (None, None),
        };
        self.write_cells(first.as_slice())?;
        delete(self.blocking(source), &key(source))?;
        self.write_cells(then.as_slice())
    }

    fn cells(&self) -> MutexGuard<'_, Front> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes cells in this order.
    fn write_cells(&self, cells: &[Written]) -> libbpf_rs::Result<()> {
        // The kernel calls an empty batch invalid.
        if cells.is_empty() {
            return Ok(());
        }
        let places: Vec<u8> = cells.iter().flat_map(|cell| cell.place.to_ne_bytes()).collect();
        let values: Vec<u8> = cells.iter().flat_map(|cell| cell.value).collect();
        let count = u32::try_from(cells.len()).unwrap_or(u32::MAX);
        self.front.update_batch(&places, &values, count, MapFlags::ANY, MapFlags::ANY)
    }

    /// What all CPUs together have counted in the slots of a block.
    fn read_block(&self, number: u32) -> libbpf_rs::Result<Vec<PacketCount>> {
        let of_cpus = self.counts.lookup_percpu(&number.to_ne_bytes(), MapFlags::ANY)?;
        let mut sums = vec![PacketCount::default(); BLOCK_SLOTS as usize];
        for slots in of_cpus.unwrap_or_default() {
            let counts = slots.chunks_exact(COUNT_BYTES as usize).filter_map(PacketCount::from_map);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }

    fn apply_one(&self, change: &MapChange) -> libbpf_rs::Result<()> {
        let zero = 0_u32.to_ne_bytes();
        match change {
            MapChange::Hold(held) => {
                let word = self.cells().lists_word(held.0);
                self.lists.update(&zero, &word.to_ne_bytes(), MapFlags::ANY)
            }
            MapChange::Block(source, entry) => self.block(&[(*source, *entry)]),
            MapChange::Unblock(source) => self.unblock(*source),
            MapChange::Allow(source, until_ns) => {
                let map = self.allowed.of(source.family());
                map.update(&trie_key(*source), &until_ns.to_ne_bytes(), MapFlags::ANY)
            }
            MapChange::Unallow(source) => {
                delete(self.allowed.of(source.family()), &trie_key(*source))
            }
            MapChange::Condition(number, condition) => {
                let place = u32::from(number.get()) - 1;
                self.conditions.update(
                    &place.to_ne_bytes(),
                    &condition_bytes(condition),
                    MapFlags::ANY,
                )
            }
        }
    }
}

impl Maps for EarlyMaps {
    type Error = libbpf_rs::Error;

    fn apply(&self, changes: &[MapChange]) -> libbpf_rs::Result<()> {
        let mut run: Vec<(Net, MapEntry)> = Vec::new();
        let place = |source: Net| (source.is_host(), source.family());
        for change in changes {
            let next = match change {
                MapChange::Block(source, entry) => Some((*source, *entry)),
                _ => None,
            };
            let place_of =
                |entry: Option<&(Net, MapEntry)>| entry.map(|(source, _)| place(*source));
            if next.is_none() || place_of(next.as_ref()) != place_of(run.last()) {
                self.block(&run)?;
                run.clear();
            }
            match next {
                Some(entry) => run.push(entry),
                None => self.apply_one(change)?,
            }
        }
        self.block(&run)
    }

    fn count(&self, slot: u32) -> libbpf_rs::Result<PacketCount> {
        let block = self.read_block(slot / BLOCK_SLOTS)?;
        Ok(block.get((slot % BLOCK_SLOTS) as usize).copied().unwrap_or_default())
    }

    fn counts(&self, slots: u32) -> libbpf_rs::Result<Vec<PacketCount>> {
        let mut counts = Vec::with_capacity(slots.next_multiple_of(BLOCK_SLOTS) as usize);
        for number in 0..slots.div_ceil(BLOCK_SLOTS) {
            counts.extend(self.read_block(number)?);
        }
        counts.truncate(slots as usize);
        Ok(counts)
    }
}

/// Gone already is as good.
fn delete(map: &MapHandle, key: &[u8]) -> libbpf_rs::Result<()> {
    match map.delete(key) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn key(source: Net) -> Vec<u8> {
    if source.is_host() { octets(source.address()) } else { trie_key(source) }
}

/// `struct early_prefix_v4` and `struct early_prefix_v6`.
fn trie_key(source: Net) -> Vec<u8> {
    let mut key = u32::from(source.prefix_len()).to_ne_bytes().to_vec();
    key.extend(octets(source.address()));
    key
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// `struct early_entry`.
pub(super) fn entry_bytes(entry: &MapEntry) -> Vec<u8> {
    let mut bytes = entry.until_ns.to_ne_bytes().to_vec();
    let condition = entry.condition.map_or(0, |number| u32::from(number.get()));
    for word in [entry.acceptance, entry.slot, condition, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// `struct early_condition`.
fn condition_bytes(condition: &Condition) -> Vec<u8> {
    let mut bytes = condition.ifindex.to_ne_bytes().to_vec();
    let (source, destination) = (condition.source_ports, condition.destination_ports);
    for port in [source.0, source.1, destination.0, destination.1] {
        bytes.extend(port.to_ne_bytes());
    }
    bytes.push(match condition.hook {
        Hook::Input => HOOK_INPUT,
        Hook::Forward => HOOK_FORWARD,
    });
    // Protocol 0, IPv6's hop-by-hop options, is none that a rule can ask for: it stands for any.
    bytes.extend([condition.protocol.unwrap_or(0), condition.tcp_mask, condition.tcp_flags]);
    let mut address = octets(condition.destination.address());
    address.resize(16, 0);
    bytes.extend(address);
    let ones = u32::from(condition.destination.prefix_len());
    let mask = u128::MAX.checked_shl(128 - ones).unwrap_or(0);
    bytes.extend(mask.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::early_drop::ConditionNumber;

    #[test]
    fn values_are_laid_out_as_the_program_s_structures() {
        let condition = ConditionNumber::all().nth(1);
        let entry = MapEntry { until_ns: 1, acceptance: 2, slot: 3, condition };
        let mut wanted = 1_u64.to_ne_bytes().to_vec();
        wanted.extend([2_u32, 3, 2, 0].iter().flat_map(|word| word.to_ne_bytes()));
        assert_eq!(entry_bytes(&entry), wanted);
        assert_eq!(wanted.len(), ENTRY_BYTES as usize);

        let destination = Net::new([192, 0, 2, 128].into(), 25).expect("a length");
        let condition = Condition {
            protocol: Some(6),
            source_ports: (1, 2),
            destination_ports: (3, 4),
            tcp_mask: 0x17,
            tcp_flags: 0x02,
            ifindex: 7,
            ..Condition::any(Hook::Forward, destination)
        };
        let mut wanted = 7_u32.to_ne_bytes().to_vec();
        wanted.extend([1_u16, 2, 3, 4].iter().flat_map(|port| port.to_ne_bytes()));
        wanted.extend([2, 6, 0x17, 0x02, 192, 0, 2, 128]);
        wanted.extend([0; 12]);
        wanted.extend([255, 255, 255, 128]);
        wanted.extend([0; 12]);
        assert_eq!(condition_bytes(&condition), wanted);
        assert_eq!(wanted.len(), CONDITION_BYTES as usize);
        let everywhere = Net::new([0, 0, 0, 0].into(), 0).expect("a length");
        assert_eq!(condition_bytes(&Condition::any(Hook::Input, everywhere))[32..], [0; 16]);
    }
}
