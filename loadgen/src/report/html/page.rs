//! The page around the plots.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::table::{Table, summary};
use super::{Options, Section};
use crate::report::figures;
use crate::report::plot::{PlotError, palette};
use crate::report::study::{Group, Level, groups};
use crate::report::text::ended;
use crate::report::unit::Unit;
use crate::result::{Environment, Interface, RunResult};

/// Nothing is loaded and no script runs, whatever a label says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c1e21; --quiet: #5b6168; --line: #dfe2e5; --warn: #a33b00 }
body { background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto;
       max-width: 56rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin-top: 2.5rem }
figure { margin: 1rem 0 } svg { display: block; width: 100%; height: auto }
p.quiet, summary { color: var(--quiet) } p.void { color: var(--warn) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: right }
th, td { white-space: nowrap }
th.text, td.text { text-align: left } dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }
dt { color: var(--quiet) } dd { margin: 0; overflow-wrap: anywhere }
@media print { details { display: block } }
";

const DARK: &str = ":root { --page: #16181b; --ink: #e6e8ea; --quiet: #9aa0a6; --line: #3a3e43; --warn: #ff9d66 }\n";

/// The whole document.
pub(super) fn render(
    results: &[RunResult],
    options: &Options,
    sections: &[Section],
) -> Result<String, PlotError> {
    let groups = groups(results);
    let mut drawn = Vec::new();
    for section in sections {
        if let Some(svg) = section.plot.svg()? {
            drawn.push((section, svg));
        }
    }
    let title = options.title.clone().unwrap_or_else(|| title(&groups));
    let dark =
        format!("@media (prefers-color-scheme: dark) {{\n{DARK}{}}}\n", palette::dark("svg"));
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(dark)) }
            }
            body {
                h1 { (title) }
                (heading(results))
                @for (section, svg) in &drawn {
                    h2 { (section.heading) }
                    p.quiet { (section.explanation) }
                    figure { (PreEscaped(svg)) }
                    details { summary { "The numbers" } (section.table.markup()) }
                }
                h2 { "Every figure" }
                @for (group, level) in levels(&groups) { (every_figure(group, level)) }
                h2 { "Environment" }
                @for (environment, runs) in environments(results) { (machine(environment, &runs)) }
                h2 { "Runs" }
                (runs(results))
            }
        }
    };
    Ok(document.into_string())
}

/// The labels, if no title was given.
fn title(groups: &[Group<'_>]) -> String {
    let labels: Vec<&str> = groups.iter().map(|group| group.label).collect();
    match labels.as_slice() {
        [] => "No usable run".to_owned(),
        labels => labels.join(", "),
    }
}

fn levels<'a, 'b>(groups: &'b [Group<'a>]) -> impl Iterator<Item = (&'b Group<'a>, &'b Level<'a>)> {
    groups.iter().flat_map(|group| group.levels.iter().map(move |level| (group, level)))
}

/// How many runs there are, and which of them take no part.
fn heading(results: &[RunResult]) -> Markup {
    let void: Vec<(&RunResult, &String)> =
        results.iter().filter_map(|result| Some((result, result.void.as_ref()?))).collect();
    html! {
        p.quiet { (results.len()) " run(s), of which " (results.len() - void.len()) " may be used." }
        @if void.len() > 3 {
            p.void { (void.len()) " runs are void, and in no plot; the table of runs says why." }
        } @else { @for (result, why) in void {
            p.void { "Void, and in no plot: " (result.label) ", begun " (time(result.begun_unix_s)) ": " (why) "." }
        } }
    }
}

