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

/// Reads one message of at most `bytes_max` bytes and parses it. The memory for it grows as it
/// arrives: a peer cannot make us allocate by announcing a length.
///
/// To look at the version first, read a [`serde_json::Value`] and parse that twice.
///
/// # Errors
/// See [`MessageError`]; [`MessageError::Closed`] if the stream ended before the first byte.
pub fn read_message<T: DeserializeOwned>(
    stream: &mut impl Read,
    bytes_max: usize,
) -> Result<T, MessageError> {
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
    Ok(serde_json::from_slice(&body)?)
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
