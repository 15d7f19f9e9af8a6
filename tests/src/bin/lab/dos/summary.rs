//! What the runs came to, in lines: for each peer and flood the median of its rounds, and how many times as long pages
//! take as they do without a flood behind the same peer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use weir_tests::console::{Console, Tone};
use weir_tests::{Error, Result};

/// What one run says, of that which the lines need.
#[derive(Clone, Debug)]
struct Run {
    completed_share: f64,
    page_p99_ms: f64,
    /// Of the time, the part in which the machine had no core for the generator.
    stalled_share: f64,
    shared_share: f64,
    void: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// By flood and peer.
    runs: BTreeMap<(u64, String), Vec<Run>>,
    peers: Vec<String>,
}

impl Summary {
    /// Reads the result of a run, and says it in a line.
    pub(crate) fn add(&mut self, file: &Path) -> Result<String> {
        let text =
            std::fs::read_to_string(file).map_err(Error::io(format!("read {}", file.display())))?;
        let unreadable = || Error::Unreadable {
            what: format!("the result {}", file.display()),
            text: text.clone(),
        };
        let value: Value = serde_json::from_str(&text).map_err(|_| unreadable())?;
        let (label, flood, run) = read(&value).ok_or_else(unreadable)?;
        let line = match &run.void {
            Some(why) => format!("void: {why}"),
            None => run.line(),
        };
        if !self.peers.contains(&label) {
            self.peers.push(label.clone());
        }
        self.runs.entry((flood, label)).or_default().push(run);
        Ok(line)
    }

    /// Whether every run may be used.
    pub(crate) fn is_sound(&self) -> bool {
        self.runs.values().flatten().all(|run| run.void.is_none())
    }

    pub(crate) fn print(&self, console: &Console) {
        let mut before = None;
        for ((flood, label), runs) in &self.runs {
            if before.replace(flood) != Some(flood) {
                console.heading(&format!("{flood} packets a second"));
            }
            let good: Vec<&Run> = runs.iter().filter(|run| run.void.is_none()).collect();
            let median = |of: fn(&Run) -> f64| median(good.iter().map(|run| of(run)).collect());
            let line = median(|run| run.completed_share).zip(median(|run| run.page_p99_ms)).map(
                |(completed_share, page_p99_ms)| {
                    let shared_share = median(|run| run.shared_share).unwrap_or(f64::NAN);
                    let stalled_share = median(|run| run.stalled_share).unwrap_or(0.0);
                    let middle = Run {
                        completed_share,
                        page_p99_ms,
                        stalled_share,
                        shared_share,
                        void: None,
                    };
                    middle.line() + &self.against_calm(*flood, label, page_p99_ms)
                },
            );
            let line =
                line.unwrap_or_else(|| console.paint(Tone::Bad, "no run that could be used"));
            let void = runs.len() - good.len();
            let void =
                if void > 0 { format!(" ({void} of {} void)", runs.len()) } else { String::new() };
            console.line(&format!("   {label:<18} {line}{void}"));
        }
    }

    /// How many times as long as without a flood pages take behind a peer.
    fn against_calm(&self, flood: u64, label: &str, page_p99_ms: f64) -> String {
        let calm = self.runs.get(&(0, label.to_owned())).filter(|_| flood > 0);
        let good = calm.into_iter().flatten().filter(|run| run.void.is_none());
        let calm_ms = median(good.map(|run| run.page_p99_ms).collect());
        calm_ms.map_or_else(String::new, |ms| {
            format!(", {:.1} times that of the calm", page_p99_ms / ms)
        })
    }
}

impl Run {
    fn line(&self) -> String {
        let line = format!(
            "served {:5.1} % of users ({:5.1} % behind the shared address), a page within {:.1} ms (p99)",
            self.completed_share * 100.0,
            self.shared_share * 100.0,
            self.page_p99_ms
        );
        match self.stalled_share * 100.0 {
            percent if percent >= 0.05 => {
                line + &format!(", the generator stalled {percent:.1} % of the time")
            }
            _ => line,
        }
    }
}

