//! Shell completions and manual pages, made from the command line's own description.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::output::{Failed, Output};

pub(crate) fn completions(shell: clap_complete::Shell, output: &mut Output) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weirctl", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(directory: Option<&Path>, output: &mut Output) -> Result<(), Failed> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return output.text(&String::from_utf8_lossy(&page));
    };
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        let path = directory.display();
        Failed::Because(format!("cannot write the manual pages to {path}: {error}"))
    })
}
