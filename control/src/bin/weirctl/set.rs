//! `weirctl set …`, and the link named `ipset`.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{Failure, Reply, RequestBody, SetHeader, SetPage};
use weir_control::rule::Names;
use weir_control::set::{
    Element, Entry, Output as Format, ParsedSet, SET_VERSION_LINE, SetAction, SetChange,
    SetContext, SetError, SetForm, SetKind, SetLine, SetLineError, SetLineErrorKind, SetName,
    parse_set, plain, restore, save_create,
};

use crate::output::{Failed, Output};

/// The longest text that is read: what its entries come to has to fit into a request.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// What `help` prints.
const HELP: &str = "\
Usage: weirctl set [options] COMMAND        (or by a link named ipset)

create SETNAME TYPENAME [options]   a new set
  hash:ip         [maxelem N] [hashsize N] [netmask 1-32]
  hash:net        [maxelem N] [hashsize N]
  hash:ip,port    [maxelem N] [hashsize N]
  list:set        [size N]
  all             [timeout SECONDS] [comment]
add SETNAME ENTRY                   an entry comes
  hash:ip         ADDRESS | ADDRESS/LENGTH | ADDRESS-ADDRESS
  hash:net        likewise, as nets; [nomatch]: an exception from larger ones
  hash:ip,port    the same,[PROTOCOL:]PORT[-PORT], icmp:TYPE/CODE, PROTOCOL:0
  list:set        SETNAME [before|after SETNAME]
  all             [timeout SECONDS] [comment \"TEXT\"]
del SETNAME ENTRY                   an entry goes
test SETNAME ENTRY                  is it in the set? status 1 if not
destroy [SETNAME]                   a set goes, or all do
flush [SETNAME]                     all entries of a set go, or of all
rename FROM TO                      another name
swap FROM TO                        two sets change places, for all packets at once
list [SETNAME]                      print sets
save [SETNAME]                      print them for restore
restore                             carry out all lines of a file, or none

Options:
-exist, -!      what is there already, or not there, is no error
-quiet, -q      no messages
-sorted, -s     print entries in order
-name, -n       print names only
-terse, -t      print no entries
-output, -o plain|save
-file, -f FILE  instead of standard input or output

A change is in force on every worker when the command returns. What Weir does not enforce
is refused by name, never ignored. Rules ask for sets by -m set --match-set SETNAME src,dst.
";

/// Why a command came to nothing.
enum Problem {
    /// The daemon refused a change, or a question.
    Refused(SetError),
    /// It refused a line of a file.
    Line(restore::SetRestoreError),
    Client(ClientError),
    Output(Failed),
    /// An entry is not in the set.
    NotIn,
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(Failure::Set { error, .. }) => Self::Refused(error),
            error => Self::Client(error),
        }
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        Self::Output(failed)
    }
}

/// The forms of the daemon's sets, asked for when the first entry is read.
struct Forms<'a> {
    socket: Option<&'a Path>,
    known: OnceCell<BTreeMap<SetName, SetForm>>,
    failed: RefCell<Option<ClientError>>,
}

impl<'a> Forms<'a> {
    fn new(socket: Option<&'a Path>) -> Self {
        Self { socket, known: OnceCell::new(), failed: RefCell::new(None) }
    }

    fn of(&self, name: &SetName) -> Option<SetForm> {
        let known = self.known.get_or_init(|| {
            let asked = Client::connect(self.socket).and_then(|mut client| headers(&mut client));
            match asked {
                Ok(headers) => headers.into_iter().map(|set| (set.name, set.spec.form())).collect(),
                Err(error) => {
                    self.failed.replace(Some(error));
                    BTreeMap::new()
                }
            }
        });
        known.get(name).copied()
    }
}

fn headers(client: &mut Client) -> Result<Vec<SetHeader>, ClientError> {
    match client.request(RequestBody::Sets)? {
        Reply::Sets(headers) => Ok(headers),
        _ => Err(ClientError::UnexpectedReply),
    }
}

