//! `backstaff trace`: why a run failed, and the page of everything that happened in it.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::run::{chain, complain, look};
use crate::journal::run::{RUN_FILE, RunLoadError, RunRecord};
use crate::report::source::SourceError;
use crate::report::style::Look;
use crate::report::{html, source, why};

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
    Why,
    /// Write the page of the run: one file that opens in a browser, without a network.
    Html {
        /// Where to [default: `trace.html` in the run's or the attempt's folder].
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
    #[error("write {path}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl TraceError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Load(SourceError::Io { .. } | SourceError::Run(RunLoadError::Io { .. })) => ExitCode::USAGE,
            Self::Load(_) => ExitCode::NOT_LOADED,
            Self::NoRun | Self::Write { .. } => ExitCode::USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRun => {
                Some("`backstaff run` makes one; of another folder say which: `backstaff trace FILE why`")
            }
            Self::Load(error) => error.hint(),
            Self::Write { .. } => Some("`--output FILE` names a file that may be written to"),
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
            let bytes = write_page(&run, &path)?;
            let tenths = bytes.div_ceil(100_000);
            (format!("{} ({}.{} MB)\n", path.display(), tenths / 10, tenths % 10), ExitCode::PASSED)
        }
    };
    // A reader that went away, as `| head` does, changes nothing about the answer.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// Whole or not at all: who has the old page open sees no half of a new one.
fn write_page(run: &RunRecord, path: &Path) -> Result<u64, TraceError> {
    let failed = |source| TraceError::Write { path: path.to_owned(), source };
    // A pipe or a device has no place beside it.
    if path.exists() && !path.is_file() {
        let mut out = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
        html::render(run, &mut out).and_then(|()| out.flush()).map_err(failed)?;
        return Ok(0);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || {
        let mut out = BufWriter::new(std::fs::File::create(&part)?);
        html::render(run, &mut out)?;
        out.flush()?;
        let bytes = out.get_ref().metadata()?.len();
        std::fs::rename(&part, path)?;
        Ok(bytes)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&part);
        failed(source)
    })
}

/// The newest run of a folder of runs: their names are times.
fn newest(logs: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(logs).ok()?.flatten().map(|entry| entry.path());
    let is_run = |folder: &PathBuf| {
        folder.join(RUN_FILE).is_file() || source::load(folder).is_ok_and(|run| !run.tests.is_empty())
    };
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.into_iter().rev().find(is_run)
}
