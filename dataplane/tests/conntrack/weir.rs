//! Weir's end: its tracker, the same packets, the kernel's clock. If the tracker's interface changes, only this
//! file has to.

use weir_dataplane::conntrack::{
    Conntrack, ConntrackConfig, CtState, Direction, Packet, Settings, TcpState, Tracked,
};

use crate::kernel::Sent;
use crate::seen::{Entry, Verdict};

pub(crate) struct Weir {
    conntrack: Conntrack,
    /// The canary's: an answer that is wrong on purpose.
    lies: bool,
}

impl Weir {
    pub(crate) fn new(changed: &[(&str, u32)], lies: bool) -> Self {
        let mut settings = Settings::default();
        changed.iter().for_each(|(name, value)| set(&mut settings, name, *value));
        let config = ConntrackConfig { settings, flows_max: 32_768, ..ConntrackConfig::default() };
        Self { conntrack: Conntrack::new(&config), lies }
    }

    /// Plays one packet, as a batch of its own.
    pub(crate) fn play(&mut self, now_ns: u64, sent: &Sent) -> Verdict {
        let conntrack = &mut self.conntrack;
        conntrack.set_time(now_ns);
        let tracked = match Packet::ipv4(&sent.bytes) {
            Ok(packet) => conntrack.track(&packet),
            Err(why) => conntrack.untrackable(why),
        };
        let verdict = verdict(conntrack, &tracked, self.lies);
        if !sent.dropped {
            conntrack.confirm(&tracked).expect("the table is large enough");
        }
        conntrack.end_batch();
        verdict
    }

    /// All entries at this time.
    pub(crate) fn entries(&mut self, now_ns: u64) -> Vec<Entry> {
        self.conntrack.set_time(now_ns);
        self.conntrack.expire(u32::MAX);
        let mut entries = Vec::new();
        let mut each = |_, flow: weir_dataplane::conntrack::FlowView| {
            entries.push(Entry {
                original: flow.original,
                reply: flow.reply,
                tcp_state: flow.tcp_state,
                seen_reply: flow.seen_reply,
                assured: flow.assured,
                expires_ms: flow.expires_ms,
                internals: String::new(),
            });
        };
        let rest = self.conntrack.scan(0, u32::MAX, &mut each);
        assert_eq!(rest, None, "all places were seen");
        assert!(entries.len() <= self.conntrack.len(), "what is over may stand a while longer");
        entries
    }
}

fn verdict(conntrack: &Conntrack, tracked: &Tracked, lies: bool) -> Verdict {
    let flow = conntrack.view(tracked);
    let state = match tracked.state {
        CtState::Established if lies => CtState::Invalid,
        state => state,
    };
    Verdict {
        state,
        direction: if flow.is_some() { tracked.direction } else { Direction::Original },
        seen_reply: flow.is_some_and(|flow| flow.seen_reply),
        assured: flow.is_some_and(|flow| flow.assured),
        confirmed: flow.is_some_and(|flow| flow.confirmed),
    }
}

/// A setting by the kernel's name.
fn set(settings: &mut Settings, name: &str, value: u32) {
    let state = |state: TcpState| state as usize;
    let tcp = &mut settings.tcp_timeouts_s;
    match name {
        "tcp_timeout_syn_sent" => {
            tcp[state(TcpState::SynSent)] = value;
        }
        "tcp_timeout_syn_recv" => tcp[state(TcpState::SynRecv)] = value,
        "tcp_timeout_established" => tcp[state(TcpState::Established)] = value,
        "tcp_timeout_fin_wait" => tcp[state(TcpState::FinWait)] = value,
        "tcp_timeout_close_wait" => tcp[state(TcpState::CloseWait)] = value,
        "tcp_timeout_last_ack" => tcp[state(TcpState::LastAck)] = value,
        "tcp_timeout_time_wait" => tcp[state(TcpState::TimeWait)] = value,
        "tcp_timeout_close" => tcp[state(TcpState::Close)] = value,
        "tcp_timeout_max_retrans" => settings.tcp_timeout_max_retrans_s = value,
        "tcp_timeout_unacknowledged" => settings.tcp_timeout_unacknowledged_s = value,
        "tcp_loose" => settings.tcp_loose = value != 0,
        "tcp_be_liberal" => settings.tcp_be_liberal = value != 0,
        "tcp_ignore_invalid_rst" => settings.tcp_ignore_invalid_rst = value != 0,
        "tcp_max_retrans" => settings.tcp_max_retrans = u8::try_from(value).expect("a byte"),
        "udp_timeout" => settings.udp_timeout_s = value,
        "udp_timeout_stream" => settings.udp_timeout_stream_s = value,
        "gre_timeout" => settings.gre_timeout_s = value,
        "gre_timeout_stream" => settings.gre_timeout_stream_s = value,
        "icmp_timeout" => settings.icmp_timeout_s = value,
        "generic_timeout" => settings.generic_timeout_s = value,
        "checksum" => settings.checksum = value != 0,
        other => panic!("{other} is no setting that this test knows"),
    }
}
