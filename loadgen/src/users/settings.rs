//! What a profile says about its users, and what comes of it once it is checked.

use serde::{Deserialize, Serialize};

pub use choice::{AnswerEnd, Closer, CookieUse, RequestEnd, Talk};

use super::address::{Address, Range};
use super::arrivals::Spacing;
use super::client::CLIENT_CONNECTION_BYTES;
use super::content::Content;
use super::server::SERVER_CONNECTION_BYTES;
use super::tcp::{TcpSettings, sequence};
use crate::packet::Tag;

mod choice;

/// A second in nanoseconds.
const SECOND_NS: f64 = 1e9;

/// The segment size at an MTU of 1,500 (RFC 9293 section 3.7.1).
const MSS_IPV4: u16 = 1_460;
const MSS_IPV6: u16 = 1_440;

/// What a profile says; section `[users]`. [`check`](Self::check) makes [`Settings`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersConfig {
    /// Connections that begin, a second.
    pub rate: f64,
    /// How their times lie: `poisson` (the default) or `constant`.
    #[serde(default)]
    pub spacing: Spacing,
    /// The clients' addresses: `198.18.0.0/24`, `first-last` or one.
    pub clients: String,
    /// An address behind which many users are, as behind a NAT.
    #[serde(default)]
    pub shared_address: Option<String>,
    /// The share of connections that comes from there, 0 to 1.
    #[serde(default)]
    pub shared_share: Option<f64>,
    /// The ports that clients take, `first-last`: Linux's unless told otherwise.
    #[serde(default = "default_ports")]
    pub client_ports: String,
    /// The servers' addresses.
    pub servers: String,
    /// Their port.
    #[serde(default = "default_server_port")]
    pub server_port: u16,
    /// The VLAN of both ends, 0 to 4094: their frames bear its tag.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// The VLAN of the servers, where theirs is another.
    #[serde(default)]
    pub server_vlan: Option<u16>,
    /// The tags' priority, 0 to 7.
    #[serde(default)]
    pub vlan_priority: Option<u8>,
    /// What is said: `text` (the default) or `http`.
    #[serde(default)]
    pub talk: Talk,
    /// Bytes of a request.
    #[serde(default = "default_request_bytes")]
    pub request_bytes: u32,
    /// Bytes of an answer.
    #[serde(default = "default_response_bytes")]
    pub response_bytes: u32,
    /// How a client knows that the answer is whole: `bytes` (the default), or `close`, for a real server.
    #[serde(default)]
    pub answer_ends: AnswerEnd,
    /// How a server knows that the request is whole: `bytes` (the default), or `blank-line`, for a real client.
    #[serde(default)]
    pub request_ends: RequestEnd,
    /// Who closes first: `server` (the default) or `client`.
    #[serde(default)]
    pub closes_first: Closer,
    /// Connections that each end can remember, TIME-WAIT included.
    #[serde(default = "default_connections_max")]
    pub connections_max: u32,
    /// Connections of a client in TIME-WAIT; what is beyond is forgotten at once (`tcp_max_tw_buckets`).
    #[serde(default)]
    pub time_wait_max: Option<u32>,
    /// Whether a client takes a port in TIME-WAIT again, after a second (`tcp_tw_reuse`).
    #[serde(default)]
    pub reuse_time_wait: bool,
    /// How long a user waits before he gives up, in seconds.
    #[serde(default = "default_patience_s")]
    pub patience_s: f64,
    /// Half-open connections that a server keeps.
    #[serde(default = "default_backlog")]
    pub backlog: u32,
    /// When a server answers with cookies: `when-full` (the default, Linux's), `always` or `off`.
    #[serde(default)]
    pub syn_cookies: CookieUse,
    /// How long a server thinks about a request, in microseconds.
    #[serde(default)]
    pub service_us: u64,
    /// How long a server waits for a client that says nothing, in seconds.
    #[serde(default = "default_idle_s")]
    pub idle_s: f64,
    /// How both ends' TCP is set.
    #[serde(default)]
    pub tcp: TcpConfig,
}

