//! What must hold for every rule.

use std::sync::LazyLock;

use proptest::prelude::*;
use weir_control::command::{ChainName, Command, Context, Parsed, parse_in};
use weir_control::protocol::{Request, RequestBody};
use weir_control::rule::{Family, Names, Rule, Table};

use weir_control::ruleset::Counters;

use crate::generate;

static BUILTIN: LazyLock<Names> = LazyLock::new(Names::builtin);
static SYSTEM: LazyLock<Names> = LazyLock::new(Names::system);

fn appended(family: Family, words: &[String], names: &Names) -> Vec<Rule> {
    let mut arguments = vec!["-A".to_owned(), "FORWARD".to_owned()];
    arguments.extend_from_slice(words);
    let line =
        match parse_in(&arguments, Context::of(family, names)).map_err(|error| error.report()) {
            Ok(Parsed::Command(line)) => line,
            other => panic!("{arguments:?} is {other:?}"),
        };
    let header = |warning: &String| warning.starts_with("Warning: never matched protocol: ");
    assert!(line.warnings.iter().all(header), "{:?}", line.warnings);
    assert!(family == Family::V6 || line.warnings.is_empty());
    match line.command {
        Command::Append { rules, chain, counters: None } if chain == ChainName::forward() => rules,
        other => panic!("{arguments:?} is {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_printed_rule_parses_to_itself((family, rule) in any_rule()) {
        prop_assert_eq!(rule.validate(family, Table::Filter), Ok(()));
        for names in [&*BUILTIN, &*SYSTEM] {
            prop_assert_eq!(appended(family, &rule.arguments(names), names), vec![rule.clone()]);
        }
    }

    #[test]
    fn other_spellings_mean_the_same((family, rule) in any_rule(), style in any::<u32>()) {
        let words = generate::words(&rule, style, &BUILTIN);
        prop_assert_eq!(appended(family, &words, &BUILTIN), vec![rule]);
    }

    #[test]
    fn a_rule_survives_the_protocol((family, rule) in any_rule(), number in 1_u32..) {
        let command = Command::Insert {
            chain: ChainName::forward(),
            number,
            rules: vec![rule.clone(), rule],
            counters: Some(Counters { packets: 1, bytes: 60 }),
        };
        let request = Request::new(RequestBody::Iptables { family, table: Table::Filter, command, confirm_s: None });
        let json = serde_json::to_vec(&request).expect("serialises");
        prop_assert_eq!(Request::from_json(&json), Ok(request));
    }

    #[test]
    fn no_command_line_panics(words in prop::collection::vec(any_word(), 0..9)) {
        for family in Family::ALL {
            let Err(error) = parse_in(&words, Context::of(family, &BUILTIN)) else { continue };
            let report = error.report();
            prop_assert!(!report.is_empty());
            if let Some(position) = error.position {
                prop_assert!(position.argument <= words.len());
                let line = error.line.chars().count();
                prop_assert!(position.column + position.width <= line + 1, "{}", report);
            }
        }
    }
}

/// A rule of either family.
fn any_rule() -> impl Strategy<Value = (Family, Rule)> {
    let of = |family: Family| generate::rule(family).prop_map(move |rule| (family, rule));
    prop_oneof![of(Family::V4), of(Family::V6)]
}

/// Words that occur on command lines, and words that do not.
fn any_word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(crate::differential::vocabulary());
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => ".{0,6}", 1 => "-{1,2}[a-z=é']{0,6}"]
}
