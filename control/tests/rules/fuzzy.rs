//! `-m fuzzy`: how such rules are read and printed, and what is wrong with some. iptables has it only where
//! xtables-addons is installed; the words are those of its `libxt_fuzzy.c`.

use proptest::prelude::*;
use weir_control::command::{ChainName, Command, ExitStatus, Selection};
use weir_control::list;
use weir_control::protocol::Listing;
use weir_control::rule::{
    Family, FuzzyKeys, FuzzyMatch, FuzzyRates, FuzzyUnverified, KeyMasks, KeyParts, Match, Names,
    Rule, Table,
};
use weir_control::ruleset::{CounterTable, Ruleset};

use crate::messages::{TRY, assert_report, refused, words};
use crate::parsing::command;

fn asked() -> impl Strategy<Value = FuzzyMatch> {
    let keys = (
        any::<[bool; 4]>().prop_filter("a mode is needed", |parts| parts.contains(&true)),
        (prop::option::of(0_u8..32), prop::option::of(0_u8..32)),
        prop::option::of("[a-zA-Z0-9_.:-]{1,32}"),
        (prop_oneof![Just(65_536), 1..=FuzzyKeys::KEYS_MAX], prop_oneof![Just(60_000), 150_u32..]),
    );
    let keys =
        keys.prop_map(|([a, b, c, d], (source, destination), name, (keys_max, expire_ms))| {
            let parts = KeyParts { source: a, source_port: b, destination: c, destination_port: d };
            let masks = KeyMasks { source, destination };
            Box::new(FuzzyKeys { parts, masks, name, keys_max, expire_ms })
        });
    let unverified =
        [prop::option::of(rates()), prop::option::of(rates()), prop::option::of(rates())].prop_map(
            |[net, wide_net, destination]| Box::new(FuzzyUnverified { net, wide_net, destination }),
        );
    let kind = prop_oneof![
        Just((None, None)),
        keys.prop_map(|keys| (Some(keys), None)),
        unverified.prop_map(|unverified| (None, Some(unverified))),
    ];
    (rates(), kind).prop_map(|(FuzzyRates { lower_pps, upper_pps }, (keys, unverified))| {
        FuzzyMatch { lower_pps, upper_pps, keys, unverified }
    })
}

fn rates() -> impl Strategy<Value = FuzzyRates> {
    (FuzzyMatch::RATE_MIN..FuzzyMatch::RATE_MAX, 1_u32..).prop_map(|(lower_pps, more)| {
        let upper_pps = lower_pps.saturating_add(more).min(FuzzyMatch::RATE_MAX);
        FuzzyRates { lower_pps, upper_pps }
    })
}

proptest! {
    #[test]
    fn a_printed_fuzzy_rule_parses_to_itself(fuzzy in asked()) {
        let rule = Rule { matches: vec![Match::Fuzzy(fuzzy)], ..Rule::default() };
        prop_assert_eq!(rule.validate(Family::V4, Table::Filter), Ok(()));
        let line = format!("-A FORWARD {}", rule.arguments(&Names::builtin()).join(" "));
        let Command::Append { rules, .. } = command(&line) else { panic!("{line}") };
        prop_assert_eq!(&rules[..], std::slice::from_ref(&rule));
        let json = serde_json::to_string(&rule).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<Rule>(&json).expect("reads"), rule);
    }
}

/// What `-S` and `-L` print of lines.
fn printed(lines: &[&str]) -> (String, String) {
    let mut ruleset = Ruleset::new();
    for line in lines {
        ruleset.apply(&command(line)).expect("the chain exists");
    }
    let listing = Listing { ruleset, counters: CounterTable::default() };
    let selection = Selection { chain: Some(ChainName::forward()), number: None };
    let names = Names::builtin();
    let listed = list::list(&listing, &selection, list_format(), &names);
    (list::list_rules(&listing, &selection, false, &names), listed)
}

fn list_format() -> weir_control::command::ListFormat {
    weir_control::command::ListFormat { numeric: true, ..Default::default() }
}

