//! Style is a test: lengths, misplaced unsafe code, clocks where time is an argument, leftovers,
//! files that belong to nothing.
//!
//! The rules hold for every source file of the repository, this one too; there is no list of
//! exceptions. Generated text is not checked in; a file that must be begins a comment near its
//! top with `@generated`, and is left alone.

mod reach;
mod rules;
mod source;

use std::fs;
use std::path::Path;

use crate::source::Source;

/// The languages the rules are for, by the end of a file's name.
const LANGUAGES: &[&str] = &["rs", "c", "h", "py", "sh"];

/// Folders of the build and of Git, wherever they are.
const NOT_SOURCE: &[&str] = &["target", ".git", "out"];

/// What may stand at the root of the repository.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "configs",
    "control",
    "dataplane",
    "loadgen",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "target",
    "tests",
];

/// Every file below a folder with one of these endings, as (path from the root, text).
fn read_below(root: &Path, folder: &Path, endings: &[&str], found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !NOT_SOURCE.contains(&name.as_str()) {
            read_below(root, &path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
            let text = fs::read_to_string(&path).expect("a text file");
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy();
            found.push((path.into_owned(), text));
        }
    }
}

/// Every file below the root of the repository with one of these endings.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let root = weir_tests::repository();
    let mut found = Vec::new();
    read_below(&root, &root, endings, &mut found);
    found.sort();
    found
}

/// Every source file that people wrote.
fn sources() -> Vec<Source> {
    let marks =
        |line: &str| line.trim_start_matches(['/', '*', '#', ' ']).starts_with("@generated");
    let generated = |text: &str| text.lines().take(5).any(marks);
    let written = files(LANGUAGES).into_iter().filter(|(_, text)| !generated(text));
    written.map(|(path, text)| Source::new(&path, &text)).collect()
}

/// Fails with every complaint on a line of its own.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_keeps_the_rules() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "tests/tests/tidy/main.rs"));
    let complaints = sources.iter().flat_map(|source| {
        let found = rules::RULES.iter().flat_map(|rule| rule(source));
        found.map(|finding| format!("{}:{}: {}", source.path, finding.line, finding.what))
    });
    assert_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn every_file_is_part_of_a_crate() {
    let mut roots = Vec::new();
    for (manifest, text) in files(&["toml"]) {
        let folder = manifest.strip_suffix("Cargo.toml").unwrap_or_default();
        let named = text.lines().filter_map(|line| line.strip_prefix("path = \""));
        roots.extend(named.map(|name| format!("{folder}{}", name.trim_end_matches('"'))));
    }
    let dead = reach::unreached(&sources(), &roots);
    let complaints = dead.iter().map(|path| format!("{path}: no `mod` leads to it"));
    assert_none(&complaints.collect::<Vec<_>>());
}

/// What stands at the root and may not.
fn strangers<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let unknown = names.filter(|name| !TOP_LEVEL.contains(name));
    unknown.map(|name| format!("{name}: unknown at the root of the repository")).collect()
}

#[test]
fn the_root_is_tidy() {
    let entries = fs::read_dir(weir_tests::repository()).expect("the root").flatten();
    let names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_none(&strangers(names.iter().map(String::as_str)));
}

#[test]
fn strangers_at_the_root_are_found() {
    let names = ["README.md", "notes.txt", "tests"];
    assert_eq!(strangers(names.into_iter()), ["notes.txt: unknown at the root of the repository"]);
}
