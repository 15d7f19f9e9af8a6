//! iptables words to commands, by the parser that operators use.

use weir_control::command::{Command, Parsed, parse};
use weir_control::rule::Names;

/// The command of a line without the word `iptables` before it.
pub(crate) fn command(line: &str) -> Command {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match parse(&words, &Names::builtin()) {
        Ok(Parsed::Command(line)) => line.command,
        Ok(other) => panic!("{line}: {other:?} is no command"),
        Err(error) => panic!("{}", error.report()),
    }
}
