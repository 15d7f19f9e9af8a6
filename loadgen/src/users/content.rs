//! What is said over a connection: a head, and behind it a text that anybody can tell from its place.
//!
//! So nothing is kept for sending again, and what arrives is compared whatever the order it comes in.

use std::fmt::Write;

/// The text repeats after so many bytes: a prime, so that no segment size hides a shift.
const PERIOD: usize = 251;

/// Bytes of one piece at most: the longest segment, and a period to start anywhere.
const PIECE: usize = 65_536;

/// See the module.
#[derive(Clone, Debug)]
pub struct Content {
    head: Box<[u8]>,
    /// The text, long enough to copy a segment from any place in its period.
    text: Box<[u8]>,
    bytes: u32,
}

impl Content {
    /// `bytes` of text.
    #[must_use]
    pub fn text(bytes: u32) -> Self {
        Self::with_head(Vec::new(), bytes)
    }

    /// A request for a page, `bytes` long in all; `None` if that is less than it takes.
    #[must_use]
    pub fn http_request(host: &str, bytes: u32) -> Option<Self> {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weirgen\r\nConnection: close\r\n"
        );
        let (fill, end) = ("X-Fill: ", "\r\n\r\n");
        let whole = usize::try_from(bytes).ok()?;
        let room = whole.checked_sub(head.len() + 2)?;
        let head = if room == 0 {
            format!("{head}\r\n")
        } else {
            let letters = room.checked_sub(fill.len() + end.len() - 2)?;
            format!("{head}{fill}{}{end}", "x".repeat(letters))
        };
        Some(Self::with_head(head.into_bytes(), bytes))
    }

    /// An answer with a page, `bytes` long in all; `None` if that is less than its head.
    #[must_use]
    pub fn http_response(bytes: u32) -> Option<Self> {
        let head = |body: u32| {
            let mut head =
                String::from("HTTP/1.1 200 OK\r\nServer: weirgen\r\nContent-Type: text/plain\r\n");
            // Writing to a string does not fail.
            let _ = write!(head, "Connection: close\r\nContent-Length: {body:010}\r\n\r\n");
            head
        };
        // With leading zeros its length does not depend on what it says.
        let length = u32::try_from(head(0).len()).ok()?;
        Some(Self::with_head(head(bytes.checked_sub(length)?).into_bytes(), bytes))
    }

    /// These bytes, of which a box on the way knows no more.
    #[cfg(test)]
    pub(super) fn said(bytes: &[u8]) -> Self {
        Self::with_head(bytes.to_vec(), u32::try_from(bytes.len()).unwrap())
    }

    fn with_head(head: Vec<u8>, bytes: u32) -> Self {
        let letter = |at: usize| b"abcdefghijklmnopqrstuvwxyz0123456789"[at % PERIOD * 7 % 36];
        let text = (0..PIECE + PERIOD).map(letter).collect();
        Self { head: head.into(), text, bytes }
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Writes what stands from `at` on.
    pub fn write(&self, at: u32, out: &mut [u8]) {
        let mut at = at as usize;
        let mut out = out;
        if let Some(head) = self.head.get(at..) {
            let length = head.len().min(out.len());
            let (front, rest) = out.split_at_mut(length);
            front.copy_from_slice(&head[..length]);
            (out, at) = (rest, at + length);
        }
        for piece in out.chunks_mut(PIECE) {
            let from = at % PERIOD;
            piece.copy_from_slice(&self.text[from..from + piece.len()]);
            at += piece.len();
        }
    }

    /// Whether `data` is what stands from `at` on.
    #[must_use]
    pub fn is_at(&self, at: i64, data: &[u8]) -> bool {
        // What lies before the beginning (a repeated SYN's place) is no data.
        let Ok(at) = usize::try_from(at) else { return data.is_empty() };
        if at + data.len() > self.bytes as usize {
            return false;
        }
        let mut at = at;
        let mut data = data;
        if let Some(head) = self.head.get(at..) {
            let length = head.len().min(data.len());
            if head[..length] != data[..length] {
                return false;
            }
            (data, at) = (&data[length..], at + length);
        }
        data.chunks(PIECE).all(|piece| {
            let from = at % PERIOD;
            at += piece.len();
            self.text[from..from + piece.len()] == *piece
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut out = vec![0; content.bytes() as usize];
        content.write(0, &mut out);
        out
    }

    #[test]
    fn heads_are_http_of_the_length_that_was_asked_for() {
        for bytes in 70..200 {
            if let Some(content) = Content::http_request("198.19.0.2", bytes) {
                let text = String::from_utf8(all(&content)).unwrap();
                assert!(
                    text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1,
                    "{text:?}"
                );
                assert_eq!(text.len(), bytes as usize);
            }
        }
        let response = String::from_utf8(all(&Content::http_response(500).unwrap())).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let length = head.rsplit_once("Content-Length: ").unwrap().1;
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
    }

    #[test]
    fn too_short_for_its_head_is_refused() {
        assert!(Content::http_request("198.19.0.2", 40).is_none());
        assert!(Content::http_response(20).is_none());
    }

    proptest! {
        #[test]
        fn every_piece_is_known_by_its_place(at in 0_u32..70_000, length in 0_usize..70_000, flip in any::<usize>()) {
            let content = Content::http_response(140_000).unwrap();
            let whole = all(&content);
            let mut piece = vec![0; length];
            content.write(at, &mut piece);
            prop_assert_eq!(&whole[at as usize..at as usize + length], &piece[..]);
            prop_assert!(content.is_at(i64::from(at), &piece));
            if let Some(last) = length.checked_sub(1) {
                piece[flip % length] ^= 1;
                prop_assert!(!content.is_at(i64::from(at), &piece));
                prop_assert!(!content.is_at(140_000 - last as i64, &whole[..length]));
            }
        }
    }
}
