//! Sets of addresses, beside those of the kernel.
//!
//! The oracle is ipset 7.17 in a network namespace of its own. What is compared: exit status, the words of
//! errors, what `test` says, and all of `save`, but for what only the kernel's tables have (`bucketsize`,
//! `initval`, the size that they have grown to) and for the order of entries.
//!
//! Environment: `WEIR_SETS_SEED` (the same every time unless given), `WEIR_SETS_COMMANDS` (default 1,500).

mod differential;
mod lines;
mod oracle;
mod saved;
mod weir;
