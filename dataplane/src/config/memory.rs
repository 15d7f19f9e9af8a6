//! Whether there is memory for what a configuration asks: better a refusal at start than a process that is killed.

use super::Config;

/// Bytes of a flow, all tables counted (a test of [`crate::conntrack`] holds this).
const FLOW_BYTES: u64 = 91;

/// The same of IPv6, whose flows have a table of their own.
const FLOW6_BYTES: u64 = 123;

impl Config {
    /// Why this machine has no room for the tables of this configuration, and what to do; `None` if it has, or does not
    /// say.
    #[must_use]
    pub fn memory_trouble(&self) -> Option<String> {
        let available = available_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        self.trouble_with(available)
    }

    fn trouble_with(&self, available: u64) -> Option<String> {
        let flow_bytes = FLOW_BYTES + if self.ipv6 { FLOW6_BYTES } else { 0 };
        let flows = u64::from(self.conntrack.flows_max) * flow_bytes;
        let frames = u64::from(self.area.chunks) * u64::from(self.area.chunk_bytes);
        let needed = flows + frames;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        (needed > available).then(|| {
            format!(
                "conntrack.flows_max = {} takes {} MiB and umem.chunks = {} takes {} MiB, but {} MiB of memory are \
                 available: lower one of them",
                self.conntrack.flows_max,
                mib(flows),
                self.area.chunks,
                mib(frames),
                mib(available)
            )
        })
    }
}

/// `MemAvailable` of proc(5) meminfo, in bytes.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_table_larger_than_the_memory_is_refused_with_both_numbers() {
        let text = "mode = \"route\"\n[[ports]]\ninterface = \"a\"\n[[ports]]\ninterface = \"b\"\n\
                    [conntrack]\nflows_max = 67108864\n";
        let config = Config::parse(text, Path::new("x.toml")).expect("within its range");
        let trouble = config.trouble_with(1 << 30).expect("6 GB are more than 1 GiB");
        assert!(trouble.contains("conntrack.flows_max = 67108864 takes 5824 MiB"), "{trouble}");
        assert!(trouble.contains("1024 MiB of memory are available"), "{trouble}");
        assert_eq!(config.trouble_with(7 << 30), None);
        let text = format!("ipv6 = \"forward\"\n{text}");
        let config = Config::parse(&text, Path::new("x.toml")).expect("within its range");
        let trouble = config.trouble_with(7 << 30).expect("a table for each family");
        assert!(trouble.contains("takes 13696 MiB"), "{trouble}");
    }

    #[test]
    fn what_is_available_is_read() {
        let meminfo = "MemTotal:       24684092 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(available_bytes(meminfo), Some(20_480_000_000));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
    }
}
