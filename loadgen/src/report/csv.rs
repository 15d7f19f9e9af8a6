//! One figure a line, for spreadsheets and statistics programs.
//!
//! The long form (what, which, unit, value) needs no column for each stream, so files of different profiles can be
//! joined. The rates of each second follow the figures of the whole run, with the second in a column of its own.

use csv::Writer;

use crate::report::figures::{self, count};
use crate::report::unit::Unit;
use crate::result::RunResult;

/// The heads of the columns.
const HEADS: [&str; 9] =
    ["label", "run", "begun_unix_s", "seed", "void", "subject", "figure", "unit", "value"];

/// Writes the results, numbered from 1.
///
/// # Errors
/// What the writer says.
pub fn write(results: &[RunResult], out: impl std::io::Write) -> Result<(), csv::Error> {
    let mut writer = Writer::from_writer(out);
    let heads = HEADS[..5].iter().chain(&["second"]).chain(&HEADS[5..]);
    writer.write_record(heads)?;
    for (index, result) in results.iter().enumerate() {
        let run = [
            result.label.clone(),
            (index + 1).to_string(),
            result.begun_unix_s.to_string(),
            result.seed.to_string(),
            result.void.clone().unwrap_or_default(),
        ];
        let mut line = |second: &str, subject: &str, figure: &str, unit: Unit, value: f64| {
            let about =
                [second, subject, figure, unit.name(), &value.to_string()].map(str::to_owned);
            writer.write_record(run.iter().chain(&about))
        };
        for figure in figures::of(result) {
            line("", &figure.subject, figure.name, figure.unit, figure.value)?;
        }
        for (second, amounts) in result.seconds.iter().enumerate() {
            let second = second.to_string();
            for (stream, amount) in result.streams.iter().zip(&amounts.sent) {
                let subject = format!("stream {}", stream.name);
                line(&second, &subject, "sent", Unit::Packets, count(*amount))?;
            }
            for (stream, amount) in result.streams.iter().zip(&amounts.received) {
                let subject = format!("stream {}", stream.name);
                line(&second, &subject, "received", Unit::Packets, count(*amount))?;
            }
            if result.users.is_some() {
                line(&second, "users", "completed", Unit::Connections, count(amounts.completed))?;
                line(&second, "users", "failed", Unit::Connections, count(amounts.failed))?;
            }
        }
    }
    writer.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_figure_has_a_line_that_reads_back() {
        let mut runs = [sample::study("a, \"quoted\"", 1e5, 7), sample::study("b", 0.0, 8)];
        runs[1].void = Some("the generator could not keep up".to_owned());
        let mut text = Vec::new();
        write(&runs, &mut text).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_slice());
        assert_eq!(reader.headers().unwrap().len(), 10);
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let of_run = |run: &str| records.iter().filter(|record| &record[1] == run).count();
        // Two streams and users: 2 * 2 + 2 lines a second; one stream: 2 + 2.
        assert_eq!(of_run("1"), figures::of(&runs[0]).len() + 10 * 6);
        assert_eq!(of_run("2"), figures::of(&runs[1]).len() + 10 * 4);
        let line = records
            .iter()
            .find(|line| &line[6] == "users" && &line[7] == "completed share")
            .unwrap();
        let expected = [
            "a, \"quoted\"",
            "1",
            "1790000000",
            "7",
            "",
            "",
            "users",
            "completed share",
            "share",
            "0.99",
        ];
        assert_eq!(line.iter().collect::<Vec<_>>(), expected);
        assert_eq!(&records.last().unwrap()[4], "the generator could not keep up");
    }
}
