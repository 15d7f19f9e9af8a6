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

impl LogSettings {
    /// Why the file could not be written, found without touching it; `None` if nothing speaks against it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        let folder = file.parent().filter(|folder| !folder.is_dir());
        let other = std::fs::metadata(file).is_ok_and(|there| !there.is_file());
        let shown = file.display();
        match folder {
            Some(folder) => {
                Some(format!("log.file {shown}: there is no folder {}", folder.display()))
            }
            None => other.then(|| format!("log.file {shown}: not a regular file")),
        }
    }
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

    #[test]
    fn what_speaks_against_a_file_is_found_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let trouble = |file: PathBuf| LogSettings { file: Some(file) }.trouble();
        assert_eq!(trouble(folder.path().join("packets.log")), None);
        assert_eq!(LogSettings::default().trouble(), None);
        let no_file = trouble(folder.path().to_owned()).expect("a folder is no file");
        assert!(no_file.ends_with("not a regular file"), "{no_file}");
        let no_folder = trouble(folder.path().join("a/b")).expect("it is not there");
        assert!(no_folder.contains("there is no folder"), "{no_folder}");
        assert!(!folder.path().join("packets.log").exists(), "nothing was touched");
    }
}
