//! Reads a run's journal.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    AttemptNote, Entry, FORMAT, FailureNote, RUN_FILE, RunBegan, RunBody, TestNote, VERSION, Verdict,
};

/// A run, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct RunRecord {
    /// The run's folder.
    pub folder: PathBuf,
    /// How it was asked for.
    pub began: RunBegan,
    /// When it began.
    pub began_at: Timestamp,
    /// The texts of its scripts, by their paths.
    pub scripts: BTreeMap<String, Arc<str>>,
    /// Scripts that did not load.
    pub not_loaded: Vec<NotLoaded>,
    /// Its tests, in the order of the list.
    pub tests: Vec<TestRecord>,
    /// Milliseconds, if it came to its end.
    pub took_ms: Option<u64>,
    /// Why it ended before everything had run.
    pub ended_by: Option<String>,
}

/// A script that did not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLoaded {
    /// The path as it was given.
    pub file: String,
    /// Why.
    pub failure: FailureNote,
}

/// A test, as far as it came.
#[derive(Debug, Clone)]
pub struct TestRecord {
    /// What it is.
    pub test: TestNote,
    /// Its attempts.
    pub attempts: Vec<AttemptRecord>,
    /// Its verdict; none: it did not come to one, for it never began, or the program was killed.
    pub verdict: Option<Verdict>,
    /// Milliseconds, lanes included.
    pub took_ms: u64,
    /// Whether it took longer than the run calls slow.
    pub is_slow: bool,
}

/// An attempt, as far as it came.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// 1 for the first try.
    pub number: u32,
    /// Its folder, which holds `journal.ndjson`.
    pub folder: PathBuf,
    /// When it began.
    pub began_at: Timestamp,
    /// What became of it; none: the program was killed.
    pub ended: Option<AttemptNote>,
}

/// Why a run's journal could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RunLoadError {
    /// The file cannot be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The first line is not a header of this format.
    #[error("{path}: line 1 is not a `{FORMAT}` header")]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("{path}: version {found}, this program reads up to {VERSION}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A line is not an entry.
    #[error("{path}: line {line}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// Loads the journal of a run: its folder, or the file `run.ndjson` in it. A last line cut short, as a kill leaves it, and
/// entries of names that are not known are left out.
///
/// # Errors
/// See [`RunLoadError`].
pub fn load(path: &Path) -> Result<RunRecord, RunLoadError> {
    let path = if path.is_dir() { path.join(RUN_FILE) } else { path.to_owned() };
    let io = |source| RunLoadError::Io { path: path.clone(), source };
    let mut lines = BufReader::new(File::open(&path).map_err(io)?).split(b'\n').enumerate().peekable();
    let header = lines.next().map(|(_, line)| line.map_err(io)).transpose()?.unwrap_or_default();
    let header: Header =
        serde_json::from_slice(&header).map_err(|_| RunLoadError::NotARun { path: path.clone() })?;
    if header.format != FORMAT {
        return Err(RunLoadError::NotARun { path });
    }
    if header.version > VERSION {
        return Err(RunLoadError::Newer { path, found: header.version });
    }
    let mut reader = Reader::default();
    reader.record.folder = path.parent().map(Path::to_owned).unwrap_or_default();
    while let Some((index, line)) = lines.next() {
        let line = line.map_err(io)?;
        let error = match serde_json::from_slice::<Entry>(&line) {
            Ok(entry) => {
                reader.take(entry);
                continue;
            }
            Err(error) => error,
        };
        // Cut short in the middle of a character it is not even UTF-8.
        let is_cut = lines.peek().is_none() && !line.ends_with(b"}");
        if is_cut {
            break;
        }
        if !is_unknown_entry(&line) {
            return Err(RunLoadError::Line { path, line: index + 1, source: error });
        }
    }
    Ok(reader.record)
}

/// Whether this is an entry of a later version: in order, only of a name that is not ours.
fn is_unknown_entry(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    const KNOWN: [&str; 8] = [
        "run_began",
        "script_loaded",
        "script_not_loaded",
        "test_selected",
        "attempt_began",
        "attempt_ended",
        "test_ended",
        "run_ended",
    ];
    serde_json::from_slice::<Named>(line).is_ok_and(|named| !KNOWN.contains(&named.event.as_str()))
}

#[derive(Default)]
struct Reader {
    record: RunRecord,
    /// Indices of tests by their ids.
    index: HashMap<String, usize>,
}

