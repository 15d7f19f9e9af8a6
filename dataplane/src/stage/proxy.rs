//! `proxy`: handshakes that SYNPROXY takes over, and what comes of the connections that it has made. See
//! [`crate::synproxy`].
//!
//! The kernel does the first in the rule (`synproxy_tg4`, `synproxy_tg6`) and the second when a packet leaves, or has
//! arrived (`ipv4_synproxy_hook`, `ipv6_synproxy_hook`, just before `nf_confirm`). What is taken over is absorbed: its
//! frame carries the answer, so that a flood of SYNs takes no frame that others need.

use std::net::IpAddr;

use weir_control::rule::SynproxyTarget;

use crate::batch::Batch;
use crate::conntrack::{
    Conntrack, CtState, Direction, Packet, Proxied, Refused, TcpState, Tracked,
};
use crate::frame::{Frame, HEADROOM_BYTES};
use crate::respond::Answer;
use crate::stage::Emitter;
use crate::synproxy::segment::{Handshake, SEGMENT_BYTES_MAX, translate};
use crate::synproxy::{CookieKey, Ends, HandshakeOptions};
use crate::telemetry::Counter;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::tcp::{TcpFlags, TcpHeader};
use crate::wire::{IpProtocol, Tcp, checksum, ipv4, ipv6};

/// Takes over what rules want taken over, and puts right what belongs to connections that came of that.
pub fn proxy(batch: &mut Batch, conntrack: &mut Conntrack, emitter: &mut Emitter<'_>) {
    let Some(key) = conntrack.cookie_key() else { return };
    // These first: a new connection may take the place of another that a packet here belongs to.
    for i in batch.turn() {
        let tracked = batch.tracked[i];
        if matches!(batch.verdict[i], Verdict::Forward(_) | Verdict::ToHost)
            && let Some(proxied) = conntrack.proxied(&tracked)
        {
            of_connection(batch, i, (tracked, proxied), conntrack, emitter);
        }
    }
    for i in batch.turn() {
        if let Some(Answer::Proxy(target)) = batch.answer[i] {
            take_over(batch, i, &target, key, conntrack, emitter);
        }
    }
}

/// A segment as it is read here.
struct Seen {
    ends: Ends,
    header: TcpHeader,
    options: HandshakeOptions,
}

impl Seen {
    fn read(batch: &Batch, i: usize) -> Option<Self> {
        // Of a datagram in fragments the header is not all that there is to be changed.
        if batch.datagram(i).is_some() {
            return None;
        }
        let headers = &batch.headers[i];
        let end = usize::from(headers.l3) + usize::from(headers.total_len);
        let tcp = Tcp::new_checked(batch.bytes(i).get(headers.l4.into()..end)?).ok()?;
        let header = TcpHeader {
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            sequence: tcp.sequence(),
            acknowledgment: tcp.acknowledgment(),
            flags: tcp.flags(),
            window: tcp.window(),
        };
        Some(Self {
            ends: Ends {
                addresses: [headers.source(), headers.destination()],
                ports: [header.source_port, header.destination_port],
            },
            header,
            options: HandshakeOptions::read(tcp.options()),
        })
    }

    /// A segment without data from its sender, or to it, with other numbers.
    fn like(&self, back: bool, header: TcpHeader, options: HandshakeOptions) -> Handshake {
        let [mut source, mut destination] = self.ends.addresses;
        let [mut source_port, mut destination_port] = self.ends.ports;
        if back {
            std::mem::swap(&mut source, &mut destination);
            std::mem::swap(&mut source_port, &mut destination_port);
        }
        let header = TcpHeader { source_port, destination_port, ..header };
        Handshake { source, destination, header, options }
    }
}

