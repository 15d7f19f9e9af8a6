//! `[conntrack]`: netfilter's knobs under their names, and the sizes of the flow table.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, path, range, refuse};
use crate::conntrack::{FLOWS_MAX_LIMIT, Settings, TIMEOUT_S_MAX, TcpState};

/// Connection tracking as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackSettings {
    /// Whether packets are tracked although no rule asks for it.
    pub always_track: bool,
    /// Flows at most, shared equally by all workers.
    pub flows_max: u32,
    /// Connections whose handshake is not over, at most, likewise.
    pub half_open_max: u32,
    /// Whether the packets and bytes of each flow are counted.
    pub acct: bool,
    /// Whether connections may be proxied.
    pub synproxy: bool,
    /// Netfilter's knobs.
    pub settings: Settings,
    /// Where flows stand between an orderly end and the next start; `None`: nowhere.
    pub snapshot: Option<PathBuf>,
}

impl ConntrackSettings {
    /// One worker's share of a limit.
    #[must_use]
    pub fn share(limit: u32, workers: usize) -> u32 {
        limit.div_ceil(u32::try_from(workers).unwrap_or(u32::MAX).max(1))
    }
}

/// What stands in the file; what does not stand there has netfilter's default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileConntrack {
    track: Option<String>,
    flows_max: Option<i64>,
    half_open_max: Option<i64>,
    acct: Option<bool>,
    synproxy: Option<bool>,
    snapshot: Option<PathBuf>,
    checksum: Option<bool>,
    tcp_loose: Option<bool>,
    tcp_be_liberal: Option<bool>,
    tcp_ignore_invalid_rst: Option<bool>,
    tcp_max_retrans: Option<i64>,
    tcp_timeout_syn_sent_s: Option<i64>,
    tcp_timeout_syn_recv_s: Option<i64>,
    tcp_timeout_established_s: Option<i64>,
    tcp_timeout_fin_wait_s: Option<i64>,
    tcp_timeout_close_wait_s: Option<i64>,
    tcp_timeout_last_ack_s: Option<i64>,
    tcp_timeout_time_wait_s: Option<i64>,
    tcp_timeout_close_s: Option<i64>,
    tcp_timeout_max_retrans_s: Option<i64>,
    tcp_timeout_unacknowledged_s: Option<i64>,
    udp_timeout_s: Option<i64>,
    udp_timeout_stream_s: Option<i64>,
    icmp_timeout_s: Option<i64>,
    gre_timeout_s: Option<i64>,
    gre_timeout_stream_s: Option<i64>,
    generic_timeout_s: Option<i64>,
}

/// `half_open_max` is at least this part of `flows_max`.
const HALF_OPEN_SHARE_MIN: u32 = 32;

/// As the kernel's default on a machine with more than 4 GB of memory.
const FLOWS_MAX: u32 = 262_144;

impl FileConntrack {
    pub(super) fn check(&self) -> Result<ConntrackSettings, ConfigError> {
        let always_track = match self.track.as_deref() {
            None | Some("auto") => false,
            Some("always") => true,
            Some(other) => {
                return refuse("conntrack.track", format!("{other:?}"), "`auto` or `always`");
            }
        };
        let flows_max = match self.flows_max {
            Some(value) => range("conntrack.flows_max", value, 1024, FLOWS_MAX_LIMIT.into())?,
            None => FLOWS_MAX,
        };
        let half_open_max = match self.half_open_max {
            // Victims are looked for in 64 buckets; with fewer than this, often none would be found.
            Some(value) => {
                let min = flows_max.div_ceil(HALF_OPEN_SHARE_MIN);
                range("conntrack.half_open_max", value, min.into(), flows_max.into())?
            }
            None => flows_max / 2,
        };
        let snapshot = self
            .snapshot
            .as_deref()
            .map(|snapshot| path::of_file("conntrack.snapshot", snapshot, SNAPSHOT_SUFFIX_REFUSED));
        let snapshot = snapshot.transpose()?;
        let settings = self.settings()?;
        let (acct, synproxy) = (self.acct.unwrap_or(false), self.synproxy.unwrap_or(false));
        Ok(ConntrackSettings {
            always_track,
            flows_max,
            half_open_max,
            acct,
            synproxy,
            settings,
            snapshot,
        })
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        let flags = [
            (self.checksum, &mut settings.checksum),
            (self.tcp_loose, &mut settings.tcp_loose),
            (self.tcp_be_liberal, &mut settings.tcp_be_liberal),
            (self.tcp_ignore_invalid_rst, &mut settings.tcp_ignore_invalid_rst),
        ];
        for (given, flag) in flags {
            *flag = given.unwrap_or(*flag);
        }
        if let Some(value) = self.tcp_max_retrans {
            settings.tcp_max_retrans = range("conntrack.tcp_max_retrans", value, 0, 255)?;
        }
        for (name, state, given) in [
            ("syn_sent", TcpState::SynSent, self.tcp_timeout_syn_sent_s),
            ("syn_recv", TcpState::SynRecv, self.tcp_timeout_syn_recv_s),
            ("established", TcpState::Established, self.tcp_timeout_established_s),
            ("fin_wait", TcpState::FinWait, self.tcp_timeout_fin_wait_s),
            ("close_wait", TcpState::CloseWait, self.tcp_timeout_close_wait_s),
            ("last_ack", TcpState::LastAck, self.tcp_timeout_last_ack_s),
            ("time_wait", TcpState::TimeWait, self.tcp_timeout_time_wait_s),
            ("close", TcpState::Close, self.tcp_timeout_close_s),
        ] {
            let timeout = &mut settings.tcp_timeouts_s[state as usize];
            *timeout = seconds(&format!("tcp_timeout_{name}"), given, *timeout)?;
        }
        for (name, given, timeout) in [
            (
                "tcp_timeout_max_retrans",
                self.tcp_timeout_max_retrans_s,
                &mut settings.tcp_timeout_max_retrans_s,
            ),
            (
                "tcp_timeout_unacknowledged",
                self.tcp_timeout_unacknowledged_s,
                &mut settings.tcp_timeout_unacknowledged_s,
            ),
            ("udp_timeout", self.udp_timeout_s, &mut settings.udp_timeout_s),
            ("udp_timeout_stream", self.udp_timeout_stream_s, &mut settings.udp_timeout_stream_s),
            ("icmp_timeout", self.icmp_timeout_s, &mut settings.icmp_timeout_s),
            ("gre_timeout", self.gre_timeout_s, &mut settings.gre_timeout_s),
            ("gre_timeout_stream", self.gre_timeout_stream_s, &mut settings.gre_timeout_stream_s),
            ("generic_timeout", self.generic_timeout_s, &mut settings.generic_timeout_s),
        ] {
            *timeout = seconds(name, given, *timeout)?;
        }
        Ok(settings)
    }
}

