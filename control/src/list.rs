//! `-L` and `-S`: a rule set as text, byte for byte as iptables 1.8 prints it.
//!
//! Two differences are on purpose. Addresses are always digits: a listing must not wait for name
//! servers (`iptables -L` without `-n` does). And the two conditions that match nothing keep
//! their `!` in `-S` (see [`Rule::arguments`]).

use std::fmt::Write;

use crate::command::{ListFormat, Selection};
use crate::protocol::Listing;
use crate::rule::{InterfacePattern, Ipv4Net, ListedLine, Names, Negatable, Protocol, Rule};
use crate::ruleset::{Chain, CounterTable, Counters};

/// What `-S` prints: for each chain its policy, then the rules, as command lines. With one rule
/// selected, that rule alone.
pub fn list_rules(
    listing: &Listing,
    selection: &Selection,
    counters: bool,
    names: &Names,
) -> String {
    let mut text = String::new();
    let chains = || selected(listing, selection);
    if selection.number.is_none() {
        for chain in chains() {
            let policy = listing.counters.policy(&chain.name);
            let suffix = if counters { counter_words(policy) } else { String::new() };
            line(&mut text, format_args!("-P {} {}{suffix}", chain.name, chain.policy.name()));
        }
    }
    for chain in chains() {
        for (_, entry) in numbered(chain, selection) {
            let mut words = vec!["-A".to_owned(), chain.name.to_string()];
            words.extend(entry.rule.condition_words(names));
            let suffix = match counters {
                true => counter_words(listing.counters.rule(entry.id)),
                false => String::new(),
            };
            let target = entry.rule.target_arguments().join(" ");
            let blank = if target.is_empty() { "" } else { " " };
            line(&mut text, format_args!("{}{suffix}{blank}{target}", words.join(" ")));
        }
    }
    text
}

/// What `-L` prints. With one rule selected, its line alone, without headings.
pub fn list(listing: &Listing, selection: &Selection, format: ListFormat, names: &Names) -> String {
    let mut text = String::new();
    for (index, chain) in selected(listing, selection).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        if selection.number.is_none() {
            headings(&mut text, chain, &listing.counters, format);
        }
        for (number, entry) in numbered(chain, selection) {
            if format.line_numbers {
                push(&mut text, format_args!("{number:<4} "));
            }
            if format.verbose {
                let Counters { packets, bytes } = listing.counters.rule(entry.id);
                for count in [packets, bytes] {
                    let width = if format.exact { 8 } else { 5 };
                    push(&mut text, format_args!("{:>width$} ", abbreviated(count, format.exact)));
                }
            }
            table_row(&mut text, &entry.rule, format, names);
        }
    }
    text
}

/// What `-v` with `-A`, `-I`, `-D`, `-R` or `-C` prints for each rule of the command.
pub fn echo(rule: &Rule) -> String {
    let target = rule.target.as_ref().map_or("", |target| target.name());
    let protocol = rule.protocol.unwrap_or(Negatable::is(Protocol::ALL));
    let name = Names::builtin_protocol_name(protocol.value)
        .map_or_else(|| protocol.value.0.to_string(), str::to_owned);
    let mut text = String::new();
    push(&mut text, format_args!("{target} {}{name} opt -- ", mark(protocol.negated, " ")));
    let (inside, outside) = (rule.in_interface.as_ref(), rule.out_interface.as_ref());
    push(
        &mut text,
        format_args!("in {} out {} ", interface(inside, true), interface(outside, true)),
    );
    let (source, destination) = (rule.source.as_ref(), rule.destination.as_ref());
    push(&mut text, format_args!("{}{} ", negation(source), address(source, true)));
    push(&mut text, format_args!("{}-> {}  ", negation(destination), address(destination, true)));
    matches(&mut text, rule, true, &Names::builtin());
    text.push('\n');
    text
}

fn selected<'a>(listing: &'a Listing, selection: &'a Selection) -> impl Iterator<Item = &'a Chain> {
    let wanted = |chain: &&Chain| selection.chain.as_ref().is_none_or(|name| chain.name == *name);
    listing.ruleset.chains().iter().filter(wanted)
}

/// The selected rules with their numbers, from 1.
fn numbered<'a>(
    chain: &'a Chain,
    selection: &Selection,
) -> impl Iterator<Item = (u32, &'a crate::ruleset::Entry)> {
    let wanted = selection.number;
    (1..).zip(&chain.rules).filter(move |(number, _)| wanted.is_none_or(|n| n == *number))
}

/// Writing to a `String` cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    push(text, arguments);
    text.push('\n');
}