/// A client's SYN is answered, its acknowledgment leads to the server if it is one of ours.
fn take_over(
    batch: &mut Batch,
    i: usize,
    target: &SynproxyTarget,
    key: CookieKey,
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let Some(mut seen) = Seen::read(batch, i) else { return };
    let TcpHeader { sequence, acknowledgment, flags, window, .. } = seen.header;
    if flags.contains(TcpFlags::SYN) {
        emitter.counters.add(Counter::SynproxySyns, 1);
        seen.options.ecn = flags.contains(TcpFlags::ECE) && flags.contains(TcpFlags::CWR);
        let options = seen.options.answered(target, emitter.now_ns / 1_000_000);
        let mss = seen.options.mss.unwrap_or(0);
        let ecn = if options.ecn { TcpFlags::ECE } else { TcpFlags::NONE };
        let answer = TcpHeader {
            sequence: key.make(&seen.ends, sequence, mss, emitter.now_ns),
            acknowledgment: sequence.wrapping_add(1),
            flags: TcpFlags::SYN | TcpFlags::ACK | ecn,
            window: 0,
            ..seen.header
        };
        return absorb(batch, i, &seen.like(true, answer, options), emitter);
    }
    let (first, cookie) = (sequence.wrapping_sub(1), acknowledgment.wrapping_sub(1));
    let Some(mss) = key.check(&seen.ends, first, cookie, emitter.now_ns) else {
        emitter.counters.add(Counter::SynproxyCookiesInvalid, 1);
        return;
    };
    emitter.counters.add(Counter::SynproxyCookiesValid, 1);
    let options = seen.options.recalled(mss);
    let ecn = if options.ecn { TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::NONE };
    let header = TcpHeader {
        sequence: first,
        // As the kernel's, though nothing is acknowledged.
        acknowledgment: cookie,
        flags: TcpFlags::SYN | ecn,
        window,
        ..seen.header
    };
    let syn = seen.like(false, header, options);
    let clock = seen.options.timestamps.map_or(0, |(_, echo)| echo);
    let proxied = Proxied { cookie, clock, is: true, ..Proxied::default() };
    match begin(&syn, proxied, conntrack, emitter) {
        Ok(()) => absorb(batch, i, &syn, emitter),
        Err(reason) => batch.verdict[i] = Verdict::Drop(reason),
    }
}

/// Puts the connection that this SYN begins into the table.
fn begin(
    syn: &Handshake,
    proxied: Proxied,
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) -> Result<(), DropReason> {
    let tracked = track(syn, conntrack).ok_or(DropReason::Synproxy)?;
    if tracked.state == CtState::Invalid {
        return Err(DropReason::Synproxy);
    }
    if tracked.is_of_known_flow() {
        emitter.counters.add(Counter::SynproxyCookiesRepeated, 1);
    }
    conntrack.set_proxied(&tracked, proxied);
    conntrack.confirm(&tracked).map_err(|refused| match refused {
        Refused::TableFull => DropReason::FlowTableFull,
        Refused::HalfOpenFull => DropReason::HalfOpenFull,
    })
}

/// Lets connection tracking see a segment that Weir sends.
fn track(segment: &Handshake, conntrack: &mut Conntrack) -> Option<Tracked> {
    let mut bytes = [0; SEGMENT_BYTES_MAX];
    let len = segment.write(&mut bytes)?;
    let (source, destination) = (segment.source, segment.destination);
    let header_len = if source.is_ipv4() { ipv4::HEADER_BYTES_MIN } else { ipv6::HEADER_BYTES };
    let tcp = bytes.get(header_len..len)?;
    Some(conntrack.track(&Packet::new(source, destination, IpProtocol::TCP.0, tcp)))
}

