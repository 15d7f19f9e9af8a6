//! `-m hashlimit` (net/netfilter/xt_hashlimit.c).

use std::sync::Arc;

use weir_control::rule::{HashlimitMatch, HashlimitRate};

use super::Around;
use super::keyed;
use crate::batch::Addresses;
use crate::limit::hashlimit::Accounts;
use crate::limit::jiffies;
use crate::limit::kept::TableKey;
use crate::policy::near::Keyed;
use crate::policy::rule::Evaluation;
use crate::policy::{Candidate, Unenforced};

/// The match's name, by which its tables are found.
pub(crate) const HASHLIMIT: &str = "hashlimit";

/// Whether the packets of a key come no faster than the rule says, or do.
#[derive(Debug)]
pub(in crate::policy) struct HashlimitTest {
    accounts: Arc<Accounts>,
    above: bool,
    by_bytes: bool,
}

impl HashlimitTest {
    pub(super) fn compile(
        asked: &HashlimitMatch,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        let family = around.family;
        let key = TableKey { of: HASHLIMIT, family: Some(family), name: asked.name.clone() };
        let is_as = |accounts: &Accounts| accounts.is_as(asked);
        let make = |seed| Accounts::new(asked, family, seed);
        let accounts = keyed::table(around, (key, asked.keys_max()), is_as, make)?;
        let by_bytes = matches!(asked.rate, Some(HashlimitRate::Bytes { .. }));
        Ok(Self { accounts, above: asked.above, by_bytes })
    }

    /// Its table.
    pub(super) fn keyed(&self) -> Keyed {
        Keyed::Accounts(Arc::clone(&self.accounts))
    }

    /// Asks for one more packet. One that ends before the ports that are asked for is dropped.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        let spec = self.accounts.spec();
        let Some(ports) = keyed::ports(spec, candidate) else { return Evaluation::Hotdrop };
        let now = jiffies(candidate.now_ns);
        let packet = (candidate.headers.total_len.into(), self.by_bytes);
        let within = match candidate.headers.addresses {
            Addresses::V4 { source, destination } => {
                self.accounts.take4(spec.v4((source, destination), ports), now, packet)
            }
            Addresses::V6 { source, destination } => {
                self.accounts.take6(spec.v6((source, destination), ports), now, packet)
            }
        };
        (within != self.above).into()
    }
}
