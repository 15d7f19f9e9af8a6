//! What every target with options can say of itself, and how it is written.
//!
//! A new target is a file beside this one with its type, a variant of [`super::Target`], and a line in
//! [`super::Target::extension`]; its options are read by a file in `command/extension/`.

use super::{Family, InvalidRule, ListedLine, Rule, SavedWords, Table};

/// The options of a rule's target.
pub(crate) trait TargetExtension {
    /// Checks what its type cannot express: what the target asks of the rule it stands in.
    fn validate(&self, _rule: &Rule) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Checks that packets of the family can be treated so.
    fn check_family(&self, _family: Family) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Checks that rules of the table can have it.
    fn check_table(&self, _table: Table) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Its options as `-S` prints them.
    fn save(&self, words: &mut SavedWords);

    /// Its part of a line of `-L`, each word with a blank before it.
    fn list(&self, line: &mut ListedLine<'_>);
}

/// What there is in one table alone (`xt_check_target`, net/netfilter/x_tables.c).
pub(super) fn only(its: Table, what: &'static str, table: Table) -> Result<(), InvalidRule> {
    if its == table { Ok(()) } else { Err(InvalidRule::OtherTable { what, its, table }) }
}
