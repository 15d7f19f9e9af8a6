//! Tables of a page, as data.

use maud::{Markup, html};

use crate::report::unit::Unit;
use crate::statistics::Summary;

/// Heads and rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// The heads; a column whose head ends with `~` holds text and is aligned to the left.
    pub(super) heads: Vec<&'static str>,
    /// The rows, each as long as the heads.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub(super) fn markup(&self) -> Markup {
        let class = |column: usize| {
            let is_text = self.heads.get(column).is_some_and(|head| head.ends_with('~'));
            is_text.then_some("text")
        };
        html! {
            div.wide { table {
                thead { tr { @for (column, head) in self.heads.iter().enumerate() {
                    th class=[class(column)] { (head.trim_end_matches('~')) }
                } } }
                tbody { @for row in &self.rows { tr {
                    @for (column, cell) in row.iter().enumerate() { td class=[class(column)] { (cell) } }
                } } }
            } }
        }
    }
}

/// The median and its interval, as cells: `median`, `low to high`. An interval of one value is none.
pub(super) fn summary(unit: Unit, summary: Option<&Summary>) -> [String; 2] {
    let Some(summary) = summary else { return ["-".to_owned(), "-".to_owned()] };
    let interval = if summary.values > 1 {
        format!("{} to {}", unit.show(summary.low), unit.show(summary.high))
    } else {
        "-".to_owned()
    };
    [unit.show(summary.median), interval]
}
