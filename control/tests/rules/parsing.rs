//! Command lines and what they are read as.

use weir_control::command::{
    ChainName, Command, CommandLine, ListFormat, Parsed, Selection, Wait, parse,
};
use weir_control::rule::{
    IpNet, Match, Names, Negatable, PortRange, Protocol, Rule, Target, TcpFlags, TcpMatch, UdpMatch,
};
use weir_control::ruleset::{Counters, Policy};

pub(crate) fn line(text: &str) -> CommandLine {
    let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
    match parse(&arguments, &Names::builtin()) {
        Ok(Parsed::Command(line)) => *line,
        other => panic!("{text}: {other:?}"),
    }
}

pub(crate) fn command(text: &str) -> Command {
    let line = line(text);
    assert_eq!((line.then, &line.warnings[..]), (None, &[][..]), "{text}");
    line.command
}

fn forward() -> ChainName {
    ChainName::forward()
}

fn whole() -> Selection {
    Selection { chain: Some(forward()), number: None }
}

#[test]
fn every_part_of_a_rule_is_read() {
    let ports = |first, last| PortRange::new(first, last).expect("ordered");
    let expected = Rule {
        protocol: Some(Negatable::is(Protocol::TCP)),
        source: Some(Negatable::is(IpNet::from_prefix("10.0.0.0/24").expect("net"))),
        destination: Some(Negatable::not(IpNet::from_prefix("192.168.0.2").expect("net"))),
        in_interface: Some(Negatable::is("enp0s8".parse().expect("name"))),
        out_interface: Some(Negatable::not("enp0+".parse().expect("name"))),
        fragment: None,
        matches: vec![Match::Tcp(TcpMatch {
            source_ports: Negatable::is(ports(1024, 65535)),
            destination_ports: Negatable::not(ports(80, 443)),
            flags: Negatable::is(TcpFlags::SYN),
            ..TcpMatch::default()
        })],
        target: Some(Target::Drop),
    };
    for text in [
        "-A FORWARD -p tcp -s 10.0.0.7/24 ! -d 192.168.0.2 -i enp0s8 ! -o enp0+ --sport 1024: ! --dport http:https --syn -j DROP",
        "-AFORWARD -ptcp -s10.0.0.0/255.255.255.0 ! -d192.168.0.2 -ienp0s8 ! -oenp0+ --sport=1024: ! --dport=80:443 --syn -jDROP",
        "--append=FORWARD --protocol=6 --src=10.0.0.0/24 ! --dst 192.168.0.2/32 --in-interface=enp0s8 ! --out-interface=enp0+ --source-port 1024:65535 ! --destination-port www:443 --tcp-flags FIN,SYN,RST,ACK SYN --jump=DROP",
        "-j DROP -m tcp -p TCP ! --dpor 0x50:0673 --so 1024: --tcp-flags=rst,fin,SYN,ack syn -A FORWARD ! -o enp0+ -i enp0s8 ! -d 192.168.0.2 --sr 10.0.0.0/24",
    ] {
        // `--so` would be ambiguous once tcp is loaded: --source and --source-port.
        let text = text.replace("--so ", "--sp ");
        let expected =
            Command::Append { chain: forward(), rules: vec![expected.clone()], counters: None };
        assert_eq!(command(&text), expected, "{text}");
    }
}

#[test]
fn a_match_is_implied_only_by_its_options() {
    let rule = |text: &str| match command(&format!("-A FORWARD {text}")) {
        Command::Append { mut rules, .. } => rules.pop().expect("one rule"),
        other => panic!("{other:?}"),
    };
    assert_eq!(rule("-p tcp").matches, []);
    assert_eq!(rule("-p tcp -m tcp").matches, [Match::Tcp(TcpMatch::default())]);
    assert_eq!(rule("-p tcp --dport :").matches, [Match::Tcp(TcpMatch::default())]);
    let port = |port| Negatable::is(PortRange::one(port));
    let udp = UdpMatch { destination_ports: port(53), ..UdpMatch::default() };
    assert_eq!(rule("-p udp --dport domain").matches, [Match::Udp(udp)]);
    let (first, second) = (
        TcpMatch { destination_ports: port(1), ..TcpMatch::default() },
        TcpMatch { destination_ports: port(5), ..TcpMatch::default() },
    );
    let expected = [Match::Tcp(first), Match::Tcp(second)];
    assert_eq!(rule("-p tcp --dport 1 -m tcp --dport 5").matches, expected);
}