/// A packet that passes, of a connection that was proxied.
fn of_connection(
    batch: &mut Batch,
    i: usize,
    (tracked, mut proxied): (Tracked, Proxied),
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let Some((seen, (state, window))) = Seen::read(batch, i).zip(conntrack.handshake(&tracked))
    else {
        batch.verdict[i] = Verdict::Drop(DropReason::Synproxy);
        return;
    };
    let from_server = tracked.direction == Direction::Reply;
    let TcpHeader { sequence, flags, .. } = seen.header;
    if from_server && state == TcpState::SynRecv && flags.contains(TcpFlags::SYN | TcpFlags::ACK) {
        return connect(batch, i, &seen, (tracked, proxied, window), conntrack, emitter);
    }
    let refused = flags.contains(TcpFlags::RST) && state == TcpState::Close && !proxied.connected;
    if from_server && refused {
        // The client has been promised a connection: it believes a reset that stands where that began.
        proxied.offset = proxied.cookie.wrapping_sub(sequence).wrapping_add(1);
        conntrack.set_proxied(&tracked, proxied);
    }
    let l3 = usize::from(batch.headers[i].l3);
    let l4 = usize::from(batch.headers[i].l4);
    let bytes = batch.bytes_mut(i);
    if let Some(packet) = bytes.get_mut(l3..) {
        match seen.ends.addresses[0] {
            IpAddr::V4(_) => _ = checksum::complete_partial(packet),
            IpAddr::V6(_) => _ = checksum::complete_partial_v6(packet),
        }
    }
    if let Some(segment) = bytes.get_mut(l4..) {
        translate(segment, tracked.direction, &proxied);
    }
}

/// The server has answered: it gets its acknowledgment, and the client learns that the window is open.
fn connect(
    batch: &mut Batch,
    i: usize,
    seen: &Seen,
    (tracked, mut proxied, window): (Tracked, Proxied, u32),
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let Some(frame) = emitter.pool.take() else {
        // The server will answer again.
        batch.verdict[i] = Verdict::Drop(DropReason::NoFrame);
        return;
    };
    let TcpHeader { sequence, acknowledgment, window: offered, .. } = seen.header;
    let HandshakeOptions { timestamps, scale, .. } = seen.options;
    if let Some((clock, _)) = timestamps {
        proxied.clock_offset = clock.wrapping_sub(proxied.clock);
    }
    proxied.offset = proxied.cookie.wrapping_sub(sequence);
    proxied.connected = true;
    emitter.counters.add(Counter::SynproxyConnections, 1);
    let next = sequence.wrapping_add(1);
    let plain = TcpHeader { flags: TcpFlags::ACK, ..seen.header };
    #[expect(clippy::cast_possible_truncation, reason = "that of a SYN, which is not scaled")]
    let client = TcpHeader {
        sequence: acknowledgment,
        acknowledgment: next,
        window: window as u16,
        ..plain
    };
    let to_server = seen.like(true, client, seen.options.acknowledged());
    // Before the numbers are translated: this one has the server's.
    track(&to_server, conntrack);
    conntrack.set_proxied(&tracked, proxied);
    let server = TcpHeader {
        sequence: next.wrapping_add(proxied.offset),
        acknowledgment,
        window: offered >> scale.unwrap_or(0),
        ..plain
    };
    let timestamps =
        timestamps.map(|(clock, echo)| (clock.wrapping_sub(proxied.clock_offset), echo));
    let to_client =
        seen.like(false, server, HandshakeOptions { timestamps, ..HandshakeOptions::default() });
    send(frame, &to_server, emitter);
    absorb(batch, i, &to_client, emitter);
}

/// Sends a segment in the frame of the packet that it answers.
fn absorb(batch: &mut Batch, i: usize, segment: &Handshake, emitter: &mut Emitter<'_>) {
    let Some(frame) = batch.take(i) else { return };
    batch.withdraw(i);
    batch.answer[i] = None;
    emitter.counters.add(Counter::Absorbed, 1);
    send(frame, segment, emitter);
}

fn send(mut frame: Frame, segment: &Handshake, emitter: &mut Emitter<'_>) {
    let room = frame.capacity();
    let window = frame.set_window(usize::from(HEADROOM_BYTES), room);
    let written = match window {
        true => segment.write(&mut frame.bytes_mut()[HEADER_BYTES..]),
        false => None,
    };
    match written {
        Some(len) => {
            frame.truncate(HEADER_BYTES + len);
            emitter.originate(frame, segment.destination);
        }
        None => {
            emitter.counters.add(Counter::Originated, 1);
            emitter.drop_frame(frame, DropReason::NoFrame);
        }
    }
}
