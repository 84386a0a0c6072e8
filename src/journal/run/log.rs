//! Writes a run's journal.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::{Entry, FORMAT, RUN_FILE, RunBody, VERSION};

/// Appends to a run's journal. A clone writes to the same file.
#[derive(Debug, Clone)]
pub struct RunLog {
    began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Why the file lacks what came last.
    failed: Option<String>,
}

impl RunLog {
    /// Begins the journal of a run in `folder`, which exists.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(folder: &Path) -> std::io::Result<Self> {
        let mut file = File::create(folder.join(RUN_FILE))?;
        file.write_all(format!("{}\n", json!({"format": FORMAT, "version": VERSION})).as_bytes())?;
        Ok(Self { began: Instant::now(), state: Arc::new(Mutex::new(State { file, failed: None })) })
    }

    /// Appends entries in one write, so that a kill loses all of them or none, and never half a line of an earlier one.
    /// After a failed write nothing more is written: a line may be cut, and only the last one may.
    pub fn append(&self, bodies: impl IntoIterator<Item = RunBody>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return;
        }
        let t_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut lines = Vec::new();
        for body in bodies {
            let entry = Entry { t_ns, wall: Timestamp::now(), body };
            serde_json::to_writer(&mut lines, &entry).expect("an entry has only text and numbers");
            lines.push(b'\n');
        }
        if let Err(error) = state.file.write_all(&lines) {
            state.failed = Some(format!("the run's journal cannot be written: {error}"));
        }
    }

    /// Why the file lacks what was appended last, if it does.
    pub fn failed(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failed.clone()
    }
}