#[test]
fn fuzzy_rules_are_printed_as_the_module_prints_them() {
    let (saved, listed) = printed(&[
        "-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT",
        "-A FORWARD -m fuzzy",
        "-A FORWARD -m fuzzy --upper-limit 0x2710 -j DROP",
        "-A FORWARD -p tcp -m fuzzy --lower-limit 3 -m tcp --dport 80",
    ]);
    assert_eq!(
        saved,
        "-P FORWARD ACCEPT\n\
         -A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT --reject-with icmp-port-unreachable\n\
         -A FORWARD -m fuzzy --lower-limit 1000 --upper-limit 2000\n\
         -A FORWARD -m fuzzy --lower-limit 1000 --upper-limit 10000 -j DROP\n\
         -A FORWARD -p tcp -m fuzzy --lower-limit 3 --upper-limit 2000 -m tcp --dport 80\n"
    );
    let line = listed.lines().nth(2).unwrap_or_default();
    assert!(
        line.ends_with(
            " fuzzy: lower limit = 100 pps - upper limit = 1000 pps  reject-with icmp-port-unreachable"
        ),
        "{line}"
    );
}

#[test]
fn the_words_about_fuzzy_rules_are_those_of_xtables_addons() {
    for (options, message) in [
        ("! --lower-limit 5", "Can't specify ! --lower-limit"),
        ("! --upper-limit 5", "Can't specify ! --upper-limit"),
        ("--lower-limit 5 --lower-limit 5", "Can't specify --lower-limit twice"),
        ("--upper-limit 5 --upper-limit 5", "Can't specify --upper-limit twice"),
        ("--lower-limit 0", "BAD --lower-limit"),
        ("--lower-limit -1", "BAD --lower-limit"),
        ("--lower-limit 10000001", "BAD --lower-limit"),
        ("--upper-limit x", "BAD --upper-limit"),
        ("--upper-limit 5x", "BAD --upper-limit"),
        ("--upper-limit", "option \"--upper-limit\" requires an argument"),
    ] {
        let (status, report) = refused(&words(&format!("-A FORWARD -m fuzzy {options}")));
        let first = report.lines().next().unwrap_or_default();
        assert!(status == 2 && first.ends_with(&format!(": {message}")), "{options}\n{report}");
    }
    assert_report(
        "-A FORWARD -m fuzzy --lower-limit x",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: BAD --lower-limit",
            "  iptables -A FORWARD -m fuzzy --lower-limit x",
            "                                             ^ argument 6, column 44",
            "  rates are 1 to 10000000 packets a second",
            TRY,
        ],
    );
    // What the module refuses when the rule is loaded.
    for (options, lower, upper) in [
        ("--lower-limit 2 --upper-limit 9", 2, 9),
        ("--lower-limit 9 --upper-limit 9", 9, 9),
        ("--lower-limit 2000", 2000, 2000),
        ("--upper-limit 500", 1000, 500),
    ] {
        let (status, report) = refused(&words(&format!("-A FORWARD -m fuzzy {options}")));
        let first = report.lines().next().unwrap_or_default();
        assert!(
            status == 1 && first.ends_with(&format!(
                "Invalid argument: fuzzy: a lower limit of {lower} and an upper limit of {upper} packets a second: the lower is at least 3, the upper at most 10000000, and above the lower"
            )),
            "{options}\n{report}"
        );
    }
    let (_, report) = refused(&words("-A FORWARD --lower-limit 5"));
    assert!(report.contains("rates belong to a match: write `-m fuzzy' before it"), "{report}");
}

