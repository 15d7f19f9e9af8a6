//! Whether there is memory for what a configuration asks: better a refusal at start than a process that is killed.

use super::Config;

/// Bytes of a flow, all tables counted (a test of [`crate::conntrack`] holds this).
const FLOW_BYTES: u64 = 95;

/// Bytes of an entry of a flow cache.
const CACHED_BYTES: u64 = 68;

/// The same of IPv6, whose flows have a table of their own.
const FLOW6_BYTES: u64 = 127;

/// Bytes more of a flow where connections may be proxied.
const PROXIED_BYTES: u64 = 20;

/// Bytes more where its packets are counted.
const COUNT_BYTES: u64 = 32;

impl Config {
    /// Why this machine has no room for the tables of this configuration, and what to do; `None` if it has, or does not
    /// say.
    #[must_use]
    pub fn memory_trouble(&self) -> Option<String> {
        let available = available_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
        self.trouble_with(available)
    }

    fn trouble_with(&self, available: u64) -> Option<String> {
        let count = if self.conntrack.acct { COUNT_BYTES } else { 0 };
        let proxied = if self.conntrack.synproxy { PROXIED_BYTES } else { 0 };
        let more = proxied + count;
        let flow = FLOW_BYTES + more + if self.ipv6 { FLOW6_BYTES + more } else { 0 };
        let flows = u64::from(self.conntrack.flows_max) * flow;
        let frames = u64::from(self.area.chunks) * u64::from(self.area.chunk_bytes);
        let cached = (self.flow_cache.next_power_of_two() * self.cores.len()) as u64 * CACHED_BYTES;
        let needed = flows + frames + cached;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        (needed > available).then(|| {
            format!(
                "conntrack.flows_max = {} takes {} MiB, umem.chunks = {} takes {} MiB and workers.flow_cache = {} takes \
                 {} MiB, but {} MiB of memory are available: lower one of them",
                self.conntrack.flows_max,
                mib(flows),
                self.area.chunks,
                mib(frames),
                self.flow_cache,
                mib(cached),
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
        assert!(trouble.contains("conntrack.flows_max = 67108864 takes 6080 MiB"), "{trouble}");
        assert!(trouble.contains("1024 MiB of memory are available"), "{trouble}");
        assert_eq!(config.trouble_with(7 << 30), None);
        let with_ipv6 = format!("ipv6 = \"forward\"\n{text}");
        let config = Config::parse(&with_ipv6, Path::new("x.toml")).expect("within its range");
        let trouble = config.trouble_with(7 << 30).expect("a table for each family");
        assert!(trouble.contains("takes 14208 MiB"), "{trouble}");
        let config = Config::parse(&format!("{text}acct = true\n"), Path::new("x.toml"));
        let trouble =
            config.expect("right").trouble_with(7 << 30).expect("8 GB are more than 7 GiB");
        assert!(trouble.contains("conntrack.flows_max = 67108864 takes 8128 MiB"), "{trouble}");
    }

    #[test]
    fn what_is_available_is_read() {
        let meminfo = "MemTotal:       24684092 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(available_bytes(meminfo), Some(20_480_000_000));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
    }
}