impl Reader {
    fn take(&mut self, entry: Entry) {
        let Entry { wall, body, .. } = entry;
        match body {
            RunBody::RunBegan(began) => (self.record.began, self.record.began_at) = (began, wall),
            RunBody::ScriptLoaded { file, text } => {
                self.record.scripts.insert(file, text.into());
            }
            RunBody::ScriptNotLoaded { file, text, failure } => {
                if let Some(text) = text {
                    self.record.scripts.insert(file.clone(), text.into());
                }
                self.record.not_loaded.push(NotLoaded { file, failure });
            }
            RunBody::TestSelected(test) => {
                self.index.insert(test.id.clone(), self.record.tests.len());
                self.record.tests.push(TestRecord {
                    test,
                    attempts: Vec::new(),
                    verdict: None,
                    took_ms: 0,
                    is_slow: false,
                });
            }
            RunBody::AttemptBegan { id, attempt, folder } => {
                let folder = self.record.folder.join(folder);
                if let Some(test) = self.test(&id) {
                    test.attempts.push(AttemptRecord {
                        number: attempt,
                        folder,
                        began_at: wall,
                        ended: None,
                    });
                }
            }
            RunBody::AttemptEnded(note) => {
                let Some(test) = self.test(&note.id) else { return };
                if let Some(attempt) = test.attempts.iter_mut().find(|it| it.number == note.attempt) {
                    attempt.ended = Some(note);
                }
            }
            RunBody::TestEnded { id, verdict, took_ms, is_slow, .. } => {
                if let Some(test) = self.test(&id) {
                    (test.verdict, test.took_ms, test.is_slow) = (Some(verdict), took_ms, is_slow);
                }
            }
            RunBody::RunEnded { took_ms, ended_by } => {
                (self.record.took_ms, self.record.ended_by) = (Some(took_ms), ended_by);
            }
        }
    }

    fn test(&mut self, id: &str) -> Option<&mut TestRecord> {
        self.index.get(id).map(|&index| &mut self.record.tests[index])
    }
}

#[cfg(test)]
mod tests {
    use super::super::RunLog;
    use super::*;

    fn selected(id: &str) -> RunBody {
        RunBody::TestSelected(TestNote { id: id.to_owned(), name: id.to_owned(), ..TestNote::default() })
    }

    #[test]
    fn a_run_that_was_killed_reads_back_up_to_that_moment() {
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::create(folder.path()).unwrap();
        log.append([
            RunBody::RunBegan(RunBegan { tests: 2, ..RunBegan::default() }),
            selected("a"),
            selected("b"),
        ]);
        let began = |id: &str| RunBody::AttemptBegan { id: id.to_owned(), attempt: 1, folder: id.to_owned() };
        log.append([began("a"), began("b")]);
        let note = AttemptNote {
            id: "a".to_owned(),
            attempt: 1,
            verdict: Verdict::Failed,
            failure: None,
            further_misses: 0,
            warnings: Vec::new(),
            host_notes: Vec::new(),
            took_ms: 7,
        };
        log.append([RunBody::AttemptEnded(note)]);
        let path = folder.path().join(RUN_FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(
            "{\"t_ns\":1,\"wall\":\"2026-01-01T00:00:00Z\",\"event\":\"of_tomorrow\",\"data\":1}\n",
        );
        text.push_str("{\"t_ns\":1,\"wall\":\"2026-01-01T00:0");
        std::fs::write(&path, text).unwrap();

        let run = load(folder.path()).unwrap();
        assert_eq!(run.began.tests, 2);
        let [a, b] = &run.tests[..] else { panic!("two tests: {:?}", run.tests) };
        assert_eq!(a.attempts[0].ended.as_ref().unwrap().verdict, Verdict::Failed);
        assert!(b.attempts[0].ended.is_none() && b.verdict.is_none());
        assert_eq!((run.took_ms, a.attempts[0].folder.clone()), (None, folder.path().join("a")));
    }

    #[test]
    fn damage_in_the_middle_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        drop(RunLog::create(folder.path()).unwrap());
        let path = folder.path().join(RUN_FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"t_ns\":1,\n{}\n");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(load(&path), Err(RunLoadError::Line { line: 2, .. })));
        std::fs::write(&path, "{\"format\":\"backstaff-run\",\"version\":2}\n").unwrap();
        assert!(matches!(load(&path), Err(RunLoadError::Newer { found: 2, .. })));
        std::fs::write(&path, "hello\n").unwrap();
        assert!(matches!(load(&path), Err(RunLoadError::NotARun { .. })));
    }
}
