//! Which scenarios run, on which lanes, how many at once, and what became of them. Formats no text and never touches
//! the terminal: it reports [`RunEvent`]s, keeps the run's journal and returns a [`Summary`].
//!
//! Start reading at [`run`]. [`discovery`] finds scripts, [`select`] makes tests of them, [`filter`] says which of them
//! somebody means, [`shard`] which part is this machine's, [`project`] finds profiles, [`lanes`] brings machines up,
//! [`schedule`] says when attempts begin, [`admission`] how many fit, [`execute`] runs one of them.

mod admission;
pub mod check;
mod discovery;
mod execute;
pub mod filter;
mod host;
mod lanes;
pub mod project;
mod record;
mod schedule;
pub mod select;
pub mod shard;
mod warm;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use discovery::{DiscoveryError, discover};
pub use execute::store_plan;
pub use lanes::NO_LANE;
pub use project::{Project, ProjectError};
pub use record::RecordConfig;
pub use select::{FailedScript, Loaded, Selection, Test};

use self::execute::Executor;
use self::host::StallWatch;
use self::lanes::RunLanes;
use self::record::Recordings;
use self::schedule::Schedule;
use crate::journal::Journal;
pub use crate::journal::run::Verdict;
use crate::journal::run::{AttemptNote, FailureNote, RUN_FILE, RunBegan, RunBody, RunLog, Shard, Timings};
use crate::lane::AttachEnvironment;
use crate::lane::warm::WarmMode;
pub use crate::script::LoadError;
use crate::script::prompt::Held;
use crate::script::{Failure, FailureKind, Script};

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Scripts, in the order in which they run.
    pub scripts: Vec<PathBuf>,
    /// Run instead of them, if there is one: a script that is no file.
    pub session: Option<Script>,
    /// Who is told of attempts that stand still at a failed call, and may ask them; then they run one after
    /// the other, without retries and without a deadline of the run.
    pub prompts: Option<mpsc::Sender<Held>>,
    /// Where profiles come from.
    pub project: Project,
    /// The lane of scenarios that name none.
    pub lane: String,
    /// The value of `PATH`, where QEMU is looked for.
    pub search_path: std::ffi::OsString,
    /// The working directory; absolute.
    pub working_dir: PathBuf,
    /// Which of the tests.
    pub selection: Selection,
    /// Which part of the list.
    pub shard: Option<Shard>,
    /// How long tests took in earlier runs.
    pub timings: Timings,
    /// `t.params`.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The folder that gets a folder for this run, usually `logs`.
    pub artifacts: PathBuf,
    /// Deadline of the whole run.
    pub timeout: Option<Duration>,
    /// Stop after the first test that did not pass.
    pub fail_fast: bool,
    /// How many attempts run at once; none: as many as memory and processors hold.
    pub jobs: Option<u32>,
    /// How often a test that did not pass is tried again.
    pub retries: u32,
    /// Whether a flaky test fails the run.
    pub fail_on_flaky: bool,
    /// How often each test runs.
    pub repeat: Repeat,
    /// What takes longer is slow.
    pub slow_after: Duration,
    /// Whether scenarios start from saved machines.
    pub warm: WarmMode,
    /// What the environment says about machines of somebody else's.
    pub attach: AttachEnvironment,
    /// Whether and where consoles are recorded.
    pub record: Option<RecordConfig>,
    /// The signal that cancelled the run, 0 as long as none did.
    pub signal: Arc<AtomicU8>,
}

/// How often each test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// Once.
    #[default]
    Once,
    /// So often.
    Times(u32),
    /// Round after round until something fails, at most so many.
    UntilFailure(Option<u32>),
}

impl Repeat {
    /// How many rounds there are for sure.
    fn rounds(self) -> usize {
        match self {
            Self::Once | Self::UntilFailure(_) => 1,
            Self::Times(times) => usize::try_from(times).unwrap_or(usize::MAX),
        }
    }
}

/// What happens during a run, for reports.
#[derive(Debug)]
pub enum RunEvent {
    /// The run's folder exists.
    Began(Box<RunPlan>),
    /// A script does not load; the others go on.
    NotLoaded(FailedScript),
    /// An attempt began. Its journal fills while it runs.
    AttemptBegan {
        /// What is tried.
        test: Test,
        /// 1 for the first try.
        number: u32,
        /// Where everything is noted.
        journal: Journal,
    },
    /// An attempt ended.
    AttemptEnded(Box<AttemptReport>),
}

