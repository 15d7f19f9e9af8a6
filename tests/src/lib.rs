//! The harness under Weir's lab and under every test that crosses crates.
//!
//! Everything here runs real programs over real packets, inside network namespaces of its own:
//!
//! ```text
//!   netns      a namespace, veth pairs between namespaces, the calling thread inside one
//!   process    a child that is always ended, its output in a file, its lines awaited
//!   weir       the binaries built, the daemon started, rules given, counters read
//!   sniff      what arrived: the trojan's packets as seen on one interface
//!   packages   Debian packages: which are missing, and installed
//!   interrupt  Ctrl-C as a flag, asked between steps and while waiting
//!   skip       `skip_unless!`: a test that cannot run here says so
//!   console    headings, colours and spinners of the two binaries
//! ```
//!
//! The two binaries are commands of the repository: `cargo lab` plays the seed's lab exercises,
//! `cargo verify` runs every check there is. Both run on a machine that has nothing but Rust and
//! Debian's base, and install what the other crates need. So this crate depends on little, and
//! never on the dataplane.
//!
//! # Who cleans up
//!
//! Every namespace, process and directory is owned by a value whose `Drop` removes it; so a panic,
//! an error and a Ctrl-C leave by the same door. Only SIGKILL leaves something behind. For that
//! the names carry the owner's process id, and the next run of `cargo lab` or `cargo verify`
//! removes what belongs to the dead.
//!
//! # Examples
//!
//! ```no_run
//! use weir_tests::netns::{Namespace, Veth};
//!
//! # fn main() -> Result<(), weir_tests::Error> {
//! let left = Namespace::unique("left")?;
//! let right = Namespace::unique("right")?;
//! Veth::between(&left, "eth0", &right, "eth0").create()?;
//! left.add_address("eth0", "10.9.0.1/24")?;
//! right.add_address("eth0", "10.9.0.2/24")?;
//! left.run("ping -c 1 10.9.0.2")?;
//! # Ok(())
//! # }
//! ```

pub mod console;
pub mod error;
pub mod interrupt;
pub mod netns;
pub mod packages;
pub mod process;
pub mod skip;
pub mod sniff;
pub mod weir;

pub use error::{Error, Result};

use std::path::{Path, PathBuf};

/// The root of the repository this crate was built from.
#[must_use]
pub fn repository() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_root.parent().unwrap_or(crate_root).to_path_buf()
}

/// The folder of the lab's own files: the trojan's scripts, the sniffer, Bob's page.
#[must_use]
pub fn lab_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab")
}
