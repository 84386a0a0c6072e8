//! `backstaff trace`: why a run failed, and the page of everything that happened in it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::report::{ReportError, print, write_all};
use super::run::{chain, complain, look};
use crate::journal::run::RunRecord;
use crate::report::source::SourceError;
use crate::report::style::Look;
use crate::report::{ReportTarget, source, why};
use crate::runner::newest_run;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing failed (`why`) or the page is written (`html`), 1 something \
failed (`why`), 2 usage, 3 it does not load.\n\nExamples:\n  backstaff trace why\n  \
backstaff trace logs/20260101-120000 why\n  backstaff trace logs/20260101-120000 html --output trace.html")]
pub(super) struct TraceCommand {
    /// A run's folder or `run.ndjson`, or an attempt's folder or `journal.ndjson` [default: the newest in `logs`].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    what: TraceWhat,
}

#[derive(Debug, Subcommand)]
enum TraceWhat {
    /// Say the cause of the failure in at most 15 lines.
    #[command(after_help = "Examples:\n  backstaff trace why\n  backstaff trace logs/20260101-120000 why")]
    Why,
    /// Write the page of the run: one file that opens in a browser, without a network.
    #[command(after_help = "Examples:\n  backstaff trace html\n  \
backstaff trace logs/20260101-120000/01-boots/attempt-1 html --output boots.html")]
    Html {
        /// Where to; `-` is standard output [default: `trace.html` in the run's or the attempt's folder].
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Why there is nothing to say, or nowhere to write it.
#[derive(Debug, thiserror::Error)]
enum TraceError {
    #[error("there is no run in `logs`")]
    NoRun,
    #[error(transparent)]
    Load(#[from] SourceError),
    #[error(transparent)]
    Write(#[from] ReportError),
}

impl TraceError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Load(error) if !error.is_unreadable() => ExitCode::NOT_LOADED,
            Self::Load(_) | Self::NoRun => ExitCode::USAGE,
            Self::Write(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRun => {
                Some("`backstaff run` makes one; of another folder say which: `backstaff trace FILE why`")
            }
            Self::Load(error) => error.hint(),
            Self::Write(_) => Some("`--output FILE` names a file that may be written to"),
        }
    }
}

pub(super) fn run(command: &TraceCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    answer(command, look).unwrap_or_else(|error| {
        complain(look, &chain(&error), error.hint());
        error.code()
    })
}

fn answer(command: &TraceCommand, look: Look) -> Result<ExitCode, TraceError> {
    let file = command.file.clone().or_else(|| newest(Path::new("logs"))).ok_or(TraceError::NoRun)?;
    let run = source::load(&file)?;
    let (text, code) = match &command.what {
        TraceWhat::Why if why::has_failed(&run) => (why::text(&run, look), ExitCode::FAILED),
        TraceWhat::Why => (why::text(&run, look), ExitCode::PASSED),
        TraceWhat::Html { output } => {
            let path = output.clone().unwrap_or_else(|| run.folder.join("trace.html"));
            (write_page(&run, &path)?, ExitCode::PASSED)
        }
    };
    print(&text)?;
    Ok(code)
}

/// Writes the page and says where it is and how large, unless it went to standard output.
fn write_page(run: &RunRecord, path: &Path) -> Result<String, TraceError> {
    let target = ReportTarget::new("html", path).expect("the page is one of the reports");
    write_all(run, &[target], false)?;
    Ok(match path.metadata() {
        Ok(page) if page.is_file() => {
            let tenths = page.len().div_ceil(100_000);
            format!("{} ({}.{} MB)\n", path.display(), tenths / 10, tenths % 10)
        }
        _ => String::new(),
    })
}

/// The newest run below `logs`, also one of before there were journals of runs.
fn newest(logs: &Path) -> Option<PathBuf> {
    newest_run(logs).or_else(|| {
        let entries = std::fs::read_dir(logs).ok()?.flatten().map(|entry| entry.path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders.into_iter().rev().find(|folder| source::load(folder).is_ok_and(|run| !run.tests.is_empty()))
    })
}
