//! A line of a saved rule set, cut into words.

use crate::ruleset::Counters;

/// What `strtok(line, " \t\n")` gives.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n']).filter(|word| !word.is_empty())
}

/// `[PACKETS:BYTES`, of which the beginning counts that `sscanf` reads.
pub(super) fn policy_counters(text: &str) -> Option<Counters> {
    let (packets, bytes) = text.strip_prefix('[')?.split_once(':')?;
    let packets = packets.parse().ok()?;
    let digits = bytes.find(|c: char| !c.is_ascii_digit()).unwrap_or(bytes.len());
    Some(Counters { packets, bytes: bytes[..digits].parse().ok()? })
}

/// Packets and bytes as they stand before a rule.
type CounterWords<'a> = (&'a str, &'a str);

/// `[PACKETS:BYTES]` at the beginning of a line, if it is there, and what follows; or the character
/// that is missing.
pub(super) fn rule_counters(text: &str) -> Result<(Option<CounterWords<'_>>, &str), char> {
    let Some(inside) = text.strip_prefix('[') else { return Ok((None, text)) };
    let (inside, rest) = inside.split_once(']').ok_or(']')?;
    let (packets, bytes) = inside.split_once(':').ok_or(']')?;
    if packets.is_empty() {
        return Err(':');
    }
    if bytes.is_empty() {
        return Err(']');
    }
    Ok((Some((packets, bytes)), rest))
}

/// The words of a command line. Blanks, tabs and the end of the line separate; double quotes join,
/// wherever they open, and where they close the word ends; a backslash inside of them takes the next
/// character as it is (`add_param_to_argv`, iptables/xshared.c).
pub(super) fn arguments(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match (quoted, escaped, c) {
            (true, true, _) => {
                word.push(c);
                escaped = false;
            }
            (true, false, '\\') => escaped = true,
            (true, false, '"') => {
                quoted = false;
                arguments.push(std::mem::take(&mut word));
            }
            (false, _, '"') => quoted = true,
            (false, _, ' ' | '\t' | '\n') if word.is_empty() => {}
            (false, _, ' ' | '\t' | '\n') => arguments.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        arguments.push(word);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_join_and_end_words() {
        for (text, expected) in [
            ("-A FORWARD\n", &["-A", "FORWARD"][..]),
            ("\t-A\t \"a b\"  x\n", &["-A", "a b", "x"]),
            ("\"a \\\" b\" \"c\\\\d\" e\\f", &["a \" b", "c\\d", "e\\f"]),
            ("t\"c\"p", &["tc", "p"]),
            ("\"\" x", &["", "x"]),
            ("\"abc\n", &["abc\n"]),
            ("\n", &[]),
        ] {
            assert_eq!(arguments(text), expected, "{text:?}");
        }
    }

    #[test]
    fn counters_come_before_a_rule() {
        assert_eq!(rule_counters("[1:2] -A x"), Ok((Some(("1", "2")), " -A x")));
        assert_eq!(rule_counters("[1:2]-A x"), Ok((Some(("1", "2")), "-A x")));
        assert_eq!(rule_counters("-A x"), Ok((None, "-A x")));
        assert_eq!(rule_counters("[1:2 -A x"), Err(']'));
        assert_eq!(rule_counters("[1] -A x"), Err(']'));
        assert_eq!(rule_counters("[:2] -A x"), Err(':'));
    }

    #[test]
    fn counters_of_policies_need_no_end() {
        let some = |packets, bytes| Some(Counters { packets, bytes });
        assert_eq!(policy_counters("[7:8]"), some(7, 8));
        assert_eq!(policy_counters("[7:8"), some(7, 8));
        assert_eq!(policy_counters("[x:8]"), None);
        assert_eq!(policy_counters("7:8"), None);
    }
}
