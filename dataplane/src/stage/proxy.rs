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
    Conntrack, CtState, Direction, Packet, Proxied, Refused, Shaken, TcpState, Tracked, Tuple,
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

    /// The SYN that the server has not had, of an acknowledgment that brings a cookie back, and what is to be kept of
    /// it; `None` if it does not.
    fn redeem(&self, key: CookieKey, emitter: &mut Emitter<'_>) -> Option<(Handshake, Proxied)> {
        let TcpHeader { sequence, acknowledgment, window, .. } = self.header;
        let numbers = (sequence, acknowledgment);
        let Some((first, mss)) = key.redeem(&self.ends, numbers, emitter.now_ns) else {
            emitter.counters.add(Counter::SynproxyCookiesInvalid, 1);
            return None;
        };
        emitter.counters.add(Counter::SynproxyCookiesValid, 1);
        let cookie = acknowledgment.wrapping_sub(1);
        let syn = self.syn((first, cookie), window, self.options.recalled(mss));
        let (clock_offset, clock) = self.options.timestamps.unwrap_or_default();
        let stamped = self.options.timestamps.is_some();
        let proxied =
            Proxied { cookie, clock, clock_offset, stamped, is: true, ..Proxied::default() };
        Some((syn, proxied))
    }

    /// A client's SYN. As the kernel's it names the cookie, though it acknowledges nothing.
    fn syn(
        &self,
        (first, cookie): (u32, u32),
        window: u16,
        options: HandshakeOptions,
    ) -> Handshake {
        let ecn = if options.ecn { TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::NONE };
        let flags = TcpFlags::SYN | ecn;
        let header =
            TcpHeader { sequence: first, acknowledgment: cookie, flags, window, ..self.header };
        self.like(header, options)
    }

    /// The same as if its receiver had sent it.
    fn turned(&self) -> Self {
        let Ends { addresses: [source, destination], ports: [from, to] } = self.ends;
        let ends = Ends { addresses: [destination, source], ports: [to, from] };
        Self { ends, ..*self }
    }

    /// A segment without data from its sender, with other numbers.
    fn like(&self, header: TcpHeader, options: HandshakeOptions) -> Handshake {
        let Ends { addresses: [source, destination], ports: [source_port, destination_port] } =
            self.ends;
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
    let TcpHeader { sequence, flags, .. } = seen.header;
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
        return absorb(batch, i, &seen.turned().like(answer, options), emitter);
    }
    let Some((syn, proxied)) = seen.redeem(key, emitter) else { return };
    match begin(&syn, proxied, conntrack, emitter) {
        Ok(()) => absorb(batch, i, &syn, emitter),
        Err(reason) => batch.verdict[i] = Verdict::Drop(reason),
    }
}

