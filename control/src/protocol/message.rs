//! Framing: a length, then JSON. Blocking; time limits are the stream's own.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The peer closed the connection between two messages.
    #[error("the connection was closed")]
    Closed,
    /// The peer closed the connection inside a message.
    #[error("the connection was closed in the middle of a message")]
    Truncated,
    /// The message is longer than agreed. When receiving, nothing but the length was read; the
    /// connection is of no further use.
    #[error("a message of {bytes} bytes is above the limit of {bytes_max}")]
    TooLarge {
        /// The length announced, or wanted.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The peer did not answer, or did not read, within the stream's time limit.
    #[error("the other side did not react in time")]
    TimedOut,
    /// Bytes that are not the JSON expected.
    #[error("the message is not what the protocol says: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything else from the operating system.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for MessageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Reads one message of at most `bytes_max` bytes and parses it.
///
/// # Errors
/// See [`MessageError`]; [`MessageError::Closed`] if the stream ended before the first byte.
pub fn read_message<T: DeserializeOwned>(
    stream: &mut impl Read,
    bytes_max: usize,
) -> Result<T, MessageError> {
    Ok(serde_json::from_slice(&read_frame(stream, bytes_max)?)?)
}

/// Reads one message of at most `bytes_max` bytes and leaves it as JSON, so that its version can
/// be looked at first ([`super::Request::from_json`]). The memory for it grows as it arrives: a
/// peer cannot make us allocate by announcing a length.
///
/// # Errors
/// As [`read_message`], except for [`MessageError::Json`].
pub fn read_frame(stream: &mut impl Read, bytes_max: usize) -> Result<Vec<u8>, MessageError> {
    let mut length = [0; 4];
    if read_first(stream, &mut length)? == 0 {
        return Err(MessageError::Closed);
    }
    stream.read_exact(&mut length[1..])?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(MessageError::TooLarge { bytes, bytes_max });
    }
    let mut body = Vec::new();
    let limit = u64::try_from(bytes).unwrap_or(u64::MAX);
    if stream.take(limit).read_to_end(&mut body)? < bytes {
        return Err(MessageError::Truncated);
    }
    Ok(body)
}

/// Reads one byte into `buffer[0]`; 0 if the stream is at its end.
fn read_first(stream: &mut impl Read, buffer: &mut [u8; 4]) -> io::Result<usize> {
    loop {
        match stream.read(&mut buffer[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Writes `message`, unless its JSON has more than `bytes_max` bytes.
///
/// # Errors
/// See [`MessageError`]; after [`MessageError::TooLarge`] nothing was written and the connection
/// is still good.
pub fn write_message<T: Serialize>(
    stream: &mut impl Write,
    message: &T,
    bytes_max: usize,
) -> Result<(), MessageError> {
    let mut framed = vec![0; 4];
    serde_json::to_writer(&mut framed, message)?;
    let bytes = framed.len() - 4;
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max);
    let length = length.ok_or(MessageError::TooLarge { bytes, bytes_max })?;
    framed[..4].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&framed)?;
    stream.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, body: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes()[..], body].concat()
    }

    #[test]
    fn messages_survive_the_way() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, &vec!["a", "b"], 9).expect("9 bytes are allowed");
        assert_eq!(bytes, frame(9, br#"["a","b"]"#));
        let mut stream = &bytes[..];
        assert_eq!(read_message::<Vec<String>>(&mut stream, 9).expect("valid"), ["a", "b"]);
        assert!(matches!(read_message::<u8>(&mut stream, 9), Err(MessageError::Closed)));
    }

    #[test]
    fn limits_hold_in_both_directions() {
        let mut bytes = Vec::new();
        let sent = write_message(&mut bytes, &"12345678", 9);
        assert!(matches!(sent, Err(MessageError::TooLarge { bytes: 10, bytes_max: 9 })));
        assert!(bytes.is_empty(), "nothing was written");
        let received = read_frame(&mut &frame(10, b"")[..], 9);
        assert!(matches!(received, Err(MessageError::TooLarge { bytes: 10, bytes_max: 9 })));
        // A length without the bytes costs no memory.
        let received = read_frame(&mut &frame(u32::MAX, b"x")[..], usize::MAX);
        assert!(matches!(received, Err(MessageError::Truncated)));
    }

    #[test]
    fn broken_messages_are_told_apart() {
        let read = |bytes: &[u8]| read_message::<u8>(&mut &bytes[..], 100);
        assert!(matches!(read(b""), Err(MessageError::Closed)));
        assert!(matches!(read(b"\x01"), Err(MessageError::Truncated)));
        assert!(matches!(read(b"\x01\0\0"), Err(MessageError::Truncated)));
        assert!(matches!(read(&frame(2, b"1")), Err(MessageError::Truncated)));
        assert!(matches!(read(&frame(1, b"x")), Err(MessageError::Json(_))));
        assert!(matches!(read(&frame(0, b"")), Err(MessageError::Json(_))));
        assert!(matches!(read(&frame(3, b"256")), Err(MessageError::Json(_))));
    }
}
