//! A profile: what is sent, from which side, when, and what is meant to become of it. One TOML file.
//!
//! ```toml
//! about = "A SYN flood from many sources, with a probe beside it"
//! duration_s = 10            # and so on: see `configs/loadgen`
//!
//! [[stream]]
//! name = "flood"
//! kind = "tcp-syn"
//! rate = 100_000
//! source = "198.18.0.0/16"
//! destination = "198.19.0.2"
//! destination_port = 80
//! expect = "either"
//! ```
//!
//! Whatever is wrong in a file is said with its name, the key, the value and what the value may be. A key that is not
//! known is refused, not passed over.

mod catalog;
mod choice;
mod rate;
mod reader;
mod replay;
mod size;
mod stream;

use std::path::Path;

pub use choice::Choice;
pub use reader::ProfileError;
pub use replay::Replay;
pub use stream::{Content, Made, Side, Stream};

use crate::pace::{RATE_MAX, RATE_MIN, Schedule};
use crate::users::{Settings, UsersConfig};
use reader::Reader;

/// Most streams of a profile.
pub const STREAMS_MAX: usize = 64;

/// What a run lasts when the profile does not say.
const DURATION_S: f64 = 10.0;

/// What a run sends at most when the profile does not say.
const PACKETS_MAX: u64 = 10_000_000;

/// How long is waited for what is still on its way, when the profile does not say.
const SETTLE_S: f64 = 0.5;

