//! Compiles a BPF program with clang and generates its libbpf-rs skeleton: what the build scripts of all crates that
//! have one share.
//!
//! Besides clang two sets of headers are needed: libbpf's (`bpf/bpf_helpers.h`), which libbpf-cargo
//! brings along, and the kernel's (`linux/bpf.h`), which include the architecture's `asm/types.h`.
//! Compiling for the BPF target, clang does not search the host's multi-arch directory for the
//! latter, so it is named here.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, io};

use libbpf_cargo::SkeletonBuilder;

const INSTALL: &str = "apt-get install --no-install-recommends clang libelf-dev zlib1g-dev \
 pkg-config make gcc libc6-dev linux-libc-dev";

/// Compiles `source` to the skeleton `skeleton` in `OUT_DIR`, and says what is missing if it cannot.
pub(crate) fn compile(source: &str, skeleton: &str) -> ExitCode {
    println!("cargo::rerun-if-changed={source}");
    println!("cargo::rerun-if-env-changed=CLANG");
    match build(source, skeleton) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build(source: &str, skeleton: &str) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    require_clang(&clang)?;
    let out = PathBuf::from(variable("OUT_DIR")?).join(skeleton);
    SkeletonBuilder::new()
        .source(source)
        .clang(&clang)
        .clang_args(clang_arguments()?)
        .build_and_generate(&out)
        .map_err(|error| {
            format!("cannot compile {source}: {error:#}\nIf a header is missing: {INSTALL}")
        })
}

fn require_clang(clang: &str) -> Result<(), String> {
    let run = Command::new(clang).arg("--version").stdout(Stdio::null()).status();
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{clang} --version` failed: {status}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "`{clang}` is not installed; Weir's BPF programs are compiled with it. On Debian: \
             {INSTALL}\nAnother clang can be named by the environment variable CLANG."
        )),
        Err(error) => Err(format!("cannot run `{clang}`: {error}")),
    }
}

fn clang_arguments() -> Result<Vec<String>, String> {
    let mut arguments = vec![
        // v2 is what the oldest kernels with XDP_SHARED_UMEM across devices verify; nothing here
        // gains from v3.
        "-mcpu=v2".to_owned(),
        "-Wall".to_owned(),
        "-Wextra".to_owned(),
        "-Werror".to_owned(),
    ];
    if let Some(directory) = multiarch_directory(&variable("CARGO_CFG_TARGET_ARCH")?) {
        arguments.push(format!("-I{}", directory.display()));
    }
    Ok(arguments)
}

/// Where Debian and its children keep the architecture's `asm/` headers. Other distributions have
/// them in `/usr/include` itself, where clang looks anyway: then there is no such directory and
/// nothing to add.
fn multiarch_directory(architecture: &str) -> Option<PathBuf> {
    let triplet = match architecture {
        "arm" => "arm-linux-gnueabihf".to_owned(),
        "x86" => "i386-linux-gnu".to_owned(),
        "powerpc64" => "powerpc64le-linux-gnu".to_owned(),
        same => format!("{same}-linux-gnu"),
    };
    let directory = Path::new("/usr/include").join(triplet);
    directory.join("asm/types.h").exists().then_some(directory)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("environment variable {name}: {error}"))
}
