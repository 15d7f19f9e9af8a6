//! `weirctl baseline`: what it says of connections that begin; what it makes of them is for its unit tests.

use std::thread;
use std::time::Duration;

use weir_control::protocol::{ConntrackEvents, FlowEvent, FlowEventKind, Reply, RequestBody};

use crate::conntrack::{daemon, flow};
use crate::daemon::Daemon;
use crate::weirctl;

/// A daemon in which one connection begins and ends, and nothing more happens.
fn quiet(lost: u64) -> Daemon {
    let mut first = true;
    daemon(move |body| {
        let RequestBody::ConntrackEvents { .. } = body else { panic!("{body:?}") };
        let (mut events, mut told) = (Vec::new(), 0);
        if std::mem::take(&mut first) {
            let event = |event| FlowEvent { event, flow: flow(0) };
            events = [FlowEventKind::New, FlowEventKind::Update, FlowEventKind::Destroy]
                .map(event)
                .into();
            told = lost;
        } else {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Reply::ConntrackEvents(ConntrackEvents { events, lost: told }))
    })
}

const RULE: &str = "iptables -A FORWARD -d 192.168.0.0/16 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m fuzzy \
                    --lower-limit 20 --upper-limit 80 --fuzzy-unverified --fuzzy-net 20:80 \
                    --fuzzy-wide-net 20:80 --fuzzy-dst 20:80 -j DROP";

#[test]
fn a_rule_is_proposed_and_why() {
    let line = "baseline --seconds 1 --dst 192.168.0.0/16";
    let (status, text, stderr) = weirctl(&quiet(0).socket(), line);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(text.starts_with("IPv4: 1 connections in 1 s\n"), "{text}");
    assert!(text.contains("wide net, a /16") && text.contains("10.0.0.0"), "{text}");
    assert!(text.ends_with(&format!("\nweirctl {RULE}\n")) && !text.contains("lost"), "{text}");
    let (status, json, _) = weirctl(&quiet(7).socket(), &format!("--json {line}"));
    let told: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((status, told.as_array().map(Vec::len)), (0, Some(1)));
    let of = |place: usize| &told[0]["limits"][place];
    assert_eq!((&told[0]["rule"], &told[0]["lost"]), (&RULE.into(), &7.into()));
    assert_eq!(of(0)["fastest"], "10.0.0.2");
    assert_eq!((&of(3)["kind"], &of(3)["fastest"]), (&"destination".into(), &"192.168.0.2".into()));
    let (_, text, _) = weirctl(&quiet(7).socket(), line);
    assert!(text.contains("7 events were lost, so rates may be higher"), "{text}");
}

#[test]
fn where_nothing_begins_nothing_is_proposed() {
    let (status, text, stderr) =
        weirctl(&quiet(0).socket(), "baseline --seconds 1 --dst 10.9.0.0/16");
    assert_eq!((status, text.as_str()), (1, ""));
    assert!(stderr.contains("no TCP connection has begun in 1 s"), "{stderr}");
    let (status, _, stderr) = weirctl(&quiet(0).socket(), "baseline --dst 10.9.0.0/33");
    assert!(status == 2 && stderr.contains("10.9.0.0/33"), "{stderr}");
}
