//! Routing rules: whether Weir forwards as they say.
//!
//! Weir follows those that every namespace starts with, `0: local`, `32766: main` and (IPv4) `32767: default`. Rules
//! for `iif lo` do not matter: they hold for what the machine itself sends. That does not pass through Weir, or does
//! so by a rule of this kind (`crate::host`).

use super::fib::TABLE_DEFAULT;

/// A routing rule, as far as needed to tell whether Weir follows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) priority: u32,
    /// The table it looks into, when that is all it does for every packet.
    pub(crate) plain_table: Option<u32>,
    /// It concerns only what the machine itself sends (`iif lo`).
    pub(crate) own_traffic_only: bool,
}

/// The first deviation of `rules`, sorted, from what Weir follows, in words.
/// `tables` are those that the defaults look into.
pub(crate) fn unsupported(rules: &[Rule], tables: &[u32]) -> Option<String> {
    let mut tables = tables.iter().copied();
    for rule in rules.iter().filter(|rule| !rule.own_traffic_only) {
        if rule.plain_table.is_none() || rule.plain_table != tables.next() {
            return Some(format!("rule {} is not one of the defaults", rule.priority));
        }
    }
    // Without `default`, which is almost always empty, the others still go in their order.
    let missing = tables.next().filter(|&table| table != TABLE_DEFAULT)?;
    Some(format!("no rule looks into table {missing}"))
}

#[cfg(test)]
mod tests {
    use super::super::fib::{TABLE_LOCAL, TABLE_MAIN};
    use super::*;

    fn rule(priority: u32, plain_table: Option<u32>, own_traffic_only: bool) -> Rule {
        Rule { priority, plain_table, own_traffic_only }
    }

    #[test]
    fn only_the_defaults_and_own_traffic_are_supported() {
        let local = rule(0, Some(TABLE_LOCAL), false);
        let main = rule(32_766, Some(TABLE_MAIN), false);
        let default = rule(32_767, Some(TABLE_DEFAULT), false);
        let of_port = rule(500, None, false);
        let own = rule(500, None, true);
        let other = rule(500, Some(100), false);
        let late = rule(40_000, Some(TABLE_MAIN), false);
        let not_default =
            |priority: u32| Some(format!("rule {priority} is not one of the defaults"));
        let cases: [(&[&Rule], Option<String>); 8] = [
            (&[&local, &main, &default], None),
            (&[&local, &main], None),
            (&[&local, &own, &main, &default], None),
            (&[&local, &of_port, &main, &default], not_default(500)),
            (&[&local, &other, &main, &default], not_default(500)),
            (&[&local, &main, &default, &late], not_default(40_000)),
            (&[&main, &default], not_default(32_766)),
            (&[&local], Some("no rule looks into table 254".into())),
        ];
        for (rules, expected) in cases {
            let rules: Vec<_> = rules.iter().map(|&rule| rule.clone()).collect();
            let tables = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT];
            assert_eq!(unsupported(&rules, &tables), expected, "{rules:?}");
        }
        let rules = [local, main, default];
        assert_eq!(unsupported(&rules[..2], &[TABLE_LOCAL, TABLE_MAIN]), None, "IPv6");
        assert_eq!(unsupported(&rules, &[TABLE_LOCAL, TABLE_MAIN]), not_default(32_767));
    }
}
