//! Which of the two engines sends a stream: frames of an AF_XDP socket, or live frames.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pace::Schedule;
use crate::profile::Stream;
use crate::result::Expect;

/// A stream of so many packets a second is a flood also if it is paced: from here on a call of live frames pays.
const FLOOD_PPS: f64 = 50_000.0;

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Live frames for floods where the device takes them, AF_XDP sockets for all else.
    #[default]
    Auto,
    /// AF_XDP sockets for everything.
    AfXdp,
    /// Live frames for every stream, or nothing is sent. Users are sent by sockets all the same.
    LiveFrames,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::AfXdp => "af-xdp",
            Self::LiveFrames => "live-frames",
        })
    }
}

impl Choice {
    /// Which way a stream goes, if all can be had. A flood is what is not meant to pass whole and comes fast: of that
    /// nobody asks how long each packet took.
    #[must_use]
    pub fn way(self, stream: &Stream, duration_ns: u64) -> Way {
        let is_fast = match &stream.schedule {
            Schedule::Flood => true,
            paced => paced.mean_pps(duration_ns).is_some_and(|pps| pps >= FLOOD_PPS),
        };
        match self {
            Self::LiveFrames => Way::Live,
            Self::Auto if is_fast && stream.expect != Expect::Pass => Way::Live,
            Self::Auto | Self::AfXdp => Way::Socket,
        }
    }
}

/// How a stream was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// By an AF_XDP socket.
    #[default]
    #[serde(rename = "af-xdp")]
    Socket,
    /// As live frames. Its packets are sent in batches, up to half a millisecond late; so the latency of such a
    /// stream is not reported.
    #[serde(rename = "live-frames")]
    Live,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Live { "live-frames" } else { "af-xdp" })
    }
}
