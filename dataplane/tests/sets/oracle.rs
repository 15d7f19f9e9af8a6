//! The real ipset.

use std::fmt::Write as _;
use std::process::Command;

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why there is no oracle here; `None` if there is one.
pub(crate) fn missing() -> Option<String> {
    let run = |words: &[&str]| Command::new("unshare").arg("-n").args(words).output();
    match run(&["ipset", "create", "x", "hash:ip"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return Some(format!(
                "`unshare -n ipset create` fails (root and ip_set are needed): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        Err(error) => return Some(format!("`unshare` cannot be run: {error}")),
    }
    let version = run(&["ipset", "version"]).ok()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let known = version.starts_with("ipset v7.17,");
    (!known).then(|| format!("the oracle must be ipset v7.17, here is {version}"))
}

/// Runs all command lines, without the program's name, one after the other in one fresh namespace.
pub(crate) fn run(lines: &[Vec<String>]) -> Vec<Answer> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut script = String::from("cd \"$1\" || exit 1\n");
    for (index, line) in lines.iter().enumerate() {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let words: Vec<String> = line.iter().map(quoted).collect();
        let words = words.join(" ");
        writeln!(
            script,
            "ipset {words} </dev/null >{index}.out 2>{index}.err; echo $? >{index}.rc"
        )
        .expect("writing to a string");
    }
    let file = directory.path().join("script");
    std::fs::write(&file, script).expect("the script is written");
    let status =
        Command::new("unshare").args(["-n", "bash"]).args([&file, directory.path()]).status();
    assert!(status.expect("unshare runs").success(), "the oracle's script failed");
    let read = |name: String| {
        let bytes =
            std::fs::read(directory.path().join(name)).expect("every command leaves its files");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let answer = |index: usize| Answer {
        status: read(format!("{index}.rc")).trim().parse().expect("a number"),
        stdout: read(format!("{index}.out")),
        stderr: read(format!("{index}.err")),
    };
    (0..lines.len()).map(answer).collect()
}
