//! `-m mark` and `-j MARK`, revisions 1 and 2 (extensions/libxt_mark.c, libxt_MARK.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::target::{TargetKey, TargetRow};
use super::{ExtensionKey, Given, Row};
use crate::rule::{Mark, MarkMatch, MarkTarget, Negatable};

/// How `-j MARK` is told what to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    SetXmark,
    SetMark,
    And,
    Or,
    Xor,
}

pub(super) const OPTIONS: [Row; 1] = [("mark", Value::Required, ExtensionKey::Mark)];

const fn row(name: &'static str, key: Key) -> TargetRow {
    (name, Value::Required, TargetKey::Mark(key))
}

/// Of these exactly one must be given.
pub(super) const TARGET_OPTIONS: [TargetRow; 5] = [
    row("set-xmark", Key::SetXmark),
    row("set-mark", Key::SetMark),
    row("and-mark", Key::And),
    row("or-mark", Key::Or),
    row("xor-mark", Key::Xor),
];

/// What iptables says where none is.
pub(super) const MISSING: &str =
    "MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required";

pub(super) fn read<'a>(mark: &mut MarkMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    mark.mark = asked("mark", given)?;
    Ok(())
}

/// `--mark` of the match `name`.
pub(super) fn asked<'a>(
    name: &'static str,
    given: &Given<'a, '_>,
) -> Result<Negatable<Mark>, Refusal<'a>> {
    let (value, mask) = Argument { name, option: "mark", word: given.value }.masked_number()?;
    Ok(Negatable { value: Mark { value, mask }, negated: given.negated })
}

/// `option` is the key's name.
pub(super) fn read_target<'a>(
    mark: &mut MarkTarget,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    *mark = set(key, &Argument { name: "MARK", option: given.name, word: given.value })?;
    Ok(())
}

/// The bits that are cleared, and then those that are flipped.
pub(super) fn set<'a>(key: Key, argument: &Argument<'a>) -> Result<MarkTarget, Refusal<'a>> {
    let (value, mask) = match key {
        Key::SetXmark | Key::SetMark => argument.masked_number()?,
        Key::And | Key::Or | Key::Xor => (argument.in_range(0, u32::MAX)?, 0),
    };
    Ok(match key {
        Key::SetXmark => MarkTarget { value, mask },
        Key::SetMark => MarkTarget { value, mask: mask | value },
        Key::And => MarkTarget { value: 0, mask: !value },
        Key::Or => MarkTarget { value, mask: value },
        Key::Xor => MarkTarget { value, mask: 0 },
    })
}
