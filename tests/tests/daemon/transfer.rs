//! A TCP transfer whose bytes are known.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use weir_tests::netns::Namespace;

use crate::town::SOON;

/// Sends `bytes` bytes from one namespace to `address` in another, and as many back on the same
/// connection at the same time. Fails if a byte is missing or altered in either direction.
pub(crate) fn both_ways(from: &Namespace, to: &Namespace, address: &str, bytes: usize) {
    let (listener, address) = {
        let _inside = to.enter().expect("inside");
        let listener = TcpListener::bind((address, 0)).expect("a listener");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    };
    let server = thread::spawn(move || exchange(&listener.accept().expect("a client").0, bytes, 7));
    let client = {
        let _inside = from.enter().expect("inside");
        connect(address)
    };
    exchange(&client, bytes, 3);
    server.join().expect("the server's side is right");
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, SOON).expect("a connection")
}

/// Sends one pattern while the other side's is received; 3 and 7 are each other's.
fn exchange(stream: &TcpStream, bytes: usize, seed: u8) {
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.set_write_timeout(Some(SOON)).expect("a timeout");
    let mut writing = stream.try_clone().expect("a second handle");
    let writer = thread::spawn(move || {
        writing.write_all(&pattern(bytes, seed)).expect("all is sent");
        writing.shutdown(Shutdown::Write).expect("a FIN");
    });
    let mut received = Vec::new();
    (&mut &*stream).read_to_end(&mut received).expect("all is received");
    assert!(received == pattern(bytes, 10 - seed), "{} of {bytes} bytes, altered", received.len());
    writer.join().expect("the sender is done");
}

/// Bytes without a period that a lost, doubled or swapped segment would hide in.
fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed);
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    words.take(bytes).collect()
}
