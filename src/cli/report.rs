//! `backstaff report`: renders runs again, and makes one of several.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::args::ColorChoice;
use super::exit::ExitCode;
use super::run::{chain, complain, look};
use crate::journal::run::{RUN_FILE, RunRecord, Timings, TimingsError, Verdict};
use crate::report::merge::{self, Merged, Problem, merge};
use crate::report::source::{self, SourceError};
use crate::report::story::{Outcome, Story};
use crate::report::style::{Look, Tone};
use crate::report::target::replace;
use crate::report::timings::Gathered;
use crate::report::{ReportTarget, TargetError, WriteError, github, summary};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Several runs become one. Shards of a list are proven to be all of it: nothing is missing, nothing ran \
twice; what is wrong is listed, and ends with 1 at least.\n\nExit codes: those of the run; 2 a file cannot be read or \
written, or usage, 3 a file is no run, or is damaged.\n\nExamples:\n  backstaff report logs/20261122-101500\n  backstaff \
report logs/20261122-101500 --junit report.xml --tap -\n  backstaff report shard-*/run.ndjson --html trace.html --github\n  \
backstaff report merge shard-*/run.ndjson --output merged\n  backstaff report logs/* --timings timings.json"
)]
pub(super) struct ReportCommand {
    #[command(subcommand)]
    command: Option<ReportSubcommand>,
    #[command(flatten)]
    options: ReportOptions,
}

#[derive(Debug, Subcommand)]
enum ReportSubcommand {
    /// Write one run's journal for several runs, after proving that nothing was lost or run twice.
    Merge(MergeCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  backstaff report merge shard-*/run.ndjson --output merged")]
struct MergeCommand {
    /// Folders of runs or of attempts, their `run.ndjson` or `journal.ndjson`.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where the journal is written: a folder, which gets a `run.ndjson`, or a file that ends in `.ndjson`.
    #[arg(long, short, value_name = "DIR_OR_FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct ReportOptions {
    /// Folders of runs or of attempts, their `run.ndjson` or `journal.ndjson`.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write JUnit XML; `-` is standard output, here and below.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write TAP 14.
    #[arg(long, value_name = "FILE")]
    tap: Option<PathBuf>,
    /// Write a line of JSON for each test.
    #[arg(long, value_name = "FILE")]
    ndjson: Option<PathBuf>,
    /// Write subunit v2.
    #[arg(long, value_name = "FILE")]
    subunit: Option<PathBuf>,
    /// Write the HTML trace.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write how long tests take, for `backstaff run --timings`; a file that is there is updated.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Append to the step's summary on GitHub, and print annotations.
    #[arg(long)]
    github: bool,
}

/// Why there is no report, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Timings(#[from] TimingsError),
    #[error("write {}", path.display())]
    Output { path: PathBuf, source: std::io::Error },
    #[error("{0} and {1} both go to standard output")]
    Twice(&'static str, &'static str),
}

impl ReportError {
    pub(super) fn code(&self) -> ExitCode {
        match self {
            // The host's matter, as for everything else that a full disk keeps from being written.
            Self::Write(WriteError { source, .. }) | Self::Output { source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                ExitCode::LANE_FAILED
            }
            Self::Source(error) if !error.is_unreadable() => ExitCode::NOT_LOADED,
            Self::Timings(TimingsError::Io { .. }) | Self::Source(_) => ExitCode::USAGE,
            Self::Timings(_) => ExitCode::NOT_LOADED,
            Self::Target(_) | Self::Write(_) | Self::Output { .. } | Self::Twice(..) => ExitCode::USAGE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Write(_) | Self::Output { .. } if self.code() == ExitCode::USAGE => {
                Some("name a file that may be written to")
            }
            Self::Timings(TimingsError::Parse { .. }) => Some("name another file, or remove this one"),
            Self::Twice(..) => Some("give one of them a file"),
            _ => None,
        }
    }

    pub(super) fn say(&self, look: Look) -> ExitCode {
        complain(look, &chain(self), self.hint());
        self.code()
    }
}

/// Renders runs again, or merges them.
pub(super) fn run(command: ReportCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let done = match command.command {
        Some(ReportSubcommand::Merge(command)) => merge_runs(&command, look),
        None => render(&command.options, look),
    };
    done.unwrap_or_else(|error| error.say(look))
}