#[test]
fn what_is_no_condition_is_none() {
    let nothing =
        Command::Append { chain: forward(), rules: vec![Rule::default()], counters: None };
    for text in ["-p all", "-p 0", "-s 0/0", "-d 0.0.0.0/0", "-i +", "-o +", "-4", "-w 5"] {
        assert_eq!(command(&format!("-A FORWARD {text}")), nothing, "{text}");
    }
    assert_ne!(command("-A FORWARD ! -s 0/0"), nothing);
    assert_ne!(command("-A FORWARD ! -i +"), nothing);
}

#[test]
fn comma_lists_are_a_product_with_sources_outside() {
    let Command::Append { rules, .. } =
        command("-A FORWARD -s 1.1.1.1,2.0.0.0/8 -d 3.3.3.3,4.4.4.4")
    else {
        panic!("not an append");
    };
    let names = Names::builtin();
    let printed: Vec<String> = rules.iter().map(|r| r.arguments(&names).join(" ")).collect();
    assert_eq!(
        printed,
        [
            "-s 1.1.1.1/32 -d 3.3.3.3/32",
            "-s 1.1.1.1/32 -d 4.4.4.4/32",
            "-s 2.0.0.0/8 -d 3.3.3.3/32",
            "-s 2.0.0.0/8 -d 4.4.4.4/32",
        ]
    );
}

#[test]
fn every_command_is_read() {
    let (chain, rules) = (forward(), vec![Rule::default()]);
    let rule = Rule::default();
    let web = || "web".parse().expect("a name");
    let counters = Some(Counters { packets: 5, bytes: 6 });
    let insert =
        |number| Command::Insert { chain: forward(), number, rules: rules.clone(), counters: None };
    for (text, expected) in [
        ("-A FORWARD", Command::Append { chain: forward(), rules: rules.clone(), counters: None }),
        ("-A FORWARD -c 5 6", Command::Append { chain: forward(), rules: rules.clone(), counters }),
        (
            "-c 5,6x -A FORWARD",
            Command::Append { chain: forward(), rules: rules.clone(), counters },
        ),
        ("-I FORWARD", insert(1)),
        ("-I FORWARD 0x10", insert(16)),
        ("-D FORWARD", Command::Delete { chain: forward(), rules: rules.clone() }),
        ("--delete FORWARD 3", Command::DeleteNumber { chain: forward(), number: 3 }),
        ("-R FORWARD 2", Command::Replace { chain: forward(), number: 2, rule, counters: None }),
        ("--check FORWARD", Command::Check { chain: forward(), rules: rules.clone() }),
        ("-F", Command::Flush { chain: None }),
        ("-t filter --flush FORWARD", Command::Flush { chain: Some(forward()) }),
        ("-P FORWARD DROP", Command::Policy { chain, policy: Policy::Drop, counters: None }),
        ("-N web", Command::NewChain { chain: web() }),
        ("-X", Command::DeleteChain { chain: None }),
        ("--delete-chain web", Command::DeleteChain { chain: Some(web()) }),
        ("-E FORWARD web", Command::RenameChain { chain: forward(), to: web() }),
        ("-F web", Command::Flush { chain: Some(web()) }),
        ("-Z", Command::Zero { chain: None, number: None }),
        ("-Z FORWARD 7", Command::Zero { chain: Some(forward()), number: Some(7) }),
    ] {
        assert_eq!(command(text), expected, "{text}");
    }
}

