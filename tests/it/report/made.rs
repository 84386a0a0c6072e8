//! Runs as the scheduler leaves them, made by hand.

use std::fs::File;
use std::path::Path;

use backstaff::journal::run::{
    AttemptNote, AttemptRecord, FailureNote, NotLoaded, RUN_FILE, RunBegan, RunRecord, TestNote, TestRecord,
    Verdict,
};
use backstaff::journal::{Body, Journal, Source};
use backstaff::report::merge;
use backstaff::runner::shard;
use jiff::{SignedDuration, Timestamp};

/// A run in `folder`, of tests that are added.
pub(crate) struct Sample {
    pub(crate) run: RunRecord,
}

/// An attempt to add.
pub(crate) struct Try<'a> {
    /// None: it did not end.
    pub(crate) verdict: Option<Verdict>,
    /// The kind and the message.
    pub(crate) failure: Option<(&'a str, &'a str)>,
    /// Goes into its journal.
    pub(crate) events: Vec<(Source, Body)>,
}

pub(crate) fn passed() -> Try<'static> {
    Try { verdict: Some(Verdict::Passed), failure: None, events: Vec::new() }
}

pub(crate) fn not_passed<'a>(verdict: Verdict, kind: &'a str, message: &'a str) -> Try<'a> {
    Try { verdict: Some(verdict), failure: Some((kind, message)), events: Vec::new() }
}

impl Sample {
    /// Its times are whole seconds: not every reader of subunit can read others.
    pub(crate) fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let began = RunBegan {
            version: "0.1.0".to_owned(),
            lane: "sim".to_owned(),
            jobs: 2,
            retries: 1,
            working_dir: "/srv/project".to_owned(),
            ..RunBegan::default()
        };
        let began_at = Timestamp::from_second(1_780_000_000).unwrap();
        let folder = folder.to_owned();
        Self { run: RunRecord { folder, began, began_at, took_ms: Some(60_000), ..RunRecord::default() } }
    }

    /// Adds a test of `a.lua` and its attempts, the verdict being the last one's unless it is given.
    pub(crate) fn test(
        &mut self,
        name: &str,
        verdict: Option<Verdict>,
        tries: Vec<Try<'_>>,
    ) -> &mut TestRecord {
        let line = u32::try_from(self.run.tests.len()).unwrap() * 10 + 1;
        let id = format!("a.lua::{name}@sim");
        let mut attempts = Vec::new();
        for (number, attempt) in (1..).zip(tries) {
            let folder = self.run.folder.join(format!("{line:02}-test/attempt-{number}"));
            std::fs::create_dir_all(folder.join("screenshots")).unwrap();
            let journal = Journal::create(&folder.join("journal.ndjson")).unwrap();
            for (source, body) in attempt.events {
                journal.append(source, body);
            }
            journal.close();
            let failure = attempt.failure.map(|(kind, message)| FailureNote {
                kind: kind.to_owned(),
                message: message.to_owned(),
                file: Some("a.lua".to_owned()),
                line: Some(line + 2),
                hint: Some("look at the cable".to_owned()),
                steps: vec!["boot".to_owned()],
                ..FailureNote::default()
            });
            let note = |verdict| AttemptNote {
                id: id.clone(),
                attempt: number,
                verdict,
                failure,
                further_misses: 0,
                warnings: Vec::new(),
                host_notes: Vec::new(),
                took_ms: 2_000,
            };
            let began_at = self.run.began_at + SignedDuration::from_secs(i64::from(line + number));
            let ended = attempt.verdict.map(note);
            attempts.push(AttemptRecord { number, folder, began_at, ended });
        }
        let test = TestNote {
            id,
            name: name.to_owned(),
            file: "a.lua".to_owned(),
            line,
            lane: "sim".to_owned(),
            tags: vec!["smoke".to_owned()],
            ..TestNote::default()
        };
        let took_ms = attempts.len() as u64 * 2_000;
        self.run.tests.push(TestRecord { test, attempts, verdict, took_ms, is_slow: false });
        self.run.tests.last_mut().unwrap()
    }

    /// Adds one that passes at once.
    pub(crate) fn passing(&mut self, name: &str) -> &mut TestRecord {
        self.test(name, Some(Verdict::Passed), vec![passed()])
    }

    /// Writes `run.ndjson`.
    pub(crate) fn store(&mut self) -> &RunRecord {
        let began = &mut self.run.began;
        began.tests = u32::try_from(self.run.tests.len()).unwrap();
        if began.list_digest.is_empty() {
            began.list_tests = began.tests;
            began.list_digest = shard::list_digest(self.run.tests.iter().map(|test| test.test.id.as_str()));
        }
        let mut file = File::create(self.run.folder.join(RUN_FILE)).unwrap();
        merge::write(&self.run, &self.run.folder, &mut file).unwrap();
        &self.run
    }
}

