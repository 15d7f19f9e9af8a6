//! A source file as the rules see it: its text, and its text without what is not code.
//!
//! The rules look for words, so they must not find them where they mean nothing: in strings (this
//! test's own samples are strings) and, for rules about code, in comments. A small scanner blanks
//! these out and keeps every line break, so that line numbers stay.

/// A file under the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its text as it is.
    pub(crate) text: String,
    /// Rust only: the text, strings blanked out.
    pub(crate) prose: String,
    /// Rust only: the text, strings and comments blanked out.
    pub(crate) code: String,
}

impl Source {
    /// A file of this path and text. For other languages than Rust all three texts are the same.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (mut prose, mut code) = (text.to_owned(), text.to_owned());
        if path.ends_with(".rs") {
            (prose, code) = (blank(text, true), blank(text, false));
        }
        Self { path: path.to_owned(), text: text.to_owned(), prose, code }
    }

    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// What the scanner is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Code,
    LineComment,
    BlockComment {
        depth: u32,
    },
    /// A string; `hashes` is `Some` for a raw one.
    Text {
        hashes: Option<usize>,
    },
}

/// Blanks out strings and characters, and comments unless they are kept.
fn blank(text: &str, keep_comments: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut place = In::Code;
    let mut at = 0;
    while at < chars.len() {
        let (next, len) = step(&chars[at..], at.checked_sub(1).map(|before| chars[before]), place);
        let comment = |place| matches!(place, In::LineComment | In::BlockComment { .. });
        let kept = match (place, next) {
            (In::Code, In::Code) => len == 1,
            (from, to) => keep_comments && (comment(from) || comment(to)),
        };
        for &char in &chars[at..at + len] {
            out.push(if kept || char == '\n' { char } else { ' ' });
        }
        (place, at) = (next, at + len);
    }
    out
}

/// One step of the scanner: where it is then, and how many characters it took. In code, a step of
/// more than one character that stays in code is a character literal.
fn step(rest: &[char], before: Option<char>, place: In) -> (In, usize) {
    let starts = |text: &str| text.chars().enumerate().all(|(at, c)| rest.get(at) == Some(&c));
    match place {
        In::LineComment if rest[0] == '\n' => (In::Code, 1),
        In::LineComment => (In::LineComment, 1),
        In::BlockComment { depth } if starts("/*") => (In::BlockComment { depth: depth + 1 }, 2),
        In::BlockComment { depth: 1 } if starts("*/") => (In::Code, 2),
        In::BlockComment { depth } if starts("*/") => (In::BlockComment { depth: depth - 1 }, 2),
        In::BlockComment { .. } => (place, 1),
        In::Text { hashes: None } if rest[0] == '\\' => (place, rest.len().min(2)),
        In::Text { hashes: None } if rest[0] == '"' => (In::Code, 1),
        In::Text { hashes: Some(hashes) } if starts(&format!("\"{}", "#".repeat(hashes))) => {
            (In::Code, 1 + hashes)
        }
        In::Text { .. } => (place, 1),
        In::Code if starts("//") => (In::LineComment, 2),
        In::Code if starts("/*") => (In::BlockComment { depth: 1 }, 2),
        In::Code if rest[0] == '"' => (In::Text { hashes: None }, 1),
        In::Code if rest[0] == '\'' => (In::Code, char_literal(rest).unwrap_or(1)),
        In::Code => match raw_string(rest, before) {
            Some((hashes, len)) => (In::Text { hashes: Some(hashes) }, len),
            None => (In::Code, 1),
        },
    }
}

/// The length of a character literal; `None` for a lifetime.
fn char_literal(rest: &[char]) -> Option<usize> {
    if rest.get(1) == Some(&'\\') {
        // The escaped character itself may be a quote.
        let close = rest.iter().skip(3).position(|&c| c == '\'')?;
        return Some(close + 4);
    }
    (rest.get(2) == Some(&'\'')).then_some(3)
}

/// The hashes and the length of what opens a raw string: `r"`, `br##"`, …
fn raw_string(rest: &[char], before: Option<char>) -> Option<(usize, usize)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = match rest {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((hashes, prefix + hashes + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_told_from_code() {
        let text = r####"a("x // \" y", r#"z " q"#, 'c', '\'', b'"', '"')
/* b /* c */ d */ e<'f> // g
h"####;
        let source = Source::new("x.rs", text);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&source.code).join(" "), "a( , , , , b , ) e<'f> h");
        let prose = "a( , , , , b , ) /* b /* c */ d */ e<'f> // g h";
        assert_eq!(words(&source.prose).join(" "), prose);
        assert_eq!(source.code.lines().count(), 3);
        assert_eq!(source.code.chars().count(), text.chars().count());
    }
}
