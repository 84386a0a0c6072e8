//! Which scenarios run, on which lane, in which order, and what became of them. Formats no text and never touches
//! the terminal: it reports [`RunEvent`]s and returns a [`Summary`].
//!
//! Start reading at [`run`]. [`discovery`] finds scripts, [`project`] finds profiles, [`execute`] runs one attempt
//! on a fresh lane.

mod discovery;
mod execute;
pub use execute::store_plan;
pub mod project;
mod record;
mod warm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use discovery::{DiscoveryError, discover};
pub use project::{Project, ProjectError};
pub use record::RecordConfig;

use crate::journal::Journal;
pub use crate::journal::run::Verdict;
use crate::lane::AttachEnvironment;
use crate::lane::warm::WarmMode;
use crate::script::{Failure, FailureKind, LoadError, Scenario, Script, load};

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Scripts, in the order in which they run.
    pub scripts: Vec<PathBuf>,
    /// Where profiles come from.
    pub project: Project,
    /// The lane's name.
    pub lane: String,
    /// The value of `PATH`, where QEMU is looked for.
    pub search_path: std::ffi::OsString,
    /// Only scenarios whose name or file contains this.
    pub filter: Option<String>,
    /// Only scenarios with this tag.
    pub tag: Option<String>,
    /// `t.params`.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The folder that gets a folder for this run, usually `logs`.
    pub artifacts: PathBuf,
    /// Deadline of the whole run.
    pub timeout: Option<Duration>,
    /// Stop after the first scenario that did not pass.
    pub fail_fast: bool,
    /// Whether scenarios start from saved machines.
    pub warm: WarmMode,
    /// What the environment says about machines of somebody else's.
    pub attach: AttachEnvironment,
    /// Whether and where consoles are recorded.
    pub record: Option<RecordConfig>,
}

/// What happens during a run, for reports.
#[derive(Debug)]
pub enum RunEvent {
    /// The run's folder exists and this many scenarios were selected.
    Began {
        /// The run's folder.
        folder: PathBuf,
        /// How many scenarios.
        total: usize,
        /// The lane's name.
        lane: String,
    },
    /// A script does not load; the others go on.
    NotLoaded {
        /// Which script, with its text when it could be read.
        script: Option<Script>,
        /// Why.
        error: LoadError,
    },
    /// An attempt began. Its journal fills while it runs.
    AttemptBegan {
        /// The scenario.
        scenario: Scenario,
        /// Where everything is noted.
        journal: Journal,
    },
    /// An attempt ended.
    AttemptEnded(Box<AttemptReport>),
}

/// What became of one scenario.
#[derive(Debug)]
pub struct AttemptReport {
    /// The script, for its source lines.
    pub script: Script,
    /// The scenario.
    pub scenario: Scenario,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, when it did not pass.
    pub failure: Option<Failure>,
    /// How many expectations did not hold, beyond the reported failure.
    pub further_misses: usize,
    /// Time, lane included.
    pub took: Duration,
    /// The attempt's folder.
    pub folder: PathBuf,
    /// Everything that was noted.
    pub journal: Journal,
}

/// The class of an attempt that ended like this.
fn verdict_of(failure: &Failure) -> Verdict {
    match failure.kind {
        FailureKind::Expectation | FailureKind::MachineEnded => Verdict::Failed,
        FailureKind::Timeout => Verdict::TimedOut,
        FailureKind::Usage | FailureKind::Script => Verdict::Error,
        FailureKind::LaneLost => Verdict::LaneFailed,
        FailureKind::Skip => Verdict::Skipped,
        FailureKind::Cancelled => Verdict::Cancelled,
        FailureKind::Bug => Verdict::Bug,
    }
}

/// What became of a run.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The run's folder, when it came to be.
    pub folder: Option<PathBuf>,
    /// Scenarios that the scripts declare, selected or not.
    pub declared: usize,
    /// One verdict per scenario that was selected.
    pub verdicts: Vec<Verdict>,
    /// Scripts that did not load.
    pub not_loaded: usize,
    /// Whether the run's own deadline ended it.
    pub deadline_passed: bool,
    /// Whether it stopped at the first scenario that did not pass, as it was asked to.
    pub failed_fast: bool,
    /// Wall time.
    pub took: Duration,
}

