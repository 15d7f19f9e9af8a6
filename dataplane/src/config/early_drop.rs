//! `[early_drop]`: the lists of sources that the XDP program looks into.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, path, range};
use crate::early_drop::Sizes;

/// Early drop as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyDropSettings {
    /// How many entries there may be.
    pub sizes: Sizes,
    /// Whether sources are dropped early that a rule's limit holds at its floor.
    pub limiter: bool,
    /// The entries that are blocked from the first packet on.
    pub blocklist: Option<PathBuf>,
    /// The entries that nothing blocks.
    pub allowlist: Option<PathBuf>,
}

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileEarlyDrop {
    sources_max: i64,
    prefixes_max: i64,
    limiter: bool,
    blocklist: Option<PathBuf>,
    allowlist: Option<PathBuf>,
}

impl Default for FileEarlyDrop {
    fn default() -> Self {
        Self {
            sources_max: 16_384,
            prefixes_max: 1_024,
            limiter: true,
            blocklist: None,
            allowlist: None,
        }
    }
}

impl FileEarlyDrop {
    pub(super) fn check(&self) -> Result<EarlyDropSettings, ConfigError> {
        let file = |key, file: &Option<PathBuf>| {
            file.as_deref().map(|file| path::of_file(key, file, "")).transpose()
        };
        Ok(EarlyDropSettings {
            sizes: Sizes {
                sources_max: range("early_drop.sources_max", self.sources_max, 1, 1 << 20)?,
                prefixes_max: range("early_drop.prefixes_max", self.prefixes_max, 1, 1 << 16)?,
            },
            limiter: self.limiter,
            blocklist: file("early_drop.blocklist", &self.blocklist)?,
            allowlist: file("early_drop.allowlist", &self.allowlist)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<EarlyDropSettings, String> {
        let file: FileEarlyDrop = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check().map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_and_files_are_checked() {
        let sizes = Sizes { sources_max: 16_384, prefixes_max: 1_024 };
        let default = EarlyDropSettings { sizes, limiter: true, blocklist: None, allowlist: None };
        assert_eq!(settings(""), Ok(default.clone()));
        let sizes = Sizes { sources_max: 1 << 20, prefixes_max: 1 };
        let file = Some(PathBuf::from("/etc/weir/blocked"));
        assert_eq!(
            settings(
                "sources_max = 1048576\nprefixes_max = 1\nlimiter = false\nblocklist = \"/etc/weir/blocked\""
            ),
            Ok(EarlyDropSettings { sizes, limiter: false, blocklist: file, allowlist: None })
        );
        for (bad, words) in [
            ("sources_max = 0", "early_drop.sources_max = 0 is not allowed: 1 to 1048576"),
            ("sources_max = 1048577", "1 to 1048576"),
            ("prefixes_max = 65537", "early_drop.prefixes_max = 65537 is not allowed: 1 to 65536"),
            (
                "blocklist = \"blocked\"",
                "early_drop.blocklist = \"blocked\" is not allowed: the absolute path",
            ),
            ("allowlist = \"/\"", "early_drop.allowlist"),
            ("entries_max = 1", "unknown field"),
        ] {
            let error = settings(bad).expect_err(bad);
            assert!(error.contains(words), "{bad}: {error}");
        }
    }
}
