//! What a flood consists of.

/// Kinds of packets that anybody can send without having been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// SYN segments: each begins a connection
    Syn,
    /// SYN-ACK segments, as from servers that were asked in the victim's name
    SynAck,
    /// ACK segments of connections that do not exist
    Ack,
    /// RST segments, likewise
    Rst,
    /// FIN segments, likewise
    Fin,
    /// Segments with FIN, PSH and URG
    Xmas,
    /// Segments without flags
    Null,
    /// UDP to a port that nobody serves
    Udp,
    /// Pings
    Icmp,
    /// First fragments of datagrams whose rest never comes
    Fragment,
}

impl Kind {
    /// The lines of a profile that only this kind has.
    pub(crate) fn lines(self) -> String {
        let (kind, port) = match self {
            Self::Syn => ("tcp-syn", Some(80)),
            Self::SynAck => ("tcp-syn-ack", Some(80)),
            Self::Ack => ("tcp-ack", Some(80)),
            Self::Rst => ("tcp-rst", Some(80)),
            Self::Fin => ("tcp-fin", Some(80)),
            Self::Xmas => ("tcp-xmas", Some(80)),
            Self::Null => ("tcp-null", Some(80)),
            Self::Udp => ("udp", Some(9)),
            Self::Icmp => ("icmp-echo", None),
            Self::Fragment => ("fragment-first", None),
        };
        let port = port.map_or_else(String::new, |port| {
            format!(
                "source_port = {{ in = \"1024-65535\", order = \"random\" }}\ndestination_port = {port}\n"
            )
        });
        format!("kind = \"{kind}\"\n{port}")
    }

    /// For a title.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Syn => "a SYN flood",
            Self::SynAck => "a flood of SYN-ACKs",
            Self::Ack => "an ACK flood",
            Self::Rst => "an RST flood",
            Self::Fin => "a FIN flood",
            Self::Xmas => "an XMAS flood",
            Self::Null => "a flood without flags",
            Self::Udp => "a UDP flood",
            Self::Icmp => "a flood of pings",
            Self::Fragment => "a flood of fragments",
        }
    }
}
