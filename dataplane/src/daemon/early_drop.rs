//! The blocklist and the allowlist: loaded at the start, changed by commands, looked after.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use weir_control::address_list::{AddressEntry, AddressList, AddressListError};
use weir_control::protocol::{
    ADDRESS_PAGE_MAX, AddressListChange, AddressListed, AddressPage, EarlyDropStats, Failure,
    ListedBy, Reply,
};
use weir_control::rule::IpNet;

use super::shared::Shared;
use super::{Daemon, DaemonError, supervise};
use crate::config::{Config, EarlyDropSettings};
use crate::early_drop::{
    By, EarlyDrop, EarlyDropError, FOR_EVER, Guarded, GuardedBy, Listed, Net, Sizes,
};
use crate::port::xdp::HostAddresses;
use crate::program::EarlyMaps;
use crate::route::Forwarding;

/// The lists, with the maps that the programs of all ports share.
pub(crate) type SharedLists = EarlyDrop<Arc<EarlyMaps>>;

type ListError = EarlyDropError<<EarlyMaps as crate::early_drop::Maps>::Error>;

/// Bytes of a file for each entry that there may be, remarks included.
const FILE_BYTES_AN_ENTRY: u64 = 512;

/// Now, as the program sees it: nanoseconds of CLOCK_MONOTONIC.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// When an entry that lasts so long ends.
fn until_ns(timeout_s: Option<u32>, now_ns: u64) -> u64 {
    timeout_s
        .map_or(FOR_EVER, |timeout_s| now_ns.saturating_add(u64::from(timeout_s) * 1_000_000_000))
}

/// Entries as they stand in the files, each with its line.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    blocklist: Vec<(usize, AddressEntry)>,
    allowlist: Vec<(usize, AddressEntry)>,
}

/// Why the files of the configuration cannot be loaded, if they cannot: the line and the word. Whether they block what
/// the machine depends on is known at the start only.
pub fn trouble(config: &Config) -> Option<String> {
    load(&config.early_drop).err()
}

/// Reads the files of the configuration.
pub(super) fn load(settings: &EarlyDropSettings) -> Result<Loaded, String> {
    let read = |list, path: &Option<PathBuf>| match path {
        Some(path) => load_file(list, path, settings.sizes),
        None => Ok(Vec::new()),
    };
    Ok(Loaded {
        blocklist: read(AddressList::Blocklist, &settings.blocklist)?,
        allowlist: read(AddressList::Allowlist, &settings.allowlist)?,
    })
}

fn load_file(
    list: AddressList,
    path: &Path,
    sizes: Sizes,
) -> Result<Vec<(usize, AddressEntry)>, String> {
    let refused = |reason: &dyn std::fmt::Display| format!("{list} {}: {reason}", path.display());
    let entries_max = 2 * (u64::from(sizes.sources_max) + u64::from(sizes.prefixes_max));
    let bytes_max = FILE_BYTES_AN_ENTRY * (entries_max + 128);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| refused(&error))?;
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(|error| refused(&error))?;
    if text.len() as u64 > bytes_max {
        return Err(refused(&format!(
            "more than {bytes_max} bytes, which is more than there is room for"
        )));
    }
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let refused = |error| refused(&format!("line {number}: {error}"));
        let Some(entry) = AddressEntry::parse_line(line).map_err(refused)? else { continue };
        if !seen.insert(entry.source) {
            return Err(refused(AddressListError::Twice { net: entry.source }));
        }
        entries.push((number, entry));
    }
    // In lists of their own, to find out whether there is room.
    let mut lists = EarlyDrop::new(Nowhere, sizes);
    stage(&mut lists, list, &entries, 0)
        .map_err(|(line, error)| refused(&format!("line {line}: {error}")))?;
    Ok(entries)
}

/// Puts entries into a list; on failure the line and why.
fn stage<M: crate::early_drop::Maps>(
    lists: &mut EarlyDrop<M>,
    list: AddressList,
    entries: &[(usize, AddressEntry)],
    now_ns: u64,
) -> Result<(), (usize, AddressListError)> {
    for (line, entry) in entries {
        let source = net(entry.source).map_err(|error| (*line, error))?;
        let (until_ns, comment) = (until_ns(entry.timeout_s, now_ns), entry.comment.clone());
        let staged = match list {
            AddressList::Blocklist => lists.stage_block(source, until_ns, comment, now_ns),
            AddressList::Allowlist => lists.stage_allow(source, until_ns, comment, now_ns),
        };
        staged.map_err(|error| (*line, refusal(error)))?;
    }
    Ok(())
}

/// Maps for lists of which nobody is told.
#[derive(Debug)]
struct Nowhere;

impl crate::early_drop::Maps for Nowhere {
    type Error = std::convert::Infallible;

