//! The flows' way over a restart: a snapshot at the end, taken back in at the start.
//!
//! ```text
//!   end      workers stop ──► NAME.new ── fsync ── rename ──► NAME     the one before stays until then
//!   start    NAME ──► checked whole ──► tables ──► workers, ports ──► NAME removed
//!                          └ not right: NAME.refused, empty tables, a warning
//! ```
//!
//! A snapshot is true for one start. It is removed as soon as that start has succeeded, and not kept under another
//! name: what it says is outdated by the first packet, and after a crash it would bring back connections that have
//! ended long ago, open to whoever takes over their addresses. A start that fails before leaves it for the next one.
//!
//! What is wrong with a snapshot does not keep the daemon from starting: connections are cut then, as by a start
//! without one, and that is less than no firewall. It is not lost either, but stands aside for whoever wants to know
//! why. Only regular files are moved, replaced or removed: a device, a pipe or a link stays where it is, and no
//! snapshot is kept then.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::ConntrackConfig;
use crate::config::{SNAPSHOT_SUFFIX_NEW as NEW, SNAPSHOT_SUFFIX_REFUSED as REFUSED};
use crate::conntrack::Conntrack;
use crate::conntrack::snapshot::{self, NotImported, SnapshotError};
use crate::handover::FlowHash;
use crate::program::OnExit;

/// Permissions that only a foreign file has: it is written for its owner alone.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
enum RefusedFile {
    #[error("it cannot be opened: {0}")]
    Open(io::Error),
    #[error("it is no regular file: name another one")]
    NotAFile,
    #[error(
        "it belongs to user {owner}, and this weir runs as {user}: `chown` it if it is to be trusted"
    )]
    Owner { owner: u32, user: u32 },
    #[error("others than its owner may write it (mode {mode:o}): nobody knows who did; go without")]
    Writable { mode: u32 },
    #[error(transparent)]
    Content(#[from] SnapshotError),
}

/// What became of a snapshot's flows.
#[derive(Debug, Default)]
struct Tally {
    imported: u64,
    expired: u64,
    duplicate: u64,
    no_room: u64,
}

/// What is left to do about the snapshot that the tables were made from.
#[derive(Debug, Default)]
pub(super) struct Restored {
    warnings: Vec<String>,
    /// The snapshot that was taken in.
    used: Option<PathBuf>,
}

/// A table for each worker, with the flows of the snapshot that stands at `path`, if one does.
pub(super) fn tables(
    config: &ConntrackConfig,
    workers: usize,
    path: Option<&Path>,
    on_exit: OnExit,
) -> (Vec<Conntrack>, Restored) {
    let empty = || (0..workers).map(|_| Conntrack::new(config)).collect();
    let mut tables: Vec<_> = empty();
    let mut restored = Restored::default();
    let Some(path) = path else { return (tables, restored) };
    match restore(path, &mut tables, &config.flow_hash, on_exit) {
        Ok(Some(tally)) => restored.take_note(path, &tally),
        Ok(None) => {
            tracing::info!("no snapshot of flows at {}", path.display());
            let folder = path.parent().unwrap_or(path);
            if !folder.is_dir() {
                let folder = folder.display();
                restored.warnings.push(format!(
                    "conntrack.snapshot: there is no folder {folder}, so nothing can be written there at the end: \
                     `mkdir -p -m 700 {folder}`"
                ));
            }
        }
        Err(why) => {
            // Whatever was taken in before it turned out to be wrong goes.
            tables.clear();
            tables = empty();
            restored.warnings.push(set_aside(path, &why));
        }
    }
    (tables, restored)
}

impl Restored {
    fn take_note(&mut self, path: &Path, tally: &Tally) {
        let Tally { imported, expired, duplicate, no_room } = tally;
        tracing::info!(
            "{imported} flows taken over from {}; {expired} had expired, {no_room} found no room",
            path.display()
        );
        if *no_room > 0 {
            self.warnings.push(format!(
                "conntrack.snapshot: {no_room} flows found no room: raise conntrack.flows_max or half_open_max"
            ));
        }
        if *duplicate > 0 {
            self.warnings.push(format!(
                "conntrack.snapshot: {duplicate} flows stood in it twice; please report it"
            ));
        }
        self.used = Some(path.to_owned());
    }

