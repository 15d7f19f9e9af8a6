//! A saved rule set. What is taken must, carried out and saved, be read and saved as the same text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_control::list::{SaveFormat, save};
use weir_control::protocol::Listing;
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names, Table};
use weir_control::ruleset::{CounterTable, Ruleset};

fuzz_target!(|text: &[u8]| {
    let names = Names::builtin();
    for family in Family::ALL {
        let options = Options { family, ..Options::default() };
        let chains = |table: Table| {
            let names = table.built_in().iter();
            names.map(|name| name.parse().expect("a chain's name")).collect()
        };
        let restored = |text: &[u8]| {
            let plan = match read(text, &options, &names, chains) {
                Ok(plan) => plan,
                Err(error) => {
                    assert!(!error.report().is_empty());
                    return None;
                }
            };
            let mut tables =
                [Ruleset::raw_with_host_chains(family), Ruleset::with_host_chains_of(family)];
            for planned in &plan.tables {
                let its = |rules: &&mut Ruleset| rules.table() == planned.transaction.table;
                let rules = tables.iter_mut().find(its).expect("there is one of each");
                rules.apply_all(&planned.transaction).ok()?;
            }
            Some(tables)
        };
        let Some(rules) = restored(text) else { continue };
        let saved = |tables: &[Ruleset; 2]| {
            let save = |rules: &Ruleset| {
                let (ruleset, counters) = (rules.clone(), CounterTable::default());
                let format = SaveFormat { counters: false, date: String::new() };
                save(&Listing { ruleset, counters }, &format, &names)
            };
            tables.each_ref().map(save).concat()
        };
        let first = saved(&rules);
        let again = restored(first.as_bytes()).unwrap_or_else(|| panic!("not read again: {first}"));
        assert_eq!(saved(&again), first);
    }
});
