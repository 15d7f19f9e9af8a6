//! Whether a snapshot of the flows can be kept where a configuration says.

use std::fs;
use std::io;
use std::path::Path;

use super::Config;

impl Config {
    /// Why no snapshot can be kept under the name that this configuration gives, and what to do; `None` if one can be,
    /// as far as can be seen, or none is wanted.
    #[must_use]
    pub fn snapshot_trouble(&self) -> Option<String> {
        let path = self.conntrack.snapshot.as_deref()?;
        let why = if path == self.control.socket {
            "that is control.socket: name another file".to_owned()
        } else {
            trouble_with(path)?
        };
        Some(format!("conntrack.snapshot = {:?}: {why}", path.display().to_string()))
    }
}

fn trouble_with(path: &Path) -> Option<String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => None,
        Ok(metadata) if metadata.is_dir() => Some("that is a folder: name a file in it".to_owned()),
        Ok(_) => Some(
            "only a regular file is replaced: name one, or one that is not there yet".to_owned(),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            (!folder.is_dir()).then(|| format!("there is no folder {}: make it", folder.display()))
        }
        Err(error) => Some(format!("cannot be looked at: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_regular_file_will_do_or_a_name_in_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").expect("written");
        symlink(at("file"), at("link")).expect("a link");
        fs::create_dir(at("folder")).expect("made");
        let _socket = UnixListener::bind(at("socket")).expect("bound");
        for (name, trouble) in [
            ("file", None),
            ("new", None),
            ("link", Some("only a regular file")),
            ("socket", Some("only a regular file")),
            ("folder", Some("that is a folder")),
            ("missing/new", Some("there is no folder")),
            ("file/new", Some("cannot be looked at")),
        ] {
            let found = trouble_with(&at(name));
            assert_eq!(found.is_some(), trouble.is_some(), "{name}: {found:?}");
            assert!(found.unwrap_or_default().contains(trouble.unwrap_or_default()), "{name}");
        }
    }

    #[test]
    fn the_control_socket_is_no_snapshot() {
        let text = "mode = \"route\"\n[[ports]]\ninterface = \"a\"\n[[ports]]\ninterface = \"b\"\n\
                    [control]\nsocket = \"/run/weir/x\"\n[conntrack]\nsnapshot = \"/run/weir/x\"\n";
        let config = Config::parse(text, Path::new("weir.toml")).expect("readable");
        let trouble = config.snapshot_trouble().expect("refused");
        assert_eq!(
            trouble,
            "conntrack.snapshot = \"/run/weir/x\": that is control.socket: name another file"
        );
    }
}