pub(crate) fn run(arguments: &[OsString], socket: Option<&Path>, output: &mut Output) -> ExitCode {
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let (names, forms) = (Names::system(), Forms::new(socket));
    let form_of = |name: &SetName| forms.of(name);
    let context = SetContext { names: &names, form_of: &form_of, restoring: false };
    let quiet = arguments.iter().any(|word| ["-q", "-quiet", "--quiet"].contains(&word.as_str()));
    let result = match parse_set(&arguments, context) {
        Ok(ParsedSet::Help) => {
            output.text(&format!("{SET_VERSION_LINE}\n\n{HELP}")).map_err(Problem::Output)
        }
        Ok(ParsedSet::Version) => output
            .text(&format!("{SET_VERSION_LINE}, protocol version: 7\n"))
            .map_err(Problem::Output),
        Ok(ParsedSet::Line(line)) => carry_out(*line, socket, &forms, &names, output),
        // Without the daemon no set is known.
        Err(_) if forms.failed.borrow().is_some() => {
            forms.failed.take().map_or(Ok(()), |error| Err(error.into()))
        }
        Err(error) => {
            if !quiet {
                eprintln!("{}", error.report());
            }
            return ExitCode::from(error.kind.exit_status());
        }
    };
    finish(result, quiet)
}

fn finish(result: Result<(), Problem>, quiet: bool) -> ExitCode {
    let message = match result {
        Ok(()) | Err(Problem::Output(Failed::PipeClosed)) => return ExitCode::SUCCESS,
        Err(Problem::NotIn) => return ExitCode::FAILURE,
        Err(Problem::Refused(error)) => {
            SetLineError { kind: SetLineErrorKind::Refused(error), word: None }.report()
        }
        Err(Problem::Line(error)) => error.report(),
        Err(Problem::Output(Failed::Because(reason))) => format!("{SET_VERSION_LINE}: {reason}"),
        Err(Problem::Client(error)) => {
            eprintln!("{SET_VERSION_LINE}: {error}");
            return ExitCode::from(4);
        }
    };
    if !quiet {
        eprintln!("{message}");
    }
    ExitCode::FAILURE
}

fn carry_out(
    line: SetLine,
    socket: Option<&Path>,
    forms: &Forms<'_>,
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    match &line.action {
        SetAction::Change(command) => {
            let changes = vec![SetChange { command: command.clone(), exist: line.exist }];
            done(Client::connect(socket)?.request(RequestBody::SetChange { changes })?, output)
        }
        SetAction::Test { name, entry } => {
            let request = RequestBody::SetTest { name: name.clone(), entry: entry.to_wire() };
            let Reply::SetTest(is_in) = Client::connect(socket)?.request(request)? else {
                return Err(ClientError::UnexpectedReply.into());
            };
            let element = entry.print_element(names);
            if output.json {
                output.json(&json!({ "set": name, "entry": element, "in": is_in }), false)?;
            } else if !line.quiet {
                match is_in {
                    true => eprintln!("Warning: {element} is in set {name}."),
                    false => eprintln!("{element} is NOT in set {name}."),
                }
            }
            if is_in { Ok(()) } else { Err(Problem::NotIn) }
        }
        SetAction::List { name } => list(&line, name.as_ref(), socket, names, output),
        SetAction::Restore => restore_all(&line, socket, forms, names, output),
    }
}

fn done(reply: Reply, output: &mut Output) -> Result<(), Problem> {
    match reply {
        Reply::Done { policy_epoch } if output.json => {
            Ok(output.json(&json!({ "policy_epoch": policy_epoch }), false)?)
        }
        Reply::Done { .. } => Ok(()),
        _ => Err(ClientError::UnexpectedReply.into()),
    }
}

fn restore_all(
    line: &SetLine,
    socket: Option<&Path>,
    forms: &Forms<'_>,
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    let text = text(line.file.as_deref()).map_err(Failed::Because)?;
    let plan = restore::read(&text, line.exist, names, &|name| forms.of(name));
    if let Some(error) = forms.failed.take() {
        return Err(error.into());
    }
    let plan = plan.map_err(Problem::Line)?;
    if plan.changes.is_empty() {
        return Ok(());
    }
    let changes = plan.changes.clone();
    match Client::connect(socket)?.request(RequestBody::SetChange { changes }) {
        Err(ClientError::Refused(Failure::Set { change, entry, error })) => {
            Err(Problem::Line(restore::refused(&plan, change, entry, error)))
        }
        reply => done(reply?, output),
    }
}

