//! `weirctl conntrack` beside conntrack(8): the same traffic through the same topology, once with the kernel in the
//! middle and once with Weir, and what both tools say about it, line by line.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Output;

use weir_tests::process::{self, Process};
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::town::{ALICE, BOB, SOON, Town, assert_conserved, binaries, config, errors, eventually};

/// Timeouts that a flow can begin with, in seconds; which of them it was is told by what is left of it.
const TIMEOUTS: [u64; 7] = [10, 30, 60, 120, 300, 600, 432_000];

/// A firewall that tracks connections: the kernel, or a Weir.
struct Side {
    town: Town,
    weir: Option<Daemon>,
}

impl Side {
    fn kernel() -> Self {
        let town = Town::new();
        town.kernel_forwards(true);
        Self { town, weir: None }.ruled()
    }

    fn weir(settings: &str) -> Self {
        let town = Town::new();
        let daemon = town.start_with(&config("drop", &format!("[conntrack]\n{settings}")));
        Self { town, weir: Some(daemon) }.ruled()
    }

    fn iptables(&self, line: &str) -> String {
        match &self.weir {
            Some(weir) => weir.iptables(line),
            None => self.town.firewall.run(&format!("iptables {line}")),
        }
        .expect("taken")
    }

    /// Both track from the first rule on that asks for it.
    fn ruled(self) -> Self {
        self.iptables("-A FORWARD -m conntrack --ctstate INVALID");
        self.iptables("-A FORWARD -p udp --dport 6001 -j CONNMARK --set-mark 0x1f");
        self.iptables("-A FORWARD -m state --state NEW -j ACCEPT");
        self
    }

    /// Whether a packet was INVALID.
    fn has_seen_invalid(&self) -> bool {
        let listing = self.iptables("-S FORWARD 1 -v");
        !listing.contains("-c 0 0")
    }

    /// The command of whichever tool; its first word is Weir's.
    fn command(&self, line: &str) -> std::process::Command {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().expect("a verb");
        let mut command = match &self.weir {
            Some(weir) => {
                let mut command = std::process::Command::new(&binaries().weirctl);
                command.arg("--socket").arg(weir.socket()).args(["conntrack", verb]);
                command
            }
            None => {
                let mut command = self.town.firewall.command("stdbuf");
                let verb = match verb {
                    "list" => "-L",
                    "count" => "-C",
                    "delete" => "-D",
                    "flush" => "-F",
                    "events" => "-E",
                    other => panic!("{other}"),
                };
                command.args(["-oL", "conntrack", verb]);
                command
            }
        };
        command.args(words);
        command
    }

    fn conntrack(&self, line: &str) -> Output {
        process::output(self.command(line), SOON).expect("it ends")
    }

    /// The flows listed, sorted.
    fn list(&self, names: &Names) -> Vec<String> {
        names.lines(&String::from_utf8_lossy(&self.conntrack("list").stdout))
    }

    /// Starts to listen to events, and waits until it does.
    fn events(&self) -> Process {
        let log = self.town.folder.path().join("events.log");
        let events = Process::spawn("events", self.command("events"), &log).expect("it runs");
        let alice = link::socket(&self.town.alice, &format!("{ALICE}:{PROBE}"));
        let mut port = 20_000;
        eventually("events are told", || {
            port += 1;
            alice.send_to(b"?", (BOB, port)).expect("sent");
            !events.text().expect("a log").is_empty()
        });
        events
    }

    fn end(self) {
        if let Some(mut weir) = self.weir {
            assert_conserved(&mut weir);
        }
    }
}

/// The port from which is found out whether events are told.
const PROBE: u16 = 19_999;

