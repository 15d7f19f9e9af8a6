//! `-m tcpmss` (extensions/libxt_tcpmss.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, TcpMssMatch};

pub(super) const OPTIONS: [Row; 1] = [("mss", Value::Required, ExtensionKey::TcpMss)];

pub(super) fn read<'a>(tcpmss: &mut TcpMssMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let argument = Argument { name: "tcpmss", option: "mss", word: given.value };
    tcpmss.mss = Negatable { value: argument.sizes()?, negated: given.negated };
    Ok(())
}
