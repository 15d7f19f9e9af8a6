//! Paths of files that the daemon writes.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{ConfigError, refuse};

/// Longest name of a file (NAME_MAX in linux/limits.h), and longest path, with its final zero (PATH_MAX).
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4096;

/// An absolute path that names a file, also with `suffix` at its end.
pub(super) fn of_file(key: &str, path: &Path, suffix: &str) -> Result<PathBuf, ConfigError> {
    let bytes = path.as_os_str().as_bytes();
    let name_max = NAME_BYTES_MAX - suffix.len();
    let path_max = PATH_BYTES_MAX - 1 - suffix.len();
    let names_a_file = path.file_name().is_some_and(|name| {
        // `file_name` overlooks a slash, or a dot, at the end.
        name.len() <= name_max && bytes.ends_with(name.as_bytes())
    });
    if path.is_absolute() && names_a_file && bytes.len() <= path_max && !bytes.contains(&0) {
        return Ok(path.to_owned());
    }
    let allowed = format!("the absolute path of a file, whose name has at most {name_max} bytes");
    refuse(key, format!("{:?}", path.display().to_string()), allowed)
}