fn text(file: Option<&str>) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = match file {
        None => std::io::stdin().lock().take(TEXT_BYTES_MAX + 1).read_to_end(&mut text),
        Some(path) => std::fs::File::open(path)
            .map_err(|error| format!("Cannot open {path} for reading: {error}"))?
            .take(TEXT_BYTES_MAX + 1)
            .read_to_end(&mut text),
    };
    match read {
        Err(error) => Err(format!("cannot read: {error}")),
        Ok(bytes) if bytes as u64 > TEXT_BYTES_MAX => {
            Err(format!("more than {TEXT_BYTES_MAX} bytes: split the file"))
        }
        Ok(_) => Ok(text),
    }
}

/// Where a listing goes.
enum Sink<'a> {
    Output(&'a mut Output),
    File(std::fs::File),
}

impl Sink<'_> {
    fn text(&mut self, text: &str) -> Result<(), Failed> {
        match self {
            Self::Output(output) => output.text(text),
            Self::File(file) => Ok(file.write_all(text.as_bytes())?),
        }
    }
}

fn list(
    line: &SetLine,
    name: Option<&SetName>,
    socket: Option<&Path>,
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    let mut client = Client::connect(socket)?;
    let mut sets = headers(&mut client)?;
    if let Some(name) = name {
        sets.retain(|set| set.name == *name);
        if sets.is_empty() {
            return Err(Problem::Refused(SetError::NoSuchSet { name: name.to_string() }));
        }
    }
    let json = output.json;
    let mut sink = match &line.file {
        None => Sink::Output(output),
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|error| {
                Failed::Because(format!("Cannot open {path} for writing: {error}"))
            })?;
            Sink::File(file)
        }
    };
    for (index, set) in sets.iter().enumerate() {
        let name = &set.name;
        let heading = match line.output {
            _ if json => serde_json::to_string(set).map_err(Failed::from)? + "\n",
            _ if line.names_only => format!("{name}\n"),
            Format::Save => save_create(set),
            Format::Plain => {
                let blank = if index > 0 { "\n" } else { "" };
                let members = if line.terse { "" } else { "Members:\n" };
                format!("{blank}{}{members}", plain(set))
            }
        };
        sink.text(&heading)?;
        if line.names_only || line.terse {
            continue;
        }
        let entry = |entry: &Entry| {
            let entry = entry.print(names);
            match line.output {
                _ if json => json!({ "set": name, "entry": entry }).to_string() + "\n",
                Format::Save => format!("add {name} {entry}\n"),
                Format::Plain => format!("{entry}\n"),
            }
        };
        entries(&mut client, set, line.sorted, |page| {
            Ok(sink.text(&page.iter().map(entry).collect::<String>())?)
        })?;
    }
    Ok(())
}

/// Gives the entries of a set to `print`, page by page, or sorted and all at once.
fn entries(
    client: &mut Client,
    set: &SetHeader,
    sorted: bool,
    mut print: impl FnMut(&[Entry]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let form = set.spec.form();
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let request = RequestBody::SetList { name: set.name.clone(), cursor };
        let Reply::SetPage(SetPage { entries, next }) = client.request(request)? else {
            return Err(ClientError::UnexpectedReply.into());
        };
        for text in &entries {
            let entry = Entry::from_wire(form, text);
            all.push(entry.map_err(|_| ClientError::UnexpectedReply)?);
        }
        let sort = sorted && form.kind != SetKind::ListSet;
        if next.is_none() && sort {
            all.sort_by_key(|entry| place(&entry.element));
        }
        if next.is_none() || !sort {
            print(&all)?;
            all.clear();
        }
        if next.is_none() {
            return Ok(());
        }
        if next <= cursor {
            let reason = "the daemon's pages do not lead on (a bug in weir)";
            return Err(Failed::Because(reason.to_owned()).into());
        }
        cursor = next;
    }
}

/// By what entries are sorted.
fn place(element: &Element) -> (Option<IpAddr>, u8, u16, String) {
    match element {
        Element::Addresses(addresses) => (Some(addresses.first), 0, 0, addresses.to_string()),
        Element::Ports { addresses, protocol, first, .. } => {
            (Some(addresses.first), *protocol, *first, String::new())
        }
        Element::Set { .. } => (None, 0, 0, String::new()),
    }
}
