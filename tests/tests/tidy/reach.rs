//! Which Rust files are part of a crate: those that a chain of `mod` leads to from a root.
//!
//! A file nobody declares is compiled by nobody, and tested by nobody, however good it looks.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// The Rust files that no chain of `mod` leads to.
///
/// `roots_named` are the roots that manifests name by `path = "…"`, from the repository's root.
pub(crate) fn unreached(sources: &[Source], roots_named: &[String]) -> Vec<String> {
    let rust: BTreeMap<&str, &Source> = sources
        .iter()
        .filter(|source| source.is_rust())
        .map(|source| (source.path.as_str(), source))
        .collect();
    let mut reached = BTreeSet::new();
    let is_root = |path: &&&str| is_root(path) || roots_named.iter().any(|root| root == *path);
    let mut next: Vec<String> =
        rust.keys().filter(is_root).map(|path| (*path).to_owned()).collect();
    while let Some(path) = next.pop() {
        if let Some(source) = rust.get(path.as_str())
            && reached.insert(path)
        {
            next.extend(children(source));
        }
    }
    rust.keys().filter(|path| !reached.contains(**path)).map(|path| (*path).to_owned()).collect()
}

/// Whether Cargo finds this file by itself.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        [.., "build.rs"]
            | [.., "src", "lib.rs" | "main.rs"]
            | [.., "src", "bin", _]
            | [.., "src", "bin", _, "main.rs"]
            | [_, .., "tests" | "benches" | "examples", _]
            | [_, .., "tests" | "benches" | "examples", _, "main.rs"]
    )
}

/// The files a file's `mod` may mean.
fn children(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let own_folder = if is_root(&source.path) || ["mod", "lib", "main"].contains(&stem) {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let mut files = Vec::new();
    for (code, text) in source.code.lines().zip(source.text.lines()) {
        let named = code.trim().strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = named {
            files.push(format!("{own_folder}/{name}.rs"));
            files.push(format!("{own_folder}/{name}/mod.rs"));
        }
        // `#[path = "x.rs"]` and `include!("x.rs")`: the name is in a string, so not in the code.
        let code = code.trim_start();
        if code.starts_with("#[path") || code.contains("include!(") {
            files.extend(text.split('"').nth(1).map(|name| format!("{folder}/{name}")));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_files_are_found() {
        let sources = [
            Source::new("a/src/lib.rs", "pub mod b;\npub(crate) mod c;\n// mod dead;\n"),
            Source::new("a/src/b.rs", "mod d;\n#[path = \"odd/e.rs\"]\nmod f;\n"),
            Source::new("a/src/b/d.rs", ""),
            Source::new("a/src/odd/e.rs", ""),
            Source::new("a/src/c/mod.rs", "mod g;"),
            Source::new("a/src/c/g.rs", ""),
            Source::new("a/src/dead.rs", "mod deader;"),
            Source::new("a/src/dead/deader.rs", ""),
            Source::new("a/src/bin/tool/main.rs", "mod part;"),
            Source::new("a/src/bin/tool/part.rs", ""),
            Source::new("a/tests/t.rs", "mod shared;"),
            Source::new("a/tests/shared/mod.rs", ""),
            Source::new("a/side/named.rs", ""),
            Source::new("a/side/unnamed.rs", ""),
            Source::new("a/src/program.c", ""),
        ];
        let roots = ["a/side/named.rs".to_owned()];
        let dead = ["a/side/unnamed.rs", "a/src/dead.rs", "a/src/dead/deader.rs"];
        assert_eq!(unreached(&sources, &roots), dead);
    }
}
