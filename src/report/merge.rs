//! Several runs as one, with a proof that they are all of one list and nothing was lost or run twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use crate::journal::run::{
    Entry, FORMAT, NotLoaded, RunBegan, RunBody, RunRecord, Shard, TestRecord, VERSION, Verdict,
};
use crate::runner::shard::list_digest;

/// Several runs as one.
#[derive(Debug)]
pub struct Merged {
    /// Everything that they have.
    pub run: RunRecord,
    /// What is known of its being whole, in a line.
    pub proof: Option<String>,
    /// What keeps it from being whole.
    pub problems: Vec<Problem>,
}

/// Something was lost, or run twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A part of the list that no run had.
    MissingShard(Shard),
    /// A part of the list that several runs had.
    DoubledShard {
        /// Which.
        shard: Shard,
        /// The runs' folders.
        folders: Vec<PathBuf>,
    },
    /// A run of another list.
    OtherList {
        /// Its folder.
        folder: PathBuf,
        /// Its digest.
        digest: String,
        /// That of the first run.
        wanted: String,
    },
    /// A run that is no part beside others that are, or one of another number of parts.
    OtherParts {
        /// Its folder.
        folder: PathBuf,
        /// The parts it says there are.
        total: Option<u32>,
        /// Those of the first run.
        wanted: Option<u32>,
    },
    /// A test that several runs had.
    DoubledTest {
        /// Its id.
        id: String,
        /// The runs' folders.
        folders: Vec<PathBuf>,
    },
    /// All parts together have another number of tests than the list.
    Count {
        /// What they have.
        found: usize,
        /// What the list has.
        wanted: u32,
    },
    /// All parts together have the number of tests of the list, but not its tests.
    Digest {
        /// Over what they have.
        found: String,
        /// The list's.
        wanted: String,
    },
}

impl Problem {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::MissingShard(_) => "name the run of every shard; one that never ran has to be run",
            Self::DoubledShard { .. } | Self::DoubledTest { .. } => {
                "name each run once, and one run of each shard"
            }
            Self::OtherList { .. } | Self::OtherParts { .. } | Self::Count { .. } | Self::Digest { .. } => {
                "shards are of one list when they are run with the same scripts, selection and number of shards"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |folders: &[PathBuf]| {
            folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::MissingShard(Shard { index, total }) => write!(f, "shard {index} of {total} is missing"),
            Self::DoubledShard { shard: Shard { index, total }, folders } => {
                write!(f, "shard {index} of {total} is there {} times: {}", folders.len(), list(folders))
            }
            Self::OtherList { folder, digest, wanted } => {
                write!(f, "{} is of another list: its digest is {digest}, wanted {wanted}", folder.display())
            }
            Self::OtherParts { folder, total, wanted } => {
                let parts = |total: &Option<u32>| match total {
                    Some(total) => format!("one of {total} shards"),
                    None => "no shard".to_owned(),
                };
                let (is, others) = (parts(total), parts(wanted));
                write!(f, "{} is {is}, while the first run is {others}", folder.display())
            }
            Self::DoubledTest { id, folders } => {
                write!(f, "{id} was run {} times: {}", folders.len(), list(folders))
            }
            Self::Count { found, wanted } => {
                write!(f, "all shards together have {found} tests, the list has {wanted}")
            }
            Self::Digest { found, wanted } => {
                write!(f, "the digest over all tests is {found}, the list's is {wanted}")
            }
        }
    }
}

/// Makes one run of several, of which there is at least one. A single one stays as it is.
pub fn merge(mut runs: Vec<RunRecord>) -> Merged {
    if runs.len() <= 1 {
        let run = runs.pop().unwrap_or_default();
        let alone = |Shard { index, total }: Shard| {
            format!("shard {index} of {total} alone: whether the others are whole is not known")
        };
        let proof = run.began.shard.filter(|shard| shard.total > 1).map(alone);
        return Merged { run, proof, problems: Vec::new() };
    }
    runs.sort_by_key(|run| run.began.shard.map(|shard| shard.index));
    let problems = problems(&runs);
    let proof = problems.is_empty().then(|| proof(&runs));
    let run = join(runs);
    Merged { run, proof, problems }
}