/// Section `[users.tcp]`: what is left out is as in [`TcpSettings::default`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpConfig {
    /// The largest segment, in bytes.
    pub mss: Option<u16>,
    /// The window that is offered, in bytes.
    pub window_bytes: Option<u32>,
    /// Whether windows are scaled.
    pub window_scale: Option<bool>,
    /// Whether SACK is offered.
    pub sack: Option<bool>,
    /// Whether timestamps are offered.
    pub timestamps: Option<bool>,
    /// The first congestion window, in segments.
    pub initial_window: Option<u32>,
    /// How often a SYN is repeated.
    pub syn_retries: Option<u8>,
    /// How many of these do not back off.
    pub syn_linear_timeouts: Option<u8>,
    /// How often a SYN-ACK is repeated.
    pub synack_retries: Option<u8>,
    /// How often anything else is repeated.
    pub data_retries: Option<u8>,
    /// The shortest wait before data is repeated, in milliseconds.
    pub rto_min_ms: Option<u64>,
    /// How long an acknowledgment may wait, in milliseconds.
    pub delayed_ack_ms: Option<u64>,
    /// TIME-WAIT, in seconds.
    pub time_wait_s: Option<f64>,
    /// FIN-WAIT-2, in seconds.
    pub fin_wait_s: Option<f64>,
}

fn default_ports() -> String {
    "32768-60999".to_owned()
}

fn default_server_port() -> u16 {
    80
}

fn default_request_bytes() -> u32 {
    200
}

fn default_response_bytes() -> u32 {
    4_000
}

fn default_connections_max() -> u32 {
    131_072
}

fn default_patience_s() -> f64 {
    60.0
}

fn default_backlog() -> u32 {
    4_096
}

