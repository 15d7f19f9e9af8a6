//! How much processor time a process has had.

use std::fs;
use std::time::Duration;

use weir_tests::{Error, Result};

/// Ticks a second in /proc (USER_HZ): 100 on every architecture that AF_XDP runs on, whatever the
/// kernel's HZ.
const TICKS_A_SECOND: f64 = 100.0;

/// User and system time of all threads of a process so far.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
    let ticks = ticks(&text).ok_or(Error::Unreadable { what: path, text })?;
    #[expect(clippy::cast_precision_loss, reason = "ticks are below 2^53")]
    let seconds = ticks as f64 / TICKS_A_SECOND;
    Ok(Duration::from_secs_f64(seconds))
}

/// Time that all cores together have worked so far, for whomever: what our own processes did not
/// use of it, others did, and is noise.
pub(crate) fn machine_time() -> Result<Duration> {
    let path = "/proc/stat";
    let text = fs::read_to_string(path).map_err(Error::io(format!("read {path}")))?;
    let ticks = busy_ticks(&text)
        .ok_or_else(|| Error::Unreadable { what: path.to_owned(), text: text.clone() })?;
    #[expect(clippy::cast_precision_loss, reason = "ticks are below 2^53")]
    let seconds = ticks as f64 / TICKS_A_SECOND;
    Ok(Duration::from_secs_f64(seconds))
}

/// All but idle (field 4), waiting for disks (field 5) and guests (counted as user already).
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> =
        line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _waiting, interrupts, soft, stolen, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + interrupts + soft + stolen)
}

/// utime and stime (fields 14 and 15, proc(5)): the name in field 2 may hold blanks, its closing
/// bracket is the last.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_no_work() {
        let stat = "cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy_ticks(stat), Some(63));
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
        assert!(machine_time().is_ok());
    }

    #[test]
    fn a_name_with_brackets_is_no_trouble() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 80 0 0 0 12 34 0 0 20 0 1 0 100 0";
        assert_eq!(ticks(stat), Some(46));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(processor_time(std::process::id()).is_ok());
    }
}
