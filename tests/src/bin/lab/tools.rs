//! What all studies need: Weir and weirgen, a folder for results, and a page of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weir_tests::console::{Console, Tone};
use weir_tests::weir::{Binaries, Profile, build_program};
use weir_tests::{Error, Result, interrupt, netns, packages, process, repository, skip};

use crate::street::{MAC_F0, MAC_F1, Street};

/// What `weirgen` ends with when its result must not be used.
const STATUS_VOID: i32 = 3;

/// How long a page may take to make.
const PAGE_MAX: Duration = Duration::from_secs(60);

/// The programs, and where results go.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) binaries: Binaries,
    pub(crate) weirgen: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Tools {
    /// Installs what is missing, builds the programs, makes the folder, clears away what the dead left.
    pub(crate) fn prepare(output: &Path, console: &Console) -> Result<Self> {
        if !skip::is_root() {
            let why = "the study makes network namespaces, which takes root".to_owned();
            return Err(Error::Unmet(why));
        }
        interrupt::install()?;
        let tools = packages::LAB.iter().chain(packages::KERNEL).chain(packages::TESTS);
        packages::install(console, tools.chain(packages::BUILD).copied())?;
        console.line("Building Weir and weirgen (release).");
        let binaries = Binaries::build(Profile::Release)?;
        let weirgen = build_program(Profile::Release, "weir-loadgen", "weirgen")?;
        for name in netns::remove_stale()? {
            console.line(&format!("Removed {name}, left behind by a run that died."));
        }
        let folder = repository().join(output);
        fs::create_dir_all(&folder).map_err(Error::io(format!("make {}", folder.display())))?;
        Ok(Self { binaries, weirgen, folder })
    }

    /// Has `weirgen` do something on both sides of the street, on the first core.
    pub(crate) fn generate(
        &self,
        street: &Street,
        what: &[&str],
        seed: u64,
        within: Duration,
    ) -> Result<()> {
        let mut command = street.tester.command(&self.weirgen.to_string_lossy());
        command.args(what).args(["--left", "g0", "--right", "s0", "--cores", "0"]);
        command.args(["--left-mac", MAC_F0, "--right-mac", MAC_F1, "--seed", &seed.to_string()]);
        let output = process::output(command, within)?;
        if [Some(0), Some(STATUS_VOID)].contains(&output.status.code()) {
            return Ok(());
        }
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = format!("weirgen {}", what.join(" "));
        Err(Error::Command { command, status: output.status, output: output_text })
    }

    /// Makes all results one page, and says where it is.
    pub(crate) fn page(
        &self,
        console: &Console,
        name: &str,
        title: &str,
        files: &[PathBuf],
        options: &[&str],
    ) -> Result<()> {
        let page = self.folder.join(name).with_extension("html");
        let mut command = Command::new(&self.weirgen);
        command.arg("report").args(files).arg("--output").arg(&page);
        command.args(["--title", title]).args(options);
        process::run(command, PAGE_MAX)?;
        let page = page.display().to_string();
        console.line(&format!("The page: {}", console.paint(Tone::Command, &page)));
        Ok(())
    }
}

/// Writes a file of a study.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}
