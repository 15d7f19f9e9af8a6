//! One page that anybody can open: plots, the table behind each, and the machine it was measured on.
//!
//! The page is one file. It loads nothing and runs nothing (a policy in it forbids both), and follows the reader's
//! choice of light or dark. What stands in it comes from files that may be anybody's: every text is escaped by the
//! template (maud) or by the drawing.

mod page;
mod plots;
mod table;

use crate::report::plot::PlotError;
use crate::result::RunResult;

/// What the page is told beside the results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The page's title; without one, the labels make it.
    pub title: Option<String>,
    /// The fuzzy limiter's bounds, for the ideal line of its acceptance.
    pub fuzzy: Option<Fuzzy>,
}

/// What the fuzzy limiter was told: below `lower` all passes, at `upper` and above one packet of 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fuzzy {
    /// `--lower-limit`, in packets a second.
    pub lower_pps: f64,
    /// `--upper-limit`, in packets a second.
    pub upper_pps: f64,
}

impl Fuzzy {
    /// The share that the limiter should accept of an offered rate: 1 up to the lower bound, falling evenly to 0.01
    /// at the upper.
    #[must_use]
    pub fn ideal(self, offered_pps: f64) -> f64 {
        let over = (offered_pps - self.lower_pps) / (self.upper_pps - self.lower_pps);
        1.0 - 0.99 * over.clamp(0.0, 1.0)
    }
}

/// A plot with what it shows in words and numbers.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    heading: String,
    /// What to see in it, and how it was measured.
    explanation: String,
    plot: crate::report::plot::Plot,
    table: table::Table,
}

/// The page of these results, in HTML.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn page(results: &[RunResult], options: &Options) -> Result<String, PlotError> {
    page::render(results, options, &plots::all(results, options))
}
