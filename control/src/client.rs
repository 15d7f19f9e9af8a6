//! Talks to the daemon: finds its socket, asks, waits for the answer, explains what fails.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::protocol::{
    Failure, MessageError, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request, RequestBody,
    Response, SOCKET_DEFAULT, read_frame, write_message,
};

/// The environment variable that names another socket than [`SOCKET_DEFAULT`].
pub const SOCKET_VARIABLE: &str = "WEIR_SOCKET";

/// How long a request may take unless [`Client::set_timeout`] says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Why the daemon could not be asked, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no such socket.
    #[error(
        "no weir daemon is running: there is no socket {0}. Start it with `weir run --config FILE`; if it listens elsewhere, set {SOCKET_VARIABLE} or use `weirctl --socket PATH`",
        .path.display()
    )]
    NotRunning {
        /// The socket looked for.
        path: PathBuf,
    },
    /// A socket that nobody listens on, left by a daemon that was killed.
    #[error(
        "no weir daemon is running: nobody listens on {0} any more (the daemon was probably killed). Start it again with `weir run --config FILE`; it replaces the socket itself",
        .path.display()
    )]
    Stale {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's mode is 0600, so only its owner can connect.
    #[error(
        "permission denied on {0}: the firewall is controlled by the user who runs the daemon, normally root; try with sudo",
        .path.display()
    )]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else that kept us from connecting.
    #[error("cannot connect to {}: {error}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The daemon did not answer in time.
    #[error(
        "the daemon did not answer within {} s: whether the command is in force is unknown; ask again with `weirctl status`, and look at the daemon's log",
        .timeout.as_secs_f64()
    )]
    TimedOut {
        /// The limit.
        timeout: Duration,
    },
    /// The connection broke.
    #[error(
        "the daemon closed the connection without an answer: whether the command is in force is unknown; look at the daemon's log"
    )]
    Disconnected,
    /// The daemon said no, and why; or it speaks another protocol version.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The answer could not be read, or the request not be written.
    #[error("talking to the daemon failed: {0}")]
    Message(MessageError),
    /// The answer is not one to this question.
    #[error("the daemon answered something else than was asked (a bug in weir)")]
    UnexpectedReply,
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    timeout: Option<Duration>,
}

/// The socket to use: `given`, else what `WEIR_SOCKET` names, else [`SOCKET_DEFAULT`].
pub fn socket_path(given: Option<&Path>) -> PathBuf {
    let variable = || std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    match given {
        Some(path) => path.to_owned(),
        None => variable().map_or_else(|| PathBuf::from(SOCKET_DEFAULT), PathBuf::from),
    }
}

/// Connects within [`TIMEOUT_DEFAULT`]: a plain connect would wait for ever for a daemon that
/// has stopped accepting, once its queue is full. For Unix sockets the time limit for sending
/// covers connecting too (unix_stream_connect in the kernel's net/unix/af_unix.c).
fn connect(path: &Path) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
    let address = SocketAddrUnix::new(path)?;
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(TIMEOUT_DEFAULT))?;
    let start = Instant::now();
    // A signal, such as that of a debugger, does not end the wait.
    while let Err(error) = rustix::net::connect(&socket, &address) {
        if error != rustix::io::Errno::INTR || start.elapsed() >= TIMEOUT_DEFAULT {
            return Err(error.into());
        }
    }
    Ok(socket.into())
}

impl Client {
    /// Connects to the daemon at [`socket_path`]`(socket)`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Stale`], [`ClientError::PermissionDenied`],
    /// [`ClientError::TimedOut`] or [`ClientError::Connect`].
    pub fn connect(socket: Option<&Path>) -> Result<Self, ClientError> {
        let path = socket_path(socket);
        let stream = connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => ClientError::TimedOut { timeout: TIMEOUT_DEFAULT },
            io::ErrorKind::NotFound => ClientError::NotRunning { path: path.clone() },
            io::ErrorKind::ConnectionRefused => ClientError::Stale { path: path.clone() },
            io::ErrorKind::PermissionDenied => ClientError::PermissionDenied { path: path.clone() },
            _ => ClientError::Connect { path: path.clone(), error },
        })?;
        let mut client = Self { stream, timeout: None };
        client
            .set_timeout(Some(TIMEOUT_DEFAULT))
            .map_err(|error| ClientError::Connect { path, error })?;
        Ok(client)
    }

    /// How long to wait for any one reaction of the daemon; `None` for as long as it takes. A zero
    /// duration is taken as one millisecond.
    ///
    /// # Errors
    /// If the system refuses the socket option.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)?;
        self.timeout = timeout;
        Ok(())
    }

    /// Asks, and waits for the answer. A change of rules has been in force on every worker since
    /// before this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the daemon's reason; others if the daemon was not reached or
    /// did not answer.
    pub fn request(&mut self, body: RequestBody) -> Result<Reply, ClientError> {
        let sent = write_message(&mut self.stream, &Request::new(body), REQUEST_BYTES_MAX);
        match sent {
            // A daemon that refuses clients answers and closes before it reads: see what it said.
            Ok(()) | Err(MessageError::Io(_)) => {}
            Err(error) => return Err(self.explain(error)),
        }
        let json =
            read_frame(&mut self.stream, REPLY_BYTES_MAX).map_err(|error| self.explain(error))?;
        let response = Response::from_json(&json)?;
        Result::from(response.body).map_err(ClientError::Refused)
    }

    fn explain(&self, error: MessageError) -> ClientError {
        match error {
            MessageError::TimedOut => {
                ClientError::TimedOut { timeout: self.timeout.unwrap_or_default() }
            }
            MessageError::Closed | MessageError::Truncated => ClientError::Disconnected,
            MessageError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                ClientError::Disconnected
            }
            other => ClientError::Message(other),
        }
    }
}
