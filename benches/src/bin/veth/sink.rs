//! The sink: Weir's XDP program with no sockets and `on_exit = "drop"`, which drops everything in the driver and
//! counts it.

use weir_dataplane::program::AttachMode;
use weir_dataplane::program::{Attachment, OnExit, Program, ProgramConfig, ProgramError};
use weir_tests::{Error, Result};

use crate::topology::Topology;

/// The program on the sink's device.
#[derive(Debug)]
pub(crate) struct DropCounter {
    program: Program,
    attachment: Option<Attachment>,
}

impl DropCounter {
    /// Attaches it to `s0`.
    pub(crate) fn attach(topology: &Topology) -> Result<Self> {
        let _inside = topology.sink.enter()?;
        let ifindex =
            af_xdp::nic::ifindex("s0").map_err(|error| Error::Unmet(error.to_string()))?;
        let mut program = Program::load(ProgramConfig::forwarding(OnExit::Drop)).map_err(unmet)?;
        let attachment = program.attach("s0", ifindex, AttachMode::Driver).map_err(unmet)?;
        Ok(Self { program, attachment: Some(attachment) })
    }

    /// Packets that have arrived so far.
    pub(crate) fn packets(&self) -> Result<u64> {
        Ok(self.program.counters().map_err(unmet)?.no_socket_dropped.packets)
    }

    /// Takes it off the device.
    pub(crate) fn detach(mut self, topology: &Topology) -> Result<()> {
        let _inside = topology.sink.enter()?;
        self.attachment.take().map_or(Ok(()), |attachment| attachment.remove().map_err(unmet))
    }
}

fn unmet(error: ProgramError) -> Error {
    Error::Unmet(error.to_string())
}
