//! The journal of a whole run, `run.ndjson` in its folder: which scripts and scenarios there were, on which lanes, and
//! what became of every attempt. What happened within an attempt is in the attempt's own journal.
//!
//! A header line `{"format":"backstaff-run","version":1}`, then one [`Entry`] a line, appended and flushed as things
//! happen, so the file is whole up to the moment at which the program was killed. [`RunRecord`] is what a reader makes
//! of it.

mod log;
mod record;
pub mod timings;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use log::RunLog;
pub use record::{AttemptRecord, NotLoaded, RunLoadError, RunRecord, TestRecord, load};
pub use timings::{Timings, TimingsError};

/// The name in the header line.
pub const FORMAT: &str = "backstaff-run";
/// The major version written; newer ones are refused.
pub const VERSION: u32 = 1;
/// The name of the file in a run's folder.
pub const RUN_FILE: &str = "run.ndjson";

/// One line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Monotonic nanoseconds since the run began.
    pub t_ns: u64,
    /// Wall clock when it was written.
    pub wall: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: RunBody,
}

/// What happened to a run. Readers must expect names they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum RunBody {
    /// The first entry.
    RunBegan(RunBegan),
    /// A script of which something was selected, with its text as it ran.
    ScriptLoaded {
        /// The path as it was given.
        file: String,
        /// Its text.
        text: String,
    },
    /// A script does not load; the others go on.
    ScriptNotLoaded {
        /// The path as it was given.
        file: String,
        /// Its text, when it could be read.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
        /// Why.
        failure: FailureNote,
    },
    /// A test will run.
    TestSelected(TestNote),
    /// An attempt began.
    AttemptBegan {
        /// The test's id.
        id: String,
        /// 1 for the first try.
        attempt: u32,
        /// The attempt's folder, relative to the run's; it holds `journal.ndjson`.
        folder: String,
    },
    /// An attempt ended.
    AttemptEnded(AttemptNote),
    /// What became of a test, after all its attempts.
    TestEnded {
        /// The test's id.
        id: String,
        /// Its verdict; `flaky` when a later attempt passed.
        verdict: Verdict,
        /// How many attempts it took.
        attempts: u32,
        /// Milliseconds, lanes included.
        took_ms: u64,
        /// Whether it took longer than the run calls slow.
        #[serde(default)]
        is_slow: bool,
    },
    /// The last entry.
    RunEnded {
        /// Milliseconds.
        took_ms: u64,
        /// Why it ended before everything had run: `signal 2`, `deadline`, `fail_fast`, `disk`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ended_by: Option<String>,
    },
}

/// How a run was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunBegan {
    /// The program's version.
    pub version: String,
    /// The lane of tests that name none.
    pub lane: String,
    /// How many attempts ran at once, at most.
    pub jobs: u32,
    /// How often a test that does not pass is tried again.
    pub retries: u32,
    /// How many tests are to run.
    pub tests: u32,
    /// Which part of the list this is, if not all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shard: Option<Shard>,
    /// How many tests the whole list has, all shards together.
    pub list_tests: u32,
    /// `sha256:<hex>` over the ids of the whole list, sorted, a newline after each.
    pub list_digest: String,
    /// Whether a flaky test fails the run.
    #[serde(default)]
    pub fail_on_flaky: bool,
    /// The working directory, for which paths are relative.
    pub working_dir: String,
}

/// One of several parts of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub index: u32,
    /// How many there are.
    pub total: u32,
}

/// A scenario, or a case of one, on its lanes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TestNote {
    /// Unique within the list: `FILE::NAME[CASE]@LANE`, with `#N` behind it for a repetition.
    pub id: String,
    /// The scenario's name.
    pub name: String,
    /// The case's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub case: Option<String>,
    /// The script's path as it was given.
    pub file: String,
    /// Line of the `scenario(…)` call.
    pub line: u32,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<String>,
    /// The lane's name; of several `a=NAME,b=NAME`.
    pub lane: String,
    /// What the scenario calls its lanes, when it has several, and their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub lanes: BTreeMap<String, String>,
    /// What the scenario needs.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub needs: Vec<String>,
    /// Which repetition, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repetition: Option<u32>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptNote {
    /// The test's id.
    pub id: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The verdict of this attempt.
    pub verdict: Verdict,
    /// Why, when it did not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<FailureNote>,
    /// How many expectations did not hold, beyond the reported failure.
    #[serde(default)]
    pub further_misses: usize,
    /// What the script warned of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// What should be known of this host when judging the verdict, such as a stall.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub host_notes: Vec<String>,
    /// Milliseconds, lanes included.
    pub took_ms: u64,
}

/// Why an attempt did not pass, or a script does not load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailureNote {
    /// `expectation`, `timeout`, `machine_ended`, `lane_lost`, `usage`, `script`, `skip`, `cancelled`, `bug`.
    pub kind: String,
    /// What was wanted and what was got, in lines.
    pub message: String,
    /// The script's line that this is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Names of the steps it happened in, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub steps: Vec<String>,
    /// The screen at that moment, relative to the attempt's folder.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub screenshot: Option<String>,
    /// Lua's traceback, for errors of the script itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceback: Option<String>,
}

/// The classes of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise held.
    Passed,
    /// It held, but not at the first attempt. Of tests, never of attempts.
    Flaky,
    /// It did not.
    Failed,
    /// The scenario itself is wrong.
    Error,
    /// The machine or the host failed.
    LaneFailed,
    /// A deadline passed.
    TimedOut,
    /// It does not apply here.
    Skipped,
    /// The run ended first.
    Cancelled,
    /// A mistake of ours.
    Bug,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::Flaky,
        Self::Failed,
        Self::Error,
        Self::LaneFailed,
        Self::TimedOut,
        Self::Skipped,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky => "flaky",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::LaneFailed => "lane_failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    /// Whether nothing is wrong: it passed in the end, or does not apply here.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Passed | Self::Flaky | Self::Skipped)
    }
}