/// Weir's own: a controller for each key.
#[test]
fn keys_are_read_and_printed() {
    let lines = [
        "-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP",
        "-A FORWARD -m fuzzy --fuzzy-mode dstport,srcip --fuzzy-srcmask 255.255.255.0 --fuzzy-name web",
        "-A FORWARD -m fuzzy --fuzzy-htable-max 9 --fuzzy-mode srcip --fuzzy-dstmask 32 --fuzzy-htable-expire 150",
    ];
    let (saved, listed) = printed(&lines);
    let limits = "--lower-limit 1000 --upper-limit 2000";
    assert_eq!(
        saved,
        format!(
            "-P FORWARD ACCEPT\n{}\n\
             -A FORWARD -m fuzzy {limits} --fuzzy-mode srcip,dstport --fuzzy-srcmask 24 --fuzzy-name web\n\
             -A FORWARD -m fuzzy {limits} --fuzzy-mode srcip --fuzzy-htable-max 9 --fuzzy-htable-expire 150\n",
            lines[0]
        )
    );
    assert!(
        listed.contains(" fuzzy: lower limit = 1000 pps - upper limit = 2000 pps mode srcip-dstport srcmask 24 name web"),
        "{listed}"
    );
    for (options, status, said) in [
        ("--fuzzy-mode foo", 2, "fuzzy: Bad value for \"--fuzzy-mode\" option: \"foo\""),
        ("--fuzzy-mode ,", 2, "modes are srcip, srcport, dstip, dstport, joined by commas"),
        ("--fuzzy-mode srcip --fuzzy-mode srcip", 2, "Can't specify --fuzzy-mode twice"),
        ("--fuzzy-srcmask 24", 1, "--fuzzy-mode says what makes a key"),
        ("--fuzzy-name web", 1, "the other --fuzzy options mean nothing"),
        (
            "--fuzzy-mode srcip --fuzzy-srcmask 33",
            1,
            "fuzzy: a mask is the first bits of an address",
        ),
        ("--fuzzy-mode srcip --fuzzy-name a/b", 1, "`a/b' is no name for a table"),
        ("--fuzzy-mode srcip --fuzzy-htable-max 0", 2, "out of range (1-1048576)"),
        ("--fuzzy-mode srcip --fuzzy-htable-expire 149", 2, "out of range (150-4294967295)"),
    ] {
        let (is, report) = refused(&words(&format!("-A FORWARD -m fuzzy {options}")));
        assert!(is == status && report.contains(said), "{options}\n{report}");
    }
}

/// Weir's own: who has not shaken hands is held back with others.
#[test]
fn what_holds_for_unverified_sources_is_read_and_printed() {
    let lines = [
        "-A FORWARD -m fuzzy --lower-limit 20 --upper-limit 100 --fuzzy-unverified -j DROP",
        "-A FORWARD -m fuzzy --fuzzy-dst 2000:0x1770 --fuzzy-wide-net 500:900 --fuzzy-net 50:51",
    ];
    let (saved, listed) = printed(&lines);
    assert_eq!(
        saved,
        format!(
            "-P FORWARD ACCEPT\n{}\n-A FORWARD -m fuzzy --lower-limit 1000 --upper-limit 2000 --fuzzy-unverified \
             --fuzzy-net 50:51 --fuzzy-wide-net 500:900 --fuzzy-dst 2000:6000\n",
            lines[0]
        )
    );
    assert!(listed.contains(" upper limit = 100 pps unverified "), "{listed}");
    assert!(listed.contains("unverified net 50:51 wide-net 500:900 dst 2000:6000 "), "{listed}");
    for (options, status, said) in [
        ("--fuzzy-unverified --fuzzy-mode srcip", 1, "--fuzzy-unverified has keys of its own"),
        (
            "--fuzzy-htable-max 9 --fuzzy-net 5:6",
            1,
            "write it without --fuzzy-mode, masks, name and table",
        ),
        ("--fuzzy-net 100", 2, "fuzzy: Bad value for \"--fuzzy-net\" option: \"100\""),
        ("--fuzzy-dst 9:10000001", 2, "write LOWER:UPPER, the packets a second"),
        ("--fuzzy-wide-net 0:9", 2, "\"--fuzzy-wide-net\" option: \"0:9\""),
        ("--fuzzy-dst 2:9", 1, "a lower limit of 2 and an upper limit of 9 packets a second"),
        ("--fuzzy-dst 9:9", 1, "a lower limit of 9 and an upper limit of 9 packets a second"),
        ("--fuzzy-net 5:6 --fuzzy-net 5:6", 2, "Can't specify --fuzzy-net twice"),
        ("! --fuzzy-unverified", 2, "Can't specify ! --fuzzy-unverified"),
    ] {
        let (is, report) = refused(&words(&format!("-A FORWARD -m fuzzy {options}")));
        assert!(is == status && report.contains(said), "{options}\n{report}");
    }
}

#[test]
fn unless_it_is_said_nets_may_have_so_many_sources_as_fast_as_one() {
    let rates = |lower_pps, upper_pps| FuzzyRates { lower_pps, upper_pps };
    let unsaid = FuzzyUnverified::default();
    let expected = [rates(80, 400), rates(320, 1600), rates(1280, 6400)];
    assert_eq!(unsaid.rates(rates(20, 100)), expected);
    let said = FuzzyUnverified { destination: Some(rates(9, 10)), ..unsaid.clone() };
    assert_eq!(said.rates(rates(20, 100))[2], rates(9, 10));
    let most = rates(9_999_999, 10_000_000);
    assert_eq!(unsaid.rates(most), [most; 3], "as far as rates go");
}
