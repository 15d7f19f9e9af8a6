//! Numbers as ipset reads them (`string_to_number_ll`, lib/parse.c): decimal, `0x…`, `0…`.

use super::error::SetLineErrorKind;
use crate::rule::number_prefix;

/// A number from `least` to `most`, and nothing else.
pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, SetLineErrorKind> {
    let outside = || SetLineErrorKind::OutOfRange { text: text.to_owned(), least, most };
    match number_prefix(text) {
        Some((Some(number), "")) if (least..=most).contains(&number) => Ok(number),
        Some((_, "")) => Err(outside()),
        // C reads a number below zero as one beyond all bounds.
        None if text
            .strip_prefix('-')
            .and_then(number_prefix)
            .is_some_and(|(_, r)| r.is_empty()) =>
        {
            Err(outside())
        }
        _ => Err(SetLineErrorKind::NotANumber { text: text.to_owned() }),
    }
}

/// As [`number`], in a byte.
pub(super) fn byte(text: &str, least: u8, most: u8) -> Result<u8, SetLineErrorKind> {
    let number = number(text, least.into(), most.into())?;
    Ok(u8::try_from(number).unwrap_or(most))
}
