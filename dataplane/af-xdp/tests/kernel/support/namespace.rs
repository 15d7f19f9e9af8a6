//! A network namespace for one test.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A namespace that is deleted on drop, with everything in it.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace; says why it cannot.
    fn new() -> Result<Namespace, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // SAFETY: takes no pointers.
        if unsafe { libc::geteuid() } != 0 {
            return Err("namespaces and AF_XDP need root".to_owned());
        }
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-afxdp-{}-{serial}", std::process::id());
        run(&["netns", "add", &name])?;
        Ok(Namespace { name })
    }

    /// `ip -n NAME ...`; must work.
    pub(crate) fn ip(&self, command: &str) {
        let mut words = vec!["-n", &self.name];
        words.extend(command.split_whitespace());
        run(&words).unwrap();
    }

    /// Two connected devices with two queues each, switched on, that send nothing of their own.
    pub(crate) fn veth(&self, one: &str, other: &str) {
        let queues = "numrxqueues 2 numtxqueues 2";
        self.ip(&format!("link add name {one} {queues} type veth peer name {other} {queues}"));
        for device in [one, other] {
            self.ip(&format!("link set dev {device} addrgenmode none"));
            self.ip(&format!("link set dev {device} arp off up"));
        }
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("a namespace just made");
        // SAFETY: takes no pointers.
        let failed = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(failed, 0, "setns: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(&["netns", "del", &self.name]) {
            eprintln!("{error}");
        }
    }
}

/// Runs `ip`.
fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Runs `test` on a thread inside a new namespace, or says that it was skipped.
pub(crate) fn in_namespace(test: impl FnOnce(&Namespace) + Send) {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
    let outcome = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespace.enter();
            test(&namespace);
        });
        inside.join()
    });
    drop(namespace);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
