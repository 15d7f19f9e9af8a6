//! The rules. Each is a function from a file to what is wrong with it, and has a test that shows
//! that it can fail.

use crate::source::Source;

/// A rule for one file.
pub(crate) type Rule = fn(&Source) -> Vec<Finding>;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The line, from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

/// A file is shorter than this.
const FILE_LINES: usize = 500;

/// A function is shorter than this, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// A line is at most this long, in characters. Messages may be longer: a string is not cut for its looks.
const LINE_CHARS: usize = 120;

/// How near the top of a file, or above a function, the comment stands that excuses its length.
const EXCUSE_LINES: usize = 5;

/// The excuse for length. A reason follows.
const EXCUSE: &str = "// long: ";

/// Where unsafe code may be.
const UNSAFE_IN: &[&str] = &["dataplane/af-xdp/", "dataplane/src/frame.rs"];

/// Below the worker's loop: time and seeds are arguments here.
const PURE: &[&str] = &[
    "dataplane/src/batch.rs",
    "dataplane/src/capture/",
    "dataplane/src/conntrack/",
    "dataplane/src/frame.rs",
    "dataplane/src/limit/",
    "dataplane/src/pipeline.rs",
    "dataplane/src/policy/",
    "dataplane/src/respond/",
    "dataplane/src/route/forwarding.rs",
    "dataplane/src/route/table.rs",
    "dataplane/src/route/neighbour.rs",
    "dataplane/src/stage/",
    "dataplane/src/verdict.rs",
    "dataplane/src/wire/",
    "loadgen/src/users/",
];

/// All rules for one file.
pub(crate) const RULES: &[Rule] = &[
    short_file,
    short_functions,
    short_lines,
    unsafe_in_its_place,
    no_clock_below_the_loop,
    no_leftovers,
    no_blanket_allow,
    no_utils,
];

pub(crate) fn short_file(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let excused = source.text.lines().take(EXCUSE_LINES).any(is_excuse);
    if lines < FILE_LINES || excused {
        return Vec::new();
    }
    finding(0, format!("{lines} lines: divide it, or say why near the top ({EXCUSE}reason)"))
}

pub(crate) fn short_functions(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let too_long = functions(&source.code).into_iter().filter(|&(first, last)| {
        let above = first.saturating_sub(EXCUSE_LINES + 1);
        let excused = lines[above..last].iter().any(|line| is_excuse(line));
        last - first + 1 >= FUNCTION_LINES && !excused
    });
    let too_long = too_long.map(|(first, last)| Finding {
        line: first,
        what: format!("a function of {} lines: divide it, or {EXCUSE}reason", last - first + 1),
    });
    too_long.collect()
}

/// The first and last line of every function with a body, from 1.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        // A function without a body ends with a semicolon: in a trait, in a type. A semicolon in an
        // array's type stands in brackets.
        let mut nesting = 0_i32;
        let open = code[at..].char_indices().find(|&(_, c)| {
            nesting += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
            nesting < 0 || nesting == 0 && matches!(c, '{' | ';' | ',')
        });
        let Some((offset, '{')) = open else { continue };
        let mut depth = 0_i32;
        let close = code[at + offset..].char_indices().find(|&(_, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        let end = close.map_or(code.len(), |(length, _)| at + offset + length);
        found.push((line_of(code, at), line_of(code, end)));
    }
    found
}

pub(crate) fn short_lines(source: &Source) -> Vec<Finding> {
    let long = |(index, line): (usize, &str)| {
        let chars = line.chars().count();
        (chars > LINE_CHARS && !line.contains('"') && !line.ends_with('\\')).then(|| Finding {
            line: index + 1,
            what: format!("{chars} characters, {LINE_CHARS} are the most"),
        })
    };
    source.text.lines().enumerate().filter_map(long).collect()
}

pub(crate) fn unsafe_in_its_place(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || is_under(source, UNSAFE_IN) {
        return Vec::new();
    }
    at_words(source, "unsafe", "unsafe code lives in af-xdp and in frame.rs only")
}

pub(crate) fn no_clock_below_the_loop(source: &Source) -> Vec<Finding> {
    if !is_under(source, PURE) {
        return Vec::new();
    }
    let banned = ["Instant::now", "SystemTime", "rand::"];
    let what = |word| format!("{word} below the worker's loop: take now_ns or a seed as argument");
    banned.into_iter().flat_map(|word| at_words(source, word, &what(word))).collect()
}

pub(crate) fn no_leftovers(source: &Source) -> Vec<Finding> {
    // Divided, for this file is under the rule too.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found: Vec<Finding> = notes
        .into_iter()
        .flat_map(|note| words(&source.prose, note))
        .map(|at| Finding {
            line: line_of(&source.prose, at),
            what: "a note to oneself: do it, or open an issue".to_owned(),
        })
        .collect();
    found.extend(at_words(source, "dbg!", "a leftover of debugging"));
    found
}

pub(crate) fn no_blanket_allow(source: &Source) -> Vec<Finding> {
    let what = "expect the lint at the item it is about, with a reason";
    // Skeletons are generated: which lints they trip depends on the version of the generator.
    if source.path.ends_with("/skeleton.rs") {
        return Vec::new();
    }
    at_words(source, "#![allow", what)
}

