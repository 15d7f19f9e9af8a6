//! `weirgen profiles`: what there is, and what each sends.

use std::fmt::Write as _;

use clap::Args;

use crate::error::Error;
use crate::profile::Profile;

#[derive(Clone, Debug, Args)]
pub(crate) struct ProfilesOptions {
    /// Show this one alone; a name or a file.
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
}

/// The list, or one profile.
pub(crate) fn run(options: &ProfilesOptions) -> Result<String, Error> {
    let profiles = match &options.profile {
        Some(name) => vec![Profile::find(name)?],
        None => Profile::all(),
    };
    let mut text = String::new();
    for profile in profiles {
        let seconds = std::time::Duration::from_nanos(profile.duration_ns).as_secs_f64();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<18} {}", profile.name, profile.about);
        for stream in &profile.streams {
            let rate = match stream.schedule.mean_pps(profile.duration_ns) {
                Some(pps) => format!("{pps:.0} a second"),
                None => "as fast as they go".to_owned(),
            };
            let side = if stream.from == crate::profile::Side::Left { "->" } else { "<-" };
            let _ = writeln!(text, "    {side} {}: {stream}; {rate}", stream.name);
        }
        if let Some(users) = &profile.users {
            let _ = writeln!(
                text,
                "    <> users: {} connections a second to port {}",
                users.rate, users.server_port
            );
        }
        let _ = writeln!(text, "    at most {seconds} s and {} packets", profile.packets_max);
    }
    Ok(text)
}