    fn apply(&self, _: &[crate::early_drop::MapChange]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn count(&self, _: u32) -> Result<crate::program::PacketCount, Self::Error> {
        Ok(crate::program::PacketCount::default())
    }

    fn counts(&self, _: u32) -> Result<Vec<crate::program::PacketCount>, Self::Error> {
        Ok(Vec::new())
    }
}

impl Loaded {
    /// The lists at the start, before a program is loaded with them.
    pub(super) fn begin(
        &self,
        settings: &EarlyDropSettings,
        host: &HostAddresses,
        forwarding: &Forwarding,
    ) -> Result<SharedLists, DaemonError> {
        let mut lists = EarlyDrop::new(Arc::new(EarlyMaps::new(settings.sizes)?), settings.sizes);
        let now_ns = now_ns();
        let guarded = guarded(host, forwarding);
        for (list, path, entries) in [
            (AddressList::Allowlist, &settings.allowlist, &self.allowlist),
            (AddressList::Blocklist, &settings.blocklist, &self.blocklist),
        ] {
            let path = path.as_deref().unwrap_or(Path::new(""));
            let refused = |(line, error)| {
                DaemonError::AddressList(format!("{list} {}: line {line}: {error}", path.display()))
            };
            if list == AddressList::Blocklist {
                for (line, entry) in entries {
                    let until_ns = until_ns(entry.timeout_s, now_ns);
                    let source = net(entry.source).map_err(|error| refused((*line, error)))?;
                    if let Some(exposed) = lists.exposed_by_block(source, until_ns, &guarded) {
                        return Err(refused((
                            *line,
                            exposure(list, source, exposed, "put it into the allowlist"),
                        )));
                    }
                }
            }
            stage(&mut lists, list, entries, now_ns).map_err(refused)?;
        }
        lists.commit().map_err(|error| DaemonError::AddressList(error.to_string()))?;
        Ok(lists)
    }
}

fn net(source: IpNet) -> Result<Net, AddressListError> {
    Net::try_from(source).map_err(|odd| AddressListError::Source {
        word: odd.to_string(),
        reason: "the mask is no prefix".to_owned(),
    })
}

/// What must not be blocked.
fn guarded(host: &HostAddresses, forwarding: &Forwarding) -> Vec<Guarded> {
    let six = host.v6.iter().chain(&host.v6_kernel).copied().map(Into::into);
    let own = host.v4.iter().copied().map(Into::into).chain(six);
    let own = own.map(|address| Guarded { address, by: GuardedBy::Own });
    let gateways = forwarding.gateways().into_iter();
    own.chain(gateways.map(|address| Guarded { address, by: GuardedBy::Gateway })).collect()
}

fn exposure(list: AddressList, source: Net, exposed: Guarded, remedy: &str) -> AddressListError {
    AddressListError::Exposed {
        list,
        net: source.into(),
        address: exposed.address,
        what: what_is(exposed.by).to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn what_is(by: GuardedBy) -> &'static str {
    match by {
        GuardedBy::Own => "is an address of this machine",
        GuardedBy::Gateway => "is a router that it sends by",
    }
}

/// A refusal of the lists in the operator's words.
fn refusal<E: std::error::Error>(error: EarlyDropError<E>) -> AddressListError {
    match error {
        EarlyDropError::Full { list, net, max } => {
            let single = list == AddressList::Blocklist && net.is_host();
            let kind = match (list, single) {
                (AddressList::Allowlist, _) => "entries",
                (AddressList::Blocklist, true) => "addresses",
                (AddressList::Blocklist, false) => "prefixes",
            };
            let what = format!("{kind} of {}", net.family());
            let key = if single { "sources_max" } else { "prefixes_max" }.to_owned();
            AddressListError::Full { list, what, max, key }
        }
        EarlyDropError::NotThere { list, net } => {
            AddressListError::NotThere { list, net: net.into() }
        }
        EarlyDropError::IsPushed { net } => AddressListError::Pushed { net: net.into() },
        EarlyDropError::Maps(error) => AddressListError::Maps { reason: error.to_string() },
    }
}

fn failed(error: ListError) -> Failure {
    Failure::AddressList(refusal(error))
}

/// Carries out a change; every port's program sees it when this returns.
pub(super) fn change(
    shared: &Shared,
    list: AddressList,
    change: AddressListChange,
) -> Result<Reply, Failure> {
    let guarded = {
        let forwarding = shared.forwarding.current();
        guarded(&supervise::host_addresses(&forwarding, 0), &forwarding)
    };
    let now_ns = now_ns();
    let mut lists = shared.early_drop();
    let entries = match change {
        AddressListChange::Add { entry, force } => {
            entry.check().map_err(Failure::AddressList)?;
            let source = net(entry.source).map_err(Failure::AddressList)?;
            let until_ns = until_ns(entry.timeout_s, now_ns);
            match list {
                AddressList::Blocklist => {
                    check(force, list, source, lists.exposed_by_block(source, until_ns, &guarded))?;
                    lists.block(source, until_ns, entry.comment, now_ns)
                }
                AddressList::Allowlist => {
                    // What is allowed for less long than before may be blocked then.
                    let shorter = lists
                        .allowed_until_ns(source)
                        .is_some_and(|before_ns| until_ns < before_ns);
                    let exposed =
                        lists.exposed_by_unallow(Some(source), &guarded).filter(|_| shorter);
                    check(force, list, source, exposed)?;
                    lists.allow(source, until_ns, entry.comment, now_ns)
                }
            }
            .map(|()| 1)
        }
        AddressListChange::Delete { source, force } => {
            let source = net(source).map_err(Failure::AddressList)?;
            match list {
                AddressList::Blocklist => lists.unblock(source, now_ns),
                AddressList::Allowlist => {
                    check(force, list, source, lists.exposed_by_unallow(Some(source), &guarded))?;
                    lists.unallow(source)
                }
            }
            .map(|()| 1)
        }
        AddressListChange::Flush { force } => {
            if list == AddressList::Allowlist
                && let Some(exposed) = lists.exposed_by_unallow(None, &guarded)
            {
                check(force, list, Net::host(exposed.address), Some(exposed))?;
            }
            lists.flush(list, now_ns)
        }
    };
    let entries = entries.map_err(failed)?;
    Ok(Reply::AddressListChanged { entries: entries as u64 })
}

/// Refuses what the machine would cut itself off by, unless forced.
fn check(
    force: bool,
    list: AddressList,
    source: Net,
    exposed: Option<Guarded>,
) -> Result<(), Failure> {
    let Some(exposed) = exposed.filter(|_| !force) else { return Ok(()) };
    let remedy = match list {
        AddressList::Blocklist => format!("first `weirctl allowlist add {}'", exposed.address),
        AddressList::Allowlist => "first take out of the blocklist what blocks it".to_owned(),
    };
    Err(Failure::AddressList(exposure(list, source, exposed, &remedy)))
}

/// Entries of a list.
pub(super) fn list(
    shared: &Shared,
    list: AddressList,
    after: Option<IpNet>,
) -> Result<Reply, Failure> {
    let after = after.map(net).transpose().map_err(Failure::AddressList)?;
    let listed = {
        let lists = shared.early_drop();
        match list {
            AddressList::Blocklist => lists.page(after, ADDRESS_PAGE_MAX).map_err(failed)?,
            AddressList::Allowlist => lists.allowed_page(after, ADDRESS_PAGE_MAX),
        }
    };
    let full = listed.len() == ADDRESS_PAGE_MAX;
    let next = listed.last().filter(|_| full).map(|last| last.source.into());
    let now_ns = now_ns();
    let entries = listed.into_iter().map(|listed| told(listed, now_ns)).collect();
    Ok(Reply::AddressPage(AddressPage { entries, next }))
}

fn told(listed: Listed, now_ns: u64) -> AddressListed {
    let (by, comment) = match listed.by {
        By::Operator(comment) => (ListedBy::Operator, comment),
        By::Limiter { condition, acceptance } => {
            let acceptance_ppm =
                u32::try_from((u64::from(acceptance) * 1_000_000) >> 32).unwrap_or(u32::MAX);
            (ListedBy::Limiter { condition: condition.get(), acceptance_ppm }, None)
        }
    };
    let left =
        (listed.until_ns != FOR_EVER).then(|| listed.until_ns.saturating_sub(now_ns) / 1_000_000);
    AddressListed {
        source: listed.source.into(),
        by,
        left_ms: left,
        comment,
        packets: listed.dropped.packets,
        bytes: listed.dropped.bytes,
    }
}

/// What `weirctl stats` says of it.
pub(super) fn stats(shared: &Shared) -> EarlyDropStats {
    let lists = shared.early_drop();
    // A map that exists can be read; zero would be seen not to grow.
    let dropped = lists.dropped().unwrap_or_default();
    EarlyDropStats {
        packets: dropped.packets,
        bytes: dropped.bytes,
        blocked: lists.len(AddressList::Blocklist) as u64,
        pushed: lists.pushed_len() as u64,
        allowed: lists.len(AddressList::Allowlist) as u64,
    }
}

impl Daemon {
    /// Takes out what is over, and follows what rules that limit have to say.
    pub(super) fn tick_early_drop(&self) {
        let forwarding = self.shared.forwarding.current();
        if let Err(error) = self.shared.rules().turn_push_downs(&forwarding) {
            self.warn(format!("early drop: {error}; it is tried again"));
        }
        if let Err(error) = self.shared.early_drop().tick(now_ns()) {
            self.warn(format!("blocklist and allowlist: {error}; it is tried again"));
        }
    }

    /// What is blocked by force, or since a route has come, and cuts the machine off.
    pub(super) fn exposed_addresses(&self) -> Vec<String> {
        let guarded = guarded(&self.host, &self.shared.forwarding.current());
        let exposed = self.shared.early_drop().exposed(&guarded);
        let told = exposed.into_iter().map(|Guarded { address, by }| {
            format!(
                "{address} is blocked, and {}: `weirctl allowlist add {address}' lets it through",
                what_is(by)
            )
        });
        // One names the trouble; a large prefix would name hundreds.
        told.take(4).collect()
    }
}
