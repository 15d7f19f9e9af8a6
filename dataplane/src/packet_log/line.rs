//! The line about a packet, as the kernel writes it (`nf_log_ip_packet`, net/netfilter/nf_log_syslog.c). What is
//! different of IPv6 is in `line6.rs`.
//!
//! ```text
//!   PREFIX IN=eth0 OUT=eth1 MAC=… SRC=… DST=… LEN= TOS= PREC= TTL= ID= [DF] [MF] [FRAG:] [OPT (…)]
//!     PROTO=TCP SPT= DPT= [SEQ= ACK=] WINDOW= RES= [flags] URGP= [OPT (…)]
//!     PROTO=UDP SPT= DPT= LEN=
//!     PROTO=ICMP TYPE= CODE= [ID= SEQ= | PARAMETER= | [GATEWAY=] [the quoted packet] [MTU=]]
//!     PROTO=AH SPI=    PROTO=ESP SPI=    PROTO=number
//!   [MARK=0x…]
//! ```
//!
//! Every field is followed by a blank, the last one too. A header that is cut off reads `INCOMPLETE`, with the bytes
//! that are there; behind TCP and UDP headers that are cut off no mark is told. `--log-uid` adds nothing: a packet that
//! passes through has no socket here.

use std::fmt::Write as _;

use weir_control::rule::LogFlags;

use super::Record;
use crate::wire::IpProtocol;
use crate::wire::ipv4::HEADER_BYTES_MIN;

/// The line about a packet between ports of these names, without a newline.
#[must_use]
pub fn line(record: &Record, port_names: &[String]) -> String {
    let mut line =
        Line { text: record.spec.prefix().to_owned(), flags: record.spec.flags, mark: record.mark };
    let name = |index: usize| port_names.get(index).map_or("", String::as_str);
    let (inside, outside) = (record.ingress.as_usize(), record.egress.as_usize());
    line.push(format_args!("IN={} OUT={} ", name(inside), name(outside)));
    record.link.iter().for_each(|link| line.link(link));
    let bytes = Bytes { bytes: record.bytes(), len: u32::from(record.packet_len) };
    match record.bytes().first().map(|first| first >> 4) {
        Some(6) => line.packet6(bytes, true),
        _ => line.packet(bytes, true),
    }
    line.text
}

/// A packet, of which the end may be missing.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    /// Bytes that it has. A header that says it is longer than the packet makes this wrap, as in the kernel.
    pub(super) len: u32,
}

impl<'a> Bytes<'a> {
    pub(super) fn skip(self, bytes: usize) -> Self {
        let rest = self.bytes.get(bytes..).unwrap_or_default();
        // A header's length, at most 2,048.
        Self { bytes: rest, len: self.len.wrapping_sub(u32::try_from(bytes).unwrap_or(0)) }
    }

    /// The first `N` bytes, if it has as many.
    pub(super) fn head<const N: usize>(self) -> Option<&'a [u8; N]> {
        self.bytes.first_chunk()
    }
}

/// What is written so far, and what is to be told.
pub(super) struct Line {
    text: String,
    pub(super) flags: LogFlags,
    pub(super) mark: u32,
}

pub(super) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

pub(super) fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

