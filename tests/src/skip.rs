//! Tests that cannot run here say so.
//!
//! A test that needs root or a program begins with [`skip_unless!`](crate::skip_unless). Where the
//! need is not met it prints `SKIPPED: <reason>` and returns; `cargo verify` counts and lists these
//! lines, so that no test passes in silence without having run.

use crate::process;

/// Something a test needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// To be root: namespaces, raw sockets and XDP are for root only.
    Root,
    /// A program of this name in `PATH`.
    Command(&'a str),
}

impl Need<'_> {
    /// Why the need is not met on this machine; `None` when it is.
    #[must_use]
    pub fn unmet(self) -> Option<String> {
        match self {
            Need::Root if !is_root() => Some("needs root".to_owned()),
            Need::Command(name) if process::find_program(name).is_none() => {
                Some(format!("needs the program `{name}`"))
            }
            Need::Root | Need::Command(_) => None,
        }
    }
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first need that is not met, in words.
#[must_use]
pub fn first_unmet(needs: &[Need<'_>]) -> Option<String> {
    needs.iter().find_map(|need| need.unmet())
}

/// Returns from the test, saying `SKIPPED: <reason>`, unless every need is met.
///
/// ```
/// use weir_tests::skip_unless;
///
/// fn test_of_namespaces() {
///     skip_unless!(root, command "ip");
///     // …
/// }
/// # test_of_namespaces();
/// ```
#[macro_export]
macro_rules! skip_unless {
    (@need root) => { $crate::skip::Need::Root };
    (@need command $name:literal) => { $crate::skip::Need::Command($name) };
    ($($kind:ident $($name:literal)?),+ $(,)?) => {
        let needs = [$($crate::skip_unless!(@need $kind $($name)?)),+];
        if let Some(reason) = $crate::skip::first_unmet(&needs) {
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_unmet_need() {
        let needs = [Need::Command("sh"), Need::Command("no-such-program"), Need::Command("nor")];
        assert_eq!(first_unmet(&needs), Some("needs the program `no-such-program`".to_owned()));
        assert_eq!(first_unmet(&[Need::Command("sh")]), None);
    }
}