impl Summary {
    /// How many scenarios have one of these verdicts.
    pub fn count(&self, verdicts: &[Verdict]) -> usize {
        self.verdicts.iter().filter(|verdict| verdicts.contains(verdict)).count()
    }
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lane's profile is missing or wrong.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The run's folder cannot be made.
    #[error("create the run's folder in {folder}")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs scenarios one after the other, each on a lane of its own. Returns when all lanes are down.
///
/// # Errors
/// The run cannot begin; then nothing was started.
pub async fn run(
    options: RunOptions,
    events: &mpsc::UnboundedSender<RunEvent>,
    cancel: &CancellationToken,
) -> Result<Summary, RunError> {
    let began = Instant::now();
    let mut summary = Summary::default();
    // A wrong profile must be said before anything is made on disk.
    let profile = options.project.profile(&options.lane)?;
    let selected = select(&options, events, &mut summary);
    if selected.is_empty() {
        summary.took = began.elapsed();
        return Ok(summary);
    }
    let folder = new_run_folder(&options.artifacts)
        .map_err(|source| RunError::Folder { folder: options.artifacts.clone(), source })?;
    summary.folder = Some(folder.clone());
    tell(
        events,
        RunEvent::Began { folder: folder.clone(), total: selected.len(), lane: options.lane.clone() },
    );

    let deadline = watch_deadline(options.timeout, cancel);
    let mut executor = execute::Executor::new(profile, folder, &options, deadline.cancel.clone());
    let mut stop = false;
    for (script, scenario) in selected {
        if stop || deadline.cancel.is_cancelled() {
            summary.failed_fast = stop;
            summary.verdicts.push(Verdict::Cancelled);
            continue;
        }
        let report = executor.attempt(script, scenario, events).await;
        stop = options.fail_fast && !matches!(report.verdict, Verdict::Passed | Verdict::Skipped);
        summary.verdicts.push(report.verdict);
        tell(events, RunEvent::AttemptEnded(Box::new(report)));
    }
    summary.deadline_passed = deadline.passed();
    summary.took = began.elapsed();
    Ok(summary)
}

/// Loads the scripts and picks what was asked for.
fn select(
    options: &RunOptions,
    events: &mpsc::UnboundedSender<RunEvent>,
    summary: &mut Summary,
) -> Vec<(Script, Scenario)> {
    let mut selected = Vec::new();
    for path in &options.scripts {
        let script = match Script::read(path) {
            Ok(script) => script,
            Err(error) => {
                summary.not_loaded += 1;
                tell(events, RunEvent::NotLoaded { script: None, error });
                continue;
            }
        };
        match load(&script) {
            Ok(scenarios) => {
                summary.declared += scenarios.len();
                let wanted = scenarios.into_iter().filter(|scenario| options.wants(&script, scenario));
                selected.extend(wanted.map(|scenario| (script.clone(), scenario)));
            }
            Err(error) => {
                summary.not_loaded += 1;
                tell(events, RunEvent::NotLoaded { script: Some(script), error });
            }
        }
    }
    selected
}

impl RunOptions {
    fn wants(&self, script: &Script, scenario: &Scenario) -> bool {
        let by_text = self.filter.as_ref().is_none_or(|filter| {
            scenario.name.contains(filter.as_str()) || script.path.to_string_lossy().contains(filter.as_str())
        });
        by_text && self.tag.as_ref().is_none_or(|tag| scenario.tags.contains(tag))
    }
}

fn tell(events: &mpsc::UnboundedSender<RunEvent>, event: RunEvent) {
    // A report that went away does not stop the run.
    let _ = events.send(event);
}

struct RunDeadline {
    cancel: CancellationToken,
    limit: Option<Instant>,
    _watch: Option<tokio_util::task::AbortOnDropHandle<()>>,
}

impl RunDeadline {
    fn passed(&self) -> bool {
        self.cancel.is_cancelled() && self.limit.is_some_and(|limit| Instant::now() >= limit)
    }
}

fn watch_deadline(timeout: Option<Duration>, cancel: &CancellationToken) -> RunDeadline {
    let cancel = cancel.child_token();
    let limit = timeout.map(|timeout| Instant::now() + timeout);
    let watch = limit.map(|limit| {
        let cancel = cancel.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep_until(limit.into()).await;
            cancel.cancel();
        }))
    });
    RunDeadline { cancel, limit, _watch: watch }
}

/// Makes `artifacts/YYYYMMDD-HHMMSS`, with a number behind it when that is taken.
///
/// # Errors
/// It cannot be made.
pub fn new_run_folder(artifacts: &std::path::Path) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(artifacts)?;
    let name = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    for number in 1_u32.. {
        let folder = match number {
            1 => artifacts.join(&name),
            _ => artifacts.join(format!("{name}-{number}")),
        };
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| folder),
        }
    }
    unreachable!("there is always a next number")
}
