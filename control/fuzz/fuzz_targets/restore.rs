//! A saved rule set. What is taken must, carried out and saved, be read and saved as the same text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_control::command::ChainName;
use weir_control::list::{SaveFormat, save};
use weir_control::protocol::Listing;
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names};
use weir_control::ruleset::{CounterTable, Ruleset};

fuzz_target!(|text: &[u8]| {
    let names = Names::builtin();
    for family in Family::ALL {
        let options = Options { family, ..Options::default() };
        let chains = || vec![ChainName::input(), ChainName::forward(), ChainName::output()];
        let restored = |text: &[u8]| {
            let plan = match read(text, &options, &names, chains) {
                Ok(plan) => plan,
                Err(error) => {
                    assert!(!error.report().is_empty());
                    return None;
                }
            };
            let mut rules = Ruleset::with_host_chains_of(family);
            for table in &plan.tables {
                rules.apply_all(&table.transaction).ok()?;
            }
            Some(rules)
        };
        let Some(rules) = restored(text) else { continue };
        let saved = |rules: &Ruleset| {
            let (ruleset, counters) = (rules.clone(), CounterTable::default());
            let format = SaveFormat { counters: false, date: String::new() };
            save(&Listing { ruleset, counters }, &format, &names)
        };
        let first = saved(&rules);
        let again = restored(first.as_bytes()).unwrap_or_else(|| panic!("not read again: {first}"));
        assert_eq!(saved(&again), first);
    }
});
