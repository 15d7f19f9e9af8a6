//! The control socket: who may connect, how many, how long, how much.
//!
//! A Unix socket of mode 0600; the peer's credentials are checked besides, since the mode does not bind
//! a process that got a descriptor otherwise. One thread a client, at most `clients_max`; each message
//! has a length limit and a deadline as a whole, so neither a slow nor a babbling client holds more than
//! its own thread. Synchronous: there is no need for more.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use weir_control::protocol::{
    Failure, MessageError, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request, RequestBody,
    Response, read_frame, write_message,
};

use super::conntrack::{self, Subscription};
use super::shared::Shared;
use super::{early_drop, report};
use crate::config::ControlConfig;

/// How long the listening thread waits before it looks whether to stop.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(20);

/// How often events are looked for while a client waits for them.
const EVENTS_INTERVAL: Duration = Duration::from_millis(10);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon answers there.
    #[error("another weir is running: it answers on {0}; stop it, or set another control.socket")]
    InUse(PathBuf),
    /// Something that is not a socket stands there.
    #[error("{0} exists and is not a socket: remove it, or set another control.socket")]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A bound socket that nobody serves yet.
#[derive(Debug)]
pub(super) struct Bound {
    listener: UnixListener,
    file: SocketFile,
    config: ControlConfig,
}

/// The socket in the file system; removed with its owner, so a start that fails leaves none behind.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The serving thread.
#[derive(Debug)]
pub(super) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Makes the socket. A stale one, left by a daemon that was killed, is replaced.
    ///
    /// # Errors
    /// [`ServerError`].
    pub(super) fn bind(config: &ControlConfig) -> Result<Bound, ServerError> {
        let path = config.socket.clone();
        let io_error = |what| {
            let path = path.clone();
            move |source| ServerError::Io { what, path, source }
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(io_error("make the folder of"))?;
        }
        clear_stale(&path)?;
        // Set around bind, so that there is no moment in which the socket is open to all.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(&path);
        rustix::process::umask(before);
        let listener = listener.map_err(io_error("listen on"))?;
        listener.set_nonblocking(true).map_err(io_error("listen on"))?;
        Ok(Bound { listener, file: SocketFile(path), config: config.clone() })
    }

    /// Ends the thread and removes the socket. Clients that are being served are cut off at their next
    /// message.
    pub(super) fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there.
            let _ = thread.join();
        }
    }
}

impl Bound {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the system gives no thread.
    pub(super) fn start(self, shared: Arc<Shared>) -> Result<Server, ServerError> {
        let stop = Arc::new(AtomicBool::new(false));
        let path = self.file.0.clone();
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("weir-server".into())
            .spawn(move || self.serve(&shared, &stopping))
            .map_err(|source| ServerError::Io { what: "serve", path, source })?;
        Ok(Server { stop, thread: Some(thread) })
    }

    fn serve(&self, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) {
        let places = Arc::new(());
        while !stop.load(Ordering::Relaxed) {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_readable(&self.listener);
                    continue;
                }
                // Out of descriptors, say: the client waits on, and so must we.
                Err(_) => {
                    std::thread::sleep(ACCEPT_INTERVAL);
                    continue;
                }
            };
            let client = Client {
                stream,
                timeout: Duration::from_millis(self.config.timeout_ms),
                shared: Arc::clone(shared),
                stop: Arc::clone(stop),
                _place: Arc::clone(&places),
            };
            // One for each client, this one included, and one for the loop.
            if Arc::strong_count(&places) - 1 > self.config.clients_max {
                client.turn_away(&format!(
                    "{} clients are connected already",
                    self.config.clients_max
                ));
                continue;
            }
            // Without a thread the client is dropped, and sees its connection closed.
            let _ = std::thread::Builder::new()
                .name("weir-client".into())
                .spawn(move || client.serve());
        }
    }
}

fn wait_readable(listener: &UnixListener) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let nanoseconds = i64::from(ACCEPT_INTERVAL.subsec_nanos());
    let timeout = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // However it ends, the caller tries to accept again.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout));
}

fn clear_stale(path: &Path) -> Result<(), ServerError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ServerError::NotASocket(path.to_owned()));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ServerError::InUse(path.to_owned()));
    }
    std::fs::remove_file(path).map_err(|source| ServerError::Io {
        what: "remove the stale",
        path: path.to_owned(),
        source,
    })
}

/// One connection.
struct Client {
    stream: UnixStream,
    timeout: Duration,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    /// Its place among the clients; free again however the client ends, a panic included.
    _place: Arc<()>,
}

impl Client {
    fn turn_away(&self, reason: &str) {
        self.answer(Err(Failure::Busy { reason: reason.to_owned() }));
    }

