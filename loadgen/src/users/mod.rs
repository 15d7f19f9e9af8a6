//! Legitimate users: connections between two ends that are both ours, without a socket of the kernel.
//!
//! What a flood does is told by what those get who are no part of it. So the users are a whole TCP at both ends, which
//! waits, sends again and gives up as the real ones do. The engine knows them by one trait, [`Actor`]; time is an
//! argument, and nothing here sleeps, allocates after the start or draws a number that its seed does not give.

/// One end of the users' connections: it gets the frames that are its own, and makes frames when they are due.
///
/// The engine's turn, for each actor:
///
/// ```text
///   for every frame received:   if actor.owns(frame) { actor.receive(now, frame) }
///   while the ring has room:    let Some(length) = actor.send(now, buffer) else { break }
///   sleep or spin until:        min(actor.due_ns(), what else is due)
/// ```
///
/// Times are nanoseconds of one monotonic clock, the same for all calls; they never fall. A turn that comes late loses
/// nothing: what was due is sent then, and its delay is the user's.
pub trait Actor {
    /// The run begins: the schedule counts from here. Called once, before any other method that takes a time.
    fn begin(&mut self, now_ns: u64);

    /// Whether a frame (from its Ethernet header on) is for this end: by version, protocol, addresses and ports alone.
    /// Cheap, and safe for any bytes.
    fn owns(&self, frame: &[u8]) -> bool;

    /// Takes a frame that it owns. What is broken is counted and thrown away.
    fn receive(&mut self, now_ns: u64, frame: &[u8]);

    /// When [`send`](Self::send) next has something to do; a time that has passed means now, `None` never, unless a
    /// frame comes.
    fn due_ns(&self) -> Option<u64>;

    /// Writes the next frame that is due into `out` and returns its length; `None` when nothing is due now. A buffer
    /// that is too short for the frame (see [`frame_bytes_max`](Self::frame_bytes_max)) is left alone, the frame
    /// counted as lost on the way.
    fn send(&mut self, now_ns: u64, out: &mut [u8]) -> Option<usize>;

    /// The longest frame that [`send`](Self::send) writes, in bytes.
    fn frame_bytes_max(&self) -> usize;

    /// No connection begins from now on; those that are open go on to their end.
    fn wind_down(&mut self, now_ns: u64);

    /// Whether no connection is open that still could complete or fail.
    fn is_idle(&self) -> bool;

    /// What has happened so far, for the live view.
    fn progress(&self) -> Progress;
}

/// What has become of an actor's connections so far; every figure only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Begun (a client's), or accepted (a server's).
    pub begun: u64,
    /// Ended well.
    pub completed: u64,
    /// Given up or reset.
    pub failed: u64,
}
