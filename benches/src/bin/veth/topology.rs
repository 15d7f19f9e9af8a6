//! Three namespaces in a row.
//!
//! ```text
//!   generator              forwarder                  sink
//!   198.18.0.2   g0 ─── f0 198.18.0.1   198.19.0.1 f1 ─── s0   198.19.0.2
//! ```
//!
//! The addresses are RFC 2544's for benchmarks. Every neighbour is entered by hand, so that no
//! contender waits for ARP.

use weir_tests::Result;
use weir_tests::netns::{Namespace, Veth};

/// MAC addresses of the four devices, along the way.
pub(crate) const MAC_G0: &str = "02:00:00:00:01:01";
pub(crate) const MAC_F0: &str = "02:00:00:00:01:02";
pub(crate) const MAC_F1: &str = "02:00:00:00:02:01";
pub(crate) const MAC_S0: &str = "02:00:00:00:02:02";

/// The address of the generator, and of the sink.
pub(crate) const GENERATOR: &str = "198.18.0.2";
pub(crate) const SINK: &str = "198.19.0.2";

/// The namespaces; dropping them removes all.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) generator: Namespace,
    pub(crate) forwarder: Namespace,
    pub(crate) sink: Namespace,
}

impl Topology {
    /// Makes them, up and addressed.
    pub(crate) fn build() -> Result<Self> {
        let generator = Namespace::unique("gen")?;
        let forwarder = Namespace::unique("fwd")?;
        let sink = Namespace::unique("sink")?;
        Veth::between(&generator, "g0", &forwarder, "f0").macs(MAC_G0, MAC_F0).create()?;
        Veth::between(&forwarder, "f1", &sink, "s0").macs(MAC_F1, MAC_S0).create()?;
        generator.add_address("g0", "198.18.0.2/24")?;
        forwarder.add_address("f0", "198.18.0.1/24")?;
        forwarder.add_address("f1", "198.19.0.1/24")?;
        sink.add_address("s0", "198.19.0.2/24")?;
        // No default routes: weirgen refuses to send where one is.
        generator.ip("route add 198.19.0.0/24 via 198.18.0.1")?;
        sink.ip("route add 198.18.0.0/24 via 198.19.0.1")?;
        let neighbours = [
            (&generator, "198.18.0.1", MAC_F0, "g0"),
            (&forwarder, GENERATOR, MAC_G0, "f0"),
            (&forwarder, SINK, MAC_S0, "f1"),
            (&sink, "198.19.0.1", MAC_F1, "s0"),
        ];
        for (namespace, address, mac, device) in neighbours {
            namespace.ip(&format!("neighbour add {address} lladdr {mac} dev {device}"))?;
        }
        Ok(Self { generator, forwarder, sink })
    }
}

/// The core that generators run on: the first.
pub(crate) const GENERATOR_CORE: usize = 0;

/// The core that forwarders run on: the last, as Weir chooses by default.
pub(crate) fn forwarder_core() -> usize {
    core_affinity::get_core_ids()
        .and_then(|cores| cores.into_iter().map(|core| core.id).max())
        .unwrap_or_default()
}
