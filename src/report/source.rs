//! What reports are made of, from disk: a run, or what there is of one, and journals as they are, damage included.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::journal::ndjson;
use crate::journal::run::{
    self, AttemptNote, AttemptRecord, FailureNote, RUN_FILE, RunLoadError, RunRecord, TestNote, TestRecord,
    Verdict,
};

/// Why there is nothing to report on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder cannot be read.
    #[error("read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The run's journal does not load.
    #[error(transparent)]
    Run(#[from] RunLoadError),
    /// It is something else.
    #[error("{path} is neither a run nor an attempt")]
    Neither {
        /// The file or folder.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("{path}: journal version {found}, this program reads up to {known}", known = ndjson::VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Neither { .. } | Self::Run(RunLoadError::NotARun { .. }) => Some(NAME_ONE),
            Self::Newer { .. } | Self::Run(RunLoadError::Newer { .. }) => {
                Some("use the program that wrote it, or a later one")
            }
            Self::Run(RunLoadError::Line { .. }) => Some(
                "an attempt's folder, such as `logs/DATE-TIME/01-NAME/attempt-1`, can still be read alone",
            ),
            Self::Io { source, .. } | Self::Run(RunLoadError::Io { source, .. }) => {
                (source.kind() == std::io::ErrorKind::NotFound).then_some(NAME_ONE)
            }
        }
    }

    /// Whether the file or folder cannot be read at all; else it is not what is wanted.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Run(RunLoadError::Io { .. }))
    }
}

const NAME_ONE: &str =
    "name a run's folder (`logs/DATE-TIME`), its `run.ndjson`, or an attempt's folder or `journal.ndjson`";

/// Loads what `path` leads to: a run (its folder or `run.ndjson`), or a single attempt (its folder or `journal.ndjson`),
/// which is then a run of one test. Of a folder without `run.ndjson` every attempt that is found in it is taken.
///
/// # Errors
/// See [`SourceError`].
pub fn load(path: &Path) -> Result<RunRecord, SourceError> {
    let io = |source| SourceError::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        let mut header = Vec::new();
        BufReader::new(File::open(path).map_err(io)?).take_line(&mut header).map_err(io)?;
        return match serde_json::from_slice::<Header>(&header) {
            Ok(header) if header.format == run::FORMAT => Ok(run::load(path)?),
            Ok(header) if header.format == ndjson::FORMAT => lone_attempt(path),
            _ => Err(SourceError::Neither { path: path.to_owned() }),
        };
    }
    if path.join(RUN_FILE).is_file() {
        return Ok(run::load(path)?);
    }
    if path.join(JOURNAL_FILE).is_file() {
        return lone_attempt(&path.join(JOURNAL_FILE));
    }
    gathered(path)
}

/// A journal of an attempt, as far as it can be read.
#[derive(Debug, Clone, Default)]
pub struct RawJournal {
    /// Its events, in the order of the file.
    pub events: Vec<RawEvent>,
    /// Lines in the middle that are no events.
    pub damaged_lines: usize,
}

/// An event as it is on disk. Names that are not known are as good as others.
#[derive(Debug, Clone, Deserialize)]
pub struct RawEvent {
    /// Position in the journal, from 1.
    pub seq: u64,
    /// Monotonic nanoseconds since the attempt began.
    pub t_ns: u64,
    /// Wall clock when it was appended.
    #[serde(default)]
    pub wall: Option<Timestamp>,
    /// Which stream it belongs to.
    #[serde(default)]
    pub source: String,
    /// What the scenario calls the lane it is about, when the scenario has several.
    #[serde(default)]
    pub lane: Option<String>,
    /// Its name.
    #[serde(rename = "event")]
    pub name: String,
    /// What happened.
    #[serde(default)]
    pub data: Value,
}

impl RawEvent {
    /// A text of the event's data; empty when there is none of that name.
    pub fn text(&self, key: &str) -> &str {
        self.data.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A whole number of the event's data.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.data.get(key).and_then(Value::as_u64)
    }

