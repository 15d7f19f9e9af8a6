//! What the programs of all ports are told of the machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::program::{Program, ProgramError};

/// The machine's own addresses, and whose business their packets are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// IPv4.
    pub v4: Vec<Ipv4Addr>,
    /// Broadcast addresses of its subnets.
    pub v4_broadcast: Vec<Ipv4Addr>,
    /// IPv6, anycast addresses included.
    pub v6: Vec<Ipv6Addr>,
    /// Those of IPv6 that are the kernel's in any case: not known to be unique yet, or not Weir's business.
    pub v6_kernel: Vec<Ipv6Addr>,
    /// The device by which its own traffic of IPv4 and of IPv6 comes to Weir, if it does; else 0.
    pub devices: [u32; 2],
}

impl HostAddresses {
    /// Tells a program all of it.
    ///
    /// # Errors
    /// [`ProgramError`]; the program may know a part of it then.
    pub fn tell(&self, program: &mut Program) -> Result<(), ProgramError> {
        program.set_host_devices(self.devices)?;
        program.set_local_addresses(&self.v4, &self.v4_broadcast, &self.v6, &self.v6_kernel)
    }
}