pub(crate) fn no_utils(source: &Source) -> Vec<Finding> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    if ["util", "utils", "helper", "helpers", "common", "misc"].contains(&stem) {
        return finding(0, format!("{name} says nothing: name the concept"));
    }
    Vec::new()
}

/// One finding.
fn finding(line: usize, what: String) -> Vec<Finding> {
    vec![Finding { line, what }]
}

/// A finding for each place where the code has this word.
fn at_words(source: &Source, word: &str, what: &str) -> Vec<Finding> {
    let line = |at| line_of(&source.code, at);
    let places = words(&source.code, word).into_iter();
    places.map(|at| Finding { line: line(at), what: what.to_owned() }).collect()
}

/// Where a word stands, not as a part of a longer one.
fn words(text: &str, word: &str) -> Vec<usize> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let whole = |at: &usize| {
        let after = text[at + word.len()..].chars().next();
        let open_end = word.ends_with(|c: char| !c.is_alphanumeric());
        !part(text[..*at].chars().next_back()) && (open_end || !part(after))
    };
    text.match_indices(word).map(|(at, _)| at).filter(whole).collect()
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Whether a line excuses length, with a reason.
fn is_excuse(line: &str) -> bool {
    line.trim_start().strip_prefix(EXCUSE).is_some_and(|reason| !reason.trim().is_empty())
}

/// Whether the file is one of these, or in one of these folders.
fn is_under(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| source.path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines a rule complains about.
    fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    const NONE: [usize; 0] = [];

    #[test]
    fn long_files_are_found() {
        let text = "//! x\n".repeat(FILE_LINES);
        assert_eq!(lines(short_file, "a/b.rs", &text), [0]);
        assert_eq!(lines(short_file, "a/b.rs", &text[6..]), NONE);
        assert_eq!(lines(short_file, "a/b.rs", &format!("// long: a table\n{text}")), NONE);
        assert_eq!(lines(short_file, "a/b.rs", &format!("// long: \n{text}")), [0]);
    }

    #[test]
    fn long_functions_are_found() {
        let body = "    x();\n".repeat(FUNCTION_LINES - 2);
        let function = format!("fn a(b: [u8; 2]) -> u8 {{\n{body}}}\n");
        assert_eq!(lines(short_functions, "a.rs", &format!("\n\n{function}")), [3]);
        assert_eq!(lines(short_functions, "a.rs", &function.replacen("    x();\n", "", 1)), NONE);
        let excused = format!("// long: one table\n#[inline]\n{function}");
        assert_eq!(lines(short_functions, "a.rs", &excused), NONE);
        // One that only looks long: braces in strings, a trait's function, a type.
        let short = "fn a() {\n\"{\"\n}\ntrait T { fn b(&self); }\ntype F = fn(u8) -> u8;\n";
        assert_eq!(functions(&Source::new("a.rs", short).code), [(1, 3)]);
        let nested = "fn a() {\n    fn b() {\n    }\n}\n";
        assert_eq!(functions(nested), [(1, 4), (2, 3)]);
    }

    #[test]
    fn long_lines_are_found() {
        let line = "x".repeat(LINE_CHARS);
        assert_eq!(lines(short_lines, "a.py", &format!("{line}\n{line}y\n")), [2]);
        assert_eq!(lines(short_lines, "a.rs", &"─".repeat(LINE_CHARS)), NONE);
    }

    #[test]
    fn misplaced_unsafe_is_found() {
        let text = "// unsafe\nlet a = \"unsafe\";\nlet not_unsafe = 1;\nunsafe { x() }\n";
        assert_eq!(lines(unsafe_in_its_place, "dataplane/src/worker.rs", text), [4]);
        assert_eq!(lines(unsafe_in_its_place, "dataplane/src/frame.rs", text), NONE);
        assert_eq!(lines(unsafe_in_its_place, "dataplane/af-xdp/src/umem.rs", text), NONE);
    }

    #[test]
    fn clocks_and_dice_are_found() {
        let text = "// Instant::now\nlet t = Instant::now();\nuse std::time::SystemTime;\n\
                    rand::rng();\nmy_rand::x();\n";
        assert_eq!(lines(no_clock_below_the_loop, "dataplane/src/stage/route.rs", text), [2, 3, 4]);
        assert_eq!(lines(no_clock_below_the_loop, "dataplane/src/worker.rs", text), NONE);
    }

    #[test]
    fn leftovers_are_found() {
        let note = concat!("TO", "DO");
        let text = format!("// {note}: x\nlet a = \"{note}\";\nlet {note}S = 1;\ndbg!(a);\n");
        assert_eq!(lines(no_leftovers, "a.rs", &text), [1, 4]);
        assert_eq!(lines(no_leftovers, "a.py", &format!("# {note}\n")), [1]);
    }

    #[test]
    fn blanket_allows_are_found() {
        let text = "#![allow(dead_code)]\n// #![allow(dead_code)]\n#![expect(dead_code)]\n";
        assert_eq!(lines(no_blanket_allow, "a.rs", text), [1]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(lines(no_utils, "dataplane/src/utils.rs", ""), [0]);
        assert_eq!(lines(no_utils, "dataplane/src/batch.rs", ""), NONE);
    }
}
