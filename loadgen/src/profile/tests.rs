use std::collections::BTreeSet;

use super::catalog::{PROFILES, RECORDINGS};
use super::*;
use crate::pace::SECOND_NS;
use crate::packet::Kind;

fn parse(text: &str) -> Result<Profile, String> {
    Profile::parse("p", "p.toml", text, Path::new(".")).map_err(|error| error.to_string())
}

fn configs() -> std::path::PathBuf {
    weir_tests::repository().join("configs/loadgen")
}

#[test]
fn every_file_is_in_the_program_and_every_one_can_be_sent() {
    let files = std::fs::read_dir(configs()).expect("configs/loadgen").flatten();
    let files: BTreeSet<String> =
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let known = PROFILES.iter().map(|(name, _)| format!("{name}.toml"));
    let known: BTreeSet<String> =
        known.chain(RECORDINGS.iter().map(|(name, _)| (*name).to_owned())).collect();
    assert_eq!(files, known);
    for (name, text) in PROFILES {
        let profile = Profile::load(&configs().join(format!("{name}.toml")));
        let profile = profile.unwrap_or_else(|error| panic!("{error}"));
        assert!(!profile.about.is_empty() && profile.name == *name, "{name}");
        let built_in = Profile::find(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{:?}", built_in.streams), format!("{:?}", profile.streams), "{name}");
        assert!(text.lines().all(|line| line.len() <= 120), "{name}: lines of 120 at most");
        assert!(!profile.streams.is_empty() || profile.users.is_some());
        for stream in &profile.streams {
            assert!(stream.schedule.mean_pps(profile.duration_ns) > Some(0.0), "{name}");
        }
    }
    assert_eq!(Profile::all().len(), PROFILES.len());
}

#[test]
fn every_kind_is_in_some_profile() {
    let profiles = Profile::all();
    let streams = profiles.iter().flat_map(|profile| &profile.streams);
    let kinds: Vec<Kind> = streams
        .filter_map(|stream| match &stream.content {
            Content::Made(made) => Some(made.kind),
            Content::Replay(_) => None,
        })
        .collect();
    // Kinds that are no flood of their own: segments with data, answers to pings.
    let rest: Vec<&str> =
        Kind::ALL.iter().filter(|(kind, _)| !kinds.contains(kind)).map(|(_, name)| *name).collect();
    assert_eq!(rest, ["tcp-data", "icmp-reply"]);
}

const STREAM: &str = "[[stream]]\nname = \"a\"\nkind = \"udp\"\nrate = 5\nsource = \"10.0.0.1\"\n\
                      destination = \"10.0.0.2\"\n";

#[test]
fn what_is_wrong_is_said_with_file_key_value_and_range() {
    let cases = [
        ("", "p.toml: stream is missing"),
        ("x", "p.toml is no TOML: "),
        ("duration_s = 0", "p.toml: duration_s = 0 is not possible: a number from 0.001 to 86400"),
        ("duration_s = \"1\"", "p.toml: duration_s = \"1\" is not possible"),
        ("packets_max = 0", "packets_max = 0 is not possible: a whole number from 1 to"),
        ("packets_max = 1.5", "packets_max = 1.5 is not possible"),
        ("speed = 1", "p.toml: speed is not known; here may stand: about, duration_s, packets_max"),
        ("stream = 3", "p.toml: stream = 3 is not possible: at most 64 tables [[stream]]"),
    ];
    for (text, expected) in cases {
        let said = parse(&format!("{text}\n{}", if text.is_empty() { "" } else { STREAM }));
        let said =
            said.or_else(|said| if text.contains("stream") { parse(text) } else { Err(said) });
        let said = said.expect_err(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
// long: one table
fn what_is_wrong_in_a_stream_is_said_with_its_name() {
    let in_stream = [
        ("rate = 5", "rate = 0", "stream \"a\": rate = 0 is not possible: packets a second from"),
        ("rate = 5", "rate = \"fast\"", "rate = \"fast\" is not possible"),
        ("rate = 5", "rate = { pps = 5, gap = \"even\" }", "stream \"a\".rate: gap is not known"),
        (
            "rate = 5",
            "rate = { pps = 5, gaps = \"odd\" }",
            "gaps = \"odd\" is not possible: even, poisson",
        ),
        ("rate = 5", "rate = { from_pps = 5, over_s = 1 }", "to_pps is missing"),
        ("rate = 5", "rate = { steps = [[1, 1], [2]] }", "1 to 1000 pairs"),
        ("rate = 5", "rate = { steps = [[0, 1]] }", "one of them above 0"),
        ("rate = 5", "rate = { recorded = 1 }", "only a replay has recorded times"),
        ("rate = 5", "", "stream \"a\": rate is missing"),
        ("\"udp\"", "\"sctp\"", "kind = \"sctp\" is not possible: udp, tcp-syn"),
        ("kind = \"udp\"", "", "kind is missing: udp, tcp-syn"),
        ("\"10.0.0.1\"", "\"10.0.0\"", "source = \"10.0.0\" is not possible: an address of IPv4"),
        ("\"10.0.0.1\"", "\"10.0.0.0/33\"", "source = \"10.0.0.0/33\""),
        ("\"10.0.0.1\"", "\"10.0.0.9-10.0.0.1\"", "10.0.0.9-10.0.0.1"),
        (
            "\"10.0.0.1\"",
            "{ in = \"10.0.0.0/30\", some = 5 }",
            "some = 5 is not possible: a whole number from 1 to 4",
        ),
        ("\"10.0.0.1\"", "{ order = \"walk\" }", "stream \"a\".source: in is missing"),
        ("destination = \"10.0.0.2\"", "", "destination is missing"),
        (
            "rate = 5",
            "rate = 5\nexpect = \"lost\"",
            "expect = \"lost\" is not possible: pass, drop, either",
        ),
        ("rate = 5", "rate = 5\nfrom = \"top\"", "from = \"top\" is not possible: left, right"),
        (
            "rate = 5",
            "rate = 5\ndestination_port = 65536",
            "destination_port = 65536 is not possible",
        ),
        ("rate = 5", "rate = 5\nttl = 256", "ttl = 256 is not possible: a number from 0 to 255"),
        (
            "rate = 5",
            "rate = 5\nframe_bytes = 63",
            "frame_bytes = 63 is not possible: bytes from 64 to 1518",
        ),
        ("rate = 5", "rate = 5\nframe_bytes = [[64, 0]]", "frame_bytes = [[64, 0]]"),
        (
            "rate = 5",
            "rate = 5\nflows = 2",
            "flows = 2 is not possible: these addresses and ports have only 1",
        ),
        ("rate = 5", "rate = 5\nflow_order = \"walk\"", "flows is missing"),
        (
            "rate = 5",
            "rate = 5\ntext = \"x\"\nframe_bytes = \"imix\"\nstamp = 1",
            "stamp = 1 is not possible: true or",
        ),
        (
            "\"10.0.0.1\"",
            "\"2001:2::1\"",
            "source = 2001:2::1 is not possible: of the family of `destination`, 10.0.0.2",
        ),
        ("\"10.0.0.1\"", "\"2001:2::/129\"", "source = \"2001:2::/129\" is not possible"),
        ("\"10.0.0.1\"", "\"::/0\"", "source = \"::/0\" is not possible"),
        ("\"10.0.0.1\"", "\"10.0.0.1-2001:2::1\"", "10.0.0.1-2001:2::1"),
        (
            "\"10.0.0.1\"",
            "{ in = \"2001::2-2001:2::\", some = 5 }",
            "some = 5 is not possible: of so many addresses some can be had of a prefix only",
        ),
        (
            "rate = 5",
            "rate = 5\nvlan = 4095",
            "vlan = 4095 is not possible: a whole number from 0 to",
        ),
        ("rate = 5", "rate = 5\nvlan = 1\nvlan_priority = 8", "vlan_priority = 8 is not possible"),
        ("rate = 5", "rate = 5\nvlan_priority = 1", "vlan is missing: the VLAN of that priority"),
        ("rate = 5", "rate = 5\ncolour = 1", "stream \"a\": colour is not known"),
        ("\"a\"", "\"\"", "name = \"\" is not possible: a text of 1 to 64 bytes"),
    ];
    for (old, new, expected) in in_stream {
        let said = parse(&STREAM.replacen(old, new, 1)).expect_err(new);
        assert!(said.starts_with("p.toml: ") && said.contains(expected), "{new}: {said}");
    }
    let twice = parse(&format!("{STREAM}{STREAM}")).expect_err("two of a name");
    assert!(twice.contains("name = a is not possible: a name of its own"), "{twice}");
    let long = format!("{STREAM}text = \"{}\"\nframe_bytes = 64", "x".repeat(30));
    let said = parse(&long).expect_err("too long a text");
    assert!(said.contains("has no room for 76 bytes"), "{said}");
}

#[test]
fn what_ipv6_has_not_is_refused() {
    let stream = STREAM.replace("10.0.0.1", "2001:2::1").replace("10.0.0.2", "2001:2::2");
    let profile = parse(&stream).expect("IPv6");
    assert!(matches!(&profile.streams[0].content, Content::Made(made) if made.sizes[..] == [78]));
    for (more, expected) in [
        (
            "identification = 5",
            "identification = 5 is not possible: a header of IPv6 has no such field",
        ),
        (
            "dont_fragment = true",
            "dont_fragment = true is not possible: a header of IPv6 has no such",
        ),
        (
            "frame_bytes = 64",
            "frame_bytes = 64 is not possible: a frame of 64 bytes has no room for 66",
        ),
        ("stamp = false\nframe_bytes = 65", "no room for 66 bytes of this kind"),
    ] {
        let said = parse(&format!("{stream}{more}")).expect_err(more);
        assert!(said.contains(expected), "{more}: {said}");
    }
    for (kind, name) in Kind::ALL {
        let read = parse(&stream.replace("\"udp\"", &format!("{name:?}")));
        assert_eq!(read.is_ok(), kind.is_of_ipv6(), "{name}");
        if let Err(said) = read {
            let expected =
                format!("kind = {name} is not possible: IPv6 has none of this kind here");
            assert!(said.contains(&expected), "{said}");
        }
    }
    let tagged = parse(&format!("{stream}vlan = 100\nvlan_priority = 5")).expect("a tag");
    let shown = tagged.streams[0].to_string();
    assert_eq!(shown, "udp 2001:2::1 -> 2001:2::2 port 9 in VLAN 100 priority 5");
    let net = parse(&stream.replacen("2001:2::1", "2001:2:0:8000::/49", 1)).expect("a net");
    assert_eq!(net.streams[0].to_string(), "udp 2001:2:0:8000::/49 -> 2001:2::2 port 9");
}

#[test]
fn what_is_wrong_with_users_is_said() {
    for (users, expected) in [
        ("rate = 5", "missing field `clients`"),
        (
            "rate = -1\nclients = \"10.0.0.1\"\nservers = \"10.0.0.2\"",
            "p.toml: users.rate = -1 is not possible: 0 to",
        ),
        ("colour = 1", "unknown field `colour`"),
        (
            "rate = 1\nclients = \"10.0.0.1\"\nservers = \"10.0.0.2\"\nvlan = 4095",
            "users.vlan = 4095 is not possible: 0 to 4094",
        ),
        (
            "rate = 1\nclients = \"10.0.0.1\"\nservers = \"10.0.0.2\"\nvlan_priority = 1",
            "users.vlan_priority = 1 is not possible: needs users.vlan",
        ),
        (
            "rate = 1\nclients = \"10.0.0.1\"\nservers = \"10.0.0.2\"\nvlan = 1\nvlan_priority = 8",
            "users.vlan_priority = 8 is not possible: 0 to 7",
        ),
    ] {
        let said = parse(&format!("[users]\n{users}")).expect_err(users);
        assert!(said.contains(expected), "{users}: {said}");
    }
}

#[test]
fn a_replay_that_cannot_be_is_refused() {
    let stream = |more: &str| {
        format!("[[stream]]\nname = \"a\"\nrate = {{ recorded = 1 }}\n[stream.replay]\n{more}")
    };
    let cases = [
        ("", "stream \"a\".replay: file is missing"),
        ("file = \"none.pcap\"", "file = none.pcap is not possible: ./none.pcap"),
        ("file = \"web.pcap\"\nonly_from = \"1.2.3.4\"", "at least one packet that is wanted"),
        ("file = \"web.pcap\"\nsource = \"x\"", "source = x is not possible"),
        ("file = \"web.pcap\"\nloop = 1", "loop is not known"),
    ];
    for (more, expected) in cases {
        let said = parse(&stream(more)).expect_err(more);
        assert!(said.contains(expected), "{more}: {said}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bad.pcap"), [0; 40]).expect("a file");
    let text = stream("file = \"bad.pcap\"");
    let said = Profile::parse("p", "p.toml", &text, folder.path()).expect_err("no pcap");
    assert!(said.to_string().contains("a classic pcap file can be read"), "{said}");
}

#[test]
fn a_replay_keeps_checksums_flows_and_times() {
    let profile = Profile::find("replay").expect("a profile");
    let [client, server] = &profile.streams[..] else { panic!() };
    let frames = |stream: &Stream| match &stream.content {
        Content::Replay(replay) => replay.frames.clone(),
        Content::Made(_) => panic!(),
    };
    assert_eq!((frames(client).len(), frames(server).len()), (15, 15));
    for frame in frames(client).iter().chain(&frames(server)) {
        let place = crate::packet::Place::of(frame).expect("IPv4");
        assert!(place.is_intact(frame), "rewritten with its checksums");
    }
    let first = &frames(client)[0];
    let (source, destination) = crate::packet::Place::of(first).expect("IPv4").addresses(first);
    assert_eq!((source.low_bits(), destination.low_bits()), (0xc612_0000, 0xc613_0002));
    // Three pages in 0.04 s, and a hundred times as fast.
    let pps = client.schedule.mean_pps(10 * SECOND_NS).expect("a rate");
    assert!((20_000.0..80_000.0).contains(&pps), "{pps}");
}

#[test]
fn rates_and_lengths_can_be_changed() {
    let profile = Profile::find("syn-flood").expect("a profile");
    assert_eq!(profile.mean_pps(), Some(101_000.0));
    let means = |profile: &Profile| -> Vec<u64> {
        let rate = |stream: &Stream| stream.schedule.mean_pps(profile.duration_ns).unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        profile.streams.iter().map(|stream| rate(stream).round() as u64).collect()
    };
    assert_eq!(means(&profile.at_rate(202_000.0).expect("possible")), [200_000, 2_000]);
    assert_eq!(means(&profile.with_stream_at("flood", 5.0).expect("possible")), [5, 1_000]);
    let said = profile.with_stream_at("flod", 5.0).expect_err("no such stream");
    assert_eq!(said, "there is no stream \"flod\"; there are flood, probe");
    assert!(profile.at_rate(0.0).is_err() && profile.at_rate(f64::NAN).is_err());
    let flood = parse(&STREAM.replace("rate = 5", "rate = \"flood\"")).expect("a flood");
    assert_eq!(flood.mean_pps(), None);
    assert_eq!(means(&flood.at_rate(7.0).expect("possible")), [7]);
    let long = profile.with_frame_bytes(1518).expect("possible");
    assert!(long.streams.iter().all(|stream| match &stream.content {
        Content::Made(made) => made.sizes[..] == [1514],
        Content::Replay(_) => false,
    }));
    assert!(profile.with_frame_bytes(1519).is_err());
}