/// The ending of a snapshot's name while it is written.
pub const SNAPSHOT_SUFFIX_NEW: &str = ".new";

/// The ending of a snapshot's name that was refused.
pub const SNAPSHOT_SUFFIX_REFUSED: &str = ".refused";

fn seconds(name: &str, given: Option<i64>, default: u32) -> Result<u32, ConfigError> {
    let Some(value) = given else { return Ok(default) };
    range(&format!("conntrack.{name}_s"), value, 1, TIMEOUT_S_MAX.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot_of(value: &str) -> Result<Option<PathBuf>, String> {
        let file: FileConntrack = toml::from_str(&format!("snapshot = {value}")).expect("TOML");
        file.check().map(|settings| settings.snapshot).map_err(|error| error.to_string())
    }

    #[test]
    fn a_snapshot_has_an_absolute_path_to_a_file() {
        assert_eq!(FileConntrack::default().check().expect("right").snapshot, None);
        let longest = format!("/{}", "n".repeat(247));
        for good in ["/var/lib/weir/flows.snapshot", "/f", "/a/../b", "/a b/é", &longest] {
            let path = snapshot_of(&format!("\"{good}\"")).expect(good);
            assert!(path.is_some_and(|path| path.is_absolute()));
        }
        let too_long = format!("{longest}n");
        let too_deep = format!("{}/f", "/folder".repeat(600));
        for bad in [
            "",
            "flows",
            "./flows",
            "../flows",
            "/",
            "/a/",
            "/a/.",
            "/a/..",
            r"/a\u0000b",
            &too_long,
            &too_deep,
        ] {
            let error = snapshot_of(&format!("\"{bad}\"")).expect_err(bad);
            for word in ["conntrack.snapshot", "absolute path", "247 bytes"] {
                assert!(error.contains(word), "{error}");
            }
        }
        let number: Result<FileConntrack, _> = toml::from_str("snapshot = 1");
        assert!(number.is_err());
    }

    #[test]
    fn every_number_has_a_range_that_is_named() {
        for (text, words) in [
            ("track = \"never\"", ["conntrack.track", "\"never\"", "`always`"]),
            ("flows_max = 1023", ["conntrack.flows_max", "1023", "1024"]),
            ("half_open_max = 8191", ["conntrack.half_open_max", "8191", "8192"]),
            ("half_open_max = 262145", ["conntrack.half_open_max", "262145", "262144"]),
            ("tcp_max_retrans = 256", ["conntrack.tcp_max_retrans", "256", "255"]),
            ("udp_timeout_s = 0", ["conntrack.udp_timeout_s", "0", "1000000"]),
            (
                "tcp_timeout_close_s = 1000001",
                ["conntrack.tcp_timeout_close_s", "1000001", "1000000"],
            ),
        ] {
            let file: FileConntrack = toml::from_str(text).expect("TOML");
            let error = file.check().map(|_| ()).expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{word:?} is missing: {error}");
            }
        }
        for right in ["half_open_max = 8192", "flows_max = 1024\nhalf_open_max = 32"] {
            toml::from_str::<FileConntrack>(right).expect("TOML").check().expect(right);
        }
    }
}