/// Names for what is another number each time.
struct Names(Vec<(u16, &'static str)>);

impl Names {
    /// Lines in a form in which both sides' can be compared, sorted.
    fn lines(&self, text: &str) -> Vec<String> {
        let mut lines: Vec<String> = text.lines().filter_map(|line| self.line(line)).collect();
        lines.sort();
        lines
    }

    fn line(&self, line: &str) -> Option<String> {
        if !line.contains(ALICE) || line.contains(&format!("port={PROBE} ")) {
            return None;
        }
        // Who has deleted it.
        let line = line.split(" [USERSPACE]").next()?;
        // How a connection's bytes are divided into segments is for its hosts to say.
        let counted = |word: &&str| word.starts_with("packets=") || word.starts_with("bytes=");
        let tcp = line.contains("tcp ");
        let words = line.split_ascii_whitespace().filter(|word| !tcp || !counted(word));
        let words = words.map(|word| {
            let port = word.split_once("port=").and_then(|(_, port)| port.parse::<u16>().ok());
            let name = port.and_then(|port| self.0.iter().find(|(number, _)| *number == port));
            match name {
                Some((number, name)) => word.replace(&number.to_string(), name),
                None => word.to_owned(),
            }
        });
        let mut words: Vec<String> = words.collect();
        // The number behind that of the protocol.
        let at = words.iter().position(|word| word.parse::<u8>().is_ok())? + 1;
        if let Ok(left) = words[at].parse::<u64>() {
            let begun = TIMEOUTS.into_iter().find(|begun| left <= *begun);
            words[at] = format!("at most {}", begun.expect("a timeout"));
        }
        // A packet may be under way in the kernel.
        Some(words.join(" ").replace("use=2", "use=1"))
    }
}

/// What is open after [`play`].
struct Played {
    names: Names,
    /// The ends of a TCP connection to Bob's port 80.
    tcp: [TcpStream; 2],
    _udp: Vec<UdpSocket>,
}

/// A TCP connection through the firewall, both ends.
fn connect(town: &Town, port: u16) -> [TcpStream; 2] {
    let listener = {
        let _inside = town.bob.enter().expect("inside");
        TcpListener::bind((BOB, port)).expect("a listener")
    };
    let address: SocketAddr = listener.local_addr().expect("an address");
    let client = {
        let _inside = town.alice.enter().expect("inside");
        TcpStream::connect_timeout(&address, SOON).expect("a connection")
    };
    let (server, _) = listener.accept().expect("a client");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
    }
    [client, server]
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").expect("sent");
    let mut heard = [0; 5];
    to.read_exact(&mut heard).expect("heard");
    assert_eq!(&heard, b"hello");
}

/// Traffic of each kind: a connection that stays, one that is closed, datagrams with and without answer, a ping.
fn play(side: &Side) -> Played {
    let town = &side.town;
    let [mut client, mut server] = connect(town, 80);
    say(&mut client, &mut server);
    say(&mut server, &mut client);
    let [mut leaving, mut left] = connect(town, 81);
    say(&mut leaving, &mut left);
    let port = |stream: &TcpStream| stream.local_addr().expect("an address").port();
    let names = Names(vec![(port(&client), "STAYING"), (port(&leaving), "CLOSING")]);
    drop(leaving);
    assert_eq!(left.read(&mut [0; 1]).expect("the end"), 0);
    // Else Bob may acknowledge Alice's FIN and send his own in one segment.
    eventually("her FIN is acknowledged", || {
        side.list(&names).iter().any(|line| line.contains("CLOSE_WAIT"))
    });
    drop(left);
    let mut udp = Vec::new();
    for (number, answered) in [(0, false), (1, true)] {
        let alice = link::socket(&town.alice, &format!("{ALICE}:{}", 5_000 + number));
        let bob = link::socket(&town.bob, &format!("{BOB}:{}", 6_000 + number));
        assert_eq!(link::carry(&alice, &bob, 0..1, 20), link::once_each(0..1));
        if answered {
            assert_eq!(link::carry(&bob, &alice, 0..1, 20), link::once_each(0..1));
        }
        udp.extend([alice, bob]);
    }
    town.alice.run(&format!("ping -n -c 1 -W 5 -e 77 {BOB}")).expect("an answer");
    eventually("the connection is closed", || {
        side.list(&names).iter().any(|line| line.contains("TIME_WAIT"))
    });
    Played { names, tcp: [client, server], _udp: udp }
}

/// Does the same with both, and gives what came of it.
fn both<R>(settings: &str, test: impl Fn(&Side) -> R) -> [R; 2] {
    [Side::kernel(), Side::weir(settings)].map(|side| {
        let result = test(&side);
        side.end();
        result
    })
}

#[test]
fn flows_are_listed_counted_and_deleted_as_by_the_kernel() {
    skip_unless!(root, command "ip", command "ping", command "iptables", command "conntrack");
    let [kernel, weir] = both("acct = true\n", |side| {
        if side.weir.is_none() {
            side.town.firewall.set("net/netfilter/nf_conntrack_acct", "1").expect("a setting");
        }
        let played = play(side);
        let mut said = vec![side.list(&played.names)];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for line in [
            "list -p udp",
            "list --proto tcp --state ESTABLISHED",
            "list --src 10.0.0.0/8 -d 192.168.0.2 -p icmp",
            "list -r 192.168.0.2 -q 10.0.0.2 -p udp --orig-port-src 5001",
            "list -p tcp --dport 80",
            "list -p tcp --reply-port-src 81",
            "list -p 89",
            "list --mark 31",
            "list -p udp -m 0/1",
            "count",
            "delete -p udp --dport 6000",
            "delete -p udp --dport 6000",
            "list -p udp",
            "delete -p tcp --state TIME_WAIT",
            "count",
            "flush",
            "count",
            "list",
        ] {
            let output = side.conntrack(line);
            let mut lines = vec![format!("{line}: status {:?}", output.status.code())];
            lines.extend(played.names.lines(&text(&output.stdout)));
            if line == "count" {
                lines.push(text(&output.stdout));
            }
            // Who says it is the only difference; Weir also says how many it was when all are deleted.
            let told =
                text(&output.stderr).replace("conntrack v1.4.7 (conntrack-tools):", "weirctl:");
            let told = told.trim_end().split(", ").next().unwrap_or_default();
            lines.push(told.trim_end_matches('.').to_owned());
            said.push(lines);
        }
        said
    });
    assert_eq!(weir[0].len(), 5, "{:#?}", weir[0]);
    assert_eq!(weir[0].iter().filter(|line| line.contains(" mark=31 ")).count(), 1);
    assert_eq!(weir[0].iter().filter(|line| line.contains(" packets=1 bytes=")).count(), 3);
    for (kernel, weir) in kernel.iter().zip(&weir) {
        assert_eq!(weir, kernel);
    }
}

#[test]
fn events_are_told_as_by_the_kernel() {
    skip_unless!(root, command "ip", command "ping", command "iptables", command "conntrack");
    let [kernel, weir] = both("", |side| {
        if let Some(weir) = &side.weir {
            let line =
                "-A FORWARD -m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode bytes";
            let refusal = weir.iptables(line).expect_err("nothing is counted").to_string();
            assert!(refusal.contains("acct = true in [conntrack]"), "{refusal}");
        }
        let events = side.events();
        let played = play(side);
        assert!(side.conntrack("flush").status.success());
        let told = || played.names.lines(&events.text().expect("a log"));
        let ended = |lines: &[String]| lines.iter().filter(|l| l.contains("[DESTROY]")).count();
        eventually("all ends are told", || ended(&told()) == 5);
        // By flow, each in its order.
        let text = events.text().expect("a log");
        let lines: Vec<String> = text.lines().filter_map(|line| played.names.line(line)).collect();
        let flow = |line: &String| {
            let (_, tuples) = line.split_once("src=").expect("a flow");
            tuples.replace(" [UNREPLIED]", "").replace(" [ASSURED]", "")
        };
        let mut sorted = lines.clone();
        sorted.sort_by_key(flow);
        sorted
    });
    assert!(weir.len() >= 16, "{weir:#?}");
    assert_eq!(weir, kernel);
}

#[test]
fn a_deleted_connection_is_taken_up_again_or_not_as_by_the_kernel() {
    skip_unless!(root, command "ip", command "ping", command "iptables", command "conntrack");
    for loose in [true, false] {
        let [kernel, weir] = both(&format!("tcp_loose = {loose}\n"), |side| {
            if side.weir.is_none() {
                let value = if loose { "1" } else { "0" };
                let key = "net/netfilter/nf_conntrack_tcp_loose";
                side.town.firewall.set(key, value).expect("a setting");
            }
            let Played { names, tcp: [mut client, mut server], .. } = play(side);
            let deleted = side.conntrack("delete -p tcp --dport 80");
            assert!(deleted.status.success(), "{}", errors(&deleted));
            let list = || (side.list(&names), side.has_seen_invalid());
            let mut lists = vec![list()];
            // Nobody drops what is INVALID here.
            say(&mut client, &mut server);
            lists.push(list());
            say(&mut server, &mut client);
            lists.push(list());
            lists
        });
        let counts: Vec<_> = weir.iter().map(|(lines, invalid)| (lines.len(), *invalid)).collect();
        let taken_up = [(4, false), (5, false), (5, false)];
        let invalid = [(4, false), (4, true), (4, true)];
        assert_eq!(counts, if loose { taken_up } else { invalid });
        assert_eq!(weir, kernel, "tcp_loose = {loose}");
    }
}
