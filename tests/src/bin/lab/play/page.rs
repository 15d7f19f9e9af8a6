//! What a browser does: one page, the same page again and again, a long download.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::process::{self, Process};
use weir_tests::{Error, Result, interrupt, lab_files};

use super::{Check, Player, RULE_MAX, errors_of, prompt};
use crate::exercise::Host;
use crate::setup::{DIARY, Lab};

/// How long the browser waits for a page, and for the first bytes of a download, in seconds.
const PAGE_S: &str = "3";

/// The exit status of curl when nothing came in time.
const CURL_TIMED_OUT: i32 = 28;

/// How many pages are several.
const SEVERAL: usize = 3;

/// The pace of a download: slow enough to be still going on when the next steps begin.
const PACE: &str = "1M";

/// After how many seconds without a byte a download has failed.
const SILENCE_S: &str = "15";

/// How long a download may take, on a machine under load.
const DOWNLOAD_MAX: Duration = Duration::from_secs(120);

/// What came of fetching a page.
pub(super) struct Fetched {
    /// Whether it is the page, byte by byte.
    loaded: bool,
    /// How curl ended.
    status: ExitStatus,
    /// What was seen, in words.
    saw: String,
}

/// Fetches of one page while something else goes on.
#[derive(Default)]
pub(super) struct Visits(Vec<Fetched>);

impl Visits {
    pub(super) fn add(&mut self, fetched: Fetched) {
        self.0.push(fetched);
    }

    /// Whether there were enough of them to say something.
    pub(super) fn are_several(&self) -> bool {
        self.0.len() >= SEVERAL
    }

    /// Whether each of them loaded, as a check.
    pub(super) fn check(&self) -> Check {
        let loaded = self.0.iter().filter(|fetched| fetched.loaded).count();
        let failed = self.0.iter().find(|fetched| !fetched.loaded);
        let why = failed.map(|fetched| format!("; one did not: {}", fetched.saw));
        let ok = self.are_several() && failed.is_none();
        Check {
            did: "curl http://192.168.0.2/, again and again".to_owned(),
            expected: "the page loads all the while".to_owned(),
            saw: format!("{loaded} of {} pages load{}", self.0.len(), why.unwrap_or_default()),
            expected_brief: "pages".to_owned(),
            saw_brief: if ok { "pages".to_owned() } else { format!("{loaded} pages") },
            ok,
        }
    }
}

impl Player<'_> {
    pub(super) fn page(&self, of: Host, loads: bool) -> Result<Check> {
        let did = format!("curl {}", address_of(of));
        self.say(prompt(visitor_of(of)), &did);
        let Fetched { loaded, status, saw } =
            self.console.working("waiting for the page", || self.fetch(of))?;
        let name = if of == Host::Bob { "page" } else { "copy" };
        let brief = |yes| if yes { name.to_owned() } else { format!("no {name}") };
        Ok(Check {
            did,
            expected: if loads { "the page loads" } else { "the page does not load" }.to_owned(),
            saw,
            expected_brief: brief(loads),
            saw_brief: brief(loaded),
            // A page that arrives damaged is neither; nor is an answer that says no: what is
            // dropped is dropped in silence.
            ok: if loads { loaded } else { status.code() == Some(CURL_TIMED_OUT) },
        })
    }

    /// Fetches the page of a host from the other host.
    pub(super) fn fetch(&self, of: Host) -> Result<Fetched> {
        let mut command = self.lab.host(visitor_of(of)).command("curl");
        command.args(["--silent", "--show-error", "--max-time", PAGE_S, address_of(of)]);
        let output = process::output(command, RULE_MAX)?;
        let file = lab_files().join("www/index.html");
        let page = fs::read(&file).map_err(Error::io(format!("read {}", file.display())))?;
        let loaded = output.status.success() && output.stdout == page;
        let saw = if loaded {
            format!("the page of his cat, {} bytes", page.len())
        } else if output.status.success() {
            format!("another page, {} bytes", output.stdout.len())
        } else {
            errors_of(&output)
        };
        Ok(Fetched { loaded, status: output.status, saw })
    }

    /// Begins a download, types a line, and lets the download go on beside the next steps.
    pub(super) fn type_during_download(&mut self, line: &str) -> Result<Option<Check>> {
        self.say(prompt(Host::Alice), &format!("{} &", Download::line()));
        let lab = &*self.lab;
        let mut download = self.console.working("the download begins", || Download::begin(lab))?;
        let refused = self.type_line(line)?;
        download.go_on()?;
        self.download = Some(download);
        Ok(refused)
    }

    /// Waits for the end of the download, and compares what came.
    pub(super) fn download_ends(&mut self) -> Result<Check> {
        let Some(mut download) = self.download.take() else {
            return Err(Error::Unmet("no download was begun".to_owned()));
        };
        self.say(prompt(Host::Alice), "wait");
        let before = download.before;
        let (status, came) = self.console.working("the download goes on", || download.end())?;
        let diary = self.lab.folder.path("www").join(DIARY);
        let sent = fs::read(&diary).map_err(Error::io(format!("read {}", diary.display())))?;
        let ok = status.success() && came == sent && 0 < before && before < sent.len();
        let saw = if came == sent {
            format!("all of the {} bytes, {before} of them before the rule", sent.len())
        } else {
            format!("{} of {} bytes, {}", came.len(), sent.len(), download.last_words()?)
        };
        let brief = |yes| if yes { "download" } else { "no download" }.to_owned();
        Ok(Check {
            did: Download::line(),
            expected: "the download, begun before the rule, goes on to its end".to_owned(),
            saw,
            expected_brief: brief(true),
            saw_brief: brief(ok),
            ok,
        })
    }
}