#[test]
fn listings_take_their_options_anywhere() {
    let format = |numeric, verbose, exact, line_numbers| ListFormat {
        numeric,
        verbose,
        exact,
        line_numbers,
    };
    let all = Selection::default();
    let list = |selection, format| Command::List { selection, format };
    for (text, expected) in [
        ("-L", list(all.clone(), format(false, false, false, false))),
        ("-nvL", list(all.clone(), format(true, true, false, false))),
        ("-nvL FORWARD", list(whole(), format(true, true, false, false))),
        ("-nvLFORWARD", list(whole(), format(true, true, false, false))),
        ("-L FORWARD -n -vx --line", list(whole(), format(true, true, true, true))),
        ("--numeric --list FORWARD", list(whole(), format(true, false, false, false))),
        ("-vvv -L", list(all.clone(), format(false, true, false, false))),
    ] {
        assert_eq!(command(text), expected, "{text}");
    }
    let one = Selection { chain: Some(forward()), number: Some(2) };
    let rules = |selection, counters| Command::ListRules { selection, counters };
    assert_eq!(command("-S"), rules(all, false));
    assert_eq!(command("-S FORWARD 2 -v"), rules(one.clone(), true));
    let zero = |number| Some(Command::Zero { chain: Some(forward()), number });
    let both = line("-S FORWARD 2 -Z");
    assert_eq!((both.command, both.then), (rules(one, false), zero(None)));
    let both = line("-Z FORWARD -S");
    assert_eq!((both.command, both.then), (rules(whole(), false), zero(None)));
    let both = line("-L -Z");
    assert_eq!(both.then, Some(Command::Zero { chain: None, number: None }));
}

#[test]
fn the_rest_of_the_line_is_kept() {
    assert_eq!(line("-A FORWARD -w").wait, Some(Wait::Forever));
    assert_eq!(line("-A FORWARD -w -j DROP").wait, Some(Wait::Forever));
    assert_eq!(line("-w 5 -A FORWARD").wait, Some(Wait::Seconds(5)));
    assert_eq!(line("-w7 -A FORWARD").wait, Some(Wait::Seconds(7)));
    assert_eq!(line("--wait=99999999999 -A FORWARD").wait, Some(Wait::Seconds(u32::MAX)));
    assert_eq!(line("-A FORWARD").wait, None);
    assert!(line("-A FORWARD -v").verbose);
    assert!(!line("-S -v").verbose);
    let warnings = line("-A FORWARD -i a/b -w -W 3").warnings;
    assert_eq!(
        warnings,
        [
            "Ignoring deprecated --wait-interval option.",
            "Warning: weird character in interface `a/b' ('/' and ' ' are not allowed by the kernel).",
        ]
    );
    let parsed = |text: &str| parse(&[text.to_owned()], &Names::builtin());
    assert_eq!(parsed("-h"), Ok(Parsed::Help));
    assert_eq!(parsed("--version"), Ok(Parsed::Version));
}

fn one_rule(arguments: &[&str]) -> (Rule, Vec<String>) {
    let arguments: Vec<String> =
        ["-A", "FORWARD"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    let line = match parse(&arguments, &Names::builtin()) {
        Ok(Parsed::Command(line)) => *line,
        other => panic!("{arguments:?}: {other:?}"),
    };
    match line.command {
        Command::Append { mut rules, .. } => (rules.pop().expect("one rule"), line.warnings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reversed_range_of_addresses_is_taken_with_a_warning() {
    let (rule, warnings) = one_rule(&["-m", "iprange", "!", "--src-range", "10.3-10.2.0.1"]);
    let words = ["-m", "iprange", "!", "--src-range", "10.3.0.0-10.2.0.1"];
    assert_eq!(rule.arguments(&Names::builtin()), words);
    let warning = "xt_iprange: range 10.3.0.0-10.2.0.1 is reversed and will never match";
    assert_eq!(warnings, [warning]);
}

#[test]
fn comments_are_quoted_for_a_shell_and_cut_where_they_are_too_long() {
    let quoted = |comment: &str| {
        let (rule, _) = one_rule(&["-m", "comment", "--comment", comment]);
        assert_eq!(rule.arguments(&Names::builtin())[3], comment, "as an argument of a program");
        let line = rule.saved_line(&Names::builtin()).0;
        line.strip_prefix("-m comment --comment ").expect("a comment").to_owned()
    };
    assert_eq!(quoted("it's a \"test\" \\ x"), r#""it\'s a \"test\" \\ x""#);
    assert_eq!(quoted("plain_-9"), "plain_-9");
    assert_eq!(quoted(""), "\"\"");
    let comment = |text: &str| one_rule(&["-m", "comment", "--comment", text]).0.matches;
    assert_eq!(comment(&"x".repeat(300)), comment(&"x".repeat(255)));
    assert_eq!(comment(&format!("{}€", "x".repeat(254))), comment(&"x".repeat(254)));
}