/// Longest profile that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A profile that was read and found good.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What results call it: the file's name without its ending.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// How long packets are sent at most, in nanoseconds.
    pub duration_ns: u64,
    /// How many are sent at most.
    pub packets_max: u64,
    /// How long is waited afterwards for what is still on its way, in nanoseconds.
    pub settle_ns: u64,
    /// The packets.
    pub streams: Vec<Stream>,
    /// The legitimate users, if there are any.
    pub users: Option<Settings>,
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let file = path.display().to_string();
        let unreadable =
            |why: String| ProfileError::Unreadable { file: path.display().to_string(), why };
        let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!("{bytes} bytes; {FILE_BYTES_MAX} are the most")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let name =
            path.file_stem().map_or_else(|| file.clone(), |name| name.to_string_lossy().into());
        Self::parse(&name, &file, &text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads the text of a file; `folder` is where the recordings lie that it names.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(name: &str, file: &str, text: &str, folder: &Path) -> Result<Self, ProfileError> {
        let mut reader = Reader::new(file, text)?;
        let about = reader.text("about")?.unwrap_or_default();
        let duration_s = reader.number("duration_s", 0.001..=86_400.0)?.unwrap_or(DURATION_S);
        let packets_max =
            reader.whole("packets_max", 1..=1_000_000_000_000)?.unwrap_or(PACKETS_MAX);
        let settle_s = reader.number("settle_s", 0.0..=60.0)?.unwrap_or(SETTLE_S);
        let tables = match reader.take("stream") {
            None => Vec::new(),
            Some(toml::Value::Array(tables)) if tables.len() <= STREAMS_MAX => tables,
            Some(other) => {
                let allowed = format!("at most {STREAMS_MAX} tables [[stream]]");
                return Err(reader.refuse("stream", other, allowed));
            }
        };
        let mut streams: Vec<Stream> = Vec::new();
        for (at, table) in tables.into_iter().enumerate() {
            let toml::Value::Table(table) = table else {
                return Err(reader.refuse("stream", table, "tables [[stream]]"));
            };
            let stream = stream::read(reader.inner(format!("stream {}", at + 1), table), folder)?;
            if streams.iter().any(|other| other.name == stream.name) {
                return Err(reader.refuse(
                    "name",
                    &stream.name,
                    "a name of its own for each stream",
                ));
            }
            streams.push(stream);
        }
        let users = users(&mut reader)?;
        if streams.is_empty() && users.is_none() {
            return Err(ProfileError::Missing {
                file: reader.file().to_owned(),
                key: "stream".to_owned(),
                allowed: "a profile has at least one [[stream]], or [users]".to_owned(),
            });
        }
        reader.finish()?;
        Ok(Self {
            name: name.to_owned(),
            about,
            duration_ns: rate::nanoseconds(duration_s),
            packets_max,
            settle_ns: rate::nanoseconds(settle_s),
            streams,
            users,
        })
    }

    /// The mean rate of all streams together over the run, in packets a second; `None` if one of them is a flood.
    #[must_use]
    pub fn mean_pps(&self) -> Option<f64> {
        self.streams.iter().map(|stream| stream.schedule.mean_pps(self.duration_ns)).sum()
    }

    /// The same streams at another rate in all, each at its share. A flood among others is left a flood; where all are
    /// floods, each becomes an equal part of the rate.
    ///
    /// # Errors
    /// What the rate may be, if it cannot be had.
    #[expect(clippy::cast_precision_loss, reason = "streams are few")]
    pub fn at_rate(&self, pps: f64) -> Result<Self, String> {
        if !(RATE_MIN..=RATE_MAX).contains(&pps) {
            return Err(format!("{pps} packets a second: {RATE_MIN} to {RATE_MAX} is possible"));
        }
        let means = self.streams.iter().map(|stream| stream.schedule.mean_pps(self.duration_ns));
        let paced: f64 = means.flatten().sum();
        let mut changed = self.clone();
        let count = changed.streams.len();
        for stream in &mut changed.streams {
            stream.schedule = match &stream.schedule {
                Schedule::Flood if paced > 0.0 => Schedule::Flood,
                Schedule::Flood => Schedule::constant(pps / count as f64),
                other => other.scaled(pps / paced),
            };
        }
        Ok(changed)
    }

    /// The same with one stream at another rate, in packets a second. Its shape stays; a flood becomes a constant rate.
    ///
    /// # Errors
    /// What is possible: the names of the streams, or the rates.
    pub fn with_stream_at(&self, name: &str, pps: f64) -> Result<Self, String> {
        if !(RATE_MIN..=RATE_MAX).contains(&pps) {
            return Err(format!("{pps} packets a second: {RATE_MIN} to {RATE_MAX} is possible"));
        }
        let mut changed = self.clone();
        let Some(stream) = changed.streams.iter_mut().find(|stream| stream.name == name) else {
            let names: Vec<&str> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            return Err(format!("there is no stream {name:?}; there are {}", names.join(", ")));
        };
        stream.schedule = match stream.schedule.mean_pps(self.duration_ns) {
            Some(mean) if mean > 0.0 => stream.schedule.scaled(pps / mean),
            _ => Schedule::constant(pps),
        };
        Ok(changed)
    }

    /// The same with all made packets in frames of one length, counted with the frame check sequence (RFC 2544 section
    /// 9).
    ///
    /// # Errors
    /// Why it cannot be: a length that is none, or a stream whose packets do not fit.
    pub fn with_frame_bytes(&self, frame_bytes: usize) -> Result<Self, String> {
        if !size::SIZES.contains(&frame_bytes) {
            return Err(format!(
                "{frame_bytes} bytes: frames have 64 to 1518, check sequence included"
            ));
        }
        let mut changed = self.clone();
        for stream in &mut changed.streams {
            if let Content::Made(made) = &mut stream.content {
                made.sizes = vec![frame_bytes - size::FCS_BYTES].into();
                made.check().map_err(|why| format!("stream {:?}: {why}", stream.name))?;
            }
        }
        Ok(changed)
    }
}

/// Reads the table `[users]`, if there is one.
fn users(reader: &mut Reader) -> Result<Option<Settings>, ProfileError> {
    let Some(value) = reader.take("users") else { return Ok(None) };
    let written = value.to_string();
    let config: UsersConfig = value
        .try_into()
        .map_err(|error: toml::de::Error| reader.refuse("users", &written, error.message()))?;
    let settings = config
        .check()
        .map_err(|refused| reader.refuse(refused.key, refused.value, refused.allowed))?;
    Ok(Some(settings))
}

#[cfg(test)]
mod tests;
