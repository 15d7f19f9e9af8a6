//! A saved file of sets. Entries that are taken must, written as they travel, be read as the same.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use weir_control::rule::Names;
use weir_control::set::{Entry, SetCommand, restore};

fuzz_target!(|text: &[u8]| {
    let names = Names::builtin();
    let plan = match restore::read(text, false, &names, &|_| None) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.report().is_empty());
            return;
        }
    };
    let mut forms = BTreeMap::new();
    for change in &plan.changes {
        match &change.command {
            SetCommand::Create { name, spec } => {
                forms.insert(name.clone(), spec.form());
            }
            SetCommand::Add { name, entries } => {
                // Sets may have changed their names meanwhile; then nothing is known of them.
                let Some(form) = forms.get(name) else { continue };
                for wire in entries {
                    let Ok(entry) = Entry::from_wire(*form, wire) else { continue };
                    assert_eq!(entry.to_wire(), *wire);
                    assert!(!entry.print(&names).contains('\n'), "{wire:?}");
                }
            }
            SetCommand::Rename { .. } | SetCommand::Swap { .. } => forms.clear(),
            _ => {}
        }
    }
});
