//! Entries of a table come and go.

use weir_control::set::{Entry, SET_ENTRIES_MAX, SetError, SetKind, SetName, SetSpec};

use super::Found;
use super::expand::Span;
use super::key::Key as _;
use super::shard::Extra;
use super::table::Table;

/// The set whose entries they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) name: &'a SetName,
    pub(super) spec: &'a SetSpec,
    /// Entries of all sets.
    pub(super) all: usize,
    /// Whether it is no error that entries are there, or are not.
    pub(super) exist: bool,
}

/// Puts all entries of a span in; how many are new.
pub(super) fn add<S: Span>(
    table: &mut Table<S::Key>,
    span: S,
    (nomatch, extra): (bool, &Extra),
    Whose { name, spec, all, exist }: Whose<'_>,
) -> Result<usize, SetError> {
    let of_nets = spec.kind == SetKind::HashNet;
    let full = || SetError::Full { name: name.clone(), maxelem: spec.maxelem };
    let mut added = 0;
    for key in span.keys() {
        if table.find(key) != Found::No {
            if !exist {
                let entry = Entry::new(key.element(spec.kind)).to_wire();
                return Err(SetError::Added { entry });
            }
        } else if table.len() >= spec.maxelem as usize {
            return Err(full());
        } else if all + added >= SET_ENTRIES_MAX {
            return Err(SetError::TooManyEntries);
        }
        let new = table.set(key, (nomatch, extra.clone()), of_nets);
        added += usize::from(new.map_err(|_| full())?);
    }
    Ok(added)
}

/// Takes all entries of a span out; how many there were.
pub(super) fn delete<S: Span>(
    table: &mut Table<S::Key>,
    span: S,
    spec: &SetSpec,
    exist: bool,
) -> Result<usize, SetError> {
    let of_nets = spec.kind == SetKind::HashNet;
    let before = table.len();
    if exist && span.count() > before as u64 {
        // More names than entries: the entries are fewer to go through.
        let meant: Vec<_> = table.iter().filter(|key| span.has(*key)).collect();
        for key in meant {
            table.remove(key, of_nets);
        }
    } else {
        for key in span.keys() {
            if !table.remove(key, of_nets) && !exist {
                let entry = Entry::new(key.element(spec.kind)).to_wire();
                return Err(SetError::NotAdded { entry });
            }
        }
    }
    Ok(before - table.len())
}
