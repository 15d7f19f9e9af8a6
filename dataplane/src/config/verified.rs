//! `[verified]`: how many sources are remembered that have completed a handshake, and for how long.

use serde::Deserialize;

use super::{ConfigError, range};
use crate::limit::verified::VerifiedSettings;

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileVerified {
    sources_max: i64,
    expire_s: i64,
}

impl Default for FileVerified {
    fn default() -> Self {
        let VerifiedSettings { sources_max, expire_s } = VerifiedSettings::default();
        Self { sources_max: sources_max.into(), expire_s: expire_s.into() }
    }
}

impl FileVerified {
    pub(super) fn check(&self) -> Result<VerifiedSettings, ConfigError> {
        let most = VerifiedSettings::SOURCES_MAX.into();
        let sources_max = range("verified.sources_max", self.sources_max, 1, most)?;
        let most = VerifiedSettings::EXPIRE_S_MAX.into();
        let expire_s = range("verified.expire_s", self.expire_s, 1, most)?;
        Ok(VerifiedSettings { sources_max, expire_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_one_and_a_second_at_least() {
        let file = |text: &str| {
            let file: FileVerified = toml::from_str(text).expect("TOML");
            file.check().map_err(|error| error.to_string())
        };
        assert_eq!(file(""), Ok(VerifiedSettings { sources_max: 65_536, expire_s: 86_400 }));
        let least = "sources_max = 1\nexpire_s = 1";
        assert_eq!(file(least), Ok(VerifiedSettings { sources_max: 1, expire_s: 1 }));
        for (bad, said) in [
            ("sources_max = 0", "1 to 1048576"),
            ("sources_max = 1048577", "1 to 1048576"),
            ("expire_s = 0", "1 to 2592000"),
            ("expire_s = -1", "1 to 2592000"),
        ] {
            let error = file(bad).expect_err("out of range");
            let key = bad.split(' ').next().unwrap_or_default();
            assert!(error.contains(key) && error.ends_with(said), "{error}");
        }
    }
}
