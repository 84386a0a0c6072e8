//! One attempt: a folder, its lanes, the scenario, and the lanes down again.

use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::host::StallWatch;
use super::lanes::{LanePart, RunLanes, UpLane};
use super::record::{Recording, Recordings};
use super::select::Test;
use super::{AttemptReport, RunEvent, Verdict, tell, verdict_of};
use crate::journal::run::{AttemptNote, RunBody, RunLog};
use crate::journal::{Body, Cursor, Journal, Source};
use crate::script::prompt::Held;
use crate::script::{AttemptOptions, Failure, FailureKind, Lanes, Outcome, run_attempt};

/// Runs attempts, each on fresh lanes; several at once.
pub(super) struct Executor {
    pub(super) lanes: RunLanes,
    /// The run's folder.
    pub(super) folder: PathBuf,
    pub(super) params: serde_json::Value,
    /// Who is told of attempts that stand still.
    pub(super) prompts: Option<mpsc::Sender<Held>>,
    /// Whether what runs is a session rather than tests.
    pub(super) is_session: bool,
    pub(super) recordings: Recordings,
    pub(super) stalls: StallWatch,
    pub(super) cancel: CancellationToken,
    pub(super) log: RunLog,
    pub(super) events: mpsc::UnboundedSender<RunEvent>,
}

/// What is played, and where it is noted.
#[derive(Clone, Copy)]
struct Part<'a> {
    test: &'a Test,
    number: u32,
    journal: &'a Journal,
    folder: &'a Path,
    recording: &'a Recording<'a>,
}

/// Why an attempt did not pass, and how many expectations did not hold.
struct Missed(Failure, usize);

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self(failure, 1)
    }
}

