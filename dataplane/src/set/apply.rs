//! How commands change sets: each wholly, or not at all.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weir_control::rule::Family;
use weir_control::set::{
    Element, Entry, SETS_MAX, SetChange, SetCommand, SetError, SetForm, SetKind, SetName, SetSpec,
};

use super::expand::{Span as _, Span4};
use super::expand6::Span6;
use super::fill::{self, Whose};
use super::key::Key as _;
use super::list::{self, Member};
use super::shard::Extra;
use super::table::Table;
use super::{Contents, Found, Named, Set, Sets};

/// A change that was refused: which one, which of its entries, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The change, from 0.
    pub change: usize,
    /// Its entry, from 0.
    pub entry: usize,
    /// Why.
    pub error: SetError,
}

/// How many rules refer to a set.
pub type References<'a> = &'a dyn Fn(&SetName) -> usize;

impl Sets {
    /// What the sets are after all of the changes at that time.
    ///
    /// # Errors
    /// [`Refused`] names the first that cannot be carried out.
    pub fn after(
        &self,
        changes: &[SetChange],
        now_ms: u64,
        rules: References<'_>,
    ) -> Result<Self, Refused> {
        let mut changed = self.clone();
        changed.expire(now_ms);
        for (index, change) in changes.iter().enumerate() {
            changed.step(change, now_ms, rules).map_err(|(entry, error)| Refused {
                change: index,
                entry,
                error,
            })?;
        }
        Ok(changed)
    }

    fn step(
        &mut self,
        SetChange { command, exist }: &SetChange,
        now_ms: u64,
        rules: References<'_>,
    ) -> Result<(), (usize, SetError)> {
        let done = match command {
            SetCommand::Create { name, spec } => self.create(name, spec, *exist),
            SetCommand::Destroy { name: Some(name) } if *exist && self.place_of(name).is_none() => {
                Ok(())
            }
            SetCommand::Destroy { name: Some(name) } => self.destroy(name, rules),
            SetCommand::Destroy { name: None } => self.destroy_all(rules),
            SetCommand::Flush { name: Some(name) } => {
                self.place(name).map(|place| self.flush(place))
            }
            SetCommand::Flush { name: None } => {
                let places: Vec<u16> = self.names.values().copied().collect();
                places.into_iter().for_each(|place| self.flush(place));
                Ok(())
            }
            SetCommand::Rename { name, to } => self.rename(name, to, rules),
            SetCommand::Swap { name, with } => self.swap(name, with),
            SetCommand::Add { name, entries } => {
                return self.each(name, entries, |sets, place, entry| {
                    sets.add(place, entry, *exist, now_ms)
                });
            }
            SetCommand::Delete { name, entries } => {
                return self
                    .each(name, entries, |sets, place, entry| sets.delete(place, entry, *exist));
            }
            _ => Err(malformed("this daemon does not know that command")),
        };
        done.map_err(|error| (0, error))
    }

    fn each(
        &mut self,
        name: &SetName,
        entries: &[String],
        mut change: impl FnMut(&mut Self, u16, &Entry) -> Result<(), SetError>,
    ) -> Result<(), (usize, SetError)> {
        let place = self.place(name).map_err(|error| (0, error))?;
        let form = self.form_at(place);
        for (index, text) in entries.iter().enumerate() {
            let entry = Entry::from_wire(form, text);
            let entry = entry.map_err(|error| malformed(&error.to_string()));
            entry.and_then(|entry| change(self, place, &entry)).map_err(|error| (index, error))?;
        }
        Ok(())
    }

    pub(super) fn place(&self, name: &SetName) -> Result<u16, SetError> {
        self.place_of(name).ok_or_else(|| SetError::NoSuchSet { name: name.to_string() })
    }

    fn form_at(&self, place: u16) -> SetForm {
        let none = SetForm { kind: SetKind::HashIp, family: Family::V4 };
        self.at(place).map_or(none, Set::form)
    }

    fn named_mut(&mut self, place: u16) -> Option<&mut Named> {
        self.places.get_mut(usize::from(place))?.as_mut()
    }

