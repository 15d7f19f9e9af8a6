//! `[log]`: where the lines of `-j LOG` go.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, path};

/// The log of packets as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// The file that lines are appended to; `None`: they go to standard error with the daemon's own.
    pub file: Option<PathBuf>,
}

/// What stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileLog {
    file: Option<PathBuf>,
}

impl FileLog {
    pub(super) fn check(&self) -> Result<LogSettings, ConfigError> {
        let file = self.file.as_deref().map(|file| path::of_file("log.file", file, ""));
        Ok(LogSettings { file: file.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_an_absolute_path() {
        let file = |text: &str| {
            let file: FileLog = toml::from_str(text).expect("TOML");
            file.check().map(|settings| settings.file).map_err(|error| error.to_string())
        };
        assert_eq!(file(""), Ok(None));
        let good = PathBuf::from("/var/log/weir/packets.log");
        assert_eq!(file("file = \"/var/log/weir/packets.log\""), Ok(Some(good)));
        let name = "n".repeat(256);
        for bad in ["", "packets.log", "./packets.log", "/var/log/", "/", &format!("/{name}")] {
            let error = file(&format!("file = \"{bad}\"")).expect_err(bad);
            for word in ["log.file", "absolute path", "255 bytes"] {
                assert!(error.contains(word), "{error}");
            }
        }
        assert!(toml::from_str::<FileLog>("path = \"/a\"").is_err());
    }
}
