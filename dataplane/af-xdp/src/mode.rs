//! How packets travel between device and socket: what the kernel says, what we ask for, what a user
//! may demand.
//!
//! ```text
//!   rung of the ladder    XDP program attached   bind flag       Mode       copies
//!   driver zero-copy      by the driver          XDP_ZEROCOPY    ZeroCopy   none (DMA)
//!   driver copy           by the driver          XDP_COPY        Copy       one, before the skb
//!   SKB copy              by the stack           XDP_COPY        Copy       one, out of the skb
//! ```
//!
//! The kernel can only tell the two modes apart. Which of the lower rungs is in use follows from
//! how the program was attached, so a [`Rung`] is what was asked for and a [`Mode`] is what the
//! kernel answered.

use std::fmt;
use std::str::FromStr;

use crate::link::AttachMode;

/// What the kernel says about a bound socket (`XDP_OPTIONS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The device reads and writes the UMEM itself.
    ZeroCopy,
    /// The kernel copies each packet.
    Copy,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::ZeroCopy => "zero-copy",
            Mode::Copy => "copy",
        })
    }
}

/// One rung of the ladder from the fastest way to the one that every device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// Program in the driver, packets written into the UMEM by the device.
    DriverZeroCopy,
    /// Program in the driver, packets copied into the UMEM.
    DriverCopy,
    /// Program behind the driver (generic XDP), packets copied out of their skb.
    Skb,
}

impl Rung {
    /// All rungs, fastest first.
    pub const LADDER: [Rung; 3] = [Rung::DriverZeroCopy, Rung::DriverCopy, Rung::Skb];

    /// How the XDP program has to be attached on this rung.
    #[must_use]
    pub const fn attach_mode(self) -> AttachMode {
        match self {
            Rung::DriverZeroCopy | Rung::DriverCopy => AttachMode::Driver,
            Rung::Skb => AttachMode::Skb,
        }
    }

    /// The mode that the kernel must report for a socket on this rung.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Rung::DriverZeroCopy => Mode::ZeroCopy,
            Rung::DriverCopy | Rung::Skb => Mode::Copy,
        }
    }

    /// The flag that asks for this rung at bind (`sxdp_flags`). Without one of the two the kernel
    /// would choose for itself.
    #[must_use]
    pub const fn bind_flags(self) -> u16 {
        match self {
            Rung::DriverZeroCopy => libc::XDP_ZEROCOPY,
            Rung::DriverCopy | Rung::Skb => libc::XDP_COPY,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::DriverZeroCopy => "driver zero-copy",
            Rung::DriverCopy => "driver copy",
            Rung::Skb => "SKB copy",
        })
    }
}

/// What a user asks for: the best that works, or one rung and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModeChoice {
    /// Walk down the ladder until a rung works.
    #[default]
    Auto,
    /// This rung, or fail.
    Required(Rung),
}

impl ModeChoice {
    /// The rungs to try, in order.
    #[must_use]
    pub const fn rungs(self) -> &'static [Rung] {
        match self {
            ModeChoice::Auto => &Rung::LADDER,
            ModeChoice::Required(Rung::DriverZeroCopy) => &[Rung::DriverZeroCopy],
            ModeChoice::Required(Rung::DriverCopy) => &[Rung::DriverCopy],
            ModeChoice::Required(Rung::Skb) => &[Rung::Skb],
        }
    }
}

impl fmt::Display for ModeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModeChoice::Auto => "auto",
            ModeChoice::Required(Rung::DriverZeroCopy) => "zero-copy",
            ModeChoice::Required(Rung::DriverCopy) => "copy",
            ModeChoice::Required(Rung::Skb) => "skb",
        })
    }
}

/// A word that names no [`ModeChoice`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode {word:?} is not known: write auto, zero-copy, copy or skb")]
pub struct ParseModeError {
    /// What was written.
    pub word: String,
}

impl FromStr for ModeChoice {
    type Err = ParseModeError;

    fn from_str(word: &str) -> Result<ModeChoice, ParseModeError> {
        match word {
            "auto" => Ok(ModeChoice::Auto),
            "zero-copy" => Ok(ModeChoice::Required(Rung::DriverZeroCopy)),
            "copy" => Ok(ModeChoice::Required(Rung::DriverCopy)),
            "skb" => Ok(ModeChoice::Required(Rung::Skb)),
            _ => Err(ParseModeError { word: word.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachMode, Mode, ModeChoice, ParseModeError, Rung};

    #[test]
    fn ladder_goes_from_fastest_to_universal() {
        let named: Vec<String> = Rung::LADDER.iter().map(Rung::to_string).collect();
        assert_eq!(named, ["driver zero-copy", "driver copy", "SKB copy"]);
        let asked: Vec<(AttachMode, u16, Mode)> =
            Rung::LADDER.iter().map(|r| (r.attach_mode(), r.bind_flags(), r.mode())).collect();
        assert_eq!(
            asked,
            [
                (AttachMode::Driver, 1 << 2, Mode::ZeroCopy),
                (AttachMode::Driver, 1 << 1, Mode::Copy),
                (AttachMode::Skb, 1 << 1, Mode::Copy),
            ]
        );
    }

    #[test]
    fn every_choice_is_read_back_from_its_own_name() {
        for choice in [
            ModeChoice::Auto,
            ModeChoice::Required(Rung::DriverZeroCopy),
            ModeChoice::Required(Rung::DriverCopy),
            ModeChoice::Required(Rung::Skb),
        ] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!(ModeChoice::Auto.rungs(), Rung::LADDER);
        assert_eq!(ModeChoice::Required(Rung::Skb).rungs(), [Rung::Skb]);
    }

    #[test]
    fn unknown_word_is_named_with_the_known_ones() {
        let error = "Copy".parse::<ModeChoice>().unwrap_err();
        assert_eq!(error, ParseModeError { word: "Copy".to_owned() });
        assert_eq!(
            error.to_string(),
            "mode \"Copy\" is not known: write auto, zero-copy, copy or skb"
        );
    }
}