    /// The set, or a copy of it if others have it too. It exists: its number is that of a name.
    fn set_mut(&mut self, place: u16) -> Result<&mut Set, SetError> {
        let named = self.named_mut(place).ok_or_else(|| malformed("no set has that number"))?;
        Ok(Arc::make_mut(&mut named.set))
    }

    /// Lists that have the set.
    fn lists(&self, name: &SetName) -> usize {
        let lists = self.places.iter().flatten().filter(|named| match &named.set.contents {
            Contents::List(members) => list::has(members, name, None),
            Contents::V4(_) | Contents::V6(_) => false,
        });
        lists.count()
    }

    /// Rules and lists that refer to the set.
    pub(super) fn references(&self, name: &SetName, rules: References<'_>) -> (usize, usize) {
        (rules(name), self.lists(name))
    }

    fn create(&mut self, name: &SetName, spec: &SetSpec, exist: bool) -> Result<(), SetError> {
        let spec = spec.clone().rounded();
        if let Some(there) = self.place_of(name).and_then(|place| self.at(place)) {
            return match exist && there.spec.is_same(&spec) {
                true => Ok(()),
                false => Err(SetError::Exists { name: name.clone() }),
            };
        }
        if self.len() >= SETS_MAX {
            return Err(SetError::TooManySets);
        }
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let place = u16::try_from(free).map_err(|_| SetError::TooManySets)?;
        let named = Named { name: Arc::new(name.clone()), set: Arc::new(self.empty(spec)) };
        match self.places.get_mut(free) {
            Some(gap) => *gap = Some(named),
            None => self.places.push(Some(named)),
        }
        Arc::make_mut(&mut self.names).insert(name.clone(), place);
        Ok(())
    }

    /// A set without entries.
    fn empty(&mut self, spec: SetSpec) -> Set {
        self.next_id += 1;
        let contents = match spec.kind {
            SetKind::ListSet => Contents::List(Vec::new()),
            SetKind::HashIp | SetKind::HashNet | SetKind::HashIpPort => match spec.family {
                Family::V4 => Contents::V4(Table::new(self.hash.clone())),
                Family::V6 => Contents::V6(Table::new(self.hash.clone())),
            },
        };
        Set { id: self.next_id, spec, contents }
    }

    fn remove(&mut self, name: &SetName, place: u16) {
        self.flush(place);
        Arc::make_mut(&mut self.names).remove(name);
        if let Some(gap) = self.places.get_mut(usize::from(place)) {
            *gap = None;
        }
    }

    fn destroy(&mut self, name: &SetName, rules: References<'_>) -> Result<(), SetError> {
        let place = self.place(name)?;
        match self.references(name, rules) {
            (0, 0) => {
                self.remove(name, place);
                Ok(())
            }
            (rules, lists) => Err(SetError::InUse { name: name.clone(), rules, lists }),
        }
    }

    fn destroy_all(&mut self, rules: References<'_>) -> Result<(), SetError> {
        let names: Vec<SetName> = self.names.keys().cloned().collect();
        for name in &names {
            let (rules, lists) = self.references(name, rules);
            if rules + lists > 0 {
                return Err(SetError::InUse { name: name.clone(), rules, lists });
            }
        }
        names.iter().try_for_each(|name| self.destroy(name, rules))
    }

    fn flush(&mut self, place: u16) {
        let Some(set) = self.at(place) else { return };
        let (spec, gone) = (set.spec.clone(), set.len());
        let empty = Arc::new(self.empty(spec));
        if let Some(named) = self.named_mut(place) {
            let old = std::mem::replace(&mut named.set, empty);
            self.entries -= if matches!(old.contents, Contents::List(_)) { 0 } else { gone };
        }
    }

    fn rename(
        &mut self,
        name: &SetName,
        to: &SetName,
        rules: References<'_>,
    ) -> Result<(), SetError> {
        let place = self.place(name)?;
        if self.references(name, rules) != (0, 0) {
            return Err(SetError::RenameInUse { name: name.clone() });
        }
        if self.place_of(to).is_some() {
            return Err(SetError::RenameExists { name: to.clone() });
        }
        let names = Arc::make_mut(&mut self.names);
        names.remove(name);
        names.insert(to.clone(), place);
        if let Some(named) = self.named_mut(place) {
            named.name = Arc::new(to.clone());
        }
        Ok(())
    }

