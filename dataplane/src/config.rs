//! The configuration file: what an operator writes (`File`), and what it means ([`Config`]).
//!
//! A key that is not known is an error, and so is a value out of range: nothing is accepted and then
//! ignored. Every error names the key, the value and what is allowed.

mod conntrack;
mod early_drop;
mod host;
mod ipv6;
mod log;
mod memory;
mod path;
mod recent;
mod snapshot;
mod verified;
mod workers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use af_xdp::{AreaConfig, BusyPoll, ModeChoice};
use serde::Deserialize;
use weir_control::ruleset::Policy;

pub use conntrack::{ConntrackSettings, SNAPSHOT_SUFFIX_NEW, SNAPSHOT_SUFFIX_REFUSED};
pub use early_drop::EarlyDropSettings;
pub use host::HostMode;
pub use log::LogSettings;
pub use recent::RecentSettings;

use crate::host::HOST_DEVICE;
use crate::idle::IdleConfig;
use crate::limit::verified::VerifiedSettings;
use crate::program::OnExit;

/// Most workers.
pub const WORKERS_MAX: usize = 64;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value that is not allowed.
    #[error("{path}: {key} = {value} is not allowed: {allowed}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: String,
        /// What stood there.
        value: String,
        /// What may stand there.
        allowed: String,
    },
}

fn refuse<T>(
    key: impl Into<String>,
    value: impl ToString,
    allowed: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        // Whoever knows the file fills it in.
        path: PathBuf::new(),
        key: key.into(),
        value: value.to_string(),
        allowed: allowed.into(),
    })
}

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mode: String,
    #[serde(default = "default_host")]
    host: String,
    #[serde(default = "default_on_exit")]
    on_exit: String,
    #[serde(default = "default_policy")]
    policy: String,
    #[serde(default = "default_ipv6")]
    ipv6: String,
    sets: Option<PathBuf>,
    #[serde(default)]
    ports: Vec<FilePort>,
    #[serde(default)]
    workers: workers::FileWorkers,
    #[serde(default)]
    xdp: FileXdp,
    #[serde(default)]
    umem: FileUmem,
    #[serde(default)]
    rings: FileRings,
    #[serde(default)]
    conntrack: conntrack::FileConntrack,
    #[serde(default)]
    log: log::FileLog,
    #[serde(default)]
    recent: recent::FileRecent,
    #[serde(default)]
    verified: verified::FileVerified,
    #[serde(default)]
    early_drop: early_drop::FileEarlyDrop,
    #[serde(default)]
    control: FileControl,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePort {
    interface: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileXdp {
    mode: String,
    busy_poll_us: i64,
    busy_poll_budget: i64,
    bind_retry_ms: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileUmem {
    chunk_bytes: i64,
    chunks: i64,
    huge_pages: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileRings {
    rx: i64,
    tx: i64,
    fill: i64,
    completion: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileControl {
    socket: PathBuf,
    clients_max: i64,
    timeout_ms: i64,
}

fn default_host() -> String {
    "kernel".into()
}

fn default_on_exit() -> String {
    "drop".into()
}

fn default_policy() -> String {
    "accept".into()
}

fn default_ipv6() -> String {
    "drop".into()
}

impl Default for FileXdp {
    fn default() -> Self {
        Self { mode: "auto".into(), busy_poll_us: 0, busy_poll_budget: 64, bind_retry_ms: 1000 }
    }
}

impl Default for FileUmem {
    fn default() -> Self {
        Self { chunk_bytes: 4096, chunks: 16_384, huge_pages: false }
    }
}

impl Default for FileRings {
    fn default() -> Self {
        Self { rx: 2048, tx: 2048, fill: 2048, completion: 2048 }
    }
}

impl Default for FileControl {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(weir_control::protocol::SOCKET_DEFAULT),
            clients_max: 16,
            timeout_ms: 5000,
        }
    }
}

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// Whose business the machine's own traffic is.
    pub host: HostMode,
    /// What happens to forwarded traffic when the daemon ends.
    pub on_exit: OnExit,
    /// Policy of chain FORWARD of both families until a command changes it.
    pub policy: Policy,
    /// Whether IPv6 is forwarded.
    pub ipv6: bool,
    /// What `ipset save` has written: the sets that there are from the first packet on.
    pub sets: Option<PathBuf>,
    /// The interfaces that packets are forwarded between, by port index.
    pub interfaces: Vec<String>,
    /// One core a worker; `None`: not pinned.
    pub cores: Vec<Option<usize>>,
    /// When workers spin and when they sleep.
    pub idle: IdleConfig,
    /// Entries of each worker's flow cache; 0 for none.
    pub flow_cache: usize,
    /// Which rungs of the mode ladder may be used.
    pub mode: ModeChoice,
    /// The packet memory.
    pub area: AreaConfig,
    /// Sockets: ring sizes and options.
    pub sockets: SocketOptions,
    /// Connection tracking.
    pub conntrack: ConntrackSettings,
    /// The log of packets.
    pub log: LogSettings,
    /// Tables of `-m recent`.
    pub recent: RecentSettings,
    /// Sources that have completed a handshake.
    pub verified: VerifiedSettings,
    /// Sources that are dropped early.
    pub early_drop: EarlyDropSettings,
    /// The control socket.
    pub control: ControlConfig,
}

/// What all AF_XDP sockets have in common.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// Entries of each receive ring.
    pub rx_entries: u32,
    /// Entries of each transmit ring.
    pub tx_entries: u32,
    /// Entries of each fill ring.
    pub fill_entries: u32,
    /// Entries of each completion ring.
    pub completion_entries: u32,
    /// Preferred busy polling, if any.
    pub busy_poll: Option<BusyPoll>,
    /// How long a busy queue is tried again, in milliseconds.
    pub bind_retry_ms: u64,
}

