//! Changes of sets, as they travel.

use serde::{Deserialize, Serialize};

use super::{SetName, SetSpec};

/// A command, and whether it minds what is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetChange {
    /// What to do.
    pub command: SetCommand,
    /// `-exist`: to make or add what there is, and to delete what there is not, is no error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exist: bool,
}

/// A change of sets. Entries are texts, as they are saved, since there may be a million of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SetCommand {
    /// A new set.
    Create {
        /// Its name.
        name: SetName,
        /// What it is made as.
        spec: SetSpec,
    },
    /// A set goes, or all do.
    Destroy {
        /// Which; `None` for all.
        name: Option<SetName>,
    },
    /// Entries come.
    Add {
        /// To which set.
        name: SetName,
        /// Which.
        entries: Vec<String>,
    },
    /// Entries go.
    Delete {
        /// From which set.
        name: SetName,
        /// Which.
        entries: Vec<String>,
    },
    /// All entries of a set go, or those of all.
    Flush {
        /// Which; `None` for all.
        name: Option<SetName>,
    },
    /// Another name for a set that nothing refers to.
    Rename {
        /// The set.
        name: SetName,
        /// Its new name.
        to: SetName,
    },
    /// Two sets of one kind change places: rules that ask for one ask for the other at once.
    Swap {
        /// The one.
        name: SetName,
        /// The other.
        with: SetName,
    },
}
