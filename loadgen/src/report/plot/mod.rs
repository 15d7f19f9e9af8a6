//! Plots: what to draw, as data.
//!
//! A [`Plot`] is drawn by plotters into SVG text, with no font and no C library: texts are laid out by the
//! reader's browser. Three things are ours, because a report needs them and no library at hand has all of them:
//!
//! * [`axis`] places values: zero beside a logarithmic axis (a sweep of floods begins with none), the nines of a
//!   percentile plot, ticks at round numbers of units.
//! * [`palette`] tells series apart three times, by colour, mark and dash, so that neither a colour-blind reader nor
//!   a black-and-white printer is lost; and gives each colour a second value for dark pages.
//! * intervals: a point of several runs stands with its whiskers.

pub mod axis;
mod draw;
pub mod palette;

pub use axis::{Axis, Scale};

/// One plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// Its points, x rising.
    pub points: Vec<Point>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A mark at every point, joined by a line.
    Marks,
    /// Only a line: there are too many points for marks.
    Line,
    /// A line that was not measured: what would be ideal. In grey, and counted as no series.
    Ideal,
}

/// A point, with what is known about its height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How high.
    pub y: f64,
    /// The interval that the true height is in.
    pub interval: Option<(f64, f64)>,
}

impl Point {
    /// A point without interval.
    #[must_use]
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }
}

/// Why a plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw `{title}`: {why}")]
pub struct PlotError {
    title: String,
    why: String,
}