impl Line {
    /// Writing to a `String` cannot fail.
    pub(super) fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(arguments);
    }

    fn hex(&mut self, bytes: &[u8], between: &str) {
        for (n, byte) in bytes.iter().enumerate() {
            self.push(format_args!("{}{byte:02x}", if n > 0 { between } else { "" }));
        }
    }

    /// `dump_mac_header`
    fn link(&mut self, header: &[u8; 14]) {
        let (destination, source, ether_type) = (&header[..6], &header[6..12], word(header, 12));
        if self.flags.contains(LogFlags::MACDECODE) {
            self.push(format_args!("MACSRC="));
            self.hex(source, ":");
            self.push(format_args!(" MACDST="));
            self.hex(destination, ":");
            self.push(format_args!(" MACPROTO={ether_type:04x} "));
        } else {
            self.push(format_args!("MAC="));
            self.hex(header, ":");
            self.push(format_args!(" "));
        }
    }

    pub(super) fn incomplete(&mut self, len: u32) {
        self.push(format_args!("INCOMPLETE [{len} bytes] "));
    }

    fn options(&mut self, options: &[u8]) {
        self.push(format_args!("OPT ("));
        options.iter().for_each(|byte| self.push(format_args!("{byte:02X}")));
        self.push(format_args!(") "));
    }

    /// `dump_ipv4_packet`; `outer` unless an ICMP error quotes it.
    fn packet(&mut self, packet: Bytes<'_>, outer: bool) {
        let Some(ip) = packet.head::<HEADER_BYTES_MIN>() else {
            return self.push(format_args!("TRUNCATED"));
        };
        let dotted = |at: usize| format!("{}.{}.{}.{}", ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        self.push(format_args!("SRC={} DST={} ", dotted(12), dotted(16)));
        let (total_len, tos, id) = (word(ip, 2), ip[1], word(ip, 4));
        self.push(format_args!(
            "LEN={total_len} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={id} ",
            tos & 0x1e,
            tos & 0xe0,
            ip[8]
        ));
        let fragment = word(ip, 6);
        for (bit, name) in [(0x8000, "CE "), (0x4000, "DF "), (0x2000, "MF ")] {
            self.push(format_args!("{}", if fragment & bit == 0 { "" } else { name }));
        }
        let offset = fragment & 0x1fff;
        if offset != 0 {
            self.push(format_args!("FRAG:{offset} "));
        }
        let header_len = usize::from(ip[0] & 15) * 4;
        if self.flags.contains(LogFlags::IP_OPTIONS) && header_len > HEADER_BYTES_MIN {
            let Some(options) = packet.bytes.get(HEADER_BYTES_MIN..header_len) else {
                return self.push(format_args!("TRUNCATED"));
            };
            self.options(options);
        }
        let whole = self.transport(packet.skip(header_len), IpProtocol(ip[9]), offset != 0, outer);
        let mark = self.mark;
        if whole && outer && mark != 0 {
            self.push(format_args!("MARK={mark:#x} "));
        }
    }

    /// Whether something may follow: nothing does behind TCP and UDP headers that are cut off.
    fn transport(
        &mut self,
        payload: Bytes<'_>,
        protocol: IpProtocol,
        later: bool,
        outer: bool,
    ) -> bool {
        const ESP: IpProtocol = IpProtocol(50);
        const AH: IpProtocol = IpProtocol(51);
        match protocol {
            IpProtocol::ICMP => {
                self.push(format_args!("PROTO=ICMP "));
                if !later {
                    self.icmp(payload, outer);
                }
            }
            // Of a later fragment of AH not even the name is told.
            AH if later => {}
            AH => self.security("AH", payload.head::<12>().map(|ah| long(ah, 4)), payload.len),
            ESP if later => self.push(format_args!("PROTO=ESP ")),
            ESP => self.security("ESP", payload.head::<8>().map(|esp| long(esp, 0)), payload.len),
            other => return self.ported(payload, other, later),
        }
        true
    }

    /// Of the protocols that both versions of IP treat alike: whether something may follow.
    pub(super) fn ported(&mut self, payload: Bytes<'_>, protocol: IpProtocol, later: bool) -> bool {
        const UDP_LITE: IpProtocol = IpProtocol(136);
        match protocol {
            IpProtocol::TCP => {
                self.push(format_args!("PROTO=TCP "));
                return later || self.tcp(payload);
            }
            IpProtocol::UDP | UDP_LITE => {
                let lite = if protocol == UDP_LITE { "LITE" } else { "" };
                self.push(format_args!("PROTO=UDP{lite} "));
                match payload.head::<8>() {
                    _ if later => {}
                    Some(udp) => self.push(format_args!(
                        "SPT={} DPT={} LEN={} ",
                        word(udp, 0),
                        word(udp, 2),
                        word(udp, 4)
                    )),
                    None => {
                        self.incomplete(payload.len);
                        return false;
                    }
                }
            }
            IpProtocol(number) => self.push(format_args!("PROTO={number} ")),
        }
        true
    }

    fn security(&mut self, name: &str, index: Option<u32>, len: u32) {
        self.push(format_args!("PROTO={name} "));
        match index {
            Some(index) => self.push(format_args!("SPI=0x{index:x} ")),
            None => self.incomplete(len),
        }
    }

    /// `nf_log_dump_tcp_header`; whether all of the header is there.
    fn tcp(&mut self, segment: Bytes<'_>) -> bool {
        let Some(tcp) = segment.head::<20>() else {
            self.incomplete(segment.len);
            return false;
        };
        self.push(format_args!("SPT={} DPT={} ", word(tcp, 0), word(tcp, 2)));
        if self.flags.contains(LogFlags::TCP_SEQUENCE) {
            self.push(format_args!("SEQ={} ACK={} ", long(tcp, 4), long(tcp, 8)));
        }
        // The reserved bits lie between the data offset and the flags, of which AE is the first (RFC 9768).
        self.push(format_args!("WINDOW={} RES=0x{:02x} ", word(tcp, 14), tcp[12] << 2 & 0x38));
        let flags = [
            (0x100, "AE"),
            (0x80, "CWR"),
            (0x40, "ECE"),
            (0x20, "URG"),
            (0x10, "ACK"),
            (0x08, "PSH"),
            (0x04, "RST"),
            (0x02, "SYN"),
            (0x01, "FIN"),
        ];
        for (_, name) in flags.into_iter().filter(|(bit, _)| word(tcp, 12) & bit != 0) {
            self.push(format_args!("{name} "));
        }
        self.push(format_args!("URGP={} ", word(tcp, 18)));
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if self.flags.contains(LogFlags::TCP_OPTIONS) && header_len > 20 {
            match segment.bytes.get(20..header_len) {
                Some(options) => self.options(options),
                None => {
                    self.push(format_args!("OPT (TRUNCATED)"));
                    return false;
                }
            }
        }
        true
    }

    fn icmp(&mut self, message: Bytes<'_>, outer: bool) {
        let Some(icmp) = message.head::<8>() else { return self.incomplete(message.len) };
        let (kind, code) = (icmp[0], icmp[1]);
        self.push(format_args!("TYPE={kind} CODE={code} "));
        let needed = match kind {
            0 | 8 => 4,
            3 | 4 | 5 | 11 | 12 => 8 + 20,
            13 | 14 => 20,
            17 | 18 => 12,
            _ => 0,
        };
        if message.len < needed {
            return self.incomplete(message.len);
        }
        match kind {
            0 | 8 => self.push(format_args!("ID={} SEQ={} ", word(icmp, 4), word(icmp, 6))),
            12 => self.push(format_args!("PARAMETER={} ", icmp[4])),
            3 | 4 | 5 | 11 => {
                if kind == 5 {
                    let [.., a, b, c, d] = *icmp;
                    self.push(format_args!("GATEWAY={a}.{b}.{c}.{d} "));
                }
                if outer {
                    self.push(format_args!("["));
                    self.packet(message.skip(8), false);
                    self.push(format_args!("] "));
                }
                if (kind, code) == (3, 4) {
                    self.push(format_args!("MTU={} ", word(icmp, 6)));
                }
            }
            _ => {}
        }
    }
}