fn render(options: &ReportOptions, look: Look) -> Result<ExitCode, ReportError> {
    let targets = targets(options)?;
    let mut gathered = Gathered::default();
    let mut runs = Vec::new();
    // Runs of many nights have the same tests: only their timings are wanted then, and no run of all of them.
    let is_for_timings = options.timings.is_some() && targets.is_empty() && !options.github;
    let mut progress = Progress::new(options.files.len());
    for file in &options.files {
        progress.step();
        let run = source::load(file)?;
        gathered.take(&run);
        if !is_for_timings {
            runs.push(run);
        }
    }
    drop(progress);
    if let Some(path) = &options.timings {
        let tests = gathered.tests();
        update_timings(path, gathered)?;
        if is_for_timings {
            say(look, Tone::Strong, &format!("{}: timings of {tests} tests", path.display()));
            return Ok(ExitCode::PASSED);
        }
    }
    let merged = merge(runs);
    write_all(&merged.run, &targets, options.github)?;
    let is_stdout_taken = targets.iter().any(ReportTarget::is_stdout);
    if !is_stdout_taken {
        print(&summary::text(&Story::of(&merged.run), look))?;
    }
    Ok(say_proof(&merged, look))
}

fn targets(options: &ReportOptions) -> Result<Vec<ReportTarget>, ReportError> {
    let asked = [
        ("junit", &options.junit),
        ("tap", &options.tap),
        ("ndjson", &options.ndjson),
        ("subunit", &options.subunit),
        ("html", &options.html),
    ];
    let mut targets = Vec::new();
    for (kind, file) in asked {
        if let Some(file) = file {
            targets.push(ReportTarget::new(kind, file)?);
        }
    }
    check_stdout(&targets)?;
    Ok(targets)
}

/// Standard output holds one report.
pub(super) fn check_stdout(targets: &[ReportTarget]) -> Result<(), ReportError> {
    let on_stdout: Vec<_> = targets.iter().filter(|target| target.is_stdout()).collect();
    match on_stdout[..] {
        [first, second, ..] => Err(ReportError::Twice(first.kind(), second.kind())),
        _ => Ok(()),
    }
}

pub(super) fn write_all(
    run: &RunRecord,
    targets: &[ReportTarget],
    is_on_github: bool,
) -> Result<(), ReportError> {
    match crate::report::write(run, targets, &mut std::io::stdout().lock()) {
        // A reader that went away, as `| head` does, changes nothing about the run.
        Err(error) if error.source.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    if !is_on_github {
        return Ok(());
    }
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        github::append_summary(&path, run).map_err(|source| ReportError::Output { path, source })?;
    }
    let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
    let annotations = github::annotations(&Story::of(run), workspace.as_deref());
    match targets.iter().any(ReportTarget::is_stdout) {
        // GitHub reads both, and a report on standard output has it for itself.
        true => drop(write!(anstream::stderr(), "{annotations}")),
        false => print(&annotations)?,
    }
    Ok(())
}

fn update_timings(path: &Path, gathered: Gathered) -> Result<(), ReportError> {
    let mut timings = match Timings::load(path) {
        Err(TimingsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Timings::default()
        }
        loaded => loaded?,
    };
    gathered.add_to(&mut timings);
    replace(path, |out| out.write_all(timings.format().as_bytes()))
        .map_err(|source| ReportError::Output { path: path.to_owned(), source })
}

fn merge_runs(command: &MergeCommand, look: Look) -> Result<ExitCode, ReportError> {
    let mut progress = Progress::new(command.files.len());
    let mut runs = Vec::new();
    for file in &command.files {
        progress.step();
        runs.push(source::load(file)?);
    }
    drop(progress);
    let merged = merge(runs);
    let is_file = command.output.extension().is_some_and(|extension| extension == "ndjson");
    let output = if is_file { command.output.clone() } else { command.output.join(RUN_FILE) };
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // It must be there for paths relative to it.
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| replace(&output, |out| merge::write(&merged.run, folder, out)));
    written.map_err(|source| ReportError::Output { path: output.clone(), source })?;
    print(&format!("{}\n{}\n", output.display(), Story::of(&merged.run).counts().line()))?;
    Ok(say_proof(&merged, look))
}

/// Says whether the run is whole, and returns how the process ends.
fn say_proof(merged: &Merged, look: Look) -> ExitCode {
    if let Some(proof) = &merged.proof {
        say(look, Tone::Good, proof);
    }
    for problem in merged.problems.iter().take(MAX_PROBLEMS) {
        complain(look, &problem.to_string(), None);
    }
    if merged.problems.len() > MAX_PROBLEMS {
        complain(look, &format!("and {} problems more", merged.problems.len() - MAX_PROBLEMS), None);
    }
    let hints: BTreeSet<&str> = merged.problems.iter().map(Problem::hint).collect();
    for hint in hints {
        say(look, Tone::Warn, &format!("hint: {hint}"));
    }
    let code = code_of(&merged.run);
    if merged.problems.is_empty() { code } else { code.graver(ExitCode::FAILED) }
}