/// What is going to run.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The run's folder.
    pub folder: PathBuf,
    /// How many tests; more may come where they are repeated until one fails.
    pub total: usize,
    /// Names of their lanes, sorted.
    pub lanes: Vec<String>,
    /// How many attempts run at once, at most.
    pub jobs: u32,
    /// Which part of how many tests, if it is a part.
    pub shard: Option<(Shard, usize)>,
    /// Whether only tests that are marked with `only` run.
    pub is_narrowed: bool,
    /// What takes longer is slow.
    pub slow_after: Duration,
}

/// What became of one attempt.
#[derive(Debug)]
pub struct AttemptReport {
    /// What was tried.
    pub test: Test,
    /// 1 for the first try.
    pub number: u32,
    /// Why, when it did not pass.
    pub failure: Option<Failure>,
    /// Time, lanes included.
    pub took: Duration,
    /// The attempt's folder.
    pub folder: PathBuf,
    /// As it is kept on disk.
    pub note: AttemptNote,
    /// Everything that was noted.
    pub journal: Journal,
    /// What became of the test, if this was its last attempt.
    pub outcome: Option<Verdict>,
    /// Whether the test took longer than the run calls slow.
    pub is_slow: bool,
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
    /// Tests that the scripts declare, selected or not.
    pub declared: usize,
    /// Tests that were selected, before this machine's part was taken.
    pub listed: usize,
    /// One verdict per test that was to run.
    pub verdicts: Vec<Verdict>,
    /// Scripts that did not load.
    pub not_loaded: usize,
    /// Whether the run's own deadline ended it.
    pub deadline_passed: bool,
    /// Whether it stopped at the first test that did not pass, as it was asked to.
    pub failed_fast: bool,
    /// Whether a flaky test fails the run.
    pub fail_on_flaky: bool,
    /// Why the run's journal is not whole.
    pub disk_failure: Option<String>,
    /// Wall time.
    pub took: Duration,
}

impl Summary {
    /// How many tests have one of these verdicts.
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

/// Runs tests, as many at once as fit, each on lanes of its own. Returns when all lanes are down.
///
/// # Errors
/// The run cannot begin; then nothing was started.
pub async fn run(
    mut options: RunOptions,
    events: &mpsc::UnboundedSender<RunEvent>,
    cancel: &CancellationToken,
) -> Result<Summary, RunError> {
    let began = Instant::now();
    if options.prompts.is_some() {
        // Somebody sits at one of them.
        (options.jobs, options.retries, options.timeout) = (Some(1), 0, None);
    }
    let mut summary = Summary { fail_on_flaky: options.fail_on_flaky, ..Summary::default() };
    // A wrong profile must be said before anything is made on disk.
    options.project.check_lane(&options.lane)?;
    let loaded = match &options.session {
        Some(script) => Loaded::of_session(script, &options.lane, &options.working_dir),
        None => options.selection.load(&options.scripts, &options.lane, &options.working_dir),
    };
    (summary.declared, summary.not_loaded) = (loaded.declared, loaded.failed.len());
    let list = List::new(loaded.tests, &options);
    summary.listed = list.ids.len();
    let names = list.tests.iter().flat_map(|test| test.lanes.iter().map(|(_, name)| name.as_str()));
    let lanes = RunLanes::load(names, &options)?;
    // An empty part of a list is a run like others: whoever merges the parts must see that nothing was lost.
    if list.ids.is_empty() {
        loaded.failed.into_iter().for_each(|failed| tell(events, RunEvent::NotLoaded(failed)));
        summary.took = began.elapsed();
        return Ok(summary);
    }
    let failed_folder = |source| RunError::Folder { folder: options.artifacts.clone(), source };
    // The newest run is the last one of tests: whoever asks about it does not mean a session.
    let folder = match &options.session {
        Some(_) => new_run_folder(&options.artifacts.join("repl")),
        None => new_run_folder(&options.artifacts),
    };
    let folder = folder.map_err(failed_folder)?;
    let log = RunLog::create(&folder).map_err(failed_folder)?;
    summary.folder = Some(folder.clone());

    let deadline = watch_deadline(options.timeout, cancel);
    let executor = Executor {
        lanes,
        folder: folder.clone(),
        params: options.params.clone().into(),
        prompts: options.prompts.clone(),
        is_session: options.session.is_some(),
        recordings: Recordings::new(options.record.clone()),
        stalls: StallWatch::start(),
        cancel: deadline.cancel.clone(),
        log: log.clone(),
        events: events.clone(),
    };
    let mut schedule = Schedule::new(&list, executor, &options);
    let plan = RunPlan {
        folder,
        total: list.tests.len().saturating_mul(options.repeat.rounds()),
        lanes: list.lanes(),
        jobs: schedule.jobs,
        shard: options.shard.map(|shard| (shard, list.ids.len())),
        is_narrowed: loaded.is_narrowed,
        slow_after: options.slow_after,
    };
    log.append(opening(&options, &plan, &list, &loaded.failed));
    schedule.note_selected();
    tell(events, RunEvent::Began(Box::new(plan)));
    loaded.failed.into_iter().for_each(|failed| tell(events, RunEvent::NotLoaded(failed)));

    schedule.run(&deadline.cancel).await;
    summary.verdicts = schedule.verdicts;
    summary.failed_fast = schedule.is_stopped;
    summary.deadline_passed = deadline.passed();
    summary.took = began.elapsed();
    let ended_by = match options.signal.load(Ordering::Acquire) {
        0 if summary.deadline_passed => Some("deadline".to_owned()),
        0 if log.failed().is_some() => Some("disk".to_owned()),
        0 if summary.failed_fast && summary.count(&[Verdict::Cancelled]) > 0 => Some("fail_fast".to_owned()),
        0 => None,
        number => Some(format!("signal {number}")),
    };
    log.append([RunBody::RunEnded { took_ms: millis(summary.took), ended_by }]);
    summary.disk_failure = log.failed();
    Ok(summary)
}

fn opening(options: &RunOptions, plan: &RunPlan, list: &List, failed: &[FailedScript]) -> Vec<RunBody> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut bodies = vec![RunBody::RunBegan(RunBegan {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lane: options.lane.clone(),
        jobs: plan.jobs,
        retries: options.retries,
        tests: count(plan.total),
        shard: options.shard,
        list_tests: count(list.ids.len()),
        list_digest: shard::list_digest(list.ids.iter().map(String::as_str)),
        fail_on_flaky: options.fail_on_flaky,
        working_dir: options.working_dir.display().to_string(),
    })];
    let mut known = std::collections::HashSet::new();
    for test in &list.tests {
        let file = test.script.path.display().to_string();
        if known.insert(file.clone()) {
            bodies.push(RunBody::ScriptLoaded { file, text: test.script.source.to_string() });
        }
    }
    bodies.extend(failed.iter().map(|FailedScript { path, script, error }| {
        let failure = match error {
            LoadError::Script(failure) => failure.note(),
            LoadError::Read { path, source } => FailureNote {
                kind: FailureKind::Script.name().to_owned(),
                message: format!("read {path}: {source}"),
                ..FailureNote::default()
            },
        };
        let text = script.as_ref().map(|script| script.source.to_string());
        RunBody::ScriptNotLoaded { file: path.display().to_string(), text, failure }
    }));
    bodies
}