    /// A number of the event's data.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.data.get(key).and_then(Value::as_f64)
    }

    /// Seconds since the attempt began.
    pub fn seconds(&self) -> f64 {
        std::time::Duration::from_nanos(self.t_ns).as_secs_f64()
    }
}

impl RawJournal {
    /// Loads a journal. Unlike [`ndjson::load`], it goes on after lines that are no events, and counts them, and keeps
    /// events of names that are not known. The last line may be cut short, as a kill leaves it.
    ///
    /// # Errors
    /// The file cannot be read, is no journal, or was written by a newer program.
    pub fn load(path: &Path) -> Result<Self, SourceError> {
        let io = |source| SourceError::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut line = Vec::new();
        file.take_line(&mut line).map_err(io)?;
        let header: Header = serde_json::from_slice(&line)
            .ok()
            .filter(|header: &Header| header.format == ndjson::FORMAT)
            .ok_or_else(|| SourceError::Neither { path: path.to_owned() })?;
        if header.version > ndjson::VERSION {
            return Err(SourceError::Newer { path: path.to_owned(), found: header.version });
        }
        let mut journal = Self::default();
        let mut last_is_damaged = false;
        while file.take_line(&mut line).map_err(io)? {
            last_is_damaged = match serde_json::from_slice(&line) {
                Ok(event) => {
                    journal.events.push(event);
                    false
                }
                Err(_) => true,
            };
            journal.damaged_lines += usize::from(last_is_damaged);
        }
        // A last line cut short is how a kill leaves a journal; no damage.
        journal.damaged_lines -= usize::from(last_is_damaged);
        Ok(journal)
    }
}

/// The name of the journal in an attempt's folder.
pub const JOURNAL_FILE: &str = "journal.ndjson";

#[derive(Deserialize)]
struct Header {
    format: String,
    #[serde(default)]
    version: u32,
}

trait TakeLine {
    /// Replaces `line` by the next one; false at the end.
    fn take_line(&mut self, line: &mut Vec<u8>) -> std::io::Result<bool>;
}

impl<R: std::io::Read> TakeLine for BufReader<R> {
    fn take_line(&mut self, line: &mut Vec<u8>) -> std::io::Result<bool> {
        line.clear();
        Ok(self.read_until(b'\n', line)? > 0)
    }
}

/// The run of this attempt alone: out of its run, where that is still around it, or out of its journal.
fn lone_attempt(journal: &Path) -> Result<RunRecord, SourceError> {
    let folder = match journal.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    if let Some(run) = run_around(&folder) {
        return Ok(run);
    }
    let mut run = RunRecord { folder: folder.clone(), ..RunRecord::default() };
    take_attempt(&mut run, journal)?;
    run.began.list_tests = 1;
    // It ended when its attempt did.
    run.took_ms = run.tests.first().filter(|test| test.verdict.is_some()).map(|test| test.took_ms);
    Ok(run)
}

/// What a run's journal says of the attempt in `folder`, as a run of that attempt alone.
fn run_around(folder: &Path) -> Option<RunRecord> {
    let there = folder.canonicalize().ok()?;
    // Where the path says it, the run is named as the path does.
    let is_plain = folder.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    let run_of = |folder: &Path| folder.parent()?.parent().map(|run| run.join(RUN_FILE));
    let named = run_of(folder).filter(|file| is_plain && file.is_file());
    let mut run = run::load(&named.or_else(|| run_of(&there))?).ok()?;
    for test in &mut run.tests {
        test.attempts.retain(|attempt| attempt.folder.canonicalize().is_ok_and(|it| it == there));
    }
    run.tests.retain(|test| !test.attempts.is_empty());
    let test = run.tests.first_mut()?;
    // What became of this attempt, not of the test, nor of the list.
    let ended = test.attempts.first()?.ended.as_ref();
    (test.verdict, run.took_ms) = (ended.map(|note| note.verdict), ended.map(|note| note.took_ms));
    test.took_ms = run.took_ms.unwrap_or(test.took_ms);
    (run.began.tests, run.began.list_tests) = (1, 1);
    (run.began.shard, run.ended_by) = (None, None);
    run.began.list_digest.clear();
    run.not_loaded.clear();
    Some(run)
}