    /// Names keep their numbers, and with them what rules and lists mean; what is behind them changes places.
    fn swap(&mut self, name: &SetName, with: &SetName) -> Result<(), SetError> {
        let one = self.place(name)?;
        let other = self.place(with).map_err(|_| SetError::NoSecondSet { name: with.clone() })?;
        if self.form_at(one) != self.form_at(other) {
            return Err(SetError::SwapKinds { name: name.clone(), with: with.clone() });
        }
        let set = |sets: &Self, place: u16| {
            let named = sets.places.get(usize::from(place)).and_then(Option::as_ref);
            named.map(|named| Arc::clone(&named.set))
        };
        let (first, second) = (set(self, one), set(self, other));
        for (place, set) in [(one, second), (other, first)] {
            if let (Some(named), Some(set)) = (self.named_mut(place), set) {
                named.set = set;
            }
        }
        Ok(())
    }

    fn add(&mut self, place: u16, entry: &Entry, exist: bool, now_ms: u64) -> Result<(), SetError> {
        let spec = self.set_mut(place)?.spec.clone();
        let extra = extra(&spec, entry, now_ms)?;
        if let Element::Set { name, beside } = &entry.element {
            let member = self.member(name, extra)?;
            if let Some(beside) = beside {
                self.check_beside(beside)?;
            }
            return match &mut self.set_mut(place)?.contents {
                Contents::List(members) => list::add(members, member, beside.as_ref(), exist),
                Contents::V4(_) | Contents::V6(_) => Err(malformed("the set is no list")),
            };
        }
        let all = self.entries;
        let named = self.named_mut(place).ok_or_else(|| malformed("no set has that number"))?;
        let name = Arc::clone(&named.name);
        let whose = Whose { name: &name, spec: &spec, all, exist };
        let marks = (entry.nomatch, &extra);
        let added = match &mut Arc::make_mut(&mut named.set).contents {
            Contents::V4(table) => {
                fill::add(table, Span4::new(&spec, &entry.element, false)?, marks, whose)?
            }
            Contents::V6(table) => {
                fill::add(table, Span6::new(&spec, &entry.element, false)?, marks, whose)?
            }
            Contents::List(_) => return Err(malformed("the set is a list")),
        };
        self.entries += added;
        Ok(())
    }

    /// A set that a list may have.
    fn member(&self, name: &SetName, extra: Extra) -> Result<Member, SetError> {
        let place = self.place(name);
        let place = place.map_err(|_| SetError::NoSuchMember { name: name.clone() })?;
        if self.form_at(place).kind == SetKind::ListSet {
            return Err(SetError::MemberIsList { name: name.clone() });
        }
        let Extra { expires_ms, comment } = extra;
        Ok(Member { place, name: Arc::new(name.clone()), expires_ms, comment })
    }

    fn check_beside(&self, beside: &weir_control::set::Beside) -> Result<(), SetError> {
        use weir_control::set::Beside;
        let (Beside::Before(name) | Beside::After(name)) = beside;
        match self.place_of(name) {
            Some(_) => Ok(()),
            None => Err(SetError::NoSuchBeside { name: name.clone() }),
        }
    }

    fn delete(&mut self, place: u16, entry: &Entry, exist: bool) -> Result<(), SetError> {
        let spec = self.set_mut(place)?.spec.clone();
        extra(&spec, entry, 0)?;
        if let Element::Set { name, beside } = &entry.element {
            self.member(name, Extra::default())?;
            if let Some(beside) = beside {
                self.check_beside(beside)?;
            }
            return match &mut self.set_mut(place)?.contents {
                Contents::List(members) => list::delete(members, name, beside.as_ref(), exist),
                Contents::V4(_) | Contents::V6(_) => Err(malformed("the set is no list")),
            };
        }
        let element = &entry.element;
        let gone = match &mut self.set_mut(place)?.contents {
            Contents::V4(table) => {
                fill::delete(table, Span4::new(&spec, element, false)?, &spec, exist)?
            }
            Contents::V6(table) => {
                fill::delete(table, Span6::new(&spec, element, false)?, &spec, exist)?
            }
            Contents::List(_) => return Err(malformed("the set is a list")),
        };
        self.entries -= gone;
        Ok(())
    }