/// What a run amounts to: a signal, or the first of [`ExitCode::BY_GRAVITY`] that applies.
pub(super) fn code_of(run: &RunRecord) -> ExitCode {
    let story = Story::of(run);
    let has = |verdict: Verdict| story.entries.iter().any(|it| it.outcome == Outcome::Verdict(verdict));
    let is_not_finished = |outcome: Outcome| {
        matches!(outcome, Outcome::NotFinished | Outcome::NotRun | Outcome::Verdict(Verdict::Cancelled))
    };
    let ended_by = run.ended_by.as_deref().unwrap_or_default();
    let signal = ended_by.strip_prefix("signal ").and_then(|number| number.parse().ok());
    if let Some(signal) = signal {
        ExitCode::signal(signal)
    } else if ended_by == "deadline" {
        ExitCode::DEADLINE
    } else if has(Verdict::Bug) {
        ExitCode::BUG
    } else if !run.not_loaded.is_empty() {
        ExitCode::NOT_LOADED
    } else if has(Verdict::Failed) || has(Verdict::Error) || has(Verdict::TimedOut) {
        ExitCode::FAILED
    } else if has(Verdict::LaneFailed) || ended_by == "disk" {
        ExitCode::LANE_FAILED
    } else if story.entries.iter().any(|it| is_not_finished(it.outcome)) || run.took_ms.is_none() {
        // Killed: nobody knows what it would have come to.
        ExitCode::FAILED
    } else if has(Verdict::Flaky) && run.began.fail_on_flaky {
        ExitCode::FLAKY
    } else if story.entries.is_empty() {
        // An empty part of a list is as it should be.
        if run.began.list_tests > 0 { ExitCode::PASSED } else { ExitCode::NOTHING }
    } else if story.entries.iter().all(|it| it.outcome == Outcome::Verdict(Verdict::Skipped)) {
        ExitCode::SKIPPED
    } else {
        ExitCode::PASSED
    }
}

/// How far the reading of many files is, on a terminal's stderr.
pub(super) struct Progress {
    total: usize,
    read: usize,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new(total: usize) -> Self {
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_shown = total >= MANY && std::io::stderr().is_terminal() && !is_ci && !is_dumb;
        Self { total, read: 0, is_shown }
    }

    /// One more is being read.
    pub(super) fn step(&mut self) {
        self.read += 1;
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2Kreading {} of {}", self.read, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

/// A line on stderr.
fn say(look: Look, tone: Tone, text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{}", look.paint(tone, text));
}

/// On standard output, for people or for programs.
pub(super) fn print(text: &str) -> Result<(), ReportError> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that went away, as `| head` does, changes nothing about the run.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(ReportError::Output { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Fewer files are read before anybody looks.
const MANY: usize = 10;
const MAX_PROBLEMS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::run::{NotLoaded, TestRecord};

    fn run(verdicts: &[Verdict]) -> RunRecord {
        let test = |verdict: &Verdict| TestRecord {
            test: Default::default(),
            attempts: Vec::new(),
            verdict: Some(*verdict),
            took_ms: 0,
            is_slow: false,
        };
        RunRecord { tests: verdicts.iter().map(test).collect(), took_ms: Some(1), ..RunRecord::default() }
    }

    #[test]
    fn the_gravest_outcome_of_a_record_decides() {
        use Verdict::{Bug, Cancelled, Error, Failed, Flaky, LaneFailed, Passed, Skipped, TimedOut};
        let code = |verdicts: &[Verdict]| code_of(&run(verdicts)).0;
        assert_eq!(code(&[Passed, Skipped, Flaky]), 0);
        assert_eq!(code(&[Passed, Failed, LaneFailed]), 1);
        assert_eq!((code(&[TimedOut]), code(&[Error]), code(&[Cancelled, Passed])), (1, 1, 1));
        assert_eq!(code(&[Passed, LaneFailed, Cancelled]), 16);
        assert_eq!(code(&[Failed, Bug]), 70);
        assert_eq!((code(&[]), code(&[Skipped, Skipped])), (4, 77));
        let mut record = run(&[Failed]);
        record.not_loaded.push(NotLoaded { file: "a.lua".to_owned(), failure: Default::default() });
        assert_eq!(code_of(&record).0, 3);
        record.ended_by = Some("deadline".to_owned());
        assert_eq!(code_of(&record).0, 124);
        record.ended_by = Some("signal 15".to_owned());
        assert_eq!(code_of(&record).0, 143);
        let mut record = run(&[Flaky]);
        record.began.fail_on_flaky = true;
        assert_eq!(code_of(&record).0, 5);
        record.took_ms = None;
        assert_eq!(code_of(&record).0, 1);
    }
}
