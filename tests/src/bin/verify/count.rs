//! Counts what tests print: the harness of Rust's tests, line by line.
//!
//! With `--show-output` each test binary prints, after its list, what its passing tests printed,
//! a block each (`---- name stdout ----`), then its failing ones, then `test result: …`. A test
//! that printed `SKIPPED: reason` has returned early: the harness calls it passed, we skipped.

/// What ran, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests and checks of the lab that passed.
    pub(crate) passed: usize,
    /// Those that failed, and each step that failed without naming a test.
    pub(crate) failed: usize,
    /// What did not run, and why.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// Adds another tally.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

/// Where in a test binary's output we are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the list of tests.
    List,
    /// In what a passing test printed.
    Passing { test: String, skipped: bool },
    /// In what a failing test printed.
    Failing,
}

/// Reads the output of `cargo test -- --show-output`.
#[derive(Debug)]
pub(crate) struct TestOutput {
    tally: Tally,
    place: Place,
    /// Tests of the current binary that skipped themselves.
    skipped: usize,
}

impl TestOutput {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self { tally: Tally::default(), place: Place::List, skipped: 0 }
    }

    /// Reads a line. Says whether people want to see it: what passing tests print they do not.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.end_of_binary(result);
            return true;
        }
        match line {
            "successes:" => self.place = Place::Passing { test: String::new(), skipped: false },
            "failures:" => self.place = Place::Failing,
            _ => {}
        }
        match &mut self.place {
            Place::List => {
                if let Some((test, reason)) = ignored(line) {
                    self.tally.skipped.push(format!("{test}: {reason}"));
                }
                true
            }
            Place::Failing => true,
            Place::Passing { test, skipped } => {
                if let Some(name) = block_of(line) {
                    (*test, *skipped) = (name.to_owned(), false);
                } else if let Some(reason) = line.strip_prefix("SKIPPED: ") {
                    if !*skipped {
                        self.tally.skipped.push(format!("{test}: {reason}"));
                        self.skipped += 1;
                    }
                    *skipped = true;
                }
                false
            }
        }
    }

    /// What was counted.
    pub(crate) fn finish(self) -> Tally {
        self.tally
    }

    /// Reads `ok. 3 passed; 0 failed; 1 ignored; …`.
    fn end_of_binary(&mut self, result: &str) {
        let number = |word: &str| {
            let before = result.split(word).next().unwrap_or_default();
            before.rsplit([' ', ';']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let passed: usize = number(" passed");
        self.tally.passed += passed.saturating_sub(self.skipped);
        self.tally.failed += number(" failed");
        (self.place, self.skipped) = (Place::List, 0);
    }
}

/// The name in `---- name stdout ----`.
fn block_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// The test and the reason in `test name ... ignored, reason`.
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((test, rest.strip_prefix(", ").unwrap_or("marked to be ignored")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 5 tests
test a ... ok
test b ... ok
test c ... FAILED
test d ... ignored, takes an hour
test e ... ok

successes:

---- a stdout ----
SKIPPED: needs root
SKIPPED: needs ip

---- b stdout ----
a chatty test

successes:
    a
    b
    e

failures:

---- c stdout ----
thread 'c' panicked

failures:
    c

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s

running 1 test
test f ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn every_test_counts_once() {
        let mut output = TestOutput::new();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| output.read(line)).collect();
        let skipped = ["d: takes an hour", "a: needs root"].map(str::to_owned).to_vec();
        // b, e and f; a has skipped itself, and says so twice.
        assert_eq!(output.finish(), Tally { passed: 3, failed: 1, skipped });
        assert!(shown.contains(&"thread 'c' panicked") && !shown.contains(&"a chatty test"));
    }
}
