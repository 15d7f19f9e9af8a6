//! Weir's sets without a daemon: what a command line does to them and prints.

use weir_control::rule::Names;
use weir_control::set::{
    Entry, Output, ParsedSet, SetAction, SetChange, SetContext, SetError, SetForm, SetLine,
    SetLineError, SetName, parse_set, plain, save_create,
};
use weir_dataplane::set::{Refused, Sets};

use crate::oracle::Answer;

/// The sets.
pub(crate) struct Weir {
    pub(crate) sets: Sets,
    names: Names,
}

impl Weir {
    pub(crate) fn new() -> Self {
        Self { sets: Sets::new(0x5e75), names: Names::system() }
    }

    /// Carries out a command line, at a time that stands still.
    pub(crate) fn run(&mut self, arguments: &[String]) -> Answer {
        let form_of = |name: &SetName| self.sets.form_of(name);
        let context = SetContext { names: &self.names, form_of: &form_of, restoring: false };
        let line = match parse_set(arguments, context) {
            Ok(ParsedSet::Line(line)) => *line,
            Ok(ParsedSet::Help | ParsedSet::Version) => return answer(0, "", ""),
            Err(error) => return failed(&error),
        };
        match line.action {
            SetAction::Change(command) => {
                let change = SetChange { command, exist: line.exist };
                match self.sets.after(&[change], 0, &|_| 0) {
                    Ok(sets) => {
                        self.sets = sets;
                        answer(0, "", "")
                    }
                    Err(Refused { error, .. }) => failed(&error.into()),
                }
            }
            SetAction::Test { ref name, ref entry } => {
                let answer = self.test(name, entry);
                let stderr = if line.quiet { String::new() } else { answer.stderr };
                Answer { stderr, ..answer }
            }
            SetAction::List { ref name } => self.list(&line, name.as_ref()),
            SetAction::Restore => panic!("only lines are given"),
        }
    }

    fn test(&self, name: &SetName, entry: &Entry) -> Answer {
        let element = entry.print_element(&self.names);
        match self.sets.test(name, entry) {
            Ok(true) => answer(0, "", &format!("Warning: {element} is in set {name}.\n")),
            Ok(false) => answer(1, "", &format!("{element} is NOT in set {name}.\n")),
            Err(error) => failed(&error.into()),
        }
    }

    fn list(&self, line: &SetLine, name: Option<&SetName>) -> Answer {
        let mut headers = self.sets.headers(&|_| 0);
        if let Some(name) = name {
            headers.retain(|header| header.name == *name);
            if headers.is_empty() {
                return failed(&SetError::NoSuchSet { name: name.to_string() }.into());
            }
        }
        let mut text = String::new();
        for (index, header) in headers.iter().enumerate() {
            let name = &header.name;
            let entries = entries(&self.sets, name, header.spec.form());
            let entries = entries.iter().map(|entry| entry.print(&self.names));
            match line.output {
                Output::Save => {
                    text.push_str(&save_create(header));
                    text.extend(entries.map(|entry| format!("add {name} {entry}\n")));
                }
                Output::Plain => {
                    text.push_str(if index > 0 { "\n" } else { "" });
                    text.push_str(&plain(header));
                    text.push_str("Members:\n");
                    text.extend(entries.map(|entry| format!("{entry}\n")));
                }
            }
        }
        answer(0, &text, "")
    }
}

/// All entries of a set, page by page.
pub(crate) fn entries(sets: &Sets, name: &SetName, form: SetForm) -> Vec<Entry> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let page = sets.page(name, cursor, 0).expect("the set is there");
        let read = |text: &String| Entry::from_wire(form, text);
        entries.extend(page.entries.iter().map(|text| read(text).expect("an entry")));
        cursor = page.next;
        if cursor.is_none() {
            return entries;
        }
    }
}

fn answer(status: i32, stdout: &str, stderr: &str) -> Answer {
    Answer { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn failed(error: &SetLineError) -> Answer {
    answer(error.kind.exit_status().into(), "", &format!("{}\n", error.report()))
}
