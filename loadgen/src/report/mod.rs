//! How results are shown: as text, JSON, CSV, and as one page of HTML with plots.
//!
//! ```text
//!   file ──► RunResult ──► figures ──► text      for people, on a terminal
//!            (result.rs)   every       csv       for spreadsheets: one figure a line
//!                          figure,     html ──► plot   for everybody: one file, no scripts
//!                          named       compare   what differs beyond noise
//! ```
//!
//! The figures stand once, in [`figures`]: what is printed is what is compared and drawn. JSON is the
//! [`RunResult`](crate::result::RunResult) itself, for what was measured and not what was made of it.

pub mod csv;
pub mod figures;
pub mod file;
pub mod html;
pub mod plot;
#[cfg(test)]
pub(crate) mod sample;
mod send_sink;
pub mod study;
pub mod text;
pub mod unit;

pub(crate) use send_sink::{Amount, SendReport, SinkReport, void};
