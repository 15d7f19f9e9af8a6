//! A command line of iptables or ip6tables, its words apart by newlines. What is taken must, printed, be read as the
//! same; what is refused must say where.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_control::command::{Command, Context, Parsed, parse_in};
use weir_control::rule::{Family, Names};

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let names = Names::builtin();
    for family in Family::ALL {
        let context = || Context { is_chain: &|_, _| true, ..Context::of(family, &names) };
        let line = match parse_in(&words, context()) {
            Ok(Parsed::Command(line)) => line,
            Ok(_) => continue,
            Err(error) => {
                assert!(!error.report().is_empty());
                let position = error.position.map(|position| position.argument);
                assert!(position.is_none_or(|argument| argument <= words.len()));
                continue;
            }
        };
        // `-4` and `-6` choose the family themselves.
        let (family, Command::Append { chain, rules, .. }) = (line.family, line.command) else {
            continue;
        };
        for rule in rules {
            let mut again = vec!["-A".to_owned(), chain.to_string()];
            again.extend(rule.arguments(&names));
            let context = Context { is_chain: &|_, _| true, ..Context::of(family, &names) };
            match parse_in(&again, context) {
                Ok(Parsed::Command(line)) => match line.command {
                    Command::Append { rules, .. } => assert_eq!(rules, [rule], "{again:?}"),
                    other => panic!("{again:?} is {other:?}"),
                },
                other => panic!("{again:?} is {other:?}"),
            }
        }
    }
});