/// Label, flood and figures of a result.
fn read(value: &Value) -> Option<(String, u64, Run)> {
    let users = value.get("users")?;
    let number = |value: &Value, name: &str| value.get(name)?.as_f64();
    let share = |value: &Value| {
        let (part, whole) = (number(value, "completed")?, number(value, "attempted")?);
        Some(if whole > 0.0 { part / whole } else { 0.0 })
    };
    let page = users.get("last_byte").filter(|page| !page.is_null());
    let stalled_ns = value.get("stalls").and_then(|stalls| number(stalls, "total_ns"));
    let over_s = value.get("cpu").and_then(|cpu| number(cpu, "over_s"));
    let flood = value["streams"].as_array()?.iter().find(|stream| stream["name"] == "flood");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate that we asked for"
    )]
    let flood =
        flood.and_then(|stream| number(stream, "requested_pps")).unwrap_or(0.0).round() as u64;
    let run = Run {
        completed_share: share(users)?,
        page_p99_ms: page.and_then(|page| number(page, "p99_ns")).unwrap_or(f64::INFINITY) / 1e6,
        stalled_share: stalled_ns.zip(over_s).map_or(0.0, |(ns, s)| ns / 1e9 / s),
        shared_share: users.get("shared").and_then(share).unwrap_or(f64::NAN),
        void: value["void"].as_str().map(str::to_owned),
    };
    Some((value["label"].as_str()?.to_owned(), flood, run))
}

/// The middle one, of an even number the lower; `None` of none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(completed: u32, void: Option<&str>) -> Value {
        serde_json::json!({
            "label": "weir", "void": void, "stalls": {"total_ns": 12_000_000}, "cpu": {"over_s": 3.0},
            "streams": [{"name": "flood", "requested_pps": 999.6}],
            "users": {
                "attempted": 200, "completed": completed, "last_byte": {"p99_ns": 2_500_000},
                "shared": {"attempted": 10, "completed": 5},
            },
        })
    }

    #[test]
    fn a_result_is_read_and_its_median_said() {
        let mut summary = Summary::default();
        let folder = tempfile::tempdir().unwrap();
        for (at, completed) in [100, 200, 150].into_iter().enumerate() {
            let file = folder.path().join(at.to_string());
            std::fs::write(&file, result(completed, None).to_string()).unwrap();
            summary.add(&file).unwrap();
        }
        let runs = &summary.runs[&(1_000, "weir".to_owned())];
        assert_eq!(median(runs.iter().map(|run| run.completed_share).collect()), Some(0.75));
        let line = "served  50.0 % of users ( 50.0 % behind the shared address), a page within 2.5 ms (p99), the \
                    generator stalled 0.4 % of the time";
        assert_eq!(runs[0].line(), line);
        assert_eq!(summary.against_calm(1_000, "weir", 2.5), "", "there was none");
        let mut calm = result(200, None);
        calm["streams"] = serde_json::json!([]);
        calm["users"]["last_byte"]["p99_ns"] = 500_000.into();
        let file = folder.path().join("calm");
        std::fs::write(&file, calm.to_string()).unwrap();
        summary.add(&file).unwrap();
        assert_eq!(summary.against_calm(1_000, "weir", 2.5), ", 5.0 times that of the calm");
        assert_eq!(summary.against_calm(0, "weir", 2.5), "");
        assert!(summary.is_sound());
        let file = folder.path().join("void");
        std::fs::write(&file, result(1, Some("too slow")).to_string()).unwrap();
        assert_eq!(summary.add(&file).unwrap(), "void: too slow");
        assert!(!summary.is_sound());
        std::fs::write(&file, "{}").unwrap();
        summary.add(&file).unwrap_err();
    }

    #[test]
    fn nobody_connected_is_no_short_wait() {
        let mut value = result(0, None);
        value["users"]["last_byte"] = Value::Null;
        value["streams"] = serde_json::json!([]);
        let (_, flood, run) = read(&value).unwrap();
        assert!(flood == 0 && run.page_p99_ms.is_infinite());
    }
}
