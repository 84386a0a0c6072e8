//! `backstaff flakes`: what many runs say together.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::report::{Progress, ReportError, print};
use super::run::{complain, look};
use crate::journal::run::RUN_FILE;
use crate::report::flakes::{self, Flakes, Gathered};
use crate::report::source;
use crate::report::style::Look;
use crate::report::target::replace;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 said, 2 a file cannot be read or written, or usage, 3 no file is a run.\n\n\
Examples:\n  backstaff flakes logs\n  backstaff flakes logs/202611* --html flakes.html\n  backstaff flakes logs --json | \
jq -r '.waits[] | select(.slack_p99 < 0.2).wanted'\n  backstaff flakes logs --csv=scenarios > scenarios.csv"
)]
pub(super) struct FlakesCommand {
    /// Folders of runs, folders of such folders, `run.ndjson` files, or journals of attempts.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print everything as JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a table as CSV.
    #[arg(long, value_name = "TABLE", num_args = 0..=1, require_equals = true, default_missing_value = "waits")]
    csv: Option<Table>,
    /// Write a page with charts; opens from disk, needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How many waits and scenarios to show, at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Table {
    /// A line for each wait.
    Waits,
    /// A line for each scenario.
    Scenarios,
}

/// Reads runs one after the other and says what they come to.
pub(super) fn run(command: &FlakesCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let files: Vec<PathBuf> = command.files.iter().flat_map(|file| runs_in(file)).collect();
    let mut gathered = Gathered::default();
    let mut progress = Progress::new(files.len());
    let mut failed = Vec::new();
    for file in &files {
        progress.step();
        match source::load(file) {
            Ok(run) => gathered.take(&run),
            // One damaged run among thousands must not hide what the others say.
            Err(error) => {
                gathered.could_not_read(super::run::chain(&error));
                failed.push(ReportError::from(error));
            }
        }
    }
    drop(progress);
    if failed.len() == files.len()
        && let Some(error) = failed.first()
    {
        return error.say(look);
    }
    let flakes = gathered.finish();
    say_unreadable(&flakes, look);
    if let Some(path) = &command.html
        && let Err(error) = replace(path, |out| out.write_all(flakes::html(&flakes).as_bytes()))
    {
        let hint = "`--html FILE` names a file that may be written to";
        complain(look, &format!("write {}: {error}", path.display()), Some(hint));
        return ExitCode::USAGE;
    }
    let text = match command.csv {
        Some(Table::Waits) => flakes::csv_waits(&flakes),
        Some(Table::Scenarios) => flakes::csv_scenarios(&flakes),
        None if command.json => flakes::json(&flakes),
        None => flakes::table(&flakes, command.top, look),
    };
    print(&text).map_or_else(|error| error.say(look), |()| ExitCode::PASSED)
}

/// The path itself, or the runs in the folder that it is, the oldest first.
fn runs_in(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() || path.join(RUN_FILE).exists() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut runs: Vec<PathBuf> = entries.filter(|folder| folder.join(RUN_FILE).is_file()).collect();
    runs.sort();
    // Whoever reads the path itself then says what is wrong with it.
    if runs.is_empty() { vec![path.to_owned()] } else { runs }
}

fn say_unreadable(flakes: &Flakes, look: Look) {
    for what in flakes.unreadable.iter().take(MAX_UNREADABLE) {
        complain(look, &format!("left out: {what}"), None);
    }
    let more = flakes.unreadable.len().saturating_sub(MAX_UNREADABLE);
    if more > 0 {
        complain(look, &format!("and {more} more that could not be read"), None);
    }
}

const MAX_UNREADABLE: usize = 5;