fn proof(runs: &[RunRecord]) -> String {
    let tests: usize = runs.iter().map(|run| run.tests.len()).sum();
    let is_open = |test: &&TestRecord| matches!(test.verdict, None | Some(Verdict::Cancelled));
    let open = runs.iter().flat_map(|run| &run.tests).filter(is_open).count();
    let but = if open > 0 { format!(", but {open} did not run to their end") } else { String::new() };
    match runs.first().and_then(|run| run.began.shard) {
        Some(shard) => {
            format!(
                "{} of {} shards, {tests} tests of {tests}: nothing is missing, nothing ran twice{but}",
                runs.len(),
                shard.total
            )
        }
        None => format!("{} runs, {tests} tests: nothing ran twice{but}", runs.len()),
    }
}

fn problems(runs: &[RunRecord]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ids: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for run in runs {
        for test in &run.tests {
            ids.entry(&test.test.id).or_default().push(run.folder.clone());
        }
    }
    // The first in the order of shards may be the one that does not belong here: one with a shard speaks for all.
    let first = runs.iter().find(|run| run.began.shard.is_some()).or(runs.first());
    if let Some(first) = first {
        shard_problems(runs, first, &mut problems);
        if first.began.shard.is_some() && problems.is_empty() {
            problems.extend(list_problem(first, &ids));
        }
    }
    let doubled = ids.into_iter().filter(|(_, folders)| folders.len() > 1);
    problems.extend(doubled.map(|(id, folders)| Problem::DoubledTest { id: id.to_owned(), folders }));
    problems
}

fn shard_problems(runs: &[RunRecord], first: &RunRecord, problems: &mut Vec<Problem>) {
    let total = first.began.shard.map(|shard| shard.total);
    let mut by_index: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    for run in runs {
        let (folder, its_total) = (run.folder.clone(), run.began.shard.map(|shard| shard.total));
        if its_total != total {
            problems.push(Problem::OtherParts { folder, total: its_total, wanted: total });
            continue;
        }
        let Some(shard) = run.began.shard else { continue };
        if run.began.list_digest != first.began.list_digest {
            let (digest, wanted) = (run.began.list_digest.clone(), first.began.list_digest.clone());
            problems.push(Problem::OtherList { folder: folder.clone(), digest, wanted });
        }
        by_index.entry(shard.index).or_default().push(folder);
    }
    let Some(total) = total else { return };
    // What a damaged file claims is not counted out one by one.
    let missing = (1..=total).filter(|index| !by_index.contains_key(index)).take(MAX_MISSING);
    problems.extend(missing.map(|index| Problem::MissingShard(Shard { index, total })));
    for (index, folders) in by_index.into_iter().filter(|(_, folders)| folders.len() > 1) {
        problems.push(Problem::DoubledShard { shard: Shard { index, total }, folders });
    }
}

fn list_problem(first: &RunRecord, ids: &BTreeMap<&str, Vec<PathBuf>>) -> Option<Problem> {
    let RunBegan { list_tests, list_digest: wanted, .. } = &first.began;
    if usize::try_from(*list_tests) != Ok(ids.len()) {
        return Some(Problem::Count { found: ids.len(), wanted: *list_tests });
    }
    let found = list_digest(ids.keys().copied());
    (found != *wanted).then(|| Problem::Digest { found, wanted: wanted.clone() })
}

fn join(runs: Vec<RunRecord>) -> RunRecord {
    let mut joined = RunRecord { began_at: Timestamp::MAX, took_ms: Some(0), ..RunRecord::default() };
    let is_list = runs.iter().all(|run| run.began.shard.is_some());
    for (index, run) in runs.into_iter().enumerate() {
        let RunRecord { began, began_at, scripts, not_loaded, tests, took_ms, ended_by, .. } = run;
        if index == 0 {
            joined.began = RunBegan { shard: None, tests: 0, ..began.clone() };
        }
        let whole = &mut joined.began;
        if whole.lane != began.lane {
            whole.lane = format!("{},{}", whole.lane, began.lane);
        }
        whole.jobs = whole.jobs.max(began.jobs);
        whole.retries = whole.retries.max(began.retries);
        whole.fail_on_flaky |= began.fail_on_flaky;
        joined.began_at = joined.began_at.min(began_at);
        joined.took_ms = joined.took_ms.zip(took_ms).map(|(left, right)| left.max(right));
        joined.ended_by = graver(joined.ended_by, ended_by);
        joined.scripts.extend(scripts);
        // Every shard tries to load every script.
        let is_new = |new: &NotLoaded| !joined.not_loaded.contains(new);
        let new: Vec<_> = not_loaded.into_iter().filter(is_new).collect();
        joined.not_loaded.extend(new);
        joined.tests.extend(tests);
    }
    rename_doubled(&mut joined.tests);
    let count = u32::try_from(joined.tests.len()).unwrap_or(u32::MAX);
    joined.began.tests = count;
    if !is_list {
        joined.began.list_tests = count;
        joined.began.list_digest = list_digest(joined.tests.iter().map(|test| test.test.id.as_str()));
    }
    joined
}