/// All figures of one label at one flood.
fn every_figure(group: &Group<'_>, level: &Level<'_>) -> Markup {
    let mut table = Table::new(&["Of~", "Figure~", "Median", "Interval", "Least", "Most"]);
    let first = level.runs.first().map(|run| figures::of(run)).unwrap_or_default();
    let others: Vec<Vec<figures::Figure>> = level.runs.iter().map(|run| figures::of(run)).collect();
    for figure in first {
        let values =
            others.iter().filter_map(|of_run| figures::find(of_run, &figure.subject, figure.name));
        let values: Vec<f64> = values.map(|figure| figure.value).collect();
        let Some(found) = crate::statistics::Summary::of(&values) else { continue };
        let [median, interval] = summary(figure.unit, Some(&found));
        let [least, most] = [found.min, found.max].map(|value| figure.unit.show(value));
        table.rows.push(vec![
            figure.subject,
            figure.name.to_owned(),
            median,
            interval,
            least,
            most,
        ]);
    }
    let [flood, load] =
        [level.flood_pps, level.load_pps].map(|pps| Unit::PacketsPerSecond.show(pps));
    html! {
        details {
            summary { (group.label) ": flood " (flood) ", load " (load) ", " (level.runs.len()) " run(s)" }
            (table.markup())
        }
    }
}

/// Different environments, with the labels of the runs in each.
fn environments(results: &[RunResult]) -> Vec<(&Environment, Vec<&str>)> {
    let mut found: Vec<(&Environment, Vec<&str>)> = Vec::new();
    for result in results {
        let known = found.iter().position(|(environment, _)| **environment == result.environment);
        let index = known.unwrap_or_else(|| {
            found.push((&result.environment, Vec::new()));
            found.len() - 1
        });
        if !found[index].1.contains(&result.label.as_str()) {
            found[index].1.push(&result.label);
        }
    }
    found
}

fn machine(environment: &Environment, labels: &[&str]) -> Markup {
    let memory = crate::report::figures::count(environment.memory_bytes) / f64::from(1 << 30);
    let unknown = || "not told".to_owned();
    html! {
        p.quiet { "Of: " (labels.join(", ")) }
        dl {
            dt { "Processor" } dd { (environment.cpu) ", " (environment.cores) " core(s) online" }
            dt { "Memory" } dd { (format!("{memory:.1} GiB")) }
            dt { "Kernel" } dd { (environment.kernel) }
            dt { "Timer" } dd { (environment.hz.map_or_else(unknown, |hz| format!("{hz} Hz"))) }
            dt { "Governor" } dd { (environment.governor.clone().unwrap_or_else(unknown)) }
            dt { "Mitigations" } dd { (environment.mitigations.join("; ")) }
            dt { "Program" } dd { (environment.version) }
            @for interface in &environment.interfaces { dt { "Interface" } dd { (device(interface)) } }
        }
    }
}

fn device(interface: &Interface) -> String {
    let Interface { name, side, driver, mode, queues, mtu } = interface;
    format!("{name} ({side}): driver {driver}, {mode}, {queues} queue(s), MTU {mtu}")
}

/// How each run was made.
fn runs(results: &[RunResult]) -> Markup {
    let mut table =
        Table::new(&["Label~", "Begun (UTC)~", "Seconds", "Seed", "Ended~", "Usable~", "Command~"]);
    table.rows = results
        .iter()
        .map(|result| {
            vec![
                result.label.clone(),
                time(result.begun_unix_s),
                format!("{:.3}", result.elapsed_s),
                format!("{:#x}", result.seed),
                ended(result.ended_by).to_owned(),
                result.void.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
                result.command.join(" "),
            ]
        })
        .collect();
    table.markup()
}

