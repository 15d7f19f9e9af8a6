//! `[recent]`: how large the tables of `-m recent` are.

use serde::Deserialize;

use super::{ConfigError, range};
use crate::policy::LimitSettings;

/// Tables of `-m recent` as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentSettings {
    /// Addresses of each (`ip_list_tot` of the kernel's module).
    pub addresses_max: u32,
}

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileRecent {
    addresses_max: i64,
}

impl Default for FileRecent {
    fn default() -> Self {
        Self { addresses_max: LimitSettings::RECENT_ADDRESSES.into() }
    }
}

impl FileRecent {
    pub(super) fn check(&self) -> Result<RecentSettings, ConfigError> {
        let most = LimitSettings::RECENT_ADDRESSES_MAX.into();
        let addresses_max = range("recent.addresses_max", self.addresses_max, 1, most)?;
        Ok(RecentSettings { addresses_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_room_for_one_at_least() {
        let file = |text: &str| {
            let file: FileRecent = toml::from_str(text).expect("TOML");
            file.check().map(|settings| settings.addresses_max).map_err(|error| error.to_string())
        };
        assert_eq!(file(""), Ok(100));
        assert_eq!(file("addresses_max = 1"), Ok(1));
        assert_eq!(file("addresses_max = 1048576"), Ok(1 << 20));
        for bad in [0, -1, 1_048_577] {
            let error = file(&format!("addresses_max = {bad}")).expect_err("out of range");
            assert!(error.contains("recent.addresses_max"), "{error}");
            assert!(error.ends_with("1 to 1048576"), "{error}");
        }
    }
}
