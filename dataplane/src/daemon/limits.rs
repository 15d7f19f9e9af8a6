//! What rules that limit keep, for whoever asks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use weir_control::command::ChainName;
use weir_control::protocol::{LIMIT_KEYS_MAX, LimitKey, LimitPushed, LimitReport, Reply};
use weir_control::rule::{self, Family, Match, Names, Rule};

use super::push_down::PushDowns;
use super::rules::{Rules, Side};
use crate::early_drop::Ineligible;
use crate::limit::fuzzy::{Controller, Controllers, Reading, Window};
use crate::limit::hashlimit::Accounts;
use crate::limit::jiffies;
use crate::limit::key::{ByFamily, KeySpec, Parts};
use crate::limit::table::Seen;
use crate::limit::tokens::Bucket;
use crate::limit::unverified::{Circle, Unverified};
use crate::limit::verified::{VERIFIED, Verified};
use crate::policy::{FUZZY, HASHLIMIT};

/// Why nothing is dropped early.
const SWITCHED_OFF: &str = "limiter = false in [early_drop] of the configuration";

/// The most held back first.
type Order = (u32, Reverse<u32>);

impl Rules {
    /// What the rules of both families keep, with so many keys of each.
    #[must_use]
    pub fn list_limits(&self, top: usize) -> Reply {
        let now = jiffies(u64::try_from(self.clock().elapsed().as_nanos()).unwrap_or(u64::MAX));
        let top = top.min(LIMIT_KEYS_MAX);
        let mut reports = Vec::new();
        for side in &self.sides {
            reports.extend(own(side, self.push_downs.as_ref(), now, top));
        }
        // All compilers share them.
        let tables = self.sides[0].compiler.kept().tables();
        for (key, accounts) in tables.all_of::<Accounts>(HASHLIMIT) {
            let settings = Match::Hashlimit(Box::new(accounts.asked().clone()));
            let empty = report((key.family, HASHLIMIT), Some(key.name), words_of(settings));
            reports.push(of_accounts(&accounts, empty, now, top));
        }
        for (key, controllers) in tables.all_of::<Controllers>(FUZZY) {
            let settings = Match::Fuzzy(controllers.asked().clone());
            let empty = report((key.family, FUZZY), Some(key.name), words_of(settings));
            let why_not = Some(Ineligible::Name.to_string());
            let pushed = Some(LimitPushed { sources: 0, why_not });
            let empty = LimitReport { pushed, ..empty };
            reports.push(of_controllers(&controllers, empty, now, top));
        }
        for (key, verified) in tables.all_of::<Verified>(VERIFIED) {
            let (keys, keys_max) = verified.count(now);
            let settings = "sources that have completed a handshake, for --fuzzy-unverified";
            let empty = report((key.family, VERIFIED), None, settings.to_owned());
            let (keys, keys_max) = (keys as u64, Some(keys_max as u64));
            reports.push(LimitReport { keys, keys_max, ..empty });
        }
        Reply::Limits(reports)
    }
}

/// What rules keep for themselves.
fn own(side: &Side, push_downs: Option<&PushDowns>, now: u64, top: usize) -> Vec<LimitReport> {
    let (family, kept) = (side.ruleset.family(), side.compiler.kept());
    let table = match side.ruleset.table() {
        rule::Table::Filter => "",
        rule::Table::Raw => "-t raw ",
    };
    let begin = |of, chain: &ChainName, rule: &Arc<Rule>| {
        let words = rule.arguments(&Names::builtin()).join(" ");
        report((Some(family), of), None, format!("{table}-A {chain} {words}"))
    };
    let all = |rate_pps, percent| LimitKey { key: "all".to_owned(), rate_pps, percent };
    let buckets = kept.all_of::<Bucket>().map(|(chain, rule, bucket)| {
        let percent = bucket.credit(now).saturating_mul(100) / bucket.rate().size.max(1);
        let one = all(None, u32::try_from(percent).unwrap_or(100));
        LimitReport { top: vec![one], ..begin("limit", chain, rule) }
    });
    let controllers = kept.all_of::<Controller>().map(|(chain, rule, controller)| {
        let Reading { rate_pps, share_percent } = controller.read(now);
        LimitReport { top: vec![all(Some(rate_pps), share_percent)], ..begin(FUZZY, chain, rule) }
    });
    let keyed = kept.all_of::<Controllers>().map(|(chain, rule, controllers)| {
        let pushed = match push_downs {
            Some(push_downs) => push_downs.told(&controllers),
            None => Some(LimitPushed { sources: 0, why_not: Some(SWITCHED_OFF.to_owned()) }),
        };
        let empty = LimitReport { pushed, ..begin(FUZZY, chain, rule) };
        of_controllers(&controllers, empty, now, top)
    });
    let unverified = kept.all_of::<Unverified>().map(|(chain, rule, unverified)| {
        of_unverified(&unverified, begin(FUZZY, chain, rule), now, top)
    });
    buckets.chain(controllers).chain(keyed).chain(unverified).collect()
}