/// A time as people write it.
fn time(unix_s: u64) -> String {
    let known =
        i64::try_from(unix_s).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    known.map_or_else(|| "unknown".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Fuzzy, page};
    use super::*;
    use crate::report::sample;
    use crate::result::Expect;

    fn study() -> Vec<RunResult> {
        let mut runs = Vec::new();
        for label in ["no protection", "weir <script>alert(1)</script>"] {
            for flood in [0.0, 1e4, 1e5, 1e6] {
                runs.extend((1..=6).map(|seed| sample::study(label, flood, seed)));
            }
        }
        runs
    }

    fn headings(page: &str) -> Vec<&str> {
        page.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect()
    }

    #[test]
    fn a_study_has_its_plots_and_escapes_its_labels() {
        let page = page(&study(), &Options::default()).unwrap();
        let expected = [
            "Goodput against flood rate",
            "Waiting time against flood rate",
            "Processor time against flood rate",
            "Percentiles of the waiting time",
            "Connections completed over the run",
            "Every figure",
            "Environment",
            "Runs",
        ];
        assert_eq!(headings(&page), expected);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(page.contains("Abacus &lt;7&gt; &amp; sons, 2 core(s) online"));
        assert!(page.contains(
            "Medians of up to 6 runs; the whiskers enclose the true median with 96.88 % confidence."
        ));
        assert!(page.contains("2026-09-21 14:13:20"));
        for outside in ["http://", "https://", "src=", "url("] {
            let allowed = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
            let found = page.matches(outside).count();
            assert_eq!(found, if outside == "http://" { allowed } else { 0 }, "{outside}");
        }
    }

    #[test]
    fn one_run_has_its_own_plots() {
        let page = page(&[sample::study("alone", 1e5, 1)], &Options::default()).unwrap();
        let expected = [
            "Goodput against flood rate",
            "Waiting time against flood rate",
            "Processor time against flood rate",
            "Percentiles of the waiting time",
            "Packets over the run",
            "Connections over the run",
            "Every figure",
            "Environment",
            "Runs",
        ];
        assert_eq!(headings(&page), expected);
        assert!(page.contains("users: first byte"));
    }

    #[test]
    fn a_limited_stream_is_drawn_over_the_ideal_line() {
        let mut runs: Vec<RunResult> =
            [1e3, 5e3, 1e4, 2e4].map(|flood| sample::study("fuzzy", flood, 1)).to_vec();
        runs.iter_mut().for_each(|run| run.streams[0].expect = Expect::Either);
        let fuzzy = Fuzzy { lower_pps: 1_000.0, upper_pps: 11_000.0 };
        assert_eq!(
            [500.0, 1_000.0, 6_000.0, 11_000.0, 1e9].map(|pps| (fuzzy.ideal(pps) * 1000.0).round()),
            [1000.0, 1000.0, 505.0, 10.0, 10.0]
        );
        let options = Options { title: Some("Fuzzy".to_owned()), fuzzy: Some(fuzzy) };
        let page = page(&runs, &options).unwrap();
        assert!(headings(&page).contains(&"Acceptance against offered rate"));
        assert!(page.contains("Ideal: all up to 1 kpps, falling evenly to 1 % at 11 kpps."));
        assert!(page.contains("<title>Fuzzy</title>"));
    }

    #[test]
    fn a_load_that_varies_has_a_loss_curve() {
        let mut runs = Vec::new();
        for load in [1e3, 1e4, 1e5] {
            let mut run = sample::study("box", 0.0, 1);
            (run.users, run.streams[0].requested_pps) = (None, Some(load));
            runs.push(run);
        }
        let page = page(&runs, &Options::default()).unwrap();
        assert!(headings(&page).contains(&"Loss against load"), "{:?}", headings(&page));
        assert!(headings(&page).contains(&"Waiting time against load"));
        assert!(!headings(&page).contains(&"Goodput against flood rate"));
    }

    #[test]
    fn void_runs_are_named_and_not_drawn() {
        let mut runs = vec![sample::study("slow", 1e5, 1)];
        runs[0].void = Some("the generator could not keep up".to_owned());
        let page = page(&runs, &Options::default()).unwrap();
        assert_eq!(headings(&page), ["Every figure", "Environment", "Runs"]);
        assert!(page.contains("Void, and in no plot: slow, begun 2026-09-21 14:13:20: the generator could not keep up."));
        assert!(page.contains("1 run(s), of which 0 may be used."));
    }
}
