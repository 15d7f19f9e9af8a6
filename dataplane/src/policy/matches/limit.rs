//! `-m limit` (net/netfilter/xt_limit.c).

use std::sync::Arc;

use weir_control::rule::{LIMIT_CREDITS_PER_JIFFY, LimitMatch};

use crate::limit::jiffies;
use crate::limit::kept::Keeper;
use crate::limit::tokens::{Bucket, Rate};

/// Whether packets come no faster than the rule says.
#[derive(Debug)]
pub(in crate::policy) struct LimitTest {
    bucket: Arc<Bucket>,
}

impl LimitTest {
    pub(super) fn compile(asked: &LimitMatch, keeper: &mut Keeper<'_, '_>) -> Self {
        let rate = Rate {
            per_jiffy: LIMIT_CREDITS_PER_JIFFY.into(),
            // A rule that validates has a size.
            size: asked.size().unwrap_or(0).into(),
            cost: asked.cost().into(),
        };
        Self { bucket: keeper.own(|| Bucket::new(rate)) }
    }

    /// Asks for one more packet.
    pub(super) fn holds(&self, now_ns: u64) -> bool {
        self.bucket.take(jiffies(now_ns))
    }
}
