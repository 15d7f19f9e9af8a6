//! Datagrams with numbers, to find out which arrived.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_tests::netns::Namespace;

use crate::town::SOON;

/// What a socket holds that nobody has read yet, in bytes: some thousands of small datagrams, so that a reader
/// who is kept waiting by other tests loses none.
const RECEIVE_BYTES: usize = 8 << 20;

/// A UDP socket in a namespace.
pub(crate) fn socket(namespace: &Namespace, address: &str) -> UdpSocket {
    let _inside = namespace.enter().expect("inside");
    let socket = UdpSocket::bind(address).expect("a socket");
    // Root may exceed what the system allows others.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES)
        .expect("a buffer");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    socket
}

/// Sends numbered datagrams while the other side receives them; how often each arrived.
pub(crate) fn carry(
    from: &UdpSocket,
    at: &UdpSocket,
    numbers: std::ops::Range<u32>,
    len: usize,
) -> BTreeMap<u32, usize> {
    let to = at.local_addr().expect("an address");
    let wanted = numbers.len();
    thread::scope(|scope| {
        scope.spawn(|| send(from, to, numbers, len, Duration::from_millis(2)));
        receive(at, wanted)
    })
}

/// Sends numbered datagrams of a length, each after a pause.
pub(crate) fn send(
    from: &UdpSocket,
    to: SocketAddr,
    numbers: std::ops::Range<u32>,
    len: usize,
    pause: Duration,
) {
    for number in numbers {
        from.send_to(&payload(number, len), to).expect("sent");
        thread::sleep(pause);
    }
}

/// A datagram: its number, then bytes that depend on it.
fn payload(number: u32, len: usize) -> Vec<u8> {
    let fill = (4..len).map(|at| (number as usize + at).to_le_bytes()[0]);
    number.to_le_bytes().into_iter().chain(fill).take(len).collect()
}

/// The number of a datagram, if every byte is as it was sent.
fn numbered(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(*bytes.first_chunk().expect("four bytes at least"));
    assert_eq!(bytes, payload(number, bytes.len()), "datagram {number} was altered");
    number
}

/// Receives until `wanted` different datagrams have arrived or [`SOON`] is over; how often each.
pub(crate) fn receive(at: &UdpSocket, wanted: usize) -> BTreeMap<u32, usize> {
    let start = Instant::now();
    let mut seen = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    while seen.len() < wanted && start.elapsed() < SOON {
        if let Ok(len) = at.recv(&mut buffer) {
            *seen.entry(numbered(&buffer[..len])).or_default() += 1;
        }
    }
    seen
}

/// All datagrams that arrive until `stop` is set.
pub(crate) fn drain_until(at: &UdpSocket, stop: &AtomicBool) -> BTreeMap<u32, usize> {
    let mut seen = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        for (number, times) in drain(at) {
            *seen.entry(number).or_default() += times;
        }
    }
    seen
}

/// All datagrams that are there now or arrive within a tenth of a second; how often each.
pub(crate) fn drain(at: &UdpSocket) -> BTreeMap<u32, usize> {
    let mut seen = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(len) = at.recv(&mut buffer) {
        *seen.entry(numbered(&buffer[..len])).or_default() += 1;
    }
    seen
}

/// Each of these numbers once.
pub(crate) fn once_each(numbers: std::ops::Range<u32>) -> BTreeMap<u32, usize> {
    numbers.map(|number| (number, 1)).collect()
}
