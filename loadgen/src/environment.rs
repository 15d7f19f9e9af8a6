//! What a reader must know about the machine: read once, before the first packet.
//!
//! Everything comes from files that any user may read. What cannot be read is left out (`None`, an empty list) or named
//! `unknown`; a report is never refused for want of it.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::result::{Environment, Interface};

/// What is said of what could not be read.
const UNKNOWN: &str = "unknown";

/// Longest kernel configuration that is looked at, in bytes. Real ones have 0.3 MB.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Reads the environment of this machine; `interfaces` are those of the run.
#[must_use]
pub fn read(interfaces: Vec<Interface>) -> Environment {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let host = Some(name.nodename().to_string_lossy().into_owned());
    Environment { host, ..read_below(Path::new("/"), release, interfaces) }
}

/// What can be asked about the device `name`; `mode` is how packets reach it, `queues` how many are used.
#[must_use]
pub fn interface(name: &str, side: &str, mode: &str, queues: usize) -> Interface {
    let mtu = af_xdp::nic::mtu(name).ok().and_then(|mtu| usize::try_from(mtu).ok());
    Interface {
        name: name.to_owned(),
        side: side.to_owned(),
        driver: af_xdp::nic::driver(name).unwrap_or_else(|_| UNKNOWN.to_owned()),
        mode: mode.to_owned(),
        queues,
        mtu: mtu.unwrap_or(0),
    }
}

/// The version of this program with the commit it was built from.
#[must_use]
pub fn version() -> String {
    let commit = option_env!("WEIRGEN_COMMIT").unwrap_or("commit unknown");
    format!("weirgen {} ({commit})", env!("CARGO_PKG_VERSION"))
}

/// [`read`] with another root, for tests.
fn read_below(root: &Path, kernel: String, interfaces: Vec<Interface>) -> Environment {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let line = |path: &str| Some(text(path).trim().to_owned()).filter(|line| !line.is_empty());
    Environment {
        host: None,
        cpu: value_of(&text("proc/cpuinfo"), "model name")
            .unwrap_or(std::env::consts::ARCH)
            .to_owned(),
        cores: cores(&text("sys/devices/system/cpu/online")),
        hz: hz(root, &kernel),
        kernel,
        mitigations: mitigations(&root.join("sys/devices/system/cpu/vulnerabilities")),
        governor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes: memory_bytes(&text("proc/meminfo")),
        version: version(),
        interfaces,
    }
}

/// The value of the first line `key : value`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// Counts a list of ranges like `0-3,8`; 1 at least, for this program runs on something.
fn cores(online: &str) -> usize {
    let ranges = online.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    ranges.fold(0, usize::saturating_add).max(1)
}

/// `CONFIG_HZ` of the running kernel, from where kernels or distributions keep their configuration.
fn hz(root: &Path, release: &str) -> Option<u32> {
    let mut config = String::new();
    match fs::File::open(root.join("proc/config.gz")) {
        Ok(file) => {
            GzDecoder::new(file).take(CONFIG_BYTES_MAX).read_to_string(&mut config).ok()?;
        }
        Err(_) => config = fs::read_to_string(root.join(format!("boot/config-{release}"))).ok()?,
    }
    config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")?.trim().parse().ok())
}

/// The names of what is worked around, with how; sorted. What the processor does not have costs nothing, and what is
/// left vulnerable neither.
fn mitigations(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let how = text.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {how}", entry.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    found
}

/// `MemTotal`, which the kernel gives in units of 1024 bytes.
fn memory_bytes(meminfo: &str) -> u64 {
    let kib = value_of(meminfo, "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A machine in a folder.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_machine_is_described_whole() {
        let root = machine(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nmodel name\t: AMD EPYC: 9\n\nprocessor\t: 1\nmodel name\t: other\n",
            ),
            ("proc/meminfo", "MemTotal:       24684084 kB\nMemFree:          214320 kB\n"),
            ("sys/devices/system/cpu/online", "0-3,8\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
            (
                "sys/devices/system/cpu/vulnerabilities/spectre_v2",
                "Mitigation: Retpolines; STIBP: disabled\n",
            ),
            (
                "sys/devices/system/cpu/vulnerabilities/spectre_v1",
                "Mitigation: usercopy barriers\n",
            ),
            ("sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: no microcode\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("boot/config-6.18.0", "CONFIG_HZ_250=y\nCONFIG_HZ=250\n"),
        ]);
        let expected = Environment {
            host: None,
            cpu: "AMD EPYC: 9".to_owned(),
            cores: 5,
            kernel: "6.18.0".to_owned(),
            hz: Some(250),
            mitigations: vec![
                "spectre_v1: usercopy barriers".to_owned(),
                "spectre_v2: Retpolines; STIBP: disabled".to_owned(),
            ],
            governor: Some("performance".to_owned()),
            memory_bytes: 24_684_084 * 1024,
            version: version(),
            interfaces: Vec::new(),
        };
        assert_eq!(read_below(root.path(), "6.18.0".to_owned(), Vec::new()), expected);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_no_error() {
        let root = machine(&[]);
        let environment = read_below(root.path(), "6.18.0".to_owned(), Vec::new());
        assert_eq!((environment.cores, environment.hz, environment.governor), (1, None, None));
        assert_eq!(
            (environment.cpu.as_str(), environment.memory_bytes),
            (std::env::consts::ARCH, 0)
        );
        assert!(environment.mitigations.is_empty());
    }

    #[test]
    fn the_configuration_in_the_kernel_comes_first_and_may_be_broken() {
        let root = machine(&[("proc/config.gz", ""), ("boot/config-x", "CONFIG_HZ=100\n")]);
        assert_eq!(hz(root.path(), "x"), None);
        let mut file = GzEncoder::new(
            fs::File::create(root.path().join("proc/config.gz")).unwrap(),
            Compression::fast(),
        );
        file.write_all(b"# CONFIG_HZ_100 is not set\nCONFIG_HZ=1000\n").unwrap();
        file.finish().unwrap();
        assert_eq!(hz(root.path(), "x"), Some(1000));
    }

    #[test]
    fn lists_of_cores_are_counted() {
        for (online, expected) in [
            ("0", 1),
            ("0-1\n", 2),
            ("0,2-3,7", 4),
            ("", 1),
            ("3-1", 1),
            ("0-18446744073709551615", 1),
        ] {
            assert_eq!(cores(online), expected, "{online}");
        }
    }

    #[test]
    fn an_interface_that_is_gone_is_unknown() {
        let gone = interface("no-such-if", "left", "copy", 1);
        assert_eq!((gone.driver.as_str(), gone.mtu, gone.side.as_str()), (UNKNOWN, 0, "left"));
    }
}