    /// Whether the entry is in the set. One that could not be added is in none (`ip_set_utest`,
    /// net/netfilter/ipset/ip_set_core.c).
    ///
    /// # Errors
    /// When there is no such set.
    pub fn test(&self, name: &SetName, entry: &Entry) -> Result<bool, SetError> {
        let place = self.place(name)?;
        let set = self.at(place).ok_or_else(|| malformed("no set has that number"))?;
        if let Element::Set { name, beside } = &entry.element {
            return Ok(match &set.contents {
                Contents::List(members) => list::has(members, name, beside.as_ref()),
                Contents::V4(_) | Contents::V6(_) => false,
            });
        }
        let found = match &set.contents {
            Contents::V4(table) => match Span4::new(&set.spec, &entry.element, true) {
                Err(_) => Found::No,
                // A net that is one address is looked for as a packet's.
                Ok(Span4::Net(net)) if net.length() == 32 => {
                    set.find_in_nets(Ipv4Addr::from(net.ip()).into())
                }
                Ok(span) => span.keys().next().map_or(Found::No, |key| table.find(key)),
            },
            Contents::V6(table) => match Span6::new(&set.spec, &entry.element, true) {
                Err(_) => Found::No,
                Ok(Span6::Net { address, length: 128 }) => {
                    set.find_in_nets(Ipv6Addr::from(address).into())
                }
                Ok(span) => table.find(span.first()),
            },
            Contents::List(_) => Found::No,
        };
        Ok(match found {
            Found::No => false,
            Found::Yes => !entry.nomatch,
            Found::Exception => entry.nomatch,
        })
    }

    /// Takes out the entries whose time is over; tells whether there were any.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let due = |set: &Set| set.expires_ms() <= now_ms;
        let mut gone = false;
        for place in 0..self.places.len() {
            let Ok(place) = u16::try_from(place) else { break };
            if !self.at(place).is_some_and(due) {
                continue;
            }
            let Ok(set) = self.set_mut(place) else { continue };
            let of_nets = set.spec.kind == SetKind::HashNet;
            let count = match &mut set.contents {
                Contents::V4(table) => table.expire(now_ms, of_nets),
                Contents::V6(table) => table.expire(now_ms, of_nets),
                Contents::List(members) => {
                    let before = members.len();
                    members.retain(|member| member.expires_ms.is_none_or(|end| end > now_ms));
                    gone |= members.len() < before;
                    0
                }
            };
            self.entries -= count;
            gone |= count > 0;
        }
        gone
    }

    /// Whether the time of some entry may be over at `now_ms`.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.places.iter().flatten().any(|named| named.set.expires_ms() <= now_ms)
    }
}

impl Set {
    pub(super) fn len(&self) -> usize {
        match &self.contents {
            Contents::V4(table) => table.len(),
            Contents::V6(table) => table.len(),
            Contents::List(members) => members.len(),
        }
    }

    fn expires_ms(&self) -> u64 {
        if self.spec.timeout_s.is_none() {
            return u64::MAX;
        }
        match &self.contents {
            Contents::V4(table) => table.expires_ms(),
            Contents::V6(table) => table.expires_ms(),
            Contents::List(members) => {
                members.iter().filter_map(|member| member.expires_ms).min().unwrap_or(u64::MAX)
            }
        }
    }
}

/// What belongs to an entry, if the set was made for it.
fn extra(spec: &SetSpec, entry: &Entry, now_ms: u64) -> Result<Extra, SetError> {
    if entry.timeout_s.is_some() && spec.timeout_s.is_none() {
        return Err(SetError::NoTimeout);
    }
    if entry.comment.is_some() && !spec.comment {
        return Err(SetError::NoComment);
    }
    let seconds = entry.timeout_s.or(spec.timeout_s).filter(|seconds| *seconds > 0);
    Ok(Extra {
        expires_ms: seconds.map(|seconds| now_ms + u64::from(seconds) * 1_000),
        comment: entry.comment.as_deref().filter(|text| !text.is_empty()).map(Arc::from),
    })
}

fn malformed(reason: &str) -> SetError {
    SetError::Malformed { reason: reason.to_owned() }
}
