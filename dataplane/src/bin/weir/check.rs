//! `weir check`: what `weir run` would stumble over, found without touching anything.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use weir_dataplane::config::{Config, HostMode};
use weir_dataplane::port::xdp::is_served;
use weir_dataplane::program::{self, Owner, QUEUES_MAX};

/// The outcome of a check.
#[derive(Debug, Serialize)]
struct Report {
    config: String,
    ok: bool,
    /// What stands in the way of `weir run`, worst first.
    problems: Vec<String>,
    ports: Vec<Port>,
}

/// What is known about one port's interface.
#[derive(Debug, Default, Serialize)]
struct Port {
    interface: String,
    driver: Option<String>,
    queues: Option<u32>,
    mtu: Option<u32>,
    programs: Vec<String>,
}

pub(crate) fn check(path: &Path, json: bool) -> ExitCode {
    let mut report = Report {
        config: path.display().to_string(),
        ok: false,
        problems: Vec::new(),
        ports: Vec::new(),
    };
    match Config::load(path) {
        Ok(config) => {
            report.problems.extend(missing_capabilities());
            report.problems.extend(config.memory_trouble());
            report.problems.extend(config.snapshot_trouble());
            report.problems.extend(config.log.trouble());
            let sets = config.sets.as_deref().map(weir_dataplane::daemon::load_sets);
            report.problems.extend(sets.and_then(Result::err));
            report.problems.extend(weir_dataplane::daemon::address_list_trouble(&config));
            let socket = &config.control.socket;
            if UnixStream::connect(socket).is_ok() {
                let answers =
                    format!("another weir is running: it answers on {}", socket.display());
                report.problems.push(answers);
            }
            if config.host == HostMode::Firewalled {
                report.problems.extend(weir_dataplane::host::troubles(&config.interfaces));
            }
            for interface in &config.interfaces {
                let port = look_at(interface, &config, &mut report.problems);
                report.ports.push(port);
            }
        }
        Err(error) => report.problems.push(error.to_string()),
    }
    report.ok = report.problems.is_empty();
    if json {
        // A struct of strings and numbers always serialises.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print(&report);
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What `weir run` needs the kernel's leave for, and this process has not (capabilities(7)).
fn missing_capabilities() -> Option<String> {
    /// Name and bit (linux/capability.h). `CAP_SYS_ADMIN`, bit 21, contains the last two.
    const NEEDED: [(&str, u64); 4] = [
        ("CAP_NET_ADMIN", 1 << 12),
        ("CAP_NET_RAW", 1 << 13),
        ("CAP_PERFMON", 1 << 38 | 1 << 21),
        ("CAP_BPF", 1 << 39 | 1 << 21),
    ];
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, bits)| effective & bits == 0).map(|(name, _)| *name).collect();
    (!missing.is_empty())
        .then(|| format!("not permitted: run as root, or give the process {}", missing.join(", ")))
}

fn look_at(interface: &str, config: &Config, problems: &mut Vec<String>) -> Port {
    let mut port = Port { interface: interface.to_owned(), ..Port::default() };
    let ifindex = match af_xdp::nic::ifindex(interface) {
        Ok(ifindex) => ifindex,
        Err(error) => {
            problems.push(error.to_string());
            return port;
        }
    };
    port.driver = af_xdp::nic::driver(interface).ok();
    port.mtu = af_xdp::nic::mtu(interface).ok();
    port.queues = af_xdp::nic::queues(interface).ok().map(|queues| queues.bindable());
    let workers = config.cores.len();
    if let Some(queues) = port.queues.filter(|queues| (*queues as usize) < workers) {
        problems.push(format!(
            "{interface} has {queues} queue(s) for {workers} workers: set workers.count = {queues}, \
             or `ethtool -L {interface} combined {workers}`"
        ));
    }
    if let Some(queues) = port.queues.filter(|queues| *queues > QUEUES_MAX) {
        problems
            .push(format!("{interface} has {queues} queues, more than the {QUEUES_MAX} served"));
    }
    match program::attached_programs(interface, ifindex) {
        Ok(programs) => {
            for attached in programs {
                let words = format!("{} (id {})", attached.name, attached.id);
                if matches!(attached.owner, Owner::Weir(_)) && is_served(ifindex) {
                    problems.push(format!("{interface}: another weir serves it with {words}"));
                }
                if attached.owner == Owner::Foreign {
                    problems.push(format!(
                        "{interface}: an XDP program of somebody else's is attached: {words}; \
                         `ip link set dev {interface} xdp off` removes it"
                    ));
                }
                port.programs.push(words);
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    port
}

fn print(report: &Report) {
    for port in &report.ports {
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        println!(
            "{}: driver {}, {} queue(s), MTU {}{}",
            port.interface,
            or_unknown(port.driver.clone()),
            or_unknown(port.queues.map(|queues| queues.to_string())),
            or_unknown(port.mtu.map(|mtu| mtu.to_string())),
            if port.programs.is_empty() {
                String::new()
            } else {
                format!(", XDP: {}", port.programs.join(", "))
            },
        );
    }
    for problem in &report.problems {
        println!("problem: {problem}");
    }
    if report.ok {
        println!("{}: `weir run` would start", report.config);
    }
}
