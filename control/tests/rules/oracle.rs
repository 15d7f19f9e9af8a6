//! The real iptables, in a network namespace that lasts as long as one run of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use weir_control::rule::Family;

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why there is no oracle here; `None` if there is one.
pub(crate) fn missing() -> Option<String> {
    missing_of(Family::V4)
}

/// The same of either family.
pub(crate) fn missing_of(family: Family) -> Option<String> {
    let program = legacy(family);
    let probe = Command::new("unshare").args(["-n", &program, "-S"]).output();
    match probe {
        Ok(output) if output.status.success() => other_version(family),
        Ok(output) => Some(format!(
            "`unshare -n {program} -S` fails (root and its kernel module are needed): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("`unshare -n {program}` cannot be run: {error}")),
    }
}

fn legacy(family: Family) -> String {
    format!("{}-legacy", family.program())
}

/// Releases differ in small things, such as the column `prot` of `-L -n`; what is compared here
/// is the form of Debian 12.
fn other_version(family: Family) -> Option<String> {
    let output = Command::new(legacy(family)).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let wanted = format!("{} v1.8.9 (legacy)", family.program());
    let differs = version != wanted;
    differs.then(|| format!("the oracle must be {wanted}, here is {version}"))
}

/// Runs all command lines (without the program's name) one after the other in one fresh
/// namespace.
pub(crate) fn run(lines: &[Vec<String>]) -> Vec<Answer> {
    run_of(Family::V4, lines)
}

/// The same of either family.
pub(crate) fn run_of(family: Family, lines: &[Vec<String>]) -> Vec<Answer> {
    run_after("", family, lines)
}

/// The same where something was done before, by commands of the shell.
pub(crate) fn run_after(before: &str, family: Family, lines: &[Vec<String>]) -> Vec<Answer> {
    let command = |line: &Vec<String>| format!("{} {}", legacy(family), shell_words(line));
    in_namespace(before, &lines.iter().map(command).collect::<Vec<_>>())
}

/// Restores all texts, each with its options, one after the other in one fresh namespace. The
/// standard output is what is saved afterwards, with counters.
pub(crate) fn restore(family: Family, texts: &[(Vec<String>, String)]) -> Vec<Answer> {
    let program = legacy(family);
    let command = |(options, text): &(Vec<String>, String)| {
        let text = shell_words(std::slice::from_ref(text));
        format!(
            "{{ printf %s {text} | {program}-restore {}; rc=$?; {program}-save -c; (exit $rc); }}",
            shell_words(options)
        )
    };
    in_namespace("", &texts.iter().map(command).collect::<Vec<_>>())
}

fn shell_words(words: &[String]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    words.join(" ")
}

fn in_namespace(before: &str, commands: &[String]) -> Vec<Answer> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut script = format!("cd \"$1\" || exit 1\n{before}\n");
    for (index, command) in commands.iter().enumerate() {
        writeln!(script, "{command} >{index}.out 2>{index}.err; echo $? >{index}.rc")
            .expect("writing to a string");
    }
    let file = directory.path().join("script");
    std::fs::write(&file, script).expect("the script is written");
    let status = Command::new("unshare")
        .args(["-n", "bash"])
        .args([&file, directory.path()])
        .status()
        .expect("unshare runs");
    assert!(status.success(), "the oracle's script failed: {status}");
    let read = |path: &Path| {
        String::from_utf8_lossy(&std::fs::read(path).expect("every command leaves its files"))
            .into_owned()
    };
    (0..commands.len())
        .map(|index| {
            let file = |suffix: &str| read(&directory.path().join(format!("{index}.{suffix}")));
            let status = file("rc").trim().parse().expect("a number");
            Answer { status, stdout: file("out"), stderr: file("err") }
        })
        .collect()
}
