//! Compiles the program that sends live frames (`bpf/live_frames.bpf.c`), and tells weirgen which commit it is built
//! from, so that its reports can say so.

#[path = "../dataplane/bpf/compile.rs"]
mod compile;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../dataplane/bpf/compile.rs");
    name_commit();
    compile::compile("bpf/live_frames.bpf.c", "live_frames.skel.rs")
}

fn name_commit() {
    // Moves with every commit and checkout, in a linked worktree too.
    if let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={path}");
    }
    // Without Git, or from an unpacked archive, the commit is not known and the report says so.
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", ".."]);
    let suffix = if changed.is_some_and(|files| !files.is_empty()) { " with changes" } else { "" };
    println!("cargo::rustc-env=WEIRGEN_COMMIT={commit}{suffix}");
}

/// What Git prints, without the last newline; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
