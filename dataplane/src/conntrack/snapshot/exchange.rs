//! Flows out of a table, and into one.

use super::super::count::Counts;
use super::super::flow::Aside;
use super::super::room::{Rest, standing};
use super::super::table::Standing;
use super::super::tracker::{Conntrack, Refused};
use super::super::wanted::Wanted;
use super::record::FlowRecord;

/// Why a flow was not put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// A flow with that tuple stands there already.
    #[error("a flow with that tuple is there")]
    Duplicate,
    /// There is no room for it.
    #[error(transparent)]
    NoRoom(#[from] Refused),
}

impl Conntrack {
    /// Hands out the living flows in `count` places from `from` on, as [`Conntrack::scan`] does. Returns the place to
    /// go on at; `None` at the end.
    pub fn export(&self, from: u32, count: u32, each: &mut dyn FnMut(FlowRecord)) -> Option<u32> {
        let end = self.places();
        let until = from.saturating_add(count).min(end);
        for place in from..until {
            let (family, flow) = self.split(place);
            let table = &self.families[family].table;
            let index = flow as usize;
            let (line, aside) = (&table.flows[index], &table.asides[index]);
            // A proxied connection cannot go on without what is kept of it besides.
            let proxied = table.proxied.get(index).is_some_and(|proxied| proxied.is);
            if !aside.linked || proxied {
                continue;
            }
            let rest = (table.marks.get(flow), table.counts_of(flow).unwrap_or_default());
            let addresses6 = table.addresses6.get(index);
            if let Some(record) = FlowRecord::of(line, aside, addresses6, rest, self.now) {
                each(record);
            }
        }
        (until < end).then_some(until)
    }

    /// Puts a flow back, `elapsed_ms` after it was handed out. Where the table is full, an assured flow that is not
    /// closing displaces another as a new one would; all others find no room.
    ///
    /// # Errors
    /// [`NotImported`]; the table is as before.
    pub fn import(&mut self, record: &FlowRecord, elapsed_ms: u64) -> Result<(), NotImported> {
        let (flow, left) = record.settled(elapsed_ms, self.now).ok_or(NotImported::Expired)?;
        let tuple = record.tuple();
        // Every record's tuple can be turned round.
        let wanted = Wanted::of(&tuple, false, &self.hash).ok_or(NotImported::Duplicate)?;
        if self.find_wanted(&wanted, || Some(tuple)).is_some() {
            return Err(NotImported::Duplicate);
        }
        self.room_for(wanted.family(), wanted.hash, standing(&flow))?;
        let aside = Aside {
            retrans: record.retrans,
            last_scale: record.last_scale,
            last_flags: record.last_flags,
            ..Aside::default()
        };
        let rest = Rest {
            aside,
            addresses6: record.addresses6,
            mark: record.mark,
            proxied: crate::conntrack::Proxied::default(),
            counts: Counts(record.counts),
        };
        self.put_in(wanted.hash, &flow, rest, left)?;
        Ok(())
    }

    /// Makes sure that a flow can be put back.
    fn room_for(&mut self, family: usize, hash: u64, standing: Standing) -> Result<(), Refused> {
        if standing.assured && !standing.closing {
            return self.make_room(family, hash, standing);
        }
        let table = &self.families[family].table;
        if table.is_full() {
            return Err(Refused::TableFull);
        }
        if standing.half_open && table.half_open() >= self.half_open_max {
            return Err(Refused::HalfOpenFull);
        }
        Ok(())
    }
}
