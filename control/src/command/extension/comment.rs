//! `-m comment` (extensions/libxt_comment.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::{ExtensionKey, Given, Row};
use crate::rule::{COMMENT_BYTES_MAX, CommentMatch};

pub(super) const OPTIONS: [Row; 1] = [("comment", Value::Required, ExtensionKey::Comment)];

/// As in iptables, what is too long is cut off; here between two characters.
pub(super) fn read<'a>(
    comment: &mut CommentMatch,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    if given.negated {
        let kind = ParseErrorKind::OptionNotNegatable { name: "comment", option: "comment" };
        return Err(Refusal::at(given.option, kind));
    }
    let text = given.value.text;
    let ends = (0..=COMMENT_BYTES_MAX.min(text.len())).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].clone_into(&mut comment.comment);
    Ok(())
}
