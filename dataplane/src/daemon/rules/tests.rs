//! What the rules in force keep to, whatever becomes of a change.

use weir_control::restore::{Options, read};
use weir_control::rule::Names;

use super::*;

fn transaction(chain_rules: &str) -> Transaction {
    let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{chain_rules}COMMIT\n");
    let plan = read(text.as_bytes(), &Options::default(), &Names::builtin(), Vec::new);
    plan.expect("right").tables.remove(0).transaction
}

fn ids(rules: &Rules) -> Vec<u64> {
    let chains = rules.v4.ruleset.chains().iter();
    chains.flat_map(|chain| &chain.rules).map(|entry| entry.id.0).collect()
}

/// The compiler knows rules, counters and classifiers by the ids of rules.
#[test]
fn ids_of_a_change_that_came_to_nothing_are_not_given_again() {
    let mut rules = Rules::new(1, vec!["eth0".to_owned()], ruleset::Policy::Accept);
    let three = transaction(&"-A FORWARD -j DROP\n".repeat(3));
    rules.carry_out_all(Family::V4, &three, true, None).expect("it could be");
    assert_eq!(ids(&rules), [0; 0]);
    rules.carry_out_all(Family::V4, &three, false, None).expect("done");
    assert_eq!(ids(&rules), [4, 5, 6]);
    // Flows are not counted here.
    let refused = transaction(
        "-A FORWARD -j ACCEPT\n-A FORWARD -m connbytes --connbytes 1 --connbytes-mode bytes --connbytes-dir both\n",
    );
    rules.carry_out_all(Family::V4, &refused, false, None).expect_err("not counted");
    assert_eq!(ids(&rules), [4, 5, 6]);
    rules.carry_out_all(Family::V4, &three, false, None).expect("done");
    assert_eq!(ids(&rules), [9, 10, 11]);
}