/// This machine's part of the list of tests.
struct List {
    /// Ids of the whole list.
    ids: Vec<String>,
    /// In the order in which they begin.
    tests: Vec<Test>,
}

impl List {
    fn new(tests: Vec<Test>, options: &RunOptions) -> Self {
        let ids: Vec<String> = tests.iter().map(|test| test.id.clone()).collect();
        let known = |id: &str| options.timings.of(id);
        let mut tests = tests;
        if let Some(shard) = options.shard {
            let all: Vec<&str> = ids.iter().map(String::as_str).collect();
            let mut mine = shard::split(&all, known, shard).into_iter();
            tests.retain(|_| mine.next().unwrap_or(false));
        }
        if tests.iter().any(|test| known(&test.id).is_some()) {
            // The longest last would keep one lane busy while all others have nothing left to do.
            tests.sort_by_key(|test| std::cmp::Reverse(known(&test.id).unwrap_or(Duration::MAX)));
        }
        Self { ids, tests }
    }

    fn lanes(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tests.iter().flat_map(|test| test.lanes.iter().map(|(_, name)| name.clone())).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

/// The folder of the newest run below `artifacts`, as its name says.
pub fn newest_run(artifacts: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(artifacts).ok()?;
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        // `YYYYMMDD-HHMMSS`, with `-2` behind it for the second of that second.
        let (time, number) = (name.get(..RUN_NAME_CHARS)?, &name[RUN_NAME_CHARS..]);
        let number: u32 = if number.is_empty() { 1 } else { number.strip_prefix('-')?.parse().ok()? };
        let key = (time.to_owned(), number);
        path.join(RUN_FILE).is_file().then_some((key, path))
    });
    named.max().map(|(_, path)| path)
}

const RUN_NAME_CHARS: usize = "20260131-235959".len();

/// Makes `artifacts/YYYYMMDD-HHMMSS`, with a number behind it when that is taken.
///
/// # Errors
/// It cannot be made.
pub fn new_run_folder(artifacts: &Path) -> std::io::Result<PathBuf> {
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
