//! The file that lines about packets are appended to.
//!
//! Whoever turns logs over moves the file away: it is then made anew under its name. It is readable by its owner and
//! group, as the kernel's log is.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who may read a new file: owner and group.
const MODE: u32 = 0o640;

/// Why lines cannot be written to a file.
#[derive(Debug, thiserror::Error)]
#[error("log.file {}: {source}", path.display())]
pub struct LogFileError {
    path: PathBuf,
    source: io::Error,
}

/// An open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, or makes it. Only a regular one will do: a pipe could keep the writer waiting for ever.
    pub(super) fn open(path: &Path) -> Result<Self, LogFileError> {
        let told = |source| LogFileError { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path).map_err(told)?;
        if !file.metadata().map_err(told)?.is_file() {
            return Err(told(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends a text, to a new file if the one before is no longer under its name.
    pub(super) fn append(&mut self, text: &[u8]) -> Result<(), LogFileError> {
        let told = |source| LogFileError { path: self.path.clone(), source };
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::metadata(&self.path).ok().as_ref().map(identity);
        if named != Some(identity(&self.file.metadata().map_err(told)?)) {
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(text).map_err(|source| LogFileError { path: self.path.clone(), source })
    }
}
