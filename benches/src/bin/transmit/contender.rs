//! What sends: weirgen, the bare loop, trafgen, hping3.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use weir_tests::netns::Namespace;
use weir_tests::{Error, Result, process};

/// MAC addresses of the sender's and the sink's device.
pub(crate) const MACS: [&str; 2] = ["02:00:00:00:01:01", "02:00:00:00:01:02"];

/// Every contender sends this, or the nearest that it can: a bare SYN to port 80 in a frame of 60 bytes.
const SOURCE: [u8; 4] = [198, 18, 0, 2];
const DESTINATION: [u8; 4] = [198, 19, 0, 2];

/// A sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// `weirgen run` with a SYN flood: random source addresses and ports, a stamp and checksums in every packet.
    Weirgen,
    /// The same with live frames.
    WeirgenLive,
    /// The bare loop: one frame, again and again.
    Bare,
    /// `trafgen` with one frame that never changes, over its packet ring.
    Trafgen,
    /// `hping3 --flood`.
    Hping3,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weirgen => "weirgen",
            Self::WeirgenLive => "weirgen-live",
            Self::Bare => "bare",
            Self::Trafgen => "trafgen",
            Self::Hping3 => "hping3",
        })
    }
}

impl Contender {
    /// The program that it takes beside ours, with Debian's package.
    pub(crate) fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Weirgen | Self::WeirgenLive | Self::Bare => None,
            Self::Trafgen => Some(("trafgen", "netsniff-ng")),
            Self::Hping3 => Some(("hping3", "hping3")),
        }
    }

    /// The command that sends from `g0` for so many seconds at least, pinned to the first core.
    pub(crate) fn command(
        self,
        namespace: &Namespace,
        weirgen: &Path,
        folder: &Path,
        seconds: f64,
    ) -> Result<Command> {
        let mut command = namespace.command("taskset");
        command.args(["-c", "0"]);
        match self {
            Self::Weirgen | Self::WeirgenLive => {
                let is_live = self == Self::WeirgenLive;
                command.arg(weirgen).arg("run").arg(profile(folder)?);
                command.args(["--left", "g0", "--right", "g1", "--left-mac", MACS[1]]);
                command.args(["--duration", &seconds.to_string(), "--count", "1000000000"]);
                command.args(["--engine", if is_live { "live-frames" } else { "af-xdp" }]);
            }
            Self::Bare => {
                let own = std::env::current_exe().map_err(Error::io("find this program"))?;
                command.arg(own).args(["bare", "--interface", "g0", "--frame", &hex(&frame())]);
                command.args(["--seconds", &seconds.to_string()]);
            }
            Self::Trafgen => {
                command.args(["trafgen", "--dev", "g0", "--cpus", "1", "--cpp", "--conf"]);
                command.arg(trafgen(folder)?);
            }
            Self::Hping3 => {
                command.args([
                    "hping3",
                    "--flood",
                    "-q",
                    "-S",
                    "-p",
                    "80",
                    "-I",
                    "g0",
                    "198.19.0.2",
                ]);
            }
        }
        Ok(command)
    }
}

/// Writes a file of a run.
fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(path)
}

fn profile(folder: &Path) -> Result<PathBuf> {
    let text = "[[stream]]\nname = \"flood\"\nkind = \"tcp-syn\"\nexpect = \"either\"\nrate = \"flood\"\n\
                source = { in = \"198.18.0.0/16\", order = \"random\" }\n\
                source_port = { in = \"1024-65535\", order = \"random\" }\n\
                destination = \"198.19.0.2\"\ndestination_port = 80\n";
    write(folder.join("flood.toml"), text)
}

fn trafgen(folder: &Path) -> Result<PathBuf> {
    let mut text = String::from("{ ");
    for byte in frame() {
        // Writing to a string does not fail.
        let _ = write!(text, "0x{byte:02x}, ");
    }
    text.push_str("}\n");
    write(folder.join("trafgen.cfg"), &text)
}

/// The frame of those that send only one.
fn frame() -> Vec<u8> {
    use weir_dataplane::wire::checksum::{checksum, pseudo_v4, sum};
    use weir_dataplane::wire::{IpProtocol, MacAddr};
    let mac = |text: &str| text.parse::<MacAddr>().map_or([0; 6], |mac| mac.0);
    let mut frame = [mac(MACS[1]), mac(MACS[0])].concat();
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(SOURCE.into_iter().chain(DESTINATION));
    frame.extend([4, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 2, 0xfa, 0xf0, 0, 0, 0, 0]);
    let ip = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let pseudo = pseudo_v4(SOURCE.into(), DESTINATION.into(), IpProtocol::TCP, 20);
    let tcp = !weir_dataplane::wire::checksum::add(pseudo, sum(&frame[34..54]));
    frame[50..52].copy_from_slice(&tcp.to_be_bytes());
    frame.resize(60, 0);
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a contender can be run here; if not, why.
pub(crate) fn unmet(contender: Contender) -> Option<String> {
    let (program, package) = contender.package()?;
    let missing = process::find_program(program).is_none();
    missing.then(|| format!("needs `{program}` (Debian's package {package})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_a_right_syn() {
        use weir_dataplane::wire::{Ipv4, Tcp, TcpFlags};
        let frame = frame();
        let ip = Ipv4::new_checked(&frame[14..]).unwrap();
        let tcp = Tcp::new_checked(ip.payload()).unwrap();
        assert!(ip.checksum_ok() && tcp.checksum_ok(ip.source(), ip.destination()));
        assert_eq!((frame.len(), tcp.flags(), tcp.destination_port()), (60, TcpFlags::SYN, 80));
    }
}
