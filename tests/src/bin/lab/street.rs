//! Where studies are played.
//!
//! ```text
//!   tester (weirgen)                     firewall                               tester (the same weirgen)
//!   198.18.0.0/16  g0 ───── f0 10.255.18.1        10.255.19.1 f1 ───── s0  198.19.0.2
//!   users and flood         ◄─ 198.18.0.0/16 via 10.255.18.2           the server
//!   64.0.0.0/3              ◄─ likewise: half a thousand million forged sources
//! ```
//!
//! The addresses are RFC 2544's for benchmarks, but for those of the widest flood. Every neighbour is entered by hand,
//! so that nobody waits for ARP.

use weir_tests::netns::{Namespace, Veth};
use weir_tests::{Result, process};

/// MAC addresses of the four devices, along the way.
const MAC_G0: &str = "02:00:00:00:01:01";
pub(crate) const MAC_F0: &str = "02:00:00:00:01:02";
pub(crate) const MAC_F1: &str = "02:00:00:00:02:01";
const MAC_S0: &str = "02:00:00:00:02:02";

/// Where the widest flood says that it comes from.
pub(crate) const EVERYWHERE: &str = "64.0.0.0/3";

/// Weir between the two, with one worker, on the last core, as Weir chooses by default; and what follows.
pub(crate) fn config(rest: &str) -> String {
    "mode = \"route\"\nhost = \"kernel\"\non_exit = \"pass\"\n\n[[ports]]\ninterface = \"f0\"\n\n[[ports]]\n\
     interface = \"f1\"\n\n[workers]\ncount = 1\n\n[control]\nsocket = \"/run/weir.sock\"\n"
        .to_owned()
        + rest
}

/// The two namespaces; dropping them removes all.
#[derive(Debug)]
pub(crate) struct Street {
    pub(crate) tester: Namespace,
    pub(crate) firewall: Namespace,
}

impl Street {
    /// Makes them, up, addressed and routed; the study's name is in theirs.
    pub(crate) fn build(study: &str) -> Result<Self> {
        let tester = Namespace::unique(&format!("{study}-tester"))?;
        let firewall = Namespace::unique(&format!("{study}-firewall"))?;
        Veth::between(&tester, "g0", &firewall, "f0").macs(MAC_G0, MAC_F0).create()?;
        Veth::between(&tester, "s0", &firewall, "f1").macs(MAC_S0, MAC_F1).create()?;
        for (namespace, device) in
            [(&tester, "g0"), (&tester, "s0"), (&firewall, "f0"), (&firewall, "f1")]
        {
            namespace.set(&format!("net/ipv6/conf/{device}/disable_ipv6"), "1")?;
        }
        for (device, address, mac, net) in [
            ("f0", "10.255.18", MAC_G0, "198.18.0.0/16"),
            ("f1", "10.255.19", MAC_S0, "198.19.0.0/16"),
        ] {
            firewall.add_address(device, &format!("{address}.1/30"))?;
            firewall.ip(&format!("neighbour add {address}.2 lladdr {mac} dev {device}"))?;
            firewall.ip(&format!("route add {net} via {address}.2"))?;
            firewall.set(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
        }
        firewall.ip(&format!("route add {EVERYWHERE} via 10.255.18.2"))?;
        firewall.set("net/ipv4/conf/all/rp_filter", "0")?;
        // As a network card has it; and then the veth takes live frames, so that every peer gets the flood from the
        // same engine, whether it runs an XDP program or not.
        firewall.run("ethtool -K f0 gro on")?;
        let street = Self { tester, firewall };
        street.spread()?;
        Ok(street)
    }

    /// Has the kernel forward on the cores that the generator does not use: what comes by a veth is otherwise dealt
    /// with on the core of its sender, who would pay for it.
    fn spread(&self) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(63);
        let others = ((1_u64 << cores) - 1) & !1;
        for device in ["f0", "f1"] {
            let mut command = self.firewall.command("sh");
            let line = format!("echo {others:x} > /sys/class/net/{device}/queues/rx-0/rps_cpus");
            command.args(["-c", &line]);
            process::run(command, std::time::Duration::from_secs(10))?;
        }
        Ok(())
    }
}
