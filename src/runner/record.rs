//! Recordings of a run's consoles: a file for each attempt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// The recordings of a run.
pub(super) struct Recordings {
    config: Option<RecordConfig>,
    current: Option<Recorder>,
}

impl Recordings {
    pub(super) fn new(config: Option<RecordConfig>) -> Self {
        Self { config, current: None }
    }

    /// Begins the file of attempt `number`, if anything is to be recorded.
    pub(super) fn begin(&mut self, number: usize) -> Result<(), Failure> {
        let Some(RecordConfig { file, options }) = &self.config else { return Ok(()) };
        let path = numbered(file, number);
        let made = path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), |folder| {
            std::fs::create_dir_all(folder)
                .map_err(|source| RecorderError::Create { path: path.clone(), source })
        });
        let recorder = made.and_then(|()| Recorder::create(&path, *options));
        self.current = Some(recorder.map_err(|error| failure(&error))?);
        Ok(())
    }

    pub(super) fn current(&self) -> Option<&Recorder> {
        self.current.as_ref()
    }

    /// Ends the file. What is missing in it is a failure of this host.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        let Some(recorder) = self.current.take() else { return Ok(()) };
        match tokio::task::spawn_blocking(move || recorder.finish()).await {
            Ok(finished) => finished.map_err(|error| failure(&error)),
            Err(error) => Err(Failure::new(FailureKind::Bug, format!("the recorder: {error}"))),
        }
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
