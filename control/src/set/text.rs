//! A line cut into words, as `ipset restore` does it: double quotes join, and nothing is escaped.

use super::error::SetLineErrorKind;

/// The words of a line.
pub(super) fn words(text: &str) -> Result<Vec<String>, SetLineErrorKind> {
    let (mut words, mut word) = (Vec::new(), None);
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' | '\t' | '\n' | '\r' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_with(String::new).push(c),
        }
    }
    if quoted {
        return Err(SetLineErrorKind::QuoteOpen);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_join_words() {
        let cut = |text: &str| words(text).expect("closed");
        assert_eq!(cut("  add a \t1.1.1.1\n"), ["add", "a", "1.1.1.1"]);
        assert_eq!(cut("comment \"a b\" \"\" x\\y"), ["comment", "a b", "", "x\\y"]);
        assert_eq!(words("comment \"a b"), Err(SetLineErrorKind::QuoteOpen));
    }
}
