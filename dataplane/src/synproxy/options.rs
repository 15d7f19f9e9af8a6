//! TCP options of a handshake through SYNPROXY, and what of them a timestamp can carry
//! (net/netfilter/nf_synproxy_core.c).
//!
//! A cookie has room for nothing but a segment size. What else the client offered comes back to us in the timestamp
//! that it echoes (RFC 7323 3), in six bits that a clock of milliseconds does not need:
//!
//! ```text
//!   bits 0..4  window scale, 15 for none      bit 4  SACK permitted      bit 5  ECN      6..  milliseconds
//! ```

use weir_control::rule::SynproxyTarget;

use crate::wire::tcp::{TcpOption, TcpOptions};

/// Largest window scale (RFC 7323 2.3); larger ones are taken for it.
const SCALE_MAX: u8 = 14;

/// No window scale, in a timestamp.
const NO_SCALE: u32 = 0xf;

/// Most bytes that [`HandshakeOptions::write`] writes.
pub const OPTIONS_BYTES_MAX: usize = 20;

/// What the options of a SYN or of its answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandshakeOptions {
    /// Maximum segment size (RFC 9293 3.7.1).
    pub mss: Option<u16>,
    /// Window scale.
    pub scale: Option<u8>,
    /// Value and echo of a timestamp.
    pub timestamps: Option<(u32, u32)>,
    /// Selective acknowledgments (RFC 2018 2).
    pub sack: bool,
    /// Explicit congestion notification (RFC 3168 6.1.1), which is no option but two flags.
    pub ecn: bool,
}

impl HandshakeOptions {
    /// Reads the options of a header, up to the first that cannot be read; those that are known but of a wrong length
    /// are passed over.
    #[must_use]
    pub fn read(options: TcpOptions<'_>) -> Self {
        let mut found = Self::default();
        for option in options.flatten() {
            match option {
                TcpOption::MaxSegmentSize(mss) => found.mss = Some(mss),
                TcpOption::WindowScale(scale) => found.scale = Some(scale.min(SCALE_MAX)),
                TcpOption::SackPermitted => found.sack = true,
                TcpOption::Timestamps { value, echo } => found.timestamps = Some((value, echo)),
                TcpOption::Sack(_) | TcpOption::Other { .. } => {}
            }
        }
        found
    }

    /// The answer to a client that offers these: what the rule allows of them.
    #[must_use]
    pub fn answered(self, target: &SynproxyTarget, now_ms: u64) -> Self {
        let offered = self;
        let scale = offered.scale.filter(|_| target.wscale.is_some());
        let (sack, ecn) = (offered.sack && target.sack_perm, offered.ecn && target.ecn);
        // The segment size is ours to say, whether the client has said his or not.
        let mss = target.mss.filter(|_| offered.mss.is_some());
        let Some((value, _)) = offered.timestamps.filter(|_| target.timestamp) else {
            return Self { mss, ..Self::default() };
        };
        #[expect(clippy::cast_possible_truncation, reason = "it goes round, as timestamps do")]
        let clock = now_ms as u32 & !0x3f;
        let carried =
            scale.map_or(NO_SCALE, u32::from) | u32::from(sack) << 4 | u32::from(ecn) << 5;
        Self {
            mss,
            scale: scale.and(target.wscale),
            timestamps: Some((clock | carried, value)),
            sack,
            ecn,
        }
    }

    /// What the client offered, from the timestamp that its acknowledgment echoes, and the segment size of its cookie.
    #[must_use]
    pub fn recalled(self, mss: u16) -> Self {
        let mut offered = Self { mss: Some(mss), ..self };
        if let Some((_, echo)) = self.timestamps {
            let scale = echo & 0xf;
            // It has four bits.
            offered.scale = (scale != NO_SCALE).then(|| u8::try_from(scale).unwrap_or(0));
            offered.sack |= echo & 1 << 4 != 0;
            offered.ecn |= echo & 1 << 5 != 0;
        }
        offered
    }

    /// Only the timestamps of these, each side's own where the other's was.
    #[must_use]
    pub fn acknowledged(self) -> Self {
        let swapped = self.timestamps.map(|(value, echo)| (echo, value));
        Self { timestamps: swapped, ..Self::default() }
    }

    /// Writes the options, each aligned to four bytes, and returns how many bytes they take.
    pub fn write(&self, out: &mut [u8; OPTIONS_BYTES_MAX]) -> usize {
        let mut len = 0;
        let mut put = |word: [u8; 4]| {
            out[len..len + 4].copy_from_slice(&word);
            len += 4;
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put([2, 4, a, b]);
        }
        match self.timestamps {
            Some((value, echo)) => {
                put(if self.sack { [4, 2, 8, 10] } else { [1, 1, 8, 10] });
                put(value.to_be_bytes());
                put(echo.to_be_bytes());
            }
            None if self.sack => put([1, 1, 4, 2]),
            None => {}
        }
        if let Some(scale) = self.scale {
            put([1, 3, 3, scale]);
        }
        len
    }
}
