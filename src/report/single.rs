//! A lone attempt's journal as a run of one test.

use std::path::Path;

use crate::journal::Body;
use crate::journal::ndjson::{LoadError, scan};
use crate::journal::run::{AttemptNote, AttemptRecord, RunBegan, RunRecord, TestNote, TestRecord, Verdict};

/// Makes a run of the journal of an attempt.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path) -> Result<RunRecord, LoadError> {
    let mut run = RunRecord {
        folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        began: RunBegan { tests: 1, list_tests: 1, ..RunBegan::default() },
        ..RunRecord::default()
    };
    let is_wanted = |name: &str| matches!(name, "attempt_began" | "attempt_ended");
    scan(path, is_wanted, |event| {
        let took_ms = event.t_ns / 1_000_000;
        match event.body {
            Body::AttemptBegan { scenario, file, line, lane, attempt } => {
                run.began.lane.clone_from(&lane);
                run.began_at = event.wall;
                let id = format!("{file}::{scenario}@{lane}");
                let test = TestNote { id, name: scenario, file, line, lane, ..TestNote::default() };
                let (folder, began_at) = (run.folder.clone(), event.wall);
                let attempts = vec![AttemptRecord { number: attempt, folder, began_at, ended: None }];
                run.tests = vec![TestRecord { test, attempts, verdict: None, took_ms: 0, is_slow: false }];
            }
            Body::AttemptEnded { verdict, reason, failure } => {
                let Some(test) = run.tests.first_mut() else { return };
                // A class of tomorrow is no judgement that anybody could count.
                let verdict = Verdict::ALL.into_iter().find(|known| known.name() == verdict);
                let verdict = verdict.unwrap_or(Verdict::Error);
                let failure = failure.map(|failure| *failure).or_else(|| {
                    let kind = verdict.name().to_owned();
                    reason.map(|message| crate::journal::run::FailureNote {
                        kind,
                        message,
                        ..Default::default()
                    })
                });
                let [attempt] = &mut test.attempts[..] else { return };
                attempt.ended = Some(AttemptNote {
                    id: test.test.id.clone(),
                    attempt: attempt.number,
                    verdict,
                    failure,
                    further_misses: 0,
                    warnings: Vec::new(),
                    host_notes: Vec::new(),
                    took_ms,
                });
                (test.verdict, test.took_ms, run.took_ms) = (Some(verdict), took_ms, Some(took_ms));
            }
            _ => {}
        }
    })?;
    Ok(run)
}