/// A run that was killed, with each kind of verdict in it.
pub(crate) fn every_kind(folder: &Path) -> Sample {
    let mut sample = Sample::new(folder);
    let png = b"\x89PNG\r\n\x1a\n not really".as_slice();
    let attempt = Try { events: story_of_a_pass(), ..passed() };
    let passed_test = sample.test("passes", Some(Verdict::Passed), vec![attempt]);
    let attempt_folder = passed_test.attempts[0].folder.clone();
    std::fs::write(attempt_folder.join("screenshots/01.png"), png).unwrap();
    std::fs::write(attempt_folder.join("notes.txt"), "what the script attached").unwrap();
    let first = not_passed(Verdict::Failed, "expectation", "expected 7, got 8");
    sample.test("is flaky", Some(Verdict::Flaky), vec![first, passed()]);
    let fails = || not_passed(Verdict::Failed, "expectation", "expected \"up\"\n  got \"down\"");
    sample.test("fails", Some(Verdict::Failed), vec![fails(), fails()]);
    let error = not_passed(Verdict::Error, "script", "attempt to index a nil value");
    sample.test("is wrong", Some(Verdict::Error), vec![error]);
    let lost = || not_passed(Verdict::LaneFailed, "lane_lost", "QEMU exited with status 1");
    sample.test("loses its lane", Some(Verdict::LaneFailed), vec![lost(), lost()]);
    let timeout = not_passed(Verdict::TimedOut, "timeout", "no match for \"login:\" within 30 s");
    sample.test("takes too long", Some(Verdict::TimedOut), vec![timeout]);
    let skip = not_passed(Verdict::Skipped, "skip", "the lane has no mouse");
    sample.test("is skipped", Some(Verdict::Skipped), vec![skip]);
    let cancelled = not_passed(Verdict::Cancelled, "cancelled", "the run was interrupted");
    sample.test("is cancelled", Some(Verdict::Cancelled), vec![cancelled]);
    let bug = not_passed(Verdict::Bug, "bug", "the attempt panicked");
    sample.test("meets a bug", Some(Verdict::Bug), vec![bug]);
    let unfinished = Try { verdict: None, failure: None, events: Vec::new() };
    sample.test("does not end", None, vec![unfinished]);
    sample.test("never begins", None, Vec::new());
    let repeated = sample.passing("has [a case] # 2 \\ <&\"> ]]>");
    repeated.test.id.push_str("#2");
    (repeated.test.repetition, repeated.test.case) = (Some(2), Some("a case".to_owned()));
    let failure = FailureNote {
        kind: "script".to_owned(),
        message: "unexpected symbol near `)`".to_owned(),
        file: Some("broken.lua".to_owned()),
        line: Some(3),
        ..FailureNote::default()
    };
    sample.run.not_loaded.push(NotLoaded { file: "broken.lua".to_owned(), failure });
    sample.run.took_ms = None;
    sample.store();
    sample
}

fn story_of_a_pass() -> Vec<(Source, Body)> {
    let path = || vec!["boot".to_owned()];
    vec![
        (Source::Script, Body::StepBegan { path: path(), timeout_s: 60.0, line: 3 }),
        wait_began(1, 10.0),
        wait_ended(1, "matched", 2_500, None),
        wait_began(2, 1.0),
        wait_ended(2, "matched", 900, Some(3.5)),
        (Source::Script, Body::Log { message: "a word\tof the script".to_owned() }),
        (Source::Script, Body::StepEnded { path: path(), passed: true, took_ms: 3_400 }),
        (Source::Script, Body::Screenshot { path: "screenshots/01.png".to_owned(), width: 1, height: 1 }),
        (Source::Script, Body::Attachment { name: "notes".to_owned(), path: "notes.txt".to_owned() }),
    ]
}

pub(crate) fn wait_began(wait: u32, timeout_s: f64) -> (Source, Body) {
    let (call, wanted) = ("digest:wait_for".to_owned(), "{ stage = \"parked\" }".to_owned());
    (Source::Script, Body::WaitBegan { wait, call, wanted, timeout_s, line: 4 + wait })
}

pub(crate) fn wait_ended(wait: u32, outcome: &str, took_ms: u64, host_load: Option<f64>) -> (Source, Body) {
    let outcome = outcome.to_owned();
    let lane_speed = host_load.map(|load| 1.0 / load.max(1.0));
    (Source::Script, Body::WaitEnded { wait, outcome, matched: None, took_ms, host_load, lane_speed })
}