/// Nothing yet.
fn report(
    (family, of): (Option<Family>, &str),
    name: Option<String>,
    settings: String,
) -> LimitReport {
    let family = family.unwrap_or(Family::V4);
    LimitReport {
        family,
        of: of.to_owned(),
        name,
        settings,
        keys_max: None,
        keys: 0,
        top: Vec::new(),
        pushed: None,
    }
}

/// A match as a rule says it.
fn words_of(asked: Match) -> String {
    let rule = Rule { matches: vec![asked], ..Rule::default() };
    rule.arguments(&Names::builtin()).join(" ")
}

fn of_controllers(
    controllers: &Controllers,
    empty: LimitReport,
    now: u64,
    top: usize,
) -> LimitReport {
    let bounds = controllers.bounds();
    let read = |window: &Window, age| {
        let Reading { rate_pps, share_percent } = window.read(bounds, age);
        (Some(rate_pps), share_percent)
    };
    match controllers.table() {
        ByFamily::V4(table) => {
            of_table(table.entries(now), table.keys_max(), (controllers.spec(), empty, top), read)
        }
        ByFamily::V6(table) => {
            of_table(table.entries(now), table.keys_max(), (controllers.spec(), empty, top), read)
        }
    }
}

/// Verified sources, and among them what circles of others have come to.
fn of_unverified(unverified: &Unverified, empty: LimitReport, now: u64, top: usize) -> LimitReport {
    let mut report = of_controllers(unverified.verified(), empty, now, top);
    for circle in Circle::ALL {
        let named = unverified.circle(circle).named(now);
        report.top.extend(named.map(|(key, reading)| LimitKey {
            key: circle.text(unverified.family(), key),
            rate_pps: Some(reading.rate_pps),
            percent: reading.share_percent,
        }));
    }
    report.top.sort_by_key(|key| (key.percent, Reverse(key.rate_pps)));
    report.top.truncate(top);
    report
}

fn of_accounts(accounts: &Accounts, empty: LimitReport, now: u64, top: usize) -> LimitReport {
    let tariff = accounts.tariff();
    let read =
        |account: &crate::limit::hashlimit::Account, age| (None, account.left_percent(tariff, age));
    match accounts.table() {
        ByFamily::V4(table) => {
            of_table(table.entries(now), table.keys_max(), (accounts.spec(), empty, top), read)
        }
        ByFamily::V6(table) => {
            of_table(table.entries(now), table.keys_max(), (accounts.spec(), empty, top), read)
        }
    }
}

/// All keys of a table, of which those are told that are held back most.
fn of_table<K, S>(
    entries: impl Iterator<Item = Seen<K, S>>,
    keys_max: usize,
    (spec, empty, top): (&KeySpec, LimitReport, usize),
    read: impl Fn(&S, u32) -> (Option<u32>, u32),
) -> LimitReport
where
    K: Parts + Ord,
{
    let (mut keys, mut most) = (0, BinaryHeap::<(Order, K)>::new());
    for entry in entries {
        keys += 1;
        let (rate_pps, percent) = read(&entry.state, entry.age);
        most.push(((percent, Reverse(rate_pps.unwrap_or(0))), entry.key));
        if most.len() > top {
            most.pop();
        }
    }
    let rates = matches!(empty.of.as_str(), FUZZY);
    let told = most.into_sorted_vec().into_iter().map(|((percent, Reverse(rate)), key)| LimitKey {
        key: spec.text(&key),
        rate_pps: rates.then_some(rate),
        percent,
    });
    LimitReport { keys_max: Some(keys_max as u64), keys, top: told.collect(), ..empty }
}

#[cfg(test)]
mod tests {
    use weir_control::rule::FuzzyMatch;

    use super::*;

    #[test]
    fn settings_are_told_as_rules_say_them() {
        let fuzzy = words_of(Match::Fuzzy(FuzzyMatch::default()));
        assert_eq!(fuzzy, "-m fuzzy --lower-limit 1000 --upper-limit 2000");
        assert_eq!(words_of(Match::Hashlimit(Box::default())), "-m hashlimit");
    }
}