/// Every attempt in the folders of a folder, as a run that was made before there were journals of runs.
fn gathered(folder: &Path) -> Result<RunRecord, SourceError> {
    let mut run = RunRecord { folder: folder.to_owned(), ..RunRecord::default() };
    let mut journals = Vec::new();
    for below in folders_in(folder) {
        journals.push(below.join(JOURNAL_FILE));
        journals.extend(folders_in(&below).into_iter().map(|attempt| attempt.join(JOURNAL_FILE)));
    }
    journals.retain(|journal| journal.is_file());
    if journals.is_empty() {
        return Err(SourceError::Neither { path: folder.to_owned() });
    }
    for journal in journals {
        take_attempt(&mut run, &journal)?;
    }
    run.took_ms = Some(run.tests.iter().map(|test| test.took_ms).sum());
    Ok(run)
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn take_attempt(run: &mut RunRecord, journal: &Path) -> Result<(), SourceError> {
    let raw = RawJournal::load(journal)?;
    let folder = journal.parent().map(Path::to_owned).unwrap_or_default();
    let began = raw.events.iter().find(|event| event.name == "attempt_began");
    let ended = raw.events.iter().rev().find(|event| event.name == "attempt_ended");
    let text = |key: &str| began.map(|event| event.text(key)).unwrap_or_default().to_owned();
    let number = |key: &str| began.and_then(|event| event.number(key)).and_then(|it| u32::try_from(it).ok());
    let (name, file, lane) = (text("scenario"), text("file"), text("lane"));
    let took_ms = raw.events.last().map_or(0, |event| event.t_ns / 1_000_000);
    let began_at = raw.events.first().and_then(|event| event.wall).unwrap_or_default();
    let id = format!("{file}::{name}@{lane}");
    if run.tests.is_empty() {
        (run.began.lane, run.began_at) = (lane.clone(), began_at);
    }
    if let Some(script) = script_text(&file) {
        run.scripts.insert(file.clone(), script.into());
    }
    let attempt = number("attempt").unwrap_or(1);
    let note = ended.map(|event| attempt_note(event, id.clone(), attempt, took_ms));
    let verdict = note.as_ref().map(|note| note.verdict);
    let attempt = AttemptRecord { number: attempt, folder, began_at, ended: note };
    if let Some(test) = run.tests.iter_mut().find(|test| test.test.id == id && attempt.number > 1) {
        test.attempts.push(attempt);
        (test.verdict, test.took_ms) = (verdict, test.took_ms + took_ms);
        return Ok(());
    }
    let line = number("line").unwrap_or_default();
    let test = TestNote { id, name, file, line, lane, ..TestNote::default() };
    run.tests.push(TestRecord { test, attempts: vec![attempt], verdict, took_ms, is_slow: false });
    run.began.tests += 1;
    Ok(())
}

fn attempt_note(ended: &RawEvent, id: String, attempt: u32, took_ms: u64) -> AttemptNote {
    let verdict = ended.data.get("verdict").cloned().unwrap_or_default();
    let verdict = serde_json::from_value(verdict).unwrap_or(Verdict::Error);
    let failure = ended.data.get("failure").cloned().and_then(|it| serde_json::from_value(it).ok());
    // Journals of before there was a failure in parts have its text only.
    let reason = ended.data.get("reason").and_then(Value::as_str).filter(|reason| !reason.is_empty());
    let failure = failure.or_else(|| reason.map(failure_of_reason));
    AttemptNote {
        id,
        attempt,
        verdict,
        failure,
        further_misses: 0,
        warnings: Vec::new(),
        host_notes: Vec::new(),
        took_ms,
    }
}

/// `file:line: message` in parts.
fn failure_of_reason(reason: &str) -> FailureNote {
    let place = reason.split_once(".lua:").and_then(|(file, rest)| {
        let (line, message) = rest.split_once(": ")?;
        Some((format!("{file}.lua"), line.parse().ok()?, message))
    });
    match place {
        Some((file, line, message)) => FailureNote {
            message: message.to_owned(),
            file: Some(file),
            line: Some(line),
            ..FailureNote::default()
        },
        None => FailureNote { message: reason.to_owned(), ..FailureNote::default() },
    }
}

/// The text of a script that a journal names, as it is now. A journal may come from anywhere, so only scripts are read,
/// and only below the working directory.
fn script_text(file: &str) -> Option<String> {
    let path = Path::new(file);
    let is_script = path.extension().is_some_and(|extension| extension == "lua");
    if !is_script || !is_below(path) || std::fs::metadata(path).ok()?.len() > MAX_SCRIPT_BYTES {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

/// Whether a relative path stays below where it starts, as far as its text tells.
pub(super) fn is_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

const MAX_SCRIPT_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"format\":\"backstaff-journal\",\"version\":1}\n";
    const BEGAN: &str = r#"{"seq":1,"t_ns":5,"wall":"2026-01-01T00:00:00Z","source":"runner","event":"attempt_began","data":{"scenario":"it","file":"../a.lua","line":3,"lane":"sim","attempt":1}}"#;

    fn journal(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL_FILE);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_lone_attempt_that_was_killed_is_a_run_of_one_test_without_a_verdict() {
        let (folder, path) = journal(&format!("{HEADER}{BEGAN}\n{{\"seq\":2,\"t_"));
        for path in [folder.path(), &path] {
            let run = load(path).unwrap();
            let [test] = &run.tests[..] else { panic!("one test: {:?}", run.tests) };
            assert_eq!((test.test.id.as_str(), test.test.line, test.verdict), ("../a.lua::it@sim", 3, None));
            assert!(test.attempts[0].ended.is_none());
            assert!(run.scripts.is_empty(), "nothing above the working directory is read");
        }
    }

    #[test]
    fn lines_that_are_no_events_are_counted_and_unknown_events_kept() {
        let strange = r#"{"seq":9,"t_ns":7,"source":"tea","event":"of_tomorrow","data":[1],"more":2}"#;
        let (_folder, path) = journal(&format!("{HEADER}{BEGAN}\n{{oops\n\n\u{fffd}\n{strange}\n{{\"seq\""));
        let journal = RawJournal::load(&path).unwrap();
        assert_eq!((journal.events.len(), journal.damaged_lines), (2, 3));
        assert_eq!((journal.events[1].name.as_str(), journal.events[1].seq), ("of_tomorrow", 9));
    }

    #[test]
    fn a_reason_in_one_text_is_taken_apart() {
        let failure = failure_of_reason("a b.lua:12: no match: none\nseen: 3");
        assert_eq!((failure.file.as_deref(), failure.line), (Some("a b.lua"), Some(12)));
        assert_eq!(failure.message, "no match: none\nseen: 3");
        assert_eq!(failure_of_reason("lane lost").file, None);
    }

    #[test]
    fn what_is_neither_a_run_nor_an_attempt_says_so() {
        let (folder, path) = journal("hello\n");
        assert!(matches!(load(&path), Err(SourceError::Neither { .. })));
        std::fs::write(&path, "{\"format\":\"backstaff-journal\",\"version\":2}\n").unwrap();
        assert!(matches!(load(&path), Err(SourceError::Newer { found: 2, .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(load(folder.path()), Err(SourceError::Neither { .. })));
        assert!(matches!(load(&path), Err(SourceError::Io { .. })));
    }
}