    fn serve(&self) {
        if let Err(reason) = self.check_peer() {
            self.answer(Err(Failure::Other { reason }));
            return;
        }
        let mut subscription = None;
        while !self.stop.load(Ordering::Relaxed) {
            let mut stream = Deadline::new(&self.stream, self.timeout);
            let result = match read_frame(&mut stream, REQUEST_BYTES_MAX) {
                Ok(json) => Request::from_json(&json)
                    .and_then(|request| self.handle(request, &mut subscription)),
                Err(MessageError::Closed | MessageError::TimedOut | MessageError::Truncated) => {
                    return;
                }
                Err(error) => {
                    // The stream may be in the middle of something: say why and hang up.
                    self.answer(Err(Failure::Malformed { reason: error.to_string() }));
                    return;
                }
            };
            if !self.answer(result) {
                return;
            }
        }
    }

    fn check_peer(&self) -> Result<(), String> {
        let peer = rustix::net::sockopt::socket_peercred(&self.stream)
            .map_err(|error| format!("the daemon cannot see who asks: {error}"))?;
        let own = rustix::process::geteuid();
        if peer.uid.is_root() || peer.uid == own {
            return Ok(());
        }
        Err(format!(
            "user {} may not control this daemon: only root and user {} may",
            peer.uid.as_raw(),
            own.as_raw()
        ))
    }

    fn handle(
        &self,
        request: Request,
        subscription: &mut Option<Subscription>,
    ) -> Result<Reply, Failure> {
        match request.body {
            RequestBody::Iptables { family, table, command, confirm_s } => {
                self.shared.rules().carry_out(family, table, &command, confirm_s)
            }
            RequestBody::Restore { family, transactions, dry_run, confirm_s } => {
                self.shared.rules().carry_out_all(family, &transactions, dry_run, confirm_s)
            }
            RequestBody::Confirm => self.shared.rules().confirm(),
            RequestBody::ChainNames { family, table } => {
                Ok(Reply::ChainNames(self.shared.rules().chain_names(family, table)))
            }
            RequestBody::SetChange { changes } => self.shared.rules().change_sets(&changes),
            RequestBody::SetTest { name, entry } => self.shared.rules().test_set(&name, &entry),
            RequestBody::Limits { top } => Ok(self.shared.rules().list_limits(top as usize)),
            RequestBody::Sets => self.shared.rules().list_sets(),
            RequestBody::SetList { name, cursor } => self.shared.rules().list_set(&name, cursor),
            RequestBody::Recents => Ok(self.shared.rules().list_recents()),
            RequestBody::RecentList { name, cursor } => {
                self.shared.rules().list_recent(&name, cursor)
            }
            RequestBody::RecentChange { name, change } => {
                self.shared.rules().change_recent(&name, change)
            }
            RequestBody::AddressListChange { list, change } => {
                early_drop::change(&self.shared, list, change)
            }
            RequestBody::AddressList { list, after } => early_drop::list(&self.shared, list, after),
            RequestBody::Status => Ok(Reply::Status(Box::new(report::status(&self.shared)))),
            RequestBody::Stats => Ok(Reply::Stats(Box::new(report::stats(&self.shared)))),
            RequestBody::Ports => Ok(Reply::Ports(report::ports(&self.shared))),
            RequestBody::ConntrackList { filter, cursor } => {
                conntrack::list(&self.shared, filter, cursor)
            }
            RequestBody::ConntrackCount => conntrack::count(&self.shared),
            RequestBody::ConntrackDelete { filter, cursor, show } => {
                conntrack::delete(&self.shared, filter, cursor, show)
            }
            RequestBody::ConntrackStats => conntrack::stats(&self.shared),
            RequestBody::ConntrackEvents { wait_ms } => {
                let subscription = match subscription {
                    Some(subscription) => subscription,
                    None => subscription.insert(Subscription::new(&self.shared)?),
                };
                Ok(subscription.events(wait_ms, || self.rest()))
            }
            _ => {
                Err(Failure::Malformed { reason: "this daemon does not know that request".into() })
            }
        }
    }

    /// Waits for [`EVENTS_INTERVAL`]; false when it is the client, or the daemon, that has ended meanwhile.
    fn rest(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let nanoseconds = i64::from(EVENTS_INTERVAL.subsec_nanos());
        let timeout = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        // An error is answered by the next read or write.
        let gone = poll(&mut fds, Some(&timeout)).is_ok() && !fds[0].revents().is_empty();
        !gone && !self.stop.load(Ordering::Relaxed)
    }

    /// Sends an answer; false when the client cannot be reached any more.
    fn answer(&self, result: Result<Reply, Failure>) -> bool {
        let mut stream = Deadline::new(&self.stream, self.timeout);
        match write_message(&mut stream, &Response::new(result), REPLY_BYTES_MAX) {
            Ok(()) => true,
            Err(MessageError::TooLarge { bytes, .. }) => {
                let failure = Response::new(Err(Failure::ReplyTooLarge { bytes }));
                write_message(&mut stream, &failure, REPLY_BYTES_MAX).is_ok()
            }
            Err(_) => false,
        }
    }
}

/// A stream on which everything together has to be done by a deadline, however little each call brings.
struct Deadline<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl<'a> Deadline<'a> {
    fn new(stream: &'a UnixStream, timeout: Duration) -> Self {
        Self { stream, end: Instant::now() + timeout }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Deadline<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