/// A test that ran twice stays twice, under names of their own.
fn rename_doubled(tests: &mut [TestRecord]) {
    let mut seen: BTreeSet<String> = tests.iter().map(|test| test.test.id.clone()).collect();
    let mut first = BTreeSet::new();
    for test in tests {
        let id = &mut test.test.id;
        if first.insert(id.clone()) {
            continue;
        }
        let names = (2_u32..).map(|number| format!("{id} ({number})"));
        let fresh = names.into_iter().find(|name| !seen.contains(name)).unwrap_or_default();
        seen.insert(fresh.clone());
        *id = fresh;
    }
}

/// Which of two reasons why runs ended early says more about the whole.
fn graver(left: Option<String>, right: Option<String>) -> Option<String> {
    let rank = |reason: &Option<String>| match reason.as_deref() {
        None => 0,
        Some("fail_fast") => 1,
        Some("disk") => 2,
        Some("deadline") => 3,
        Some(_) => 4,
    };
    if rank(&right) > rank(&left) { right } else { left }
}

/// Writes a run's journal that [`crate::journal::run::load`] reads as `run`, for a file in `folder`: folders of attempts
/// are relative to it.
///
/// # Errors
/// The writer fails.
pub fn write(run: &RunRecord, folder: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &json!({"format": FORMAT, "version": VERSION}))?;
    out.write_all(b"\n")?;
    let mut lines = Lines { out, began_at: run.began_at };
    lines.add(run.began_at, RunBody::RunBegan(run.began.clone()))?;
    for (file, text) in &run.scripts {
        let (file, text) = (file.clone(), text.to_string());
        lines.add(run.began_at, RunBody::ScriptLoaded { file, text })?;
    }
    for NotLoaded { file, failure } in &run.not_loaded {
        let (file, failure) = (file.clone(), failure.clone());
        lines.add(run.began_at, RunBody::ScriptNotLoaded { file, text: None, failure })?;
    }
    for test in &run.tests {
        lines.add(run.began_at, RunBody::TestSelected(test.test.clone()))?;
    }
    for test in &run.tests {
        lines.test(test, folder)?;
    }
    if let Some(took_ms) = run.took_ms {
        let ended_by = run.ended_by.clone();
        lines.add(after(run.began_at, took_ms), RunBody::RunEnded { took_ms, ended_by })?;
    }
    Ok(())
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    began_at: Timestamp,
}

impl Lines<'_> {
    fn test(&mut self, test: &TestRecord, folder: &Path) -> std::io::Result<()> {
        let id = &test.test.id;
        let mut last = self.began_at;
        for attempt in &test.attempts {
            let folder = relative(&attempt.folder, folder).display().to_string();
            let began = RunBody::AttemptBegan { id: id.clone(), attempt: attempt.number, folder };
            self.add(attempt.began_at, began)?;
            if let Some(ended) = &attempt.ended {
                last = after(attempt.began_at, ended.took_ms);
                let mut note = ended.clone();
                note.id.clone_from(id);
                self.add(last, RunBody::AttemptEnded(note))?;
            }
        }
        let Some(verdict) = test.verdict else { return Ok(()) };
        let attempts = u32::try_from(test.attempts.len()).unwrap_or(u32::MAX);
        let (id, took_ms, is_slow) = (id.clone(), test.took_ms, test.is_slow);
        self.add(last, RunBody::TestEnded { id, verdict, attempts, took_ms, is_slow })
    }

    fn add(&mut self, wall: Timestamp, body: RunBody) -> std::io::Result<()> {
        let t_ns = u64::try_from(wall.duration_since(self.began_at).as_nanos()).unwrap_or_default();
        serde_json::to_writer(&mut *self.out, &Entry { t_ns, wall, body })?;
        self.out.write_all(b"\n")
    }
}

fn after(at: Timestamp, took_ms: u64) -> Timestamp {
    at.checked_add(std::time::Duration::from_millis(took_ms)).unwrap_or(at)
}

/// The way from `folder` to `path`, both made absolute.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    // What is not there any more has no links to follow either.
    let whole = |path: &Path| {
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
    };
    let (path, folder) = (whole(path), whole(folder));
    let common = path.components().zip(folder.components()).take_while(|(left, right)| left == right).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    up.chain(path.components().skip(common)).collect()
}

/// Of shards that are missing, how many are named.
const MAX_MISSING: usize = 100;