/// Puts the connection that this SYN begins into the table. What stands in its place is of before, and goes.
fn begin(
    syn: &Handshake,
    proxied: Proxied,
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) -> Result<(), DropReason> {
    let TcpHeader { source_port, destination_port, sequence, .. } = syn.header;
    let (source, destination, protocol) = (syn.source, syn.destination, IpProtocol::TCP.0);
    let tuple = Tuple { source, destination, source_port, destination_port, protocol };
    conntrack.begin_anew(&tuple, sequence);
    let tracked =
        tracked(syn, |packet| Some(conntrack.track(packet))).ok_or(DropReason::Synproxy)?;
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
fn tracked(
    segment: &Handshake,
    track: impl FnOnce(&Packet<'_>) -> Option<Tracked>,
) -> Option<Tracked> {
    let mut bytes = [0; SEGMENT_BYTES_MAX];
    let len = segment.write(&mut bytes)?;
    let (source, destination) = (segment.source, segment.destination);
    let header_len = if source.is_ipv4() { ipv4::HEADER_BYTES_MIN } else { ipv6::HEADER_BYTES };
    let tcp = bytes.get(header_len..len)?;
    track(&Packet::new(source, destination, IpProtocol::TCP.0, tcp))
}

/// The same of a connection that stands, while others of the batch have not been looked at yet.
fn follow(segment: &Handshake, conntrack: &mut Conntrack) -> Option<Tracked> {
    tracked(segment, |packet| {
        let wanted = conntrack.wanted(packet).ok()?;
        conntrack.track_in_batch(packet, &wanted)
    })
}

/// A packet that passes, of a connection that was proxied.
fn of_connection(
    batch: &mut Batch,
    i: usize,
    (tracked, mut proxied): (Tracked, Proxied),
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let Some((seen, shaken)) = Seen::read(batch, i).zip(conntrack.handshake(&tracked)) else {
        batch.verdict[i] = Verdict::Drop(DropReason::Synproxy);
        return;
    };
    let from_server = tracked.direction == Direction::Reply;
    let TcpHeader { sequence, flags, .. } = seen.header;
    let plain = !flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::RST);
    match (from_server, shaken.state) {
        (true, TcpState::SynRecv) if flags.contains(TcpFlags::SYN | TcpFlags::ACK) => {
            let other = proxied.cookie.wrapping_sub(proxied.offset) != sequence;
            if proxied.connected && other {
                // A SYN that was not proxied has been let through since, and this is its answer.
                return conntrack.set_proxied(&tracked, Proxied::default());
            }
            return connect(batch, i, &seen, (tracked, proxied, shaken), conntrack, emitter);
        }
        (true, TcpState::SynSent) if plain => {
            return answer_challenge(
                batch,
                i,
                &seen,
                (tracked, proxied, shaken),
                conntrack,
                emitter,
            );
        }
        (false, TcpState::SynSent) if plain => {
            return ask_again(batch, i, &seen, &tracked, conntrack, emitter);
        }
        (true, TcpState::Close) if flags.contains(TcpFlags::RST) && !proxied.connected => {
            // The client has been promised a connection: it believes a reset that stands where that began.
            proxied.offset = proxied.cookie.wrapping_sub(sequence).wrapping_add(1);
            conntrack.set_proxied(&tracked, proxied);
        }
        _ => {}
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

/// The client waits for its window to open, and the server has not answered: it is asked once more.
fn ask_again(
    batch: &mut Batch,
    i: usize,
    seen: &Seen,
    tracked: &Tracked,
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let redeemed = conntrack.cookie_key().and_then(|key| seen.redeem(key, emitter));
    let Some((syn, proxied)) = redeemed else {
        batch.verdict[i] = Verdict::Drop(DropReason::Synproxy);
        return;
    };
    emitter.counters.add(Counter::SynproxyCookiesRepeated, 1);
    follow(&syn, conntrack);
    conntrack.set_proxied(tracked, proxied);
    absorb(batch, i, &syn, emitter);
}

/// The server remembers a connection that the client does not, and the SYN was not later enough for it to believe that:
/// it says what it knows (RFC 5961 4.2; in TIME-WAIT, RFC 6191). A client would reset that and send its SYN again (RFC
/// 9293 3.5.1). This one believes that it is connected, so Weir does both in its name, once for each time that it asks.
fn answer_challenge(
    batch: &mut Batch,
    i: usize,
    seen: &Seen,
    (tracked, mut proxied, shaken): (Tracked, Proxied, Shaken),
    conntrack: &mut Conntrack,
    emitter: &mut Emitter<'_>,
) {
    let (client, first) = (seen.turned(), shaken.end.wrapping_sub(1));
    let mss = conntrack
        .cookie_key()
        .and_then(|key| key.check(&client.ends, first, proxied.cookie, emitter.now_ns))
        .filter(|_| seen.header.acknowledgment != shaken.end && !proxied.challenged);
    let Some(mss) = mss else {
        // The client could make nothing of it.
        batch.verdict[i] = Verdict::Drop(DropReason::Synproxy);
        return;
    };
    let Some(frame) = emitter.pool.take() else {
        batch.verdict[i] = Verdict::Drop(DropReason::NoFrame);
        return;
    };
    let timestamps = proxied.stamped.then_some((proxied.clock_offset, proxied.clock));
    let options = HandshakeOptions { timestamps, ..HandshakeOptions::default() }.recalled(mss);
    #[expect(clippy::cast_possible_truncation, reason = "that of a SYN, which is not scaled")]
    let syn = client.syn((first, proxied.cookie), shaken.window as u16, options);
    let header = TcpHeader {
        sequence: seen.header.acknowledgment,
        acknowledgment: 0,
        flags: TcpFlags::RST,
        window: 0,
        ..client.header
    };
    let reset = client.like(header, HandshakeOptions::default());
    proxied.challenged = true;
    follow(&syn, conntrack);
    conntrack.set_proxied(&tracked, proxied);
    send(frame, &reset, emitter);
    absorb(batch, i, &syn, emitter);
}

/// The server has answered: it gets its acknowledgment, and the client learns that the window is open.
fn connect(
    batch: &mut Batch,
    i: usize,
    seen: &Seen,
    (tracked, mut proxied, shaken): (Tracked, Proxied, Shaken),
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
    proxied.clock_offset = timestamps.map_or(0, |(clock, _)| clock.wrapping_sub(proxied.clock));
    proxied.offset = proxied.cookie.wrapping_sub(sequence);
    proxied.connected = true;
    emitter.counters.add(Counter::SynproxyConnections, 1);
    let next = sequence.wrapping_add(1);
    let plain = TcpHeader { flags: TcpFlags::ACK, ..seen.header };
    #[expect(clippy::cast_possible_truncation, reason = "that of a SYN, which is not scaled")]
    let client = TcpHeader {
        sequence: acknowledgment,
        acknowledgment: next,
        window: shaken.window as u16,
        ..plain
    };
    let to_server = seen.turned().like(client, seen.options.acknowledged());
    // Before the numbers are translated: this one has the server's.
    follow(&to_server, conntrack);
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
        seen.like(server, HandshakeOptions { timestamps, ..HandshakeOptions::default() });
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
