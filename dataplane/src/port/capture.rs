//! `CapturePort`: a port that receives what a capture file holds and writes what it sends to another.
//!
//! Classic pcap, little or big endian, micro- or nanoseconds (the format that `tcpdump -w` writes; link
//! type Ethernet). Packets come in as fast as the engine takes them; their times are kept for whoever
//! drives the engine's clock.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::{Port, PortIndex};
use crate::batch::Batch;
use crate::frame::{Frame, FramePool};

/// Why a capture file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be opened or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a pcap file, or a broken one.
    #[error("{path}: not a readable pcap file: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PcapError,
    },
    /// It holds something other than Ethernet frames.
    #[error("{path}: link type {link:?}; only Ethernet captures can be replayed")]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Its link type.
        link: DataLink,
    },
}

/// A port over capture files.
#[derive(Debug)]
pub struct CapturePort {
    index: PortIndex,
    path: PathBuf,
    reader: Option<PcapReader<BufReader<File>>>,
    next: Option<(Duration, Vec<u8>)>,
    writer: Option<PcapWriter<BufWriter<File>>>,
    fill: VecDeque<Frame>,
    sent: Vec<Frame>,
    now: Duration,
    error: Option<CaptureError>,
}

/// Frames that a capture port is lent at one time.
const FILL_FRAMES: usize = 64;

impl CapturePort {
    /// A port that receives the packets of `input`, if any, and writes a new file `output`, if any.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn open(
        index: PortIndex,
        input: Option<&Path>,
        output: Option<&Path>,
    ) -> Result<Self, CaptureError> {
        let reader = input.map(open_reader).transpose()?;
        let writer = output.map(open_writer).transpose()?;
        let path = input.or(output).unwrap_or(Path::new("")).to_owned();
        let mut port = Self {
            index,
            path,
            reader,
            next: None,
            writer,
            fill: VecDeque::with_capacity(FILL_FRAMES),
            sent: Vec::with_capacity(FILL_FRAMES),
            now: Duration::ZERO,
            error: None,
        };
        port.advance();
        Ok(port)
    }

    /// The time of the next packet; `None` at the end of the file.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        self.next.as_ref().map(|(time, _)| *time)
    }

    /// Sets the time: packets up to it are received, and sent ones are stamped with it.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// What went wrong since, if anything: the file ended in the middle of a packet, or the disk is full.
    #[must_use]
    pub fn error(&self) -> Option<&CaptureError> {
        self.error.as_ref()
    }

    fn advance(&mut self) {
        self.next = None;
        let Some(reader) = &mut self.reader else { return };
        match reader.next_packet() {
            Some(Ok(packet)) => self.next = Some((packet.timestamp, packet.data.into_owned())),
            Some(Err(source)) => {
                self.error = Some(CaptureError::Format { path: self.path.clone(), source });
                self.reader = None;
            }
            None => self.reader = None,
        }
    }
}

fn open_reader(path: &Path) -> Result<PcapReader<BufReader<File>>, CaptureError> {
    let file =
        File::open(path).map_err(|source| CaptureError::File { path: path.to_owned(), source })?;
    let reader = PcapReader::new(BufReader::new(file))
        .map_err(|source| CaptureError::Format { path: path.to_owned(), source })?;
    let link = reader.header().datalink;
    if link != DataLink::ETHERNET {
        return Err(CaptureError::LinkType { path: path.to_owned(), link });
    }
    Ok(reader)
}

fn open_writer(path: &Path) -> Result<PcapWriter<BufWriter<File>>, CaptureError> {
    let file = File::create(path)
        .map_err(|source| CaptureError::File { path: path.to_owned(), source })?;
    let header = PcapHeader {
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    PcapWriter::with_header(BufWriter::new(file), header)
        .map_err(|source| CaptureError::Format { path: path.to_owned(), source })
}

impl Port for CapturePort {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let mut received = 0;
        while batch.room() > 0 {
            let due = self.next.as_ref().is_some_and(|(time, _)| *time <= self.now);
            if !due || self.fill.is_empty() {
                break;
            }
            let (Some((_, packet)), Some(mut frame)) = (self.next.take(), self.fill.pop_front())
            else {
                break;
            };
            let len = packet.len().min(frame.capacity());
            let fits = frame.fill(&packet[..len]);
            debug_assert!(fits, "cut to the frame's capacity");
            batch.push(frame, self.index);
            received += 1;
            self.advance();
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let taken = outbox.len();
        for frame in outbox.drain(..) {
            if let Some(writer) = &mut self.writer {
                let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                let packet = PcapPacket::new(self.now, len, frame.bytes());
                if let Err(source) = writer.write_packet(&packet) {
                    self.error = Some(CaptureError::Format { path: self.path.clone(), source });
                    self.writer = None;
                }
            }
            self.sent.push(frame);
        }
        taken
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        for frame in self.sent.drain(..) {
            pool.put(frame);
        }
        while self.fill.len() < FILL_FRAMES {
            let Some(frame) = pool.take() else { break };
            self.fill.push_back(frame);
        }
    }

    fn lent(&self) -> usize {
        self.fill.len() + self.sent.len()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        for frame in self.fill.into_iter().chain(self.sent) {
            give_back(frame);
        }
    }
}
