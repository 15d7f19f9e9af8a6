//! `-j REJECT` of ip6tables (extensions/libip6t_REJECT.c). Its options are those of iptables.

use super::super::refusal::Refusal;
use super::Given;
use super::reject::first_named;
use crate::rule::Reject6With;

pub(super) fn read<'a>(with: &mut Reject6With, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    *with = first_named(&Reject6With::NAMES, given)?;
    Ok(())
}