fn default_idle_s() -> f64 {
    60.0
}

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key} = {value}`: {allowed}")]
pub struct Refused {
    /// The key, with its section.
    pub key: &'static str,
    /// What it says.
    pub value: String,
    /// What it may say, or why not this.
    pub allowed: String,
}

fn refused(key: &'static str, value: impl ToString, allowed: impl Into<String>) -> Refused {
    Refused { key, value: value.to_string(), allowed: allowed.into() }
}

/// Users behind one address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shared {
    /// The address.
    pub address: Address,
    /// The share of connections that comes from it, 0 to 1.
    pub share: f64,
}

/// What a profile says about its users, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections that begin, a second.
    pub rate: f64,
    /// How their times lie.
    pub spacing: Spacing,
    /// Connections that begin at most: no limit but for a search that wants so many.
    pub attempts_max: u64,
    /// The clients' addresses.
    pub clients: Range,
    /// The shared address, if there is one.
    pub shared: Option<Shared>,
    /// The first and the last port of clients.
    pub client_ports: (u16, u16),
    /// The servers' addresses.
    pub servers: Range,
    /// Their port.
    pub server_port: u16,
    /// The tags of clients' and servers' frames, if they bear any.
    pub tags: [Option<Tag>; 2],
    /// What clients say.
    pub request: Content,
    /// What servers say.
    pub response: Content,
    /// How an answer ends.
    pub answer_end: AnswerEnd,
    /// How a request ends.
    pub request_end: RequestEnd,
    /// Who closes first.
    pub closes_first: Closer,
    /// Connections that each end can remember.
    pub connections_max: u32,
    /// Those of a client in TIME-WAIT.
    pub time_wait_max: u32,
    /// Whether ports in TIME-WAIT are taken again.
    pub reuse_time_wait: bool,
    /// How long a user waits.
    pub patience_ns: u64,
    /// Half-open connections of a server.
    pub backlog: u32,
    /// When cookies are sent.
    pub cookies: CookieUse,
    /// How long a server thinks.
    pub service_ns: u64,
    /// How long a server waits for a silent client.
    pub idle_ns: u64,
    /// How both ends' TCP is set.
    pub tcp: TcpSettings,
}

impl Settings {
    /// Whether an answer is whole.
    #[must_use]
    pub(super) fn is_whole(&self, heard: u32, peer_has_closed: bool) -> bool {
        match self.answer_end {
            AnswerEnd::Bytes => heard == self.response.bytes(),
            AnswerEnd::Close => peer_has_closed && heard > 0,
        }
    }

    /// Whether the bytes of answers are compared.
    #[must_use]
    pub(super) fn is_checked(&self) -> bool {
        self.answer_end == AnswerEnd::Bytes
    }

    /// The longest frame that either end sends, in bytes without a tag.
    #[must_use]
    pub fn frame_bytes_max(&self) -> usize {
        super::frame::frame_bytes_max(self.tcp.mss, self.clients.is_ipv4())
    }

    /// Bytes of memory that both ends allocate before the run, without what does not grow with connections.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let clients = u64::from(self.connections_max) * CLIENT_CONNECTION_BYTES as u64;
        clients + u64::from(self.connections_max + self.backlog) * SERVER_CONNECTION_BYTES as u64
    }
}

impl UsersConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Refused`] names the first key whose value is not allowed, and what is.
    pub fn check(&self) -> Result<Settings, Refused> {
        let clients = range("users.clients", &self.clients)?;
        let servers = range("users.servers", &self.servers)?;
        if clients.is_ipv4() != servers.is_ipv4() {
            return Err(refused(
                "users.servers",
                &self.servers,
                "of the same family as users.clients",
            ));
        }
        within("users.rate", self.rate, 0.0, 10_000_000.0)?;
        let connections_max = count("users.connections_max", self.connections_max, 1, 1 << 24)?;
        let request_bytes =
            count("users.request_bytes", self.request_bytes, 1, sequence::BYTES_MAX)?;
        let response_bytes =
            count("users.response_bytes", self.response_bytes, 1, sequence::BYTES_MAX)?;
        let (request, response) = self.contents(&servers, request_bytes, response_bytes)?;
        if self.server_port == 0 {
            return Err(refused("users.server_port", 0, "1 to 65535"));
        }
        Ok(Settings {
            rate: self.rate,
            spacing: self.spacing,
            attempts_max: u64::MAX,
            clients,
            shared: self.shared(&clients)?,
            client_ports: self.ports()?,
            servers,
            server_port: self.server_port,
            tags: self.tags()?,
            request,
            response,
            answer_end: self.answer_ends,
            request_end: self.request_ends,
            closes_first: self.closes_first,
            connections_max,
            time_wait_max: self.time_wait_max.unwrap_or(connections_max / 2),
            reuse_time_wait: self.reuse_time_wait,
            patience_ns: seconds("users.patience_s", self.patience_s, 0.001, 86_400.0)?,
            backlog: count("users.backlog", self.backlog, 1, 1 << 24)?,
            cookies: self.syn_cookies,
            service_ns: self.service_us.saturating_mul(1_000),
            idle_ns: seconds("users.idle_s", self.idle_s, 0.001, 86_400.0)?,
            tcp: self.tcp.check(if clients.is_ipv4() { MSS_IPV4 } else { MSS_IPV6 })?,
        })
    }

    fn contents(
        &self,
        servers: &Range,
        request: u32,
        response: u32,
    ) -> Result<(Content, Content), Refused> {
        if self.talk == Talk::Text {
            return Ok((Content::text(request), Content::text(response)));
        }
        let short = |key, bytes| {
            refused(key, bytes, "too short for the head that users.talk = \"http\" puts before it")
        };
        let host = match servers.address(0).ip() {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        };
        let request = Content::http_request(&host, request)
            .ok_or_else(|| short("users.request_bytes", request))?;
        let response = Content::http_response(response)
            .ok_or_else(|| short("users.response_bytes", response))?;
        Ok((request, response))
    }

    fn shared(&self, clients: &Range) -> Result<Option<Shared>, Refused> {
        match (&self.shared_address, self.shared_share) {
            (None, None) => Ok(None),
            (None, Some(share)) => {
                Err(refused("users.shared_share", share, "needs users.shared_address"))
            }
            (Some(text), None) => {
                Err(refused("users.shared_address", text, "needs users.shared_share"))
            }
            (Some(text), Some(share)) => {
                let one = range("users.shared_address", text)?;
                if one.count() != 1
                    || one.is_ipv4() != clients.is_ipv4()
                    || clients.index(one.address(0)).is_some()
                {
                    let allowed = "one address, of the family of users.clients and none of them";
                    return Err(refused("users.shared_address", text, allowed));
                }
                within("users.shared_share", share, 0.0, 1.0)?;
                Ok(Some(Shared { address: one.address(0), share }))
            }
        }
    }

    fn tags(&self) -> Result<[Option<Tag>; 2], Refused> {
        let priority = self.vlan_priority.unwrap_or(0);
        let tag = |key, vlan: Option<u16>| match vlan {
            Some(id @ 4095..) => Err(refused(key, id, "0 to 4094")),
            vlan => Ok(vlan.map(|id| Tag { id, priority })),
        };
        let clients = tag("users.vlan", self.vlan)?;
        let servers = tag("users.server_vlan", self.server_vlan)?.or(clients);
        match self.vlan_priority {
            Some(8..) => Err(refused("users.vlan_priority", priority, "0 to 7")),
            Some(_) if servers.is_none() => {
                Err(refused("users.vlan_priority", priority, "needs users.vlan"))
            }
            _ => Ok([clients, servers]),
        }
    }

    fn ports(&self) -> Result<(u16, u16), Refused> {
        let parts = self.client_ports.split_once('-');
        let ports = parts.and_then(|(first, last)| {
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        });
        ports.filter(|(first, last)| 1 <= *first && first <= last).ok_or_else(|| {
            refused("users.client_ports", &self.client_ports, "first-last, from 1 to 65535")
        })
    }
}

