//! Snapshots: the flows of a process for the one after it, so that a restart cuts no connection.
//!
//! ```text
//!    0  magic         8  "WEIRFLOW"
//!    8  version       4  of this format
//!   12  flows         8  how many
//!   20  taken         8  ms since 1970
//!   28  flows       132  each: see `record`
//!    …  checksum      4  CRC-32 of all before it
//! ```
//!
//! Numbers are little-endian. A snapshot is either taken whole or not at all: it is read twice, and no flow is handed
//! out before the first time has come to a checksum that is right, and has found every flow possible. Memory is bounded
//! by a block of 496 flows, however many there are, and whatever number the file claims.
//!
//! **The checksum** is against accidents: it finds every damage of up to 32 bits in a row, every two bits anywhere in a
//! file of up to 512 MB, and all but one in four milliards of others; what it lets through has still to be a possible
//! flow. Against forgery nothing helps that stands in the same file; who may write it is checked by whoever opens it.
//!
//! **Time** is not the worker's clock, which begins anew with each process: lifetimes are spans, and shortened by what
//! the caller says has passed. Where a flow belongs is not in there either: the hash is keyed anew, and the number of
//! workers may differ.
//!
//! | file | what |
//! |---|---|
//! | `record` | one flow as bytes, and what is no flow |
//! | `exchange` | [`Conntrack::export`], [`Conntrack::import`] |

mod exchange;
mod record;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, Write};

use crc32fast::Hasher;

pub use exchange::NotImported;
pub use record::{FlowRecord, RECORD_BYTES};

use super::Conntrack;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 3;

const MAGIC: [u8; 8] = *b"WEIRFLOW";

const HEADER_BYTES: usize = 28;

const CHECKSUM_BYTES: usize = 4;

/// Flows that are in memory at one time: 64 KiB or so.
const BLOCK_RECORDS: u32 = 496;

/// What a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many flows it holds.
    pub flows: u64,
    /// When it was taken, in milliseconds since 1970.
    pub taken_ms: u64,
}

/// Why a snapshot is not read. No flow of it is to be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("it is no snapshot of Weir's flows: name another file, or move this one away")]
    NotASnapshot,
    /// Another version of the format.
    #[error(
        "its format is version {found}, and this weir reads {VERSION}: start the weir that wrote it, or go without"
    )]
    Version {
        /// The version that it has.
        found: u32,
    },
    /// It ends too early.
    #[error(
        "it ends after {whole} of {flows} flows: it was not written or copied to its end; go without"
    )]
    Truncated {
        /// Flows that are there.
        whole: u64,
        /// Flows that it says it has.
        flows: u64,
    },
    /// It goes on behind its end.
    #[error("it goes on behind its {flows} flows: it was altered; go without")]
    Surplus {
        /// Flows that it says it has.
        flows: u64,
    },
    /// Some bytes are not as they were written.
    #[error("its checksum is wrong: it was damaged; see to the disk, and go without")]
    Checksum,
    /// A flow that cannot be, though the checksum is right.
    #[error(
        "flow {number} of it is impossible ({field}): it was altered, or please report it; go without"
    )]
    Impossible {
        /// Which, from 1.
        number: u64,
        /// What of it.
        field: &'static str,
    },
    /// It was not the same when it was read again; some of its flows may have been handed out already.
    #[error("it changed while it was read: let only one weir use it")]
    Changed,
}

/// Writes the living flows of these tables. The writer needs no buffer. Returns how many flows there were.
///
/// # Errors
/// What the writer says.
pub fn write(to: &mut impl Write, taken_ms: u64, tables: &[&Conntrack]) -> io::Result<u64> {
    let mut flows = 0;
    each_block(tables, &mut |records| {
        flows += records.len() as u64;
        Ok(())
    })?;
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(flows.to_le_bytes());
    header.extend(taken_ms.to_le_bytes());
    let mut hasher = Hasher::new();
    hasher.update(&header);
    to.write_all(&header)?;
    let mut bytes = Vec::with_capacity(BLOCK_RECORDS as usize * RECORD_BYTES);
    each_block(tables, &mut |records| {
        bytes.clear();
        records.iter().for_each(|record| bytes.extend(record.encode()));
        hasher.update(&bytes);
        to.write_all(&bytes)
    })?;
    to.write_all(&hasher.finalize().to_le_bytes())?;
    Ok(flows)
}