/// A long download by Alice from Bob's server.
pub(super) struct Download {
    curl: Process,
    file: PathBuf,
    /// How many bytes had come when it was let go on.
    before: usize,
}

impl Download {
    /// The command as one would type it.
    fn line() -> String {
        format!("curl --limit-rate {PACE} {}{DIARY}", address_of(Host::Bob))
    }

    /// Begins a download. Once its first bytes are there it is held still, so that what is done
    /// next falls into its middle, however busy the machine. What has passed the firewall by then
    /// fits into Alice's buffers, and the file is longer (see `setup.rs`).
    fn begin(lab: &Lab) -> Result<Self> {
        let file = lab.folder.path("alice.download");
        let mut command = lab.alice.command("curl");
        command.args(["--silent", "--show-error", "--no-buffer", "--limit-rate", PACE]);
        command.args(["--connect-timeout", PAGE_S]);
        command.args(["--speed-limit", "1", "--speed-time", SILENCE_S]);
        command.arg("--output").arg(&file);
        command.arg(format!("{}{DIARY}", address_of(Host::Bob)));
        let curl = Process::spawn("the download", command, &lab.folder.path("download.log"))?;
        let mut download = Self { curl, file, before: 0 };
        let start = Instant::now();
        while download.len() == 0 && download.curl.status()?.is_none() {
            if start.elapsed() > DOWNLOAD_MAX {
                let what = "the first byte of the download".to_owned();
                let output = download.curl.text()?;
                return Err(Error::Timeout { what, after: DOWNLOAD_MAX, output });
            }
            interrupt::check()?;
            thread::sleep(Duration::from_millis(5));
        }
        process::signal(download.curl.pid(), Signal::STOP);
        Ok(download)
    }

    /// Lets it go on.
    fn go_on(&mut self) -> Result<()> {
        self.before = self.len();
        process::signal(self.curl.pid(), Signal::CONT);
        Ok(())
    }

    /// Waits for its end: how curl ended, and what came.
    fn end(&mut self) -> Result<(ExitStatus, Vec<u8>)> {
        let status = self.curl.wait(DOWNLOAD_MAX)?;
        // There is no file when nothing came.
        Ok((status, fs::read(&self.file).unwrap_or_default()))
    }

    /// How many bytes have come.
    fn len(&self) -> usize {
        fs::metadata(&self.file).map_or(0, |file| usize::try_from(file.len()).unwrap_or(usize::MAX))
    }

    /// What curl complained about.
    fn last_words(&self) -> Result<String> {
        Ok(self.curl.text()?.lines().last().unwrap_or("without a word").to_owned())
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // One that is held still would not heed what ends it.
        process::signal(self.curl.pid(), Signal::CONT);
        let _ = fs::remove_file(&self.file);
    }
}

/// Where a host's page is.
fn address_of(host: Host) -> &'static str {
    match host {
        Host::Alice => "http://10.0.0.2:8000/",
        Host::Bob => "http://192.168.0.2/",
    }
}

/// Who visits a host's page.
fn visitor_of(host: Host) -> Host {
    match host {
        Host::Alice => Host::Bob,
        Host::Bob => Host::Alice,
    }
}
