//! What is told of sets.

use std::sync::Arc;

use weir_control::protocol::{SET_PAGE_MAX, SetCursor, SetHeader, SetPage};
use weir_control::set::{Element, Entry, SetError, SetKind, SetName};

use super::apply::References;
use super::key::Key;
use super::table::{Listed, Table};
use super::{Contents, Set, Sets};

/// Entries for which a page is large enough: what follows may be a whole shard.
const PAGE_MIN: usize = SET_PAGE_MAX - 512;

impl Sets {
    /// All sets without their entries, in the kernel's order: by number, lists last.
    #[must_use]
    pub fn headers(&self, rules: References<'_>) -> Vec<SetHeader> {
        let named = || self.places.iter().flatten();
        let is_list = |set: &Set| set.kind() == SetKind::ListSet;
        let tables = named().filter(|named| !is_list(&named.set));
        let lists = named().filter(|named| is_list(&named.set));
        let headers = tables.chain(lists).map(|named| {
            let (rules, lists) = self.references(&named.name, rules);
            SetHeader {
                name: (*named.name).clone(),
                spec: named.set.spec.clone(),
                memory_bytes: named.set.bytes() as u64,
                references: (rules + lists) as u64,
                entries: named.set.len() as u64,
            }
        });
        headers.collect()
    }

    /// Entries of a set, from `cursor` on.
    ///
    /// # Errors
    /// When there is no such set, or no longer.
    pub fn page(
        &self,
        name: &SetName,
        cursor: Option<SetCursor>,
        now_ms: u64,
    ) -> Result<SetPage, SetError> {
        let place = self.place(name)?;
        let set = self.at(place).ok_or(SetError::ListedNoMore)?;
        if cursor.is_some_and(|cursor| cursor.set != set.id) {
            return Err(SetError::ListedNoMore);
        }
        let left_s = |expires_ms: Option<u64>| {
            set.spec.timeout_s.map(|_| expires_ms.map_or(0, |end| left_s(end, now_ms)))
        };
        match &set.contents {
            Contents::List(members) => {
                let entries = members.iter().map(|member| {
                    let mut entry = Entry::new(Element::set((*member.name).clone()));
                    entry.timeout_s = left_s(member.expires_ms);
                    entry.comment = member.comment.as_deref().map(str::to_owned);
                    entry.to_wire()
                });
                Ok(SetPage { entries: entries.collect(), next: None })
            }
            Contents::V4(table) => Ok(set.page_of(table, cursor, left_s)),
            Contents::V6(table) => Ok(set.page_of(table, cursor, left_s)),
        }
    }
}

impl Set {
    /// Entries of its table.
    fn page_of<K: Key>(
        &self,
        table: &Table<K>,
        cursor: Option<SetCursor>,
        left_s: impl Fn(Option<u64>) -> Option<u32>,
    ) -> SetPage {
        let (listed, next) = table.page(cursor.map_or(0, |cursor| cursor.place), PAGE_MIN);
        let entries = listed.into_iter().map(|Listed { key, nomatch, extra }| {
            let mut entry = Entry::new(key.element(self.kind()));
            entry.nomatch = nomatch;
            entry.timeout_s = left_s(extra.and_then(|extra| extra.expires_ms));
            let comment = extra.and_then(|extra| extra.comment.as_deref());
            entry.comment = comment.map(str::to_owned);
            entry.to_wire()
        });
        let entries = entries.collect();
        SetPage { entries, next: next.map(|place| SetCursor { set: self.id, place }) }
    }
}

/// Seconds that are left, rounded down, but to 1 at least: 0 means for ever.
fn left_s(end_ms: u64, now_ms: u64) -> u32 {
    u32::try_from(end_ms.saturating_sub(now_ms) / 1_000).unwrap_or(u32::MAX).max(1)
}

impl Set {
    fn bytes(&self) -> usize {
        match &self.contents {
            Contents::V4(table) => size_of::<Self>() + table.bytes(),
            Contents::V6(table) => size_of::<Self>() + table.bytes(),
            Contents::List(members) => {
                let comment = |comment: &Arc<str>| comment.len();
                let comments = members.iter().filter_map(|member| member.comment.as_ref());
                size_of::<Self>() + size_of_val(&members[..]) + comments.map(comment).sum::<usize>()
            }
        }
    }
}
