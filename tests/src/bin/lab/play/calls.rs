//! Connections that are begun, one after the other.

use weir_tests::sniff::PYTHON;
use weir_tests::{Result, process};

use super::{Check, Player, RULE_MAX, prompt, unreadable};
use crate::exercise::Host;

/// Calls port 80 of an address from another, so many times; prints which calls were answered. One that is not sends
/// a single packet: it is given up before the kernel would repeat it, after a second.
const SCRIPT: &str = "
import socket, sys, time
source, destination, tried = sys.argv[1], sys.argv[2], int(sys.argv[3])
answered = []
for call in range(tried):
    with socket.socket() as caller:
        caller.bind((source, 0))
        caller.settimeout(0.9)
        try:
            caller.connect((destination, 80))
            answered.append(call)
        except OSError:
            pass
    time.sleep(0.02)
print(*answered)
";

impl Player<'_> {
    pub(super) fn calls(
        &mut self,
        (from, to): (&str, &str),
        tried: u64,
        answered: u64,
    ) -> Result<Check> {
        let did = format!("{tried} calls from {from} to {to}, port 80");
        self.say(prompt(Host::Alice), &format!("call {from} {to} {tried}"));
        let mut command = self.lab.alice.command(PYTHON);
        command.args(["-c", SCRIPT, from, to, &tried.to_string()]);
        let text = self.console.working(&did, || process::run(command, RULE_MAX))?;
        let calls: Option<Vec<u64>> =
            text.split_whitespace().map(|call| call.parse().ok()).collect();
        let calls = calls.ok_or_else(|| unreadable("the calls", &text))?;
        let count = calls.len() as u64;
        self.lost += tried - count;
        let expected = match answered {
            all if all == tried => "all are answered".to_owned(),
            some => format!("the first {some} are answered, no more"),
        };
        Ok(Check {
            did,
            expected,
            saw: format!("{count} of {tried} answered"),
            expected_brief: format!("{answered} calls"),
            saw_brief: format!("{count} calls"),
            ok: calls.iter().copied().eq(0..answered),
        })
    }
}
