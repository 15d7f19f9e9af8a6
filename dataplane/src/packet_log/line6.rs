//! The line about an IPv6 packet (`dump_ipv6_packet`, net/netfilter/nf_log_syslog.c).
//!
//! ```text
//!   PREFIX IN=eth0 OUT=eth1 MAC=… SRC=… DST=… LEN= TC= HOPLIMIT= FLOWLBL= [OPT ( … ) for each extension header]
//!     [FRAG:offset [INCOMPLETE] ID:] PROTO=TCP …  PROTO=UDP …
//!     PROTO=ICMPv6 TYPE= CODE= [ID= SEQ= | [POINTER=] [the quoted packet] [MTU=]]
//!   [MARK=0x…]
//! ```
//!
//! Addresses are written out in full. Behind a header that is cut off nothing more is told, the mark included. Of a
//! packet with so many extension headers that the record ends before they do, the line ends there, too (`TRUNCATED`).

use weir_control::rule::LogFlags;

use super::line::{Bytes, Line, long, word};
use crate::wire::IpProtocol;
use crate::wire::ipv6::{HEADER_BYTES, extension};

const ESP: u8 = 50;

/// What the walk over extension headers found.
struct Walked<'a> {
    rest: Bytes<'a>,
    protocol: u8,
    /// Whether the rest is a later fragment's.
    later: bool,
}

impl Line {
    /// `dump_ipv6_packet`; `outer` unless an ICMPv6 error quotes it.
    pub(super) fn packet6(&mut self, packet: Bytes<'_>, outer: bool) {
        let Some(ip) = packet.head::<HEADER_BYTES>() else {
            return self.push(format_args!("TRUNCATED"));
        };
        self.address("SRC", &ip[8..24]);
        self.address("DST", &ip[24..40]);
        let first = long(ip, 0);
        self.push(format_args!(
            "LEN={} TC={} HOPLIMIT={} FLOWLBL={} ",
            usize::from(word(ip, 4)) + HEADER_BYTES,
            first >> 20 & 0xff,
            ip[7],
            first & 0x000f_ffff
        ));
        let Some(Walked { rest, protocol, later }) =
            self.extensions(packet.skip(HEADER_BYTES), ip[6])
        else {
            return;
        };
        let whole = match IpProtocol(protocol) {
            IpProtocol::ICMPV6 => {
                self.push(format_args!("PROTO=ICMPv6 "));
                later || self.icmp6(rest, outer)
            }
            // Other than of IPv4, ESP is an extension header, and AH was one: neither comes here.
            protocol => self.ported(rest, protocol, later),
        };
        let mark = self.mark;
        if whole && outer && mark != 0 {
            self.push(format_args!("MARK={mark:#x} "));
        }
    }

    fn address(&mut self, name: &str, octets: &[u8]) {
        self.push(format_args!("{name}="));
        for (n, group) in octets.chunks_exact(2).enumerate() {
            let colon = if n > 0 { ":" } else { "" };
            self.push(format_args!("{colon}{:02x}{:02x}", group[0], group[1]));
        }
        self.push(format_args!(" "));
    }

    /// `None` where nothing more is told.
    fn extensions<'a>(&mut self, mut rest: Bytes<'a>, mut next: u8) -> Option<Walked<'a>> {
        let told = self.flags.contains(LogFlags::IP_OPTIONS);
        let mut later = false;
        while is_extension(next) {
            let Some(&[following, units]) = rest.head::<2>() else {
                self.push(format_args!("TRUNCATED"));
                return None;
            };
            if told {
                self.push(format_args!("OPT ( "));
            }
            let mut len = (usize::from(units) + 1) * 8;
            match next {
                extension::FRAGMENT => {
                    later |= self.fragment(rest)?;
                    len = 8;
                }
                extension::AUTHENTICATION => {
                    if told {
                        let index = rest.head::<12>().map(|ah| long(ah, 4));
                        self.security6("AH", later, index, rest.len)?;
                    }
                    len = (usize::from(units) + 2) * 4;
                }
                ESP => {
                    if told {
                        let index = rest.head::<8>().map(|esp| long(esp, 0));
                        self.security6("ESP", later, index, rest.len)?;
                        self.push(format_args!(")"));
                    }
                    return None;
                }
                _ if later => {
                    self.push(format_args!("{}", if told { ")" } else { "" }));
                    return None;
                }
                _ => {}
            }
            if told {
                self.push(format_args!(") "));
            }
            (next, rest) = (following, rest.skip(len));
        }
        Some(Walked { rest, protocol: next, later })
    }

    /// Whether it is a later fragment's header; `None` if it is cut off.
    fn fragment(&mut self, rest: Bytes<'_>) -> Option<bool> {
        self.push(format_args!("FRAG:"));
        let Some(header) = rest.head::<8>() else {
            self.push(format_args!("TRUNCATED "));
            return None;
        };
        let bits = word(header, 2);
        let more = if bits & 1 == 0 { "" } else { "INCOMPLETE " };
        self.push(format_args!("{} {more}ID:{:08x} ", bits & 0xfff8, long(header, 4)));
        Some(bits & 0xfff8 != 0)
    }

    /// `None` where nothing more is told.
    fn security6(&mut self, name: &str, later: bool, index: Option<u32>, len: u32) -> Option<()> {
        self.push(format_args!("{name} "));
        match index {
            _ if later => self.push(format_args!(")")),
            Some(index) => {
                self.push(format_args!("SPI=0x{index:x} "));
                return Some(());
            }
            None => self.push(format_args!("INCOMPLETE [{len} bytes] )")),
        }
        None
    }

    /// Whether something may follow.
    fn icmp6(&mut self, message: Bytes<'_>, outer: bool) -> bool {
        let Some(icmp) = message.head::<8>() else {
            self.incomplete(message.len);
            return false;
        };
        let kind = icmp[0];
        self.push(format_args!("TYPE={kind} CODE={} ", icmp[1]));
        match kind {
            128 | 129 => self.push(format_args!("ID={} SEQ={} ", word(icmp, 4), word(icmp, 6))),
            1..=4 => {
                if kind == 4 {
                    self.push(format_args!("POINTER={:08x} ", long(icmp, 4)));
                }
                if outer {
                    self.push(format_args!("["));
                    self.packet6(message.skip(8), false);
                    self.push(format_args!("] "));
                }
                if kind == 2 {
                    self.push(format_args!("MTU={} ", long(icmp, 4)));
                }
            }
            _ => {}
        }
        true
    }
}

/// `nf_ip6_ext_hdr`, but for "no next header".
fn is_extension(next: u8) -> bool {
    next == ESP || extension::is_one(next)
}
