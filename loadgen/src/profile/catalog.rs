//! The profiles that come with the program: those of `configs/loadgen`, and the recordings that they name.

use std::path::{Path, PathBuf};

use super::Profile;
use super::reader::ProfileError;

/// A profile's name and text.
pub(crate) type Entry = (&'static str, &'static str);

macro_rules! profile {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../configs/loadgen/", $name, ".toml")))
    };
}

/// All of them, by name.
pub(crate) const PROFILES: &[Entry] = &[
    profile!("ack-flood"),
    profile!("concurrent-connections"),
    profile!("connection-rate"),
    profile!("fin-flood"),
    profile!("flows-1"),
    profile!("flows-100k"),
    profile!("flows-10k"),
    profile!("flows-1k"),
    profile!("flows-1m"),
    profile!("flows-4m"),
    profile!("fragment-flood"),
    profile!("frame-sizes"),
    profile!("icmp-flood"),
    profile!("imix"),
    profile!("mal1"),
    profile!("mal2"),
    profile!("mal3"),
    profile!("mal4"),
    profile!("malformed"),
    profile!("mixed-flood"),
    profile!("null-flood"),
    profile!("pulse"),
    profile!("ramp"),
    profile!("replay"),
    profile!("rfc2544"),
    profile!("rst-flood"),
    profile!("slow-and-low"),
    profile!("steps"),
    profile!("syn-ack-flood"),
    profile!("syn-flood"),
    profile!("syn-flood-1000"),
    profile!("syn-flood-ipv6"),
    profile!("syn-flood-one"),
    profile!("syn-flood-spoofed"),
    profile!("udp-flood"),
    profile!("udp-flood-vlan"),
    profile!("users"),
    profile!("users-ipv6"),
    profile!("users-syn-flood"),
    profile!("users-syn-flood-ipv6"),
    profile!("users-syn-flood-vlan"),
    profile!("xmas-flood"),
];

/// The recordings.
pub(crate) const RECORDINGS: &[(&str, &[u8])] =
    &[("web.pcap", include_bytes!("../../../configs/loadgen/web.pcap"))];

/// The recording of this name in a folder; one that comes with the program if there is no such file.
pub(super) fn recording(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(name);
    let own = RECORDINGS.iter().find(|(own, _)| *own == name).filter(|_| !path.exists());
    match own {
        Some((_, bytes)) => Ok(bytes.to_vec()),
        None => std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display())),
    }
}

impl Profile {
    /// The profile that a user names: one that comes with the program, or a file.
    ///
    /// # Errors
    /// [`ProfileError`]; of a name that is neither, with the names that there are.
    pub fn find(name: &str) -> Result<Self, ProfileError> {
        let path = PathBuf::from(name);
        if path.exists() {
            return Self::load(&path);
        }
        match PROFILES.iter().find(|(own, _)| *own == name) {
            Some((own, text)) => Self::parse(own, &format!("{own}.toml"), text, Path::new(".")),
            None if name.contains('.') || name.contains('/') => Self::load(&path),
            None => {
                let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
                let why = format!("no such file, and none of {}", names.join(", "));
                Err(ProfileError::Unreadable { file: name.to_owned(), why })
            }
        }
    }

    /// All profiles that come with the program.
    #[must_use]
    pub fn all() -> Vec<Self> {
        PROFILES.iter().filter_map(|(name, _)| Self::find(name).ok()).collect()
    }
}
