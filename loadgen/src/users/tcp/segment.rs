//! A segment without its addresses and data: what the state machine takes and makes.

use weir_dataplane::wire::tcp::{HEADER_BYTES_MIN, Tcp, TcpFlags, TcpHeader, TcpOption};

use weir_dataplane::wire::NoRoom;

/// Blocks of a selective acknowledgment that fit beside timestamps (RFC 2018 section 3).
pub const SACK_BLOCKS: usize = 3;

/// Most bytes of options.
const OPTION_BYTES_MAX: usize = 40;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The number of the first byte of data, or of SYN.
    pub sequence: u32,
    /// The number expected next; counts with ACK only.
    pub acknowledgment: u32,
    /// The flags.
    pub flags: TcpFlags,
    /// The window as it stands.
    pub window: u16,
    /// The options.
    pub options: Options,
    /// Bytes of data.
    pub data_bytes: u32,
    /// Of a segment to be sent: where its data stands in what is said, from 0. Not on the wire.
    pub data_at: u32,
}

/// The options that both ends know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The largest segment.
    pub mss: Option<u16>,
    /// The shift of windows.
    pub window_shift: Option<u8>,
    /// Selective acknowledgments are understood.
    pub sack_permitted: bool,
    /// The sender's clock, and ours as he last saw it.
    pub timestamps: Option<(u32, u32)>,
    /// Blocks that arrived out of order, first and behind the last number; unused ones are (0, 0).
    pub sack: [(u32, u32); SACK_BLOCKS],
}

impl Segment {
    /// Sequence numbers that it takes up: data, SYN and FIN.
    #[must_use]
    pub fn length(&self) -> u32 {
        let flag = |flag| u32::from(self.flags.contains(flag));
        self.data_bytes + flag(TcpFlags::SYN) + flag(TcpFlags::FIN)
    }

    /// Whether any of these flags is set.
    #[must_use]
    pub fn has(&self, flags: TcpFlags) -> bool {
        self.flags.intersects(flags)
    }

    /// Reads a header. Options that are broken end the list.
    #[must_use]
    pub fn read<T: AsRef<[u8]>>(tcp: &Tcp<T>) -> Self {
        Self {
            sequence: tcp.sequence(),
            acknowledgment: tcp.acknowledgment(),
            flags: tcp.flags(),
            window: tcp.window(),
            options: Options::read(tcp),
            data_bytes: u32::try_from(tcp.payload().len()).unwrap_or(u32::MAX),
            data_at: 0,
        }
    }

    /// The header as it is sent, but for its ports: how long it is is known before there is a place for it.
    #[must_use]
    pub fn encode(&self) -> Encoded<'_> {
        let (options, options_bytes) = self.options.write();
        Encoded { segment: self, options, options_bytes }
    }
}

/// A segment with its options written.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    segment: &'a Segment,
    options: [u8; OPTION_BYTES_MAX],
    options_bytes: usize,
}

impl Encoded<'_> {
    /// Bytes of the header.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        HEADER_BYTES_MIN + self.options_bytes
    }

    /// Writes the header, its checksum left 0, and returns its length.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` has none.
    pub fn write(
        &self,
        source_port: u16,
        destination_port: u16,
        out: &mut [u8],
    ) -> Result<usize, NoRoom> {
        let segment = self.segment;
        let header = TcpHeader {
            source_port,
            destination_port,
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            flags: segment.flags,
            window: segment.window,
        };
        header.emit(&self.options[..self.options_bytes], out)
    }
}

impl Options {
    fn read<T: AsRef<[u8]>>(tcp: &Tcp<T>) -> Self {
        let mut options = Self::default();
        for option in tcp.options().map_while(Result::ok) {
            match option {
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                TcpOption::WindowScale(shift) => options.window_shift = Some(shift.min(14)),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::Timestamps { value, echo } => options.timestamps = Some((value, echo)),
                TcpOption::Sack(blocks) => {
                    let blocks = blocks.as_chunks::<8>().0;
                    for (to, &[a, b, c, d, e, f, g, h]) in options.sack.iter_mut().zip(blocks) {
                        *to = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                    }
                }
                TcpOption::Other { .. } => {}
            }
        }
        options
    }

    /// The options in the order and with the padding that Linux gives them.
    fn write(&self) -> ([u8; OPTION_BYTES_MAX], usize) {
        let mut list = List { bytes: [0; OPTION_BYTES_MAX], length: 0 };
        if let Some(mss) = self.mss {
            list.push(&[2, 4]);
            list.push(&mss.to_be_bytes());
        }
        if let Some((value, echo)) = self.timestamps {
            list.push(if self.sack_permitted { &[4, 2] } else { &[1, 1] });
            list.push(&[8, 10]);
            list.push(&value.to_be_bytes());
            list.push(&echo.to_be_bytes());
        } else if self.sack_permitted {
            list.push(&[1, 1, 4, 2]);
        }
        if let Some(shift) = self.window_shift {
            list.push(&[1, 3, 3, shift]);
        }
        let blocks = self.sack.iter().filter(|block| **block != (0, 0));
        let count = u8::try_from(blocks.clone().count()).unwrap_or(0);
        if count > 0 {
            list.push(&[1, 1, 5, 2 + 8 * count]);
            for (first, behind) in blocks {
                list.push(&first.to_be_bytes());
                list.push(&behind.to_be_bytes());
            }
        }
        (list.bytes, list.length)
    }
}

/// Bytes that never become more than a header has room for: MSS, timestamps and scale come to 20 (in a SYN), three
/// blocks with timestamps to 40 (never in one).
struct List {
    bytes: [u8; OPTION_BYTES_MAX],
    length: usize,
}

impl List {
    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(more);
            self.length = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(options: Options) -> (Options, usize) {
        let segment = Segment { options, sequence: 7, flags: TcpFlags::ACK, ..Segment::default() };
        let mut bytes = [0; 60];
        let encoded = segment.encode();
        let length = encoded.write(1, 2, &mut bytes).unwrap();
        assert_eq!(length, encoded.header_bytes());
        let read = Segment::read(&Tcp::new_checked(&bytes[..length]).unwrap());
        assert_eq!((read.sequence, read.flags), (7, TcpFlags::ACK));
        (read.options, length)
    }

    /// A SYN of Linux: MSS, SACK permitted, timestamps, no-operation, window scale.
    #[test]
    fn a_syn_has_the_options_of_linux() {
        let options = Options {
            mss: Some(1460),
            window_shift: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 0)),
            sack: [(0, 0); SACK_BLOCKS],
        };
        let (bytes, length) = options.write();
        let expected = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(bytes[..length], expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            mss in any::<Option<u16>>(), shift in prop::option::of(0_u8..=14), sack in any::<bool>(),
            timestamps in any::<Option<(u32, u32)>>(),
        ) {
            let options = Options {
                mss, window_shift: shift, sack_permitted: sack, timestamps, ..Options::default()
            };
            let (read, length) = round(options);
            prop_assert_eq!(read, options);
            prop_assert!(length % 4 == 0 && length <= 40);
        }

        #[test]
        fn blocks_are_read(timestamps in any::<Option<(u32, u32)>>(), blocks in 0_usize..=3) {
            let mut options = Options { timestamps, ..Options::default() };
            for (at, block) in (1..).zip(&mut options.sack[..blocks]) {
                *block = (at * 10, at * 10 + 5);
            }
            prop_assert_eq!(round(options).0, options);
        }
    }
}
