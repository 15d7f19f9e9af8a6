//! Names of protocols and services: `/etc/protocols` and `/etc/services`, and the few that must
//! work without those files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Protocol;

/// How much of each file is read; Debian's have 3 and 13 KiB. What is beyond is not seen.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The names that libxtables knows by itself, in its order: for a number, the first counts.
const PROTOCOLS: [(&str, u8); 12] = [
    ("tcp", 6),
    ("sctp", 132),
    ("udp", 17),
    ("udplite", 136),
    ("icmp", 1),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("esp", 50),
    ("ah", 51),
    ("mobility-header", 135),
    ("mh", 135),
    ("all", 0),
];

/// For machines without `/etc/services`, in its format.
const SERVICES: &str = "\
ftp-data 20/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
domain 53/tcp
domain 53/udp
bootps 67/udp
bootpc 68/udp
tftp 69/udp
http 80/tcp www
kerberos 88/tcp
kerberos 88/udp
pop3 110/tcp pop-3
ntp 123/udp
imap2 143/tcp imap
snmp 161/udp
bgp 179/tcp
ldap 389/tcp
https 443/tcp
https 443/udp
syslog 514/udp
submission 587/tcp
ldaps 636/tcp
imaps 993/tcp
pop3s 995/tcp
";

/// Looks up names of protocols and services, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// From `/etc/protocols`: number, then name and aliases.
    protocols: Vec<(u8, Vec<String>)>,
    services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    port: u16,
    transport: String,
    /// The name, then aliases.
    names: Vec<String>,
}

impl Names {
    /// The names built in: enough for tests and for a machine without the files.
    pub fn builtin() -> Self {
        Self { protocols: Vec::new(), services: parse_services(SERVICES) }
    }

    /// The names of this machine. A file that cannot be read is replaced by the built-in names.
    pub fn system() -> Self {
        Self::from_files(Path::new("/etc/protocols"), Path::new("/etc/services"))
    }

    /// As [`Names::system`], from other files.
    pub fn from_files(protocols: &Path, services: &Path) -> Self {
        Self {
            protocols: read(protocols).map(|text| parse_protocols(&text)).unwrap_or_default(),
            services: parse_services(read(services).as_deref().unwrap_or(SERVICES)),
        }
    }

    /// The protocol of that name, in lower case; [`Protocol::ALL`] for `all`.
    pub fn protocol(&self, name: &str) -> Option<Protocol> {
        let listed = self.protocols.iter().find(|(_, names)| names.iter().any(|n| n == name));
        listed
            .map(|(number, _)| *number)
            .or_else(|| PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, n)| *n))
            .map(Protocol)
    }

    /// The protocol's name; for [`Protocol::ALL`] always `all`.
    pub fn protocol_name(&self, protocol: Protocol) -> Option<&str> {
        if protocol == Protocol::ALL {
            return Some("all");
        }
        let listed = self.protocols.iter().find(|(number, _)| *number == protocol.0);
        listed.and_then(|(_, names)| names.first()).map(String::as_str).or_else(|| {
            // The kernel's own list says ipv6-icmp; `icmpv6` is only understood.
            Self::builtin_protocol_name(protocol)
        })
    }

    /// The name libxtables has for the protocol without looking into files.
    pub fn builtin_protocol_name(protocol: Protocol) -> Option<&'static str> {
        let mut known = PROTOCOLS.iter().filter(|(name, _)| *name != "icmpv6");
        known.find(|(_, number)| *number == protocol.0).map(|(name, _)| *name)
    }

    /// The port of the service, looked up for one transport (`tcp`) or, with `None`, for any.
    pub fn port(&self, name: &str, transport: Option<&str>) -> Option<u16> {
        let fits = |service: &&Service| {
            transport.is_none_or(|wanted| service.transport == wanted)
                && service.names.iter().any(|known| known == name)
        };
        self.services.iter().find(fits).map(|service| service.port)
    }

    /// The name of the service on that port.
    pub fn service(&self, port: u16, transport: &str) -> Option<&str> {
        let fits = |service: &&Service| service.port == port && service.transport == transport;
        self.services.iter().find(fits)?.names.first().map(String::as_str)
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Words of each line, without comments; lines with fewer than two words are skipped.
fn records(text: &str) -> impl Iterator<Item = (&str, &str, Vec<String>)> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (name, value) = (words.next()?, words.next()?);
        let names = std::iter::once(name).chain(words).map(str::to_owned).collect();
        Some((name, value, names))
    })
}

fn parse_protocols(text: &str) -> Vec<(u8, Vec<String>)> {
    records(text).filter_map(|(_, number, names)| Some((number.parse().ok()?, names))).collect()
}

fn parse_services(text: &str) -> Vec<Service> {
    let service = |(_, value, names): (&str, &str, Vec<String>)| {
        let (port, transport) = value.split_once('/')?;
        Some(Service { port: port.parse().ok()?, transport: transport.to_owned(), names })
    };
    records(text).filter_map(service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_names_work_both_ways() {
        let names = Names::builtin();
        assert_eq!(names.port("http", Some("tcp")), Some(80));
        assert_eq!(names.port("www", Some("tcp")), Some(80));
        assert_eq!(names.port("http", Some("udp")), None);
        assert_eq!(names.port("http", None), Some(80));
        assert_eq!(names.service(53, "udp"), Some("domain"));
        assert_eq!(names.protocol("tcp"), Some(Protocol::TCP));
        assert_eq!(names.protocol("icmpv6"), Some(Protocol(58)));
        assert_eq!(names.protocol_name(Protocol(58)), Some("ipv6-icmp"));
        assert_eq!(names.protocol_name(Protocol(0)), Some("all"));
        assert_eq!(names.protocol_name(Protocol(99)), None);
        assert_eq!(names.protocol("bogus"), None);
    }

    #[test]
    fn files_are_read_and_rubbish_in_them_skipped() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (protocols, services) = (directory.path().join("p"), directory.path().join("s"));
        std::fs::write(&protocols, "# c\nip 0 IP\nfoo 99 FOO # x\nbad 999\nlonely\n").expect("p");
        std::fs::write(&services, "bar 7/tcp baz\nbad 70000/tcp\nworse 7\n\n").expect("s");
        let names = Names::from_files(&protocols, &services);
        assert_eq!(names.protocol("foo"), Some(Protocol(99)));
        assert_eq!(names.protocol("ip"), Some(Protocol::ALL));
        assert_eq!(names.protocol_name(Protocol(99)), Some("foo"));
        assert_eq!(names.protocol_name(Protocol(0)), Some("all"));
        assert_eq!(names.protocol("tcp"), Some(Protocol::TCP), "built in");
        assert_eq!(names.port("baz", Some("tcp")), Some(7));
        assert_eq!(names.port("http", Some("tcp")), None, "the file replaces the built-in list");
        let missing = Names::from_files(&directory.path().join("no"), &directory.path().join("no"));
        assert_eq!(missing, Names::builtin());
    }
}
