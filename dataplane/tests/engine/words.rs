//! iptables words to commands, by the parser that operators use.

use weir_control::command::{Command, Context, Parsed, parse_in};
use weir_control::rule::{Family, Names, Table};

/// The command of a line without the word `iptables` before it.
pub(crate) fn command(line: &str) -> Command {
    command_of(Family::V4, Table::Filter, line)
}

/// The same, of iptables or ip6tables, about a table.
pub(crate) fn command_of(family: Family, table: Table, line: &str) -> Command {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let names = Names::builtin();
    // Whether there is such a chain is for the rule set to say.
    let context = Context { is_chain: &|_, _| true, family, table, ..Context::new(&names) };
    match parse_in(&words, context) {
        Ok(Parsed::Command(line)) => line.command,
        Ok(other) => panic!("{line}: {other:?} is no command"),
        Err(error) => panic!("{}", error.report()),
    }
}
