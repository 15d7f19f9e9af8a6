//! Whether `/dev/null` is what it should be.
//!
//! Whoever is root takes it away from the whole machine by naming it where a program puts a finished file into place
//! (`rustc -o /dev/null`). What is written to it then stays there, and whoever reads nothing from it reads that: build
//! scripts ask the compiler things in this way, and every build fails with messages that are about something else.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use weir_tests::console::Console;
use weir_tests::{Error, Result, process};

const DEVICE: &str = "/dev/null";

/// How long a command may take that makes a device.
const MEND_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Makes it again where it is a file, and says so.
///
/// # Errors
///
/// That it is no device and there is no right to make it one, or what making it says.
pub(crate) fn check(console: &Console, is_root: bool) -> Result<()> {
    if is_device(Path::new(DEVICE)) {
        return Ok(());
    }
    if !is_root {
        return Err(Error::Unmet(format!(
            "{DEVICE} is not a device, which lets every build fail. As root: {}",
            MEND.join(" && ")
        )));
    }
    console.line(&format!("{DEVICE} was not a device, so no build would work: making it again."));
    for line in MEND {
        process::run(process::words(line), MEND_MAX)?;
    }
    Ok(())
}

/// Puts the device in the place of what is there, without a moment in which there is none.
const MEND: [&str; 2] = ["mknod -m 666 /dev/null.new c 1 3", "mv -f /dev/null.new /dev/null"];

fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.file_type().is_char_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_device(file.path()) && !is_device(Path::new("/dev/no such device")));
        assert!(is_device(Path::new("/dev/zero")));
    }
}
