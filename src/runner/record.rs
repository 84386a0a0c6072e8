//! Recordings of a run's consoles: a file for each attempt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::execute::chain;
use crate::script::{Failure, FailureKind};
use crate::spice::{Recorder, RecorderError, RecorderOptions};

/// What to record.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// The file of the first scenario; the others add their number.
    pub file: PathBuf,
    /// What goes into it.
    pub options: RecorderOptions,
}

/// Numbers the recordings of a run.
#[derive(Debug)]
pub(super) struct Recordings {
    config: Option<RecordConfig>,
    begun: AtomicUsize,
}

/// The recordings of one attempt: one for each of its lanes.
#[derive(Debug)]
pub(super) struct Recording<'a> {
    of: &'a Recordings,
    begun: Mutex<Vec<Recorder>>,
}

impl Recordings {
    pub(super) fn new(config: Option<RecordConfig>) -> Self {
        Self { config, begun: AtomicUsize::new(0) }
    }

    pub(super) fn of_attempt(&self) -> Recording<'_> {
        Recording { of: self, begun: Mutex::default() }
    }
}

impl Recording<'_> {
    /// Begins the next file of the run, if anything is to be recorded.
    pub(super) fn begin(&self) -> Result<Option<Recorder>, Failure> {
        let Some(RecordConfig { file, options }) = &self.of.config else { return Ok(None) };
        let path = numbered(file, self.of.begun.fetch_add(1, Ordering::Relaxed) + 1);
        let made = path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), |folder| {
            std::fs::create_dir_all(folder)
                .map_err(|source| RecorderError::Create { path: path.clone(), source })
        });
        let recorder =
            made.and_then(|()| Recorder::create(&path, *options)).map_err(|error| failure(&error))?;
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(recorder.clone());
        Ok(Some(recorder))
    }

    /// Ends the files. What is missing in them is a failure of this host.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let begun = self.begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for recorder in begun {
            let ended = match tokio::task::spawn_blocking(move || recorder.finish()).await {
                Ok(finished) => finished.map_err(|error| failure(&error)),
                Err(error) => Err(Failure::new(FailureKind::Bug, format!("the recorder: {error}"))),
            };
            result = result.and(ended);
        }
        result
    }
}

fn failure(error: &RecorderError) -> Failure {
    let failure = Failure::new(FailureKind::LaneLost, chain(error));
    failure.hint("`--record FILE` names a file that may be written to, on a disk with room")
}

/// `boot.rec`, `boot-2.rec`, `boot-3.rec`.
fn numbered(file: &Path, number: usize) -> PathBuf {
    if number <= 1 {
        return file.to_owned();
    }
    let mut name = file.file_stem().map(OsString::from).unwrap_or_default();
    name.push(format!("-{number}"));
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_scenario_gets_the_name_and_the_others_a_number() {
        for (file, number, wanted) in [
            ("out/boot.rec", 1, "out/boot.rec"),
            ("out/boot.rec", 2, "out/boot-2.rec"),
            ("boot.old.rec", 10, "boot.old-10.rec"),
            ("boot", 3, "boot-3"),
        ] {
            assert_eq!(numbered(Path::new(file), number), Path::new(wanted));
        }
    }
}
