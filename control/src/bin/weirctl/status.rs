//! `weirctl status` and `weirctl ports`

use std::path::Path;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{PortState, PortStatus, Reply, RequestBody, Status, WorkerState};

use crate::output::{BAD, Failed, GOOD, HEADING, Output, grouped, table, uptime};

pub(crate) fn run(socket: Option<&Path>, output: &mut Output) -> Result<(), Failed> {
    let Reply::Status(status) = Client::connect(socket)?.request(RequestBody::Status)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    if output.json {
        return output.json(&status, false);
    }
    let text = describe(&status, output);
    output.text(&text)
}

pub(crate) fn run_ports(socket: Option<&Path>, output: &mut Output) -> Result<(), Failed> {
    let Reply::Ports(list) = Client::connect(socket)?.request(RequestBody::Ports)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    match output.json {
        true => output.json(&list, false),
        false => output.text(&(closed_ports(&list, output) + &ports(&list))),
    }
}

/// A line for each port without packets.
fn closed_ports(ports: &[PortStatus], output: &Output) -> String {
    let mut text = String::new();
    for port in ports {
        if let PortState::Closed(reason) = &port.state {
            let warning = format!("port {} is closed: {reason}", port.name);
            text.push_str(&format!("{}\n", output.paint(BAD, warning)));
        }
    }
    text
}

fn describe(status: &Status, output: &Output) -> String {
    let Status { version, pid, mode, on_exit, config_path, .. } = status;
    let device = status.host_device.as_ref().map(|device| format!(" by {device}"));
    let host = format!("{}{}", status.host, device.unwrap_or_default());
    let since = uptime(status.uptime_s);
    let mut text = output.paint(HEADING, format_args!("weir {version}"));
    text.push_str(&format!(", process {pid}, up {since}\n"));
    text.push_str(&format!("mode {mode}, host {host}, on exit {on_exit}, from {config_path}\n"));
    let (rules, epoch) = (grouped(status.rules), status.policy_epoch);
    text.push_str(&format!("{rules} rules, policy epoch {epoch}, {}\n", adoption(status)));
    let tracking = if status.tracking { "on" } else { "off, until a rule asks for it" };
    text.push_str(&format!("connection tracking {tracking}\n"));
    let frames = status.frames;
    text.push_str(&format!(
        "{} frames: {} free, {} lent to the kernel, {} held, {} in flight\n",
        grouped(frames.capacity),
        grouped(frames.pool),
        grouped(frames.lent),
        grouped(frames.held),
        grouped(frames.in_flight)
    ));
    text.push_str(&closed_ports(&status.ports, output));
    for warning in &status.warnings {
        text.push_str(&format!("{}\n", output.paint(BAD, warning)));
    }
    let closed = status.ports.iter().any(|port| port.state != PortState::Up);
    if !closed && status.warnings.is_empty() {
        text.push_str(&format!("{}\n", output.paint(GOOD, "all ports are up")));
    }
    text.push_str(&format!("\n{}\n", output.paint(HEADING, "Ports")));
    text.push_str(&ports(&status.ports));
    text.push_str(&format!("\n{}\n", output.paint(HEADING, "Workers")));
    text.push_str(&workers(status));
    text
}

/// Whether all workers enforce the newest rules.
fn adoption(status: &Status) -> String {
    let behind: Vec<String> = status
        .workers
        .iter()
        .filter(|worker| worker.policy_epoch < status.policy_epoch)
        .map(|worker| format!("worker {} still enforces {}", worker.id, worker.policy_epoch))
        .collect();
    if behind.is_empty() { "in force on every worker".to_owned() } else { behind.join(", ") }
}

fn ports(ports: &[PortStatus]) -> String {
    let row = |port: &PortStatus| {
        let state = match &port.state {
            PortState::Up => "up",
            PortState::Closed(_) => "closed",
            _ => "unknown",
        };
        vec![
            port.name.clone(),
            state.to_owned(),
            port.rung.clone(),
            port.queues.to_string(),
            port.mtu.to_string(),
            port.mac.clone(),
            port.addresses.join(" "),
            port.ifindex.to_string(),
        ]
    };
    let headings = ["name", "state", "by", "queues", "mtu", "mac", "addresses", "ifindex"];
    table(&headings, &[3, 4, 7], ports.iter().map(row).collect())
}

fn workers(status: &Status) -> String {
    let rows = status.workers.iter().map(|worker| {
        let state = match worker.state {
            WorkerState::Busy => "busy",
            WorkerState::Idle => "idle",
            WorkerState::Stopped => "stopped",
            _ => "unknown",
        };
        vec![
            worker.id.to_string(),
            worker.core.map_or_else(|| "not pinned".to_owned(), |core| core.to_string()),
            state.to_owned(),
            grouped(worker.polls),
            worker.policy_epoch.to_string(),
        ]
    });
    table(&["id", "core", "state", "polls", "epoch"], &[0, 1, 3, 4], rows.collect())
}