fn counter_words(Counters { packets, bytes }: Counters) -> String {
    format!(" -c {packets} {bytes}")
}

/// A count in at most five characters, rounded: 99999, 100K, 9999K, 10M … as libxtables does it.
fn abbreviated(count: u64, exact: bool) -> String {
    if exact || count <= 99_999 {
        return count.to_string();
    }
    let mut rest = count;
    for unit in ['K', 'M', 'G'] {
        // Like libxtables, which wraps at the top of the range: that far no counter gets.
        rest = rest.wrapping_add(500) / 1_000;
        if rest <= 9_999 {
            return format!("{rest}{unit}");
        }
    }
    format!("{}T", rest.wrapping_add(500) / 1_000)
}

fn headings(text: &mut String, chain: &Chain, counters: &CounterTable, format: ListFormat) {
    push(text, format_args!("Chain {} (policy {}", chain.name, chain.policy.name()));
    if format.verbose {
        let Counters { packets, bytes } = counters.policy(&chain.name);
        let (packets, bytes) =
            (abbreviated(packets, format.exact), abbreviated(bytes, format.exact));
        push(text, format_args!(" {packets} packets, {bytes} bytes"));
    }
    text.push_str(")\n");
    if format.line_numbers {
        push(text, format_args!("{:<4} ", "num"));
    }
    if format.verbose {
        match format.exact {
            true => push(text, format_args!("{:>8} {:>10} ", "pkts", "bytes")),
            false => push(text, format_args!("{:>5} {:>5} ", "pkts", "bytes")),
        }
    }
    push(text, format_args!("{:<9}  prot opt", "target"));
    if format.verbose {
        push(text, format_args!(" {:<6} {:<6} ", "in", "out"));
    }
    push(text, format_args!(" {:<19}  {:<19} \n", "source", "destination"));
}

fn table_row(text: &mut String, rule: &Rule, format: ListFormat, names: &Names) {
    let target = rule.target.as_ref().map_or("", |target| target.name());
    let protocol = rule.protocol.unwrap_or(Negatable::is(Protocol::ALL));
    let name = match names.protocol_name(protocol.value) {
        Some(name) if !format.numeric => name.to_owned(),
        _ => protocol.value.0.to_string(),
    };
    push(text, format_args!("{target:<9} {}{name:<4} -- ", mark(protocol.negated, " ")));
    if format.verbose {
        let inside = interface(rule.in_interface.as_ref(), format.numeric);
        let outside = interface(rule.out_interface.as_ref(), format.numeric);
        push(text, format_args!(" {inside:<6} {outside:<6} "));
    }
    for net in [rule.source.as_ref(), rule.destination.as_ref()] {
        push(text, format_args!("{}{:<19} ", negation(net), address(net, format.numeric)));
    }
    matches(text, rule, format.numeric, names);
    text.push('\n');
}

fn mark(negated: bool, otherwise: &'static str) -> &'static str {
    if negated { "!" } else { otherwise }
}

fn negation<T>(condition: Option<&Negatable<T>>) -> &'static str {
    mark(condition.is_some_and(|condition| condition.negated), " ")
}

fn interface(condition: Option<&Negatable<InterfacePattern>>, numeric: bool) -> String {
    match condition {
        None if numeric => "*".to_owned(),
        None => "any".to_owned(),
        Some(Negatable { value, negated }) => format!("{}{value}", mark(*negated, "")),
    }
}

fn address(condition: Option<&Negatable<Ipv4Net>>, numeric: bool) -> String {
    let net = condition.map_or(Ipv4Net::ALL, |condition| condition.value);
    if !numeric && net.prefix_len() == Some(0) {
        return "anywhere".to_owned();
    }
    net.to_listing()
}

fn matches(text: &mut String, rule: &Rule, numeric: bool, names: &Names) {
    let mut line = ListedLine { text, numeric, names };
    rule.matches.iter().for_each(|extension| extension.extension().list(&mut line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_abbreviated_like_libxtables() {
        // From `iptables -A FORWARD -c …` and `-L -v` of 1.8.9, the wrap at the end included.
        for (count, text) in [
            (99_999, "99999"),
            (100_000, "100K"),
            (100_499, "100K"),
            (100_500, "101K"),
            (9_999_499, "9999K"),
            (9_999_500, "10M"),
            (9_999_499_999, "10G"),
            (9_999_500_000, "10G"),
            (9_999_499_999_999, "10T"),
            (u64::MAX, "0K"),
        ] {
            assert_eq!(abbreviated(count, false), text);
            assert_eq!(abbreviated(count, true), count.to_string());
        }
    }
}
