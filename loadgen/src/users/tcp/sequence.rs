//! Numbers on a circle (RFC 9293 section 3.4).
//!
//! A connection counts its bytes from 0, the SYN, up; they meet sequence numbers only where a segment is read or
//! written. No connection carries 2^31 bytes ([`BYTES_MAX`]), so these *offsets* compare like numbers.

/// The most that a connection may carry in one direction, in bytes.
pub const BYTES_MAX: u32 = 1 << 30;

/// How far it is from `from` to `to`; negative when `to` lies behind.
#[must_use]
pub fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether `a` is later on the circle than `b`: sequence numbers, timestamps.
#[must_use]
pub fn is_after(a: u32, b: u32) -> bool {
    distance(b, a) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_has_no_end() {
        assert_eq!(distance(u32::MAX, 2), 3);
        assert_eq!(distance(2, u32::MAX), -3);
        assert!(is_after(0, u32::MAX) && !is_after(u32::MAX, 0) && !is_after(7, 7));
    }
}
