//! The trojan's profiles beside the trojan itself: its scripts are run, with the sending replaced by printing.

use std::process::Command;

use super::*;
use crate::packet::Place;

/// Debian's Python, for which Debian's scapy is.
const PYTHON: &str = "/usr/bin/python3";

/// The packet that a script would send, from its IP header on; `None` without scapy.
fn sent_by_script(version: usize) -> Option<Vec<u8>> {
    let script = weir_tests::repository().join(format!("tests/lab/mal{version}.py"));
    let code = format!(
        "import scapy.all\nscapy.all.sr1 = lambda p: print(bytes(p).hex())\nexec(open({:?}).read())",
        script.display().to_string()
    );
    let output = Command::new(PYTHON).args(["-c", &code]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let digits = text.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.iter().map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

/// Takes out what is random, what depends on the machine, and the time.
fn masked(version: usize, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    // The IP checksum, the source address, the TCP checksum.
    [10..16, 36..38].into_iter().for_each(|range| packet[range].fill(0));
    if version == 1 {
        packet[19] = 0;
    } else {
        packet[20..24].fill(0);
    }
    let time = packet.len() - 19;
    let digits = packet[time..].iter_mut().filter(|byte| byte.is_ascii_digit());
    digits.for_each(|digit| *digit = b'0');
    packet
}

#[test]
fn the_trojans_packets_are_the_scripts_byte_for_byte() {
    for version in 1..=4 {
        let Some(script) = sent_by_script(version) else {
            eprintln!("SKIPPED: needs scapy");
            return;
        };
        let profile = Profile::find(&format!("mal{version}")).expect("a profile");
        let mut cables = Cables::new(1);
        let wires = cables.wires.clone();
        let mut sent = Vec::new();
        let carry = &mut |_| sent.extend(wires[0][0].take_sent());
        let profile = Profile { duration_ns: crate::pace::SECOND_NS, ..profile };
        simulate(&profile, &mut cables.ports, &options(), 1_000_000, carry).expect("it runs");
        assert_eq!(sent.len(), 100);
        for frame in &sent {
            assert!(Place::of(frame).is_some_and(|place| place.is_intact(frame)));
            let packet = &frame[14..];
            assert_eq!(masked(version, packet), masked(version, &script), "mal{version}");
            // What is random lies where the script draws it from.
            let (host, subnet) = (packet[19], &packet[16..19]);
            assert_eq!(subnet, [10, 0, 0]);
            assert!(if version == 1 { (3..=254).contains(&host) } else { host == 2 });
        }
        let different: std::collections::BTreeSet<_> =
            sent.iter().map(|frame| (frame[33], frame[34..38].to_vec())).collect();
        assert!(different.len() > 30, "mal{version} varies");
    }
}

#[test]
fn one_that_comes_through_is_leaked() {
    let text = std::fs::read_to_string(weir_tests::repository().join("configs/loadgen/mal4.toml"));
    let text = format!("duration_s = 1\n{}", text.expect("a profile"));
    let mut count = 0;
    let result = Cables::new(1).run(&text, |frame, out| {
        count += 1;
        if count % 10 == 0 {
            out(0, frame);
        }
    });
    let trojan = &result.streams[0];
    assert_eq!((trojan.sent, trojan.leaked(), trojan.damaged), (100, 10, 0));
    assert_eq!((trojan.latency.as_ref(), result.foreign_frames), (None, 0));
}
