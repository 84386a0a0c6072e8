//! What an attempt's own journal adds to a report: its steps and waits, what was attached, what the script said.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::journal::ndjson::{LoadError, scan};
use crate::journal::{Body, Event};

/// The name of the journal in an attempt's folder.
pub const JOURNAL_FILE: &str = "journal.ndjson";

/// What reports take from an attempt's journal.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Its steps, in the order in which they began.
    pub steps: Vec<StepNote>,
    /// Its waits, in the order in which they began.
    pub waits: Vec<WaitNote>,
    /// What the script attached, and the screens that were kept.
    pub files: Vec<FileNote>,
    /// What the script said and warned of, in lines.
    pub log: Vec<String>,
    /// How much of what it said is missing, in lines.
    pub left_out: usize,
}

/// A step.
#[derive(Debug)]
pub struct StepNote {
    /// Names from the outermost step inwards.
    pub path: Vec<String>,
    /// Line of the call.
    pub line: u32,
    /// Whether it ended without an error; none: it did not end.
    pub passed: Option<bool>,
    /// Milliseconds.
    pub took_ms: u64,
}

/// A wait.
#[derive(Debug)]
pub struct WaitNote {
    /// Names of the steps it happened in, outermost first.
    pub step: Vec<String>,
    /// The call.
    pub call: String,
    /// What was waited for.
    pub wanted: String,
    /// Line of the call.
    pub line: u32,
    /// When it began.
    pub began_at: Timestamp,
    /// Seconds until its deadline.
    pub timeout_s: f64,
    /// How it ended; none: it did not.
    pub ended: Option<WaitEnd>,
}

/// How a wait ended.
#[derive(Debug, Clone)]
pub struct WaitEnd {
    /// `matched`, `timeout`, `machine_ended`, `cancelled`.
    pub outcome: String,
    /// Milliseconds.
    pub took_ms: u64,
    /// Processes that wanted a processor, for each there is.
    pub host_load: Option<f64>,
    /// How much of the time the machine had the processor it wanted.
    pub lane_speed: Option<f64>,
}

impl WaitNote {
    /// How much of its time was left, from 0 to 1; none when it did not end by a match or its deadline.
    pub fn slack(&self) -> Option<f64> {
        let ended = self.ended.as_ref()?;
        match ended.outcome.as_str() {
            "timeout" => Some(0.0),
            "matched" if self.timeout_s > 0.0 => {
                Some((1.0 - millis(ended.took_ms) / 1e3 / self.timeout_s).clamp(0.0, 1.0))
            }
            _ => None,
        }
    }
}

/// Milliseconds as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "a wait of 285,000 years may be off by a millisecond")]
pub(super) fn millis(took_ms: u64) -> f64 {
    took_ms as f64
}

/// A file that an attempt left.
#[derive(Debug)]
pub struct FileNote {
    /// The name the script gave; none for a screen.
    pub name: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

impl Evidence {
    /// Reads the journal in `folder`. None is no error: a folder may have stayed on another machine.
    ///
    /// # Errors
    /// There is one, and it cannot be read.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let mut reader =
            Reader { folder, evidence: Self::default(), waits: HashMap::new(), open: Vec::new() };
        match scan(&folder.join(JOURNAL_FILE), |name| WANTED.contains(&name), |event| reader.take(event)) {
            Err(LoadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
            Ok(()) => Ok(reader.evidence),
        }
    }

    /// As [`Evidence::load`]; what cannot be read leaves its reason where the script's words would be.
    pub(super) fn load_or_say(folder: &Path) -> Self {
        Self::load(folder).unwrap_or_else(|error| {
            let why = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let line = format!("the attempt's journal cannot be read: {error}{why}");
            Self { log: vec![line], ..Self::default() }
        })
    }

    /// The wait that had the least of its time left.
    pub fn tightest(&self) -> Option<&WaitNote> {
        let with_slack = self.waits.iter().filter_map(|wait| Some((wait.slack()?, wait)));
        with_slack.min_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, wait)| wait)
    }
}

/// The events that are read.
const WANTED: [&str; 8] =
    ["step_began", "step_ended", "wait_began", "wait_ended", "attachment", "screenshot", "log", "warning"];

/// Lines of a script's own words that are kept of an attempt.
const LOG_LINES: usize = 1_000;

struct Reader<'a> {
    folder: &'a Path,
    evidence: Evidence,
    /// Indices of waits by their numbers.
    waits: HashMap<u32, usize>,
    /// Indices of steps that have not ended.
    open: Vec<usize>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event) {
        let evidence = &mut self.evidence;
        match event.body {
            Body::StepBegan { path, line, .. } => {
                self.open.push(evidence.steps.len());
                evidence.steps.push(StepNote { path, line, passed: None, took_ms: 0 });
            }
            Body::StepEnded { path, passed, took_ms } => {
                let found = self.open.iter().rposition(|&index| evidence.steps[index].path == path);
                if let Some(position) = found {
                    let step = &mut evidence.steps[self.open.remove(position)];
                    (step.passed, step.took_ms) = (Some(passed), took_ms);
                }
            }
            Body::WaitBegan { wait, call, wanted, timeout_s, line } => {
                self.waits.insert(wait, evidence.waits.len());
                let step = self.open.last().map(|&index| evidence.steps[index].path.clone());
                let step = step.unwrap_or_default();
                let began_at = event.wall;
                evidence.waits.push(WaitNote { step, call, wanted, line, began_at, timeout_s, ended: None });
            }
            Body::WaitEnded { wait, outcome, took_ms, host_load, lane_speed, .. } => {
                if let Some(index) = self.waits.remove(&wait) {
                    let ended = WaitEnd { outcome, took_ms, host_load, lane_speed };
                    evidence.waits[index].ended = Some(ended);
                }
            }
            Body::Attachment { name, path } => {
                evidence.files.push(FileNote { name: Some(name), path: self.folder.join(path) });
            }
            Body::Screenshot { path, .. } => {
                evidence.files.push(FileNote { name: None, path: self.folder.join(path) });
            }
            Body::Log { message } => self.say(message),
            Body::Warning { message, line } => self.say(format!("warning, line {line}: {message}")),
            _ => {}
        }
    }

    fn say(&mut self, line: String) {
        if self.evidence.log.len() < LOG_LINES {
            self.evidence.log.push(line);
        } else {
            self.evidence.left_out += 1;
        }
    }
}
