//! `-m connmark` and `-j CONNMARK`, revisions 1 and 2 (extensions/libxt_connmark.c, libxt_CONNMARK.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::target::{TargetKey, TargetRow};
use super::{ExtensionKey, Given, Row, mark};
use crate::rule::{ConnmarkMatch, ConnmarkMode, ConnmarkTarget, MarkShift, MarkTarget};

/// How `-j CONNMARK` is told what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Set(mark::Key),
    Save,
    Restore,
    LeftShift,
    RightShift,
    FlowMask,
    PacketMask,
    Mask,
}

const SET_XMARK: Key = Key::Set(mark::Key::SetXmark);
const SET_MARK: Key = Key::Set(mark::Key::SetMark);
const AND: Key = Key::Set(mark::Key::And);
const OR: Key = Key::Set(mark::Key::Or);
const XOR: Key = Key::Set(mark::Key::Xor);

pub(super) const OPTIONS: [Row; 1] = [("mark", Value::Required, ExtensionKey::Connmark)];

const fn row(name: &'static str, value: Value, key: Key) -> TargetRow {
    (name, value, TargetKey::Connmark(key))
}

pub(super) const TARGET_OPTIONS: [TargetRow; 12] = [
    row("set-xmark", Value::Required, SET_XMARK),
    row("set-mark", Value::Required, SET_MARK),
    row("and-mark", Value::Required, AND),
    row("or-mark", Value::Required, OR),
    row("xor-mark", Value::Required, XOR),
    row("save-mark", Value::None, Key::Save),
    row("restore-mark", Value::None, Key::Restore),
    row("left-shift-mark", Value::Required, Key::LeftShift),
    row("right-shift-mark", Value::Required, Key::RightShift),
    row("ctmask", Value::Required, Key::FlowMask),
    row("nfmask", Value::Required, Key::PacketMask),
    row("mask", Value::Required, Key::Mask),
];

/// Of these exactly one must be given, and iptables looks in this order for one,
const OPERATIONS: [Key; 7] = [SET_XMARK, SET_MARK, AND, OR, XOR, Key::Save, Key::Restore];

/// and in this for another.
const OTHERS: [Key; 7] = [SET_MARK, Key::Save, Key::Restore, AND, OR, XOR, SET_XMARK];

/// What iptables says where none is.
pub(super) const MISSING: &str = "CONNMARK target: No operation specified";

/// Most bits of a shift that iptables takes. The kernel takes one less.
const SHIFT_MAX: u8 = 32;

pub(super) fn read<'a>(
    connmark: &mut ConnmarkMatch,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    connmark.mark = mark::asked("connmark", given)?;
    Ok(())
}

/// `option` is the key's name. What is said later of masks and shifts holds.
pub(super) fn read_target<'a>(
    connmark: &mut ConnmarkTarget,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let argument = Argument { name: "CONNMARK", option: given.name, word: given.value };
    let number = || argument.in_range(0, u32::MAX);
    match key {
        Key::Set(key) => {
            let MarkTarget { value, mask } = mark::set(key, &argument)?;
            (connmark.mode, connmark.flow_mask) = (ConnmarkMode::Set { value }, mask);
        }
        Key::Save => connmark.mode = ConnmarkMode::Save,
        Key::Restore => connmark.mode = ConnmarkMode::Restore,
        Key::LeftShift => connmark.shift = MarkShift::Left(argument.number(SHIFT_MAX)?),
        Key::RightShift => connmark.shift = MarkShift::Right(argument.number(SHIFT_MAX)?),
        Key::FlowMask => connmark.flow_mask = number()?,
        Key::PacketMask => connmark.packet_mask = number()?,
        Key::Mask => {
            let mask = number()?;
            (connmark.flow_mask, connmark.packet_mask) = (mask, mask);
        }
    }
    Ok(())
}

/// An option that says what to do, and another that does not go with it; or two masks of which only one may stand.
pub(super) fn conflict(
    seen: impl Fn(&TargetKey) -> bool,
) -> (Option<TargetKey>, Option<TargetKey>) {
    let seen = |key: &Key| seen(&TargetKey::Connmark(*key));
    let named = |key: Option<Key>| key.map(TargetKey::Connmark);
    let Some(one) = OPERATIONS.into_iter().find(seen) else { return (None, None) };
    let other = OTHERS.into_iter().find(|other| *other != one && seen(other));
    let masks =
        [Key::FlowMask, Key::PacketMask].into_iter().find(seen).filter(|_| seen(&Key::Mask));
    match (other, masks) {
        (None, Some(mask)) => (named(Some(mask)), named(Some(Key::Mask))),
        (other, _) => (named(Some(one)), named(other)),
    }
}