/// The control socket's settings.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Its path.
    pub socket: PathBuf,
    /// Clients served at one time; further ones are told to come back.
    pub clients_max: usize,
    /// How long a client may take over a message, in milliseconds.
    pub timeout_ms: u64,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks a configuration text; `path` is only named in errors and kept.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::check(file, path).map_err(|error| match error {
            ConfigError::Value { key, value, allowed, .. } => {
                ConfigError::Value { path: path.to_owned(), key, value, allowed }
            }
            other => other,
        })
    }

    fn check(file: File, path: &Path) -> Result<Self, ConfigError> {
        if file.mode != "route" {
            return refuse(
                "mode",
                format!("{:?}", file.mode),
                "`route` (this version routes; bridging comes later)",
            );
        }
        let host = HostMode::parse(&file.host)?;
        let on_exit = match file.on_exit.as_str() {
            "pass" => OnExit::Pass,
            "drop" => OnExit::Drop,
            other => return refuse("on_exit", format!("{other:?}"), "`drop` or `pass`"),
        };
        let policy = match file.policy.as_str() {
            "accept" => Policy::Accept,
            "drop" => Policy::Drop,
            other => return refuse("policy", other, "`accept` or `drop`"),
        };
        let ipv6 = ipv6::parse(&file.ipv6)?;
        if file.control.socket.as_os_str().is_empty() {
            return refuse("control.socket", "\"\"", "a path");
        }
        let sets = file.sets.as_deref().map(|sets| path::of_file("sets", sets, ""));
        let sets = sets.transpose()?;
        let interfaces = interfaces(&file.ports, host)?;
        let cores = workers::cores(&file.workers)?;
        let area = area(&file.umem)?;
        let sockets = sockets(&file.rings, &file.xdp)?;
        // Each queue keeps a fill ring's worth of frames lent; the rest is what can be in motion.
        let lent = interfaces.len() * cores.len() * sockets.fill_entries as usize;
        if lent * 2 > area.chunks as usize {
            let allowed = format!(
                "at least {}: twice the fill rings of {} ports and {} workers with rings.fill = {}",
                lent * 2,
                interfaces.len(),
                cores.len(),
                sockets.fill_entries
            );
            return refuse("umem.chunks", area.chunks, allowed);
        }
        let mode = ModeChoice::from_str(&file.xdp.mode).or_else(|_| {
            refuse(
                "xdp.mode",
                format!("{:?}", file.xdp.mode),
                "`auto`, `zero-copy`, `copy` or `skb`",
            )
        })?;
        let timeout_ms = range("control.timeout_ms", file.control.timeout_ms, 10, 60_000)?;
        Ok(Self {
            path: path.to_owned(),
            host,
            on_exit,
            policy,
            ipv6,
            sets,
            interfaces,
            cores,
            idle: workers::idle(&file.workers)?,
            flow_cache: workers::flow_cache(&file.workers)?,
            mode,
            area,
            sockets,
            conntrack: file.conntrack.check()?,
            log: file.log.check()?,
            recent: file.recent.check()?,
            verified: file.verified.check()?,
            early_drop: file.early_drop.check()?,
            control: ControlConfig {
                socket: socket(file.control.socket)?,
                clients_max: range("control.clients_max", file.control.clients_max, 1, 1024)?,
                timeout_ms,
            },
        })
    }
}