fn each_block(
    tables: &[&Conntrack],
    take: &mut dyn FnMut(&[FlowRecord]) -> io::Result<()>,
) -> io::Result<()> {
    let mut records = Vec::with_capacity(BLOCK_RECORDS as usize);
    for table in tables {
        let mut next = Some(0);
        while let Some(from) = next {
            records.clear();
            next = table.export(from, BLOCK_RECORDS, &mut |record| records.push(record));
            take(&records)?;
        }
    }
    Ok(())
}

/// Reads a snapshot from where the reader stands, and hands out its flows once all of it has been found right.
///
/// # Errors
/// [`SnapshotError`]. No flow was handed out, unless it is [`SnapshotError::Changed`].
pub fn read(
    from: &mut (impl Read + Seek),
    each: &mut dyn FnMut(&Header, &FlowRecord),
) -> Result<Header, SnapshotError> {
    let start = from.stream_position()?;
    let (header, checksum) = pass(from, &mut |_, _| {})?;
    from.seek(io::SeekFrom::Start(start))?;
    match pass(from, each) {
        Ok(again) if again == (header, checksum) => Ok(header),
        _ => Err(SnapshotError::Changed),
    }
}

/// Reads it once: what it says of itself, and its checksum, which is right.
fn pass(
    from: &mut impl Read,
    each: &mut dyn FnMut(&Header, &FlowRecord),
) -> Result<(Header, u32), SnapshotError> {
    let mut hasher = Hasher::new();
    let header = read_header(from, &mut hasher)?;
    let mut impossible = None;
    let mut done = 0;
    let mut block = vec![0; BLOCK_RECORDS as usize * RECORD_BYTES];
    while done < header.flows {
        let records = (header.flows - done).min(BLOCK_RECORDS.into());
        let wanted = usize::try_from(records).unwrap_or(0) * RECORD_BYTES;
        let bytes = &mut block[..wanted];
        let filled = fill(from, bytes)?;
        let (whole, _) = bytes[..filled].as_chunks::<RECORD_BYTES>();
        if filled < wanted {
            let whole = done + whole.len() as u64;
            return Err(SnapshotError::Truncated { whole, flows: header.flows });
        }
        hasher.update(bytes);
        for (bytes, number) in whole.iter().zip(done + 1..) {
            match FlowRecord::decode(bytes) {
                Ok(record) => each(&header, &record),
                Err(field) if impossible.is_none() => impossible = Some((number, field)),
                Err(_) => {}
            }
        }
        done += records;
    }
    let mut end = [0; CHECKSUM_BYTES + 1];
    let filled = fill(from, &mut end)?;
    let [a, b, c, d, _] = end;
    let checksum = hasher.finalize();
    match filled {
        CHECKSUM_BYTES if u32::from_le_bytes([a, b, c, d]) != checksum => {
            return Err(SnapshotError::Checksum);
        }
        CHECKSUM_BYTES => {}
        0..CHECKSUM_BYTES => {
            return Err(SnapshotError::Truncated { whole: done, flows: header.flows });
        }
        _ => return Err(SnapshotError::Surplus { flows: header.flows }),
    }
    match impossible {
        Some((number, field)) => Err(SnapshotError::Impossible { number, field }),
        None => Ok((header, checksum)),
    }
}

fn read_header(from: &mut impl Read, hasher: &mut Hasher) -> Result<Header, SnapshotError> {
    let mut bytes = [0; HEADER_BYTES];
    let filled = fill(from, &mut bytes)?;
    let (magic, rest) = bytes.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(SnapshotError::NotASnapshot);
    }
    if filled < HEADER_BYTES {
        return Err(SnapshotError::Truncated { whole: 0, flows: 0 });
    }
    let (version, rest) = rest.split_at(size_of::<u32>());
    let found = version.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    if found != VERSION {
        return Err(SnapshotError::Version { found });
    }
    hasher.update(&bytes);
    let number =
        |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (flows, taken_ms) = rest.split_at(size_of::<u64>());
    Ok(Header { flows: number(flows), taken_ms: number(taken_ms) })
}

/// Reads until the buffer is full or nothing is left; returns how much it was.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
