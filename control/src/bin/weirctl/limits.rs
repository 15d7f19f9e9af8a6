//! `weirctl limits`

use std::path::Path;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{LimitKey, LimitPushed, LimitReport, Reply, RequestBody};

use crate::output::{Failed, HEADING, Output, grouped, table};

pub(crate) fn run(socket: Option<&Path>, top: u32, output: &mut Output) -> Result<(), Failed> {
    let Reply::Limits(reports) = Client::connect(socket)?.request(RequestBody::Limits { top })?
    else {
        return Err(ClientError::UnexpectedReply.into());
    };
    if output.json {
        return output.json(&reports, false);
    }
    if reports.is_empty() {
        return output.text("no rule limits: -m limit, -m hashlimit and -m fuzzy do\n");
    }
    let texts: Vec<String> = reports.iter().map(|report| describe(report, output)).collect();
    output.text(&texts.join("\n"))
}

fn describe(report: &LimitReport, output: &Output) -> String {
    let LimitReport { family, of, name, settings, keys_max, keys, top, pushed } = report;
    let title = match name {
        None if of == "verified" => format!("verified sources, {family}"),
        Some(name) => format!("{of} {name}, {family}"),
        None => format!("{of} of a rule, {family}"),
    };
    let mut text = format!("{}\n{settings}\n", output.paint(HEADING, title));
    if let Some(most) = keys_max {
        text.push_str(&format!("{} keys, room for {}\n", grouped(*keys), grouped(*most)));
    }
    match pushed {
        Some(LimitPushed { why_not: Some(why_not), .. }) => {
            text.push_str(&format!("not dropped early: {why_not}\n"));
        }
        Some(LimitPushed { sources, .. }) => {
            text.push_str(&format!("{} dropped early, by the XDP program\n", grouped(*sources)));
        }
        None => {}
    }
    let last = if of == "fuzzy" { "accepted" } else { "credit" };
    let row = |key: &LimitKey| {
        let rate = key.rate_pps.map(|rate| grouped(rate.into()));
        let percent = match (of.as_str(), key.percent) {
            // Something passes of every flood.
            ("fuzzy", 0) => "< 1 %".to_owned(),
            (_, percent) => format!("{percent} %"),
        };
        vec![key.key.clone(), rate.unwrap_or_default(), percent]
    };
    if !top.is_empty() {
        let (headings, rows): (&[&str], Vec<Vec<String>>) =
            (&["key", "pps", last], top.iter().map(row).collect());
        text.push_str(&table(headings, &[1, 2], rows));
    }
    text
}