/// The longest path a Unix socket can have (`sun_path` of `struct sockaddr_un`, less its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

fn socket(path: PathBuf) -> Result<PathBuf, ConfigError> {
    let bytes = path.as_os_str().len();
    if (1..=SOCKET_PATH_BYTES_MAX).contains(&bytes) {
        return Ok(path);
    }
    let allowed = format!("a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes");
    refuse("control.socket", format!("{:?}", path.display().to_string()), allowed)
}

fn range<T: TryFrom<i64>>(key: &str, value: i64, min: i64, max: i64) -> Result<T, ConfigError> {
    match T::try_from(value) {
        Ok(number) if (min..=max).contains(&value) => Ok(number),
        _ => refuse(key, value, format!("{min} to {max}")),
    }
}

fn power_of_two(key: &str, value: i64, min: i64, max: i64) -> Result<u32, ConfigError> {
    let number: u32 = range(key, value, min, max)?;
    if number.is_power_of_two() {
        return Ok(number);
    }
    refuse(key, value, format!("a power of two from {min} to {max}"))
}

fn interfaces(ports: &[FilePort], host: HostMode) -> Result<Vec<String>, ConfigError> {
    let max = host.interfaces_max();
    if !(2..=max).contains(&ports.len()) {
        let allowed = format!("2 to {max} `[[ports]]` tables, one for each interface");
        return refuse("ports", ports.len(), allowed);
    }
    let mut seen = BTreeSet::new();
    for port in ports {
        let name = &port.interface;
        let plausible = !name.is_empty()
            && name.len() <= 15
            && !name.contains(|c: char| c == '/' || c.is_whitespace());
        if !plausible {
            return refuse(
                "ports.interface",
                format!("{name:?}"),
                "an interface name of 1 to 15 characters",
            );
        }
        if host == HostMode::Firewalled && name == HOST_DEVICE {
            let allowed =
                "another interface: with host = \"firewalled\" Weir makes that one itself";
            return refuse("ports.interface", format!("{name:?}"), allowed);
        }
        if !seen.insert(name) {
            return refuse("ports.interface", format!("{name:?}"), "each interface once");
        }
    }
    Ok(ports.iter().map(|port| port.interface.clone()).collect())
}

fn area(umem: &FileUmem) -> Result<AreaConfig, ConfigError> {
    if ![2048, 4096].contains(&umem.chunk_bytes) {
        return refuse("umem.chunk_bytes", umem.chunk_bytes, "2048 or 4096");
    }
    Ok(AreaConfig {
        chunk_bytes: range("umem.chunk_bytes", umem.chunk_bytes, 2048, 4096)?,
        chunks: range("umem.chunks", umem.chunks, 1024, 1 << 22)?,
        huge_pages: umem.huge_pages,
    })
}

fn sockets(rings: &FileRings, xdp: &FileXdp) -> Result<SocketOptions, ConfigError> {
    let entries = |key: &str, value| power_of_two(key, value, 64, 32_768);
    let busy_poll_us: u32 = range("xdp.busy_poll_us", xdp.busy_poll_us, 0, 10_000)?;
    let budget = range("xdp.busy_poll_budget", xdp.busy_poll_budget, 1, 512)?;
    Ok(SocketOptions {
        rx_entries: entries("rings.rx", rings.rx)?,
        tx_entries: entries("rings.tx", rings.tx)?,
        fill_entries: entries("rings.fill", rings.fill)?,
        completion_entries: entries("rings.completion", rings.completion)?,
        busy_poll: (busy_poll_us > 0).then_some(BusyPoll { busy_poll_us, budget }),
        bind_retry_ms: range("xdp.bind_retry_ms", xdp.bind_retry_ms, 0, 60_000)?,
    })
}
