//! A flood: packets from Alice to Bob, so many a second, counted where they arrive.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use weir_tests::process::{self, Process};
use weir_tests::sniff::PYTHON;
use weir_tests::{Error, Result, interrupt, lab_files};

use super::{Check, Player, in_packets, prompt, unreadable};
use crate::exercise::Host;

/// Bob's port, and how long he waits for one more packet.
const PORT: &str = "4000";
const PATIENCE_S: &str = "2";

/// How long a flood may take.
const FLOOD_MAX: Duration = Duration::from_secs(60);

/// How long nothing is done while Bob counts, before looking again.
const PAUSE: Duration = Duration::from_millis(50);

impl Player<'_> {
    /// `share` of a hundred are to arrive.
    pub(super) fn flood(
        &mut self,
        (packets, rate): (u32, u32),
        share: RangeInclusive<u32>,
    ) -> Result<Check> {
        let script = |name: &str| lab_files().join(name);
        let mut sink = self.lab.host(Host::Bob).command(PYTHON);
        sink.arg(script("sink.py")).args([PORT, PATIENCE_S]);
        let mut sink = Process::spawn("sink.py", sink, &self.lab.folder.path("sink.log"))?;
        self.wait_for(&mut sink, |text| text.contains("ready"))?;

        let did = format!("python3 flood.py 192.168.0.2 {PORT} {packets} {rate}");
        self.say(prompt(Host::Alice), &did);
        let mut flood = self.lab.host(Host::Alice).command(PYTHON);
        flood.arg(script("flood.py")).args(["192.168.0.2", PORT]);
        flood.args([packets.to_string(), rate.to_string()]);
        let output = self.console.working(&did, || process::output(flood, FLOOD_MAX))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(unreadable("flood.py", &output));
        }
        let count = |text: &str| text.lines().nth(1).and_then(|line| line.parse::<u32>().ok());
        self.wait_for(&mut sink, |text| count(text).is_some())?;
        let text = sink.text()?;
        let arrived = count(&text).ok_or_else(|| unreadable("sink.py", &text))?;
        self.lost += u64::from(packets.saturating_sub(arrived));
        let percent = arrived * 100 / packets;
        let (least, most) = (share.start(), share.end());
        let expected = if least == most {
            format!("{most} % of them arrive")
        } else {
            format!("{least} to {most} % of them arrive")
        };
        Ok(Check {
            did,
            expected,
            saw: format!("{} of {} arrived", arrived, in_packets(packets.into())),
            expected_brief: format!("{least}-{most} %"),
            saw_brief: format!("{percent} %"),
            ok: share.contains(&percent) && arrived <= packets,
        })
    }

    fn wait_for(&self, process: &mut Process, is_it: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_it(&process.text()?) {
            if start.elapsed() > FLOOD_MAX {
                let what = "Bob's count of packets".to_owned();
                return Err(Error::Timeout { what, after: FLOOD_MAX, output: process.text()? });
            }
            interrupt::check()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
