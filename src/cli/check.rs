//! `backstaff check`.

use std::path::PathBuf;

use clap::Args;

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::run::{Refusal, complain, look};
use crate::report;
use crate::runner;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing wrong, or only warnings; 3 something would not load or is wrong; 2 usage.\n\n\
Examples:\n  backstaff check\n  backstaff check scenarios/login.lua --deny-warnings\n  backstaff check --json | jq -r \
'.findings[] | \"\\(.file):\\(.line):\\(.column) \\(.rule)\"'"
)]
pub(super) struct CheckCommand {
    /// Scripts, and folders to search for `*.lua` [default: scenarios].
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// As one JSON document.
    #[arg(long)]
    pub(super) json: bool,
    /// Warnings are as bad as errors.
    #[arg(long)]
    pub(super) deny_warnings: bool,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    pub(super) lane_dir: Vec<PathBuf>,
}

/// Says what is wrong with scripts, without a lane and without writing anything.
pub(super) fn run(command: &CheckCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let checked = match check(command) {
        Ok(checked) => checked,
        Err(refusal) => return refusal.say(look),
    };
    let mut out = std::io::BufWriter::new(anstream::stdout());
    let written = match command.json {
        true => report::check::json(&checked, &mut out),
        false => report::check::text(&checked, look, &mut out),
    };
    let written = written.and_then(|()| std::io::Write::flush(&mut out));
    // A reader that went away, as `| head` does, has seen enough.
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(look, &format!("the findings cannot be written: {error}"), None);
        return ExitCode::LANE_FAILED;
    }
    match report::check::count(&checked) {
        (0, 0) => ExitCode::PASSED,
        (0, _) if !command.deny_warnings => ExitCode::PASSED,
        _ => ExitCode::NOT_LOADED,
    }
}

fn check(command: &CheckCommand) -> Result<Vec<runner::check::Checked>, Refusal> {
    let working_dir =
        std::env::current_dir().map_err(|error| Refusal::usage(format!("no working directory: {error}")))?;
    let paths = match command.paths.is_empty() {
        true => vec![PathBuf::from("scenarios")],
        false => command.paths.clone(),
    };
    let scripts = runner::discover(&paths)?;
    Ok(runner::check::check(&scripts, &command.lane_dir, &working_dir)?)
}