    /// The start has succeeded: removes the snapshot that was taken in, which is wrong from now on. Returns what an
    /// operator should know.
    pub(super) fn conclude(mut self) -> Vec<String> {
        if let Some(path) = self.used {
            let removed = fs::remove_file(&path).and_then(|()| sync_folder(&path));
            let error = removed.err().filter(|error| error.kind() != io::ErrorKind::NotFound);
            self.warnings.extend(error.map(|error| {
                format!(
                    "conntrack.snapshot: {} cannot be removed ({error}), and would bring its flows back after a \
                     crash: remove it",
                    path.display()
                )
            }));
        }
        self.warnings
    }
}

/// Puts the flows of a snapshot into the tables of the workers that they belong to; `None` if there is none.
fn restore(
    path: &Path,
    tables: &mut [Conntrack],
    flow_hash: &FlowHash,
    on_exit: OnExit,
) -> Result<Option<Tally>, RefusedFile> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let now_ms = wall_clock_ms();
    let mut tally = Tally::default();
    snapshot::read(&mut file, &mut |header, record| {
        // A clock that went back says nothing; then no time has passed.
        let elapsed_ms = now_ms.saturating_sub(header.taken_ms);
        let mut record = *record;
        if on_exit == OnExit::Pass {
            // The kernel may have forwarded meanwhile.
            record.believe_anywhere();
        }
        let Some(table) = tables.get_mut(flow_hash.worker(&record.tuple())) else { return };
        match table.import(&record, elapsed_ms) {
            Ok(()) => tally.imported += 1,
            Err(NotImported::Expired) => tally.expired += 1,
            Err(NotImported::Duplicate) => tally.duplicate += 1,
            Err(NotImported::NoRoom(_)) => tally.no_room += 1,
        }
    })?;
    Ok(Some(tally))
}

/// Opens a snapshot that nobody else can have written; `None` if there is none.
fn open(path: &Path) -> Result<Option<File>, RefusedFile> {
    // A link may lead anywhere, and a pipe would be waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(RefusedFile::NotAFile);
        }
        Err(error) => return Err(RefusedFile::Open(error)),
    };
    let metadata = file.metadata().map_err(RefusedFile::Open)?;
    if !metadata.is_file() {
        return Err(RefusedFile::NotAFile);
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(RefusedFile::Owner { owner, user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(RefusedFile::Writable { mode });
    }
    Ok(Some(file))
}

/// Moves a snapshot aside that was refused; the warning.
fn set_aside(path: &Path, why: &RefusedFile) -> String {
    let aside = beside(path, REFUSED);
    let moved = replaceable(path)
        .and_then(|()| replaceable(&aside))
        .and_then(|()| fs::rename(path, &aside));
    let where_now = match moved {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("it stays where it is ({error})"),
    };
    format!(
        "conntrack.snapshot: {} was refused, so all connections began anew: {why}; {where_now}",
        path.display()
    )
}

/// Writes a snapshot, and says in the log what became of it.
pub(super) fn keep(path: &Path, tables: &[Conntrack]) {
    let started = Instant::now();
    match save(path, tables) {
        Ok(flows) => {
            tracing::info!("{flows} flows kept in {} in {:.1?}", path.display(), started.elapsed());
        }
        Err(error) => tracing::error!(
            "conntrack.snapshot: cannot write {}: {error}; the next start cuts all connections",
            path.display()
        ),
    }
}

/// Writes the flows of these tables. Returns how many there were. Whatever stood at `path` stands there unchanged if it
/// fails.
///
/// # Errors
/// What the system says.
fn save(path: &Path, tables: &[Conntrack]) -> io::Result<u64> {
    let new = beside(path, NEW);
    let tables: Vec<&Conntrack> = tables.iter().collect();
    replaceable(path)?;
    replaceable(&new)?;
    let write = || {
        // Left behind by one that was killed while it wrote.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let flows = snapshot::write(&mut file, wall_clock_ms(), &tables)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(path)?;
        Ok(flows)
    };
    write().inspect_err(|_| {
        // Half a snapshot is none.
        let _ = fs::remove_file(&new);
    })
}

/// A name that a file of ours may take, or be taken away from: nothing stands there, or a regular file. Anything else,
/// a device above all, is what others reach by this name.
fn replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(io::Error::other(format!("{} is no regular file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file of this name with an ending more.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes sure that the names in a file's folder are as they are after a loss of power.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Milliseconds since 1970.
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
