//! Compiles the XDP program (`bpf/weir_xdp.bpf.c`).

#[path = "bpf/compile.rs"]
mod compile;

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=bpf/early_drop.h");
    println!("cargo::rerun-if-changed=bpf/compile.rs");
    println!("cargo::rerun-if-changed=build.rs");
    compile::compile("bpf/weir_xdp.bpf.c", "weir_xdp.skel.rs")
}
