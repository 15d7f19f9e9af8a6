//! The process that holds a program, so that it can be killed: this very test binary, started again
//! inside the router, taking one command a line and answering each with one line.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use libbpf_rs::{ObjectBuilder, Xdp, XdpFlags};
use weir_dataplane::program::{
    AttachMode, Attachment, OnExit, Program, ProgramConfig, attached_programs, remove_own,
};

use crate::world::World;

const ROLE: &str = "WEIR_TEST_PROGRAM_CHILD";
/// Marks answers among whatever else the test harness prints.
const ANSWER: &str = "answer> ";

/// A child process in the router.
pub(crate) struct Router {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Router {
    pub(crate) fn start(world: &World) -> Self {
        let binary = std::env::current_exe().unwrap();
        let mut process = world
            .command("router", binary.to_str().unwrap())
            .args(["--exact", "child::serve", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, answers }
    }

    /// Gives a command and waits for its answer.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "child died at `{command}`");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Ends the process by SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends the process in order.
    pub(crate) fn end(mut self) {
        drop(self.commands);
        assert!(self.process.wait().unwrap().success());
    }
}

/// What the child holds between commands.
#[derive(Default)]
struct Held {
    program: Option<Program>,
    attachment: Option<Attachment>,
    foreign: Option<libbpf_rs::Link>,
}

/// The child's part. A run of the tests meets it too, and finds nothing to do.
#[test]
fn serve() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut held = Held::default();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = obey(&mut held, &words).unwrap_or_else(|error| format!("error: {error}"));
        println!("\n{ANSWER}{answer}");
    }
}

fn obey(held: &mut Held, words: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    match *words {
        ["attach", ifname, on_exit, mode] => {
            let on_exit = if on_exit == "pass" { OnExit::Pass } else { OnExit::Drop };
            let mode = if mode == "skb" { AttachMode::Skb } else { AttachMode::Driver };
            let mut program = Program::load(ProgramConfig::forwarding(on_exit))?;
            let local = [Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 2, 1)];
            program.set_local_addresses(&local, &[], &[], &[])?;
            let attachment = program.attach(ifname, ifindex(ifname), mode)?;
            let id = attachment.program_id()?;
            *held = Held { program: Some(program), attachment: Some(attachment), foreign: None };
            Ok(format!("id {id}"))
        }
        ["counters"] => Ok(format!("{:?}", held.program.as_ref().ok_or("no program")?.counters()?)),
        ["in-place"] => {
            let attachment = held.attachment.as_ref().ok_or("nothing attached")?;
            Ok(attachment.is_in_place()?.to_string())
        }
        ["close"] => {
            held.attachment.take().ok_or("nothing attached")?.close();
            Ok("closed".to_owned())
        }
        ["remove"] => {
            held.attachment.take().ok_or("nothing attached")?.remove()?;
            Ok("removed".to_owned())
        }
        ["remove-own", ifname] => Ok(format!("{:?}", remove_own(ifname, ifindex(ifname))?)),
        ["list", ifname] => Ok(format!("{:?}", attached_programs(ifname, ifindex(ifname))?)),
        ["foreign", object, ifname, how] => {
            held.foreign = foreign(object, ifindex(ifname), how)?;
            Ok("attached".to_owned())
        }
        _ => Err(format!("no such command: {words:?}").into()),
    }
}

/// The index of a device of this namespace; one that no device has if there is none of that name.
fn ifindex(ifname: &str) -> u32 {
    let path = format!("/sys/class/net/{ifname}/ifindex");
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(9999)
}

/// Attaches the only program of an object file as somebody else would.
fn foreign(
    object: &str,
    ifindex: u32,
    how: &str,
) -> Result<Option<libbpf_rs::Link>, libbpf_rs::Error> {
    let object = ObjectBuilder::default().open_file(object)?.load()?;
    let program = object.progs_mut().next().expect("the object has a program");
    let ifindex = i32::try_from(ifindex).expect("indices are positive");
    match how {
        "link" => program.attach_xdp(ifindex).map(Some),
        _ => Xdp::new(program.as_fd()).attach(ifindex, XdpFlags::DRV_MODE).map(|()| None),
    }
}