impl TcpConfig {
    fn check(&self, usual_mss: u16) -> Result<TcpSettings, Refused> {
        let usual = TcpSettings::default();
        let ms = |key, value: Option<u64>, usual_ns| match value {
            None => Ok(usual_ns),
            Some(ms) if ms <= 120_000 => Ok(ms * 1_000_000),
            Some(ms) => Err(refused(key, ms, "0 to 120000")),
        };
        if self.rto_min_ms == Some(0) {
            return Err(refused("users.tcp.rto_min_ms", 0, "1 to 120000: a timer needs some time"));
        }
        let mss = self.mss.unwrap_or(usual_mss);
        count("users.tcp.mss", u32::from(mss), 88, 9_000)?;
        let window_bytes = self.window_bytes.unwrap_or(usual.window_bytes);
        let window_scale = self.window_scale.unwrap_or(usual.window_scale);
        let window_most = if window_scale { 1 << 30 } else { 65_535 };
        Ok(TcpSettings {
            mss,
            window_bytes: count(
                "users.tcp.window_bytes",
                window_bytes,
                u32::from(mss),
                window_most,
            )?,
            window_scale,
            sack: self.sack.unwrap_or(usual.sack),
            timestamps: self.timestamps.unwrap_or(usual.timestamps),
            initial_window: count(
                "users.tcp.initial_window",
                self.initial_window.unwrap_or(usual.initial_window),
                1,
                1_000,
            )?,
            syn_retries: self.syn_retries.unwrap_or(usual.syn_retries),
            syn_linear: self.syn_linear_timeouts.unwrap_or(usual.syn_linear),
            synack_retries: self.synack_retries.unwrap_or(usual.synack_retries),
            data_retries: self.data_retries.unwrap_or(usual.data_retries),
            rto_min_ns: ms("users.tcp.rto_min_ms", self.rto_min_ms, usual.rto_min_ns)?,
            delayed_ack_ns: ms(
                "users.tcp.delayed_ack_ms",
                self.delayed_ack_ms,
                usual.delayed_ack_ns,
            )?,
            time_wait_ns: time("users.tcp.time_wait_s", self.time_wait_s, usual.time_wait_ns)?,
            fin_wait_ns: time("users.tcp.fin_wait_s", self.fin_wait_s, usual.fin_wait_ns)?,
            ..usual
        })
    }
}

fn range(key: &'static str, text: &str) -> Result<Range, Refused> {
    text.parse().map_err(|error: super::address::NotARange| {
        refused(key, format!("{text:?}"), error.to_string())
    })
}

fn within(key: &'static str, value: f64, least: f64, most: f64) -> Result<f64, Refused> {
    let ok = value.is_finite() && (least..=most).contains(&value);
    if ok { Ok(value) } else { Err(refused(key, value, format!("{least} to {most}"))) }
}

fn count(key: &'static str, value: u32, least: u32, most: u32) -> Result<u32, Refused> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(refused(key, value, format!("{least} to {most}")))
    }
}

fn seconds(key: &'static str, value: f64, least: f64, most: f64) -> Result<u64, Refused> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within bounds, none negative"
    )]
    within(key, value, least, most).map(|seconds| (seconds * SECOND_NS) as u64)
}

fn time(key: &'static str, value: Option<f64>, usual_ns: u64) -> Result<u64, Refused> {
    value.map_or(Ok(usual_ns), |value| seconds(key, value, 0.0, 86_400.0))
}

#[cfg(test)]
mod tests;
