//! `-m mac` (extensions/libxt_mac.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{MacAddress, MacMatch, Negatable};

pub(super) const OPTIONS: [Row; 1] = [("mac-source", Value::Required, ExtensionKey::Mac)];

pub(super) fn read<'a>(mac: &mut MacMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let address = MacAddress::try_from(given.value.text.to_owned());
    let value = address.map_err(|_| Refusal::at(given.value, ValueError::Mac))?;
    mac.source = Negatable { value, negated: given.negated };
    Ok(())
}