impl Executor {
    /// Attempt `number` of a test, in `relative`, a folder below the run's.
    pub(super) async fn attempt(&self, test: &Test, number: u32, relative: &str) -> AttemptReport {
        let began = Instant::now();
        let folder = self.folder.join(relative);
        let journal =
            std::fs::create_dir_all(&folder).and_then(|()| Journal::create(&folder.join("journal.ndjson")));
        let (journal, mut failure) = match journal {
            Ok(journal) => (journal, None),
            Err(error) => {
                let message = format!("the attempt's folder {} cannot be used: {error}", folder.display());
                (Journal::new(), Some((Failure::new(FailureKind::LaneLost, message), 1)))
            }
        };
        self.begin(test, number, relative, &journal);
        let observed = self.stalls.observe(&journal);
        let recording = self.recordings.of_attempt();
        if failure.is_none() {
            let part = Part { test, number, journal: &journal, folder: &folder, recording: &recording };
            failure = self.play_on_lanes(part).await.err().map(|Missed(failure, count)| (failure, count));
        }
        // As without its journal: what was asked for and is not there is no pass.
        if let Err(lost) = recording.end().await {
            failure.get_or_insert((lost, 1));
        }
        let mut verdict = failure.as_ref().map_or(Verdict::Passed, |(failure, _)| verdict_of(failure));
        let host_notes = observed.notes();
        drop(observed);
        journal.append(
            Source::Runner,
            Body::AttemptEnded {
                verdict: verdict.name().to_owned(),
                reason: failure.as_ref().map(|(failure, _)| failure.to_string()),
                failure: failure.as_ref().map(|(failure, _)| Box::new(failure.note())),
            },
        );
        let closing = journal.clone();
        let _ = tokio::task::spawn_blocking(move || closing.close()).await;
        // A pass without its evidence is none.
        if failure.is_none()
            && let Some(why) = journal.disk_failed()
        {
            verdict = Verdict::LaneFailed;
            failure = Some((Failure::new(FailureKind::LaneLost, why), 1));
        }
        let further_misses = failure.as_ref().map_or(0, |(_, count)| count.saturating_sub(1));
        let took = began.elapsed();
        let note = AttemptNote {
            id: test.id.clone(),
            attempt: number,
            verdict,
            failure: failure.as_ref().map(|(failure, _)| failure.note()),
            further_misses,
            warnings: warnings(&journal),
            host_notes,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        self.log.append([RunBody::AttemptEnded(note.clone())]);
        AttemptReport {
            test: test.clone(),
            number,
            failure: failure.map(|(failure, _)| failure),
            took,
            folder,
            note,
            journal,
            outcome: None,
            is_slow: false,
        }
    }

    fn begin(&self, test: &Test, number: u32, relative: &str, journal: &Journal) {
        journal.append(
            Source::Runner,
            Body::AttemptBegan {
                scenario: test.title(),
                file: test.script.path.display().to_string(),
                line: test.scenario.place.line,
                lane: test.lane(),
                attempt: number,
            },
        );
        let folder = relative.to_owned();
        self.log.append([RunBody::AttemptBegan { id: test.id.clone(), attempt: number, folder }]);
        let event = RunEvent::AttemptBegan { test: test.clone(), number, journal: journal.clone() };
        tell(&self.events, event);
    }

    async fn play_on_lanes(&self, part: Part<'_>) -> Result<(), Missed> {
        let Part { test, journal, folder, recording, .. } = part;
        let bring_up = test.lanes.iter().map(|(role, name)| async move {
            let scenario = &*test.scenario;
            let cancel = &self.cancel;
            let Some(role) = role else {
                let part = LanePart { scenario, journal, folder, cancel, recording };
                return self.lanes.up(name, part).await;
            };
            // Several machines have folders of their own within the attempt's.
            let (folder, journal) = (folder.join(role), journal.for_lane(role));
            std::fs::create_dir_all(&folder).map_err(|error| {
                let message = format!("the lane's folder {} cannot be used: {error}", folder.display());
                Failure::new(FailureKind::LaneLost, message)
            })?;
            self.lanes
                .up(name, LanePart { scenario, journal: &journal, folder: &folder, cancel, recording })
                .await
        });
        let mut up = Vec::new();
        let mut failure: Option<Failure> = None;
        for ((role, _), result) in test.lanes.iter().zip(join_all(bring_up).await) {
            match result {
                Ok(lane) => up.push((role, lane)),
                // A scenario that does not apply is that, whatever else happened.
                Err(error) if failure.as_ref().is_none_or(|known| known.kind != FailureKind::Skip) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        let played = match failure {
            Some(failure) => Err(failure.into()),
            None => self.play(part, &up).await,
        };
        join_all(up.into_iter().map(|(_, lane)| lane.down())).await;
        played
    }

    /// Runs the scenario on lanes that are up.
    async fn play(&self, part: Part<'_>, up: &[(&Option<String>, UpLane)]) -> Result<(), Missed> {
        let Part { test, number, journal, folder, .. } = part;
        let lanes = match up {
            [(None, lane)] => Lanes::One(lane.handle()),
            several => {
                let named = several.iter().filter_map(|(role, lane)| Some(((*role).clone()?, lane.handle())));
                Lanes::Several(named.collect())
            }
        };
        let outcome = run_attempt(AttemptOptions {
            script: test.script.clone(),
            scenario: (*test.scenario).clone(),
            journal: journal.clone(),
            attempt: number,
            lanes,
            folder: folder.to_owned(),
            params: self.params.clone(),
            prompts: self.prompts.clone(),
            is_session: self.is_session,
            cancel: self.cancel.clone(),
        })
        .await;
        match outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed(failure, count) => Err(Missed(*failure, count)),
        }
    }
}

fn warnings(journal: &Journal) -> Vec<String> {
    let events = journal.after(Source::Script, Cursor::default());
    let warning = |body: &Body| match body {
        Body::Warning { message, .. } => Some(message.clone()),
        _ => None,
    };
    events.iter().filter_map(|event| warning(&event.body)).collect()
}

/// `outer: inner: cause`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(super) fn keep_plan(plan: &impl serde::Serialize, folder: &Path) -> Result<(), Failure> {
    store_plan(plan, folder).map_err(|error| {
        let message = format!("the plan cannot be written to {}: {error}", folder.display());
        Failure::new(FailureKind::LaneLost, message)
    })
}

/// Writes `plan.json` into `folder`.
///
/// # Errors
/// It cannot be written.
pub fn store_plan(plan: &impl serde::Serialize, folder: &Path) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(plan)?;
    std::fs::write(folder.join("plan.json"), text + "\n")
}

pub(super) fn folder_name(name: &str) -> String {
    let words: Vec<String> = name
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut joined = words.join("-");
    joined.truncate(FOLDER_NAME_CHARS);
    let joined = joined.trim_end_matches('-');
    // A name in another script leaves nothing; the number before it tells them apart.
    if joined.is_empty() { "scenario".to_owned() } else { joined.to_owned() }
}

const FOLDER_NAME_CHARS: usize = 48;

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn names_of_scenarios_become_folder_names_that_are_never_empty() {
        assert_eq!(folder_name("Logs in, twice"), "logs-in-twice");
        assert_eq!(folder_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(folder_name("起動する 🚀"), "scenario");
        assert_eq!(folder_name(&"abc ".repeat(20)), "abc-".repeat(11) + "abc");
    }
}
