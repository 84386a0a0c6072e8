//! What a run comes to, said once: every format tells it in its own words, and none judges anew.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::text::{one_line, shorten};
use crate::journal::run::{AttemptRecord, FailureNote, RunRecord, TestNote, TestRecord, Verdict};

/// A run as reports tell it.
#[derive(Debug)]
pub struct Story<'a> {
    /// The run.
    pub run: &'a RunRecord,
    /// Scripts that did not load, then every test of the list, each with a name of its own.
    pub entries: Vec<Entry<'a>>,
}

/// One line of the story.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Unique in the run: `FILE::NAME[CASE]@LANE#N`, as one line that every format can hold.
    pub id: String,
    /// The id without its file.
    pub name: String,
    /// The script's path as it was given.
    pub file: &'a str,
    /// Line of the `scenario(…)` call; none for a script that did not load.
    pub line: Option<u32>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, when it did not pass.
    pub failure: Option<Cow<'a, FailureNote>>,
    /// The test; none for a script that did not load.
    pub test: Option<&'a TestRecord>,
}

/// What became of a test, or of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The test came to a verdict.
    Verdict(Verdict),
    /// An attempt began and nobody knows how it ended: the program was killed, or the run goes on.
    NotFinished,
    /// It never began.
    NotRun,
    /// The script does not load.
    NotLoaded,
}

/// What generic tools tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It passed, perhaps not at once.
    Passed,
    /// The promise did not hold.
    Failure,
    /// There is no judgement: the script, the machine, the host or this program is wrong.
    Error,
    /// It did not run, for a reason.
    Skipped,
}

impl Outcome {
    /// The name in every format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict(verdict) => verdict.name(),
            Self::NotFinished => "not_finished",
            Self::NotRun => "not_run",
            Self::NotLoaded => "not_loaded",
        }
    }

    /// What generic tools make of it.
    pub fn class(self) -> Class {
        match self {
            Self::Verdict(Verdict::Passed | Verdict::Flaky) => Class::Passed,
            Self::Verdict(Verdict::Failed | Verdict::TimedOut) => Class::Failure,
            Self::Verdict(Verdict::Error | Verdict::LaneFailed | Verdict::Bug) => Class::Error,
            Self::NotFinished | Self::NotLoaded => Class::Error,
            Self::Verdict(Verdict::Skipped | Verdict::Cancelled) | Self::NotRun => Class::Skipped,
        }
    }

    /// Whether somebody has to look at it.
    pub fn is_bad(self) -> bool {
        matches!(self.class(), Class::Failure | Class::Error)
    }
}

/// How many of which class there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub tests: usize,
    /// Those that passed, flaky ones among them.
    pub passed: usize,
    /// Those that passed, but not at the first attempt.
    pub flaky: usize,
    /// Promises that did not hold.
    pub failures: usize,
    /// Those without a judgement.
    pub errors: usize,
    /// Those that did not run.
    pub skipped: usize,
}

impl Counts {
    /// Counts outcomes.
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            counts.tests += 1;
            match outcome.class() {
                Class::Passed => counts.passed += 1,
                Class::Failure => counts.failures += 1,
                Class::Error => counts.errors += 1,
                Class::Skipped => counts.skipped += 1,
            }
            counts.flaky += usize::from(outcome == Outcome::Verdict(Verdict::Flaky));
        }
        counts
    }

    /// Failures and errors.
    pub fn failed(self) -> usize {
        self.failures + self.errors
    }

    /// The line that generic tools look for.
    pub fn line(self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed(), self.skipped)
    }
}

impl<'a> Story<'a> {
    /// Tells what `run` comes to.
    pub fn of(run: &'a RunRecord) -> Self {
        let mut names = Names::default();
        let mut entries = Vec::with_capacity(run.not_loaded.len() + run.tests.len());
        for not_loaded in &run.not_loaded {
            entries.push(Entry {
                id: names.unique(&format!("{}::{NOT_LOADED_NAME}", not_loaded.file)),
                name: NOT_LOADED_NAME.to_owned(),
                file: &not_loaded.file,
                line: None,
                outcome: Outcome::NotLoaded,
                failure: Some(Cow::Borrowed(&not_loaded.failure)),
                test: None,
            });
        }
        for test in &run.tests {
            let outcome = outcome_of(test);
            entries.push(Entry {
                id: names.unique(&test.test.id),
                name: String::new(),
                file: &test.test.file,
                line: Some(test.test.line).filter(|&line| line > 0),
                outcome,
                failure: failure_of(run, test, outcome),
                test: Some(test),
            });
        }
        for entry in &mut entries {
            let prefix = format!("{}::", entry.file);
            entry.name = entry.id.strip_prefix(&prefix).unwrap_or(&entry.id).to_owned();
        }
        Self { run, entries }
    }

    /// How many of which class there are.
    pub fn counts(&self) -> Counts {
        Counts::of(self.entries.iter().map(|entry| entry.outcome))
    }

    /// The entries that somebody has to look at, what is most likely the cause of others first.
    pub fn bad(&self) -> Vec<&Entry<'a>> {
        let mut bad: Vec<_> = self.entries.iter().filter(|entry| entry.outcome.is_bad()).collect();
        bad.sort_by_key(|entry| rank(entry.outcome));
        bad
    }

    /// Why the run ended before everything had run, in words; nothing when it came to its end.
    pub fn early_end(&self) -> Option<String> {
        early_end(self.run)
    }
}

impl<'a> Entry<'a> {
    /// Its attempts.
    pub fn attempts(&self) -> &'a [AttemptRecord] {
        self.test.map_or(&[], |test| &test.attempts)
    }

    /// What it is.
    pub fn note(&self) -> Option<&'a TestNote> {
        self.test.map(|test| &test.test)
    }

    /// How long it took, lanes included, as far as that is known.
    pub fn took(&self) -> Duration {
        let Some(test) = self.test else { return Duration::ZERO };
        let of_attempts = || test.attempts.iter().filter_map(|it| it.ended.as_ref()).map(|it| it.took_ms);
        Duration::from_millis(if test.verdict.is_some() { test.took_ms } else { of_attempts().sum() })
    }

    /// When its first attempt began.
    pub fn began_at(&self) -> Option<Timestamp> {
        self.attempts().first().map(|attempt| attempt.began_at)
    }

    /// What is wrong, or why it did not run, in one or several lines; empty when it passed.
    pub fn message(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| failure.message.as_str())
    }

    /// The place to look at: of the failure, or else of the scenario.
    pub fn place(&self) -> (&str, Option<u32>) {
        match self.failure.as_deref() {
            Some(FailureNote { file: Some(file), line, .. }) => (file, *line),
            _ => (self.file, self.line),
        }
    }
}

/// A failure in lines: the place, what was wanted and got, the steps, what to do, the traceback.
pub fn details(failure: &FailureNote) -> String {
    let mut text = String::new();
    if let Some(file) = &failure.file {
        text.push_str(file);
        text.push_str(&failure.line.map(|line| format!(":{line}")).unwrap_or_default());
        text.push_str(": ");
    }
    text.push_str(&failure.message);
    if !failure.steps.is_empty() {
        let steps: Vec<String> = failure.steps.iter().map(|step| format!("\"{step}\"")).collect();
        text.push_str(&format!("\nin step {}", steps.join(" > ")));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    if let Some(traceback) = &failure.traceback {
        text.push_str(&format!("\n{traceback}"));
    }
    text
}

/// Why `run` ended before everything had run, in words.
pub fn early_end(run: &RunRecord) -> Option<String> {
    match (run.ended_by.as_deref(), run.took_ms) {
        (Some("deadline"), _) => Some("the run's deadline passed".to_owned()),
        (Some("fail_fast"), _) => Some("the run stops at the first failure".to_owned()),
        (Some("disk"), _) => Some("the run's folder cannot be written any more".to_owned()),
        (Some(other), _) if other.starts_with("signal ") => {
            Some(format!("the run was interrupted ({other})"))
        }
        (Some(other), _) => Some(format!("the run was ended: {other}")),
        (None, None) => Some("the run did not come to its end: it was killed, or goes on".to_owned()),
        (None, Some(_)) => None,
    }
}

fn outcome_of(test: &TestRecord) -> Outcome {
    if let Some(verdict) = test.verdict {
        return Outcome::Verdict(verdict);
    }
    let Some(last) = test.attempts.last() else { return Outcome::NotRun };
    let Some(ended) = &last.ended else { return Outcome::NotFinished };
    // The program was killed between the end of the attempt and that of the test.
    let has_failed_before = test.attempts.iter().any(|attempt| {
        attempt.ended.as_ref().is_some_and(|it| !matches!(it.verdict, Verdict::Passed | Verdict::Skipped))
    });
    match ended.verdict {
        Verdict::Passed if has_failed_before => Outcome::Verdict(Verdict::Flaky),
        verdict => Outcome::Verdict(verdict),
    }
}

fn failure_of<'a>(run: &RunRecord, test: &'a TestRecord, outcome: Outcome) -> Option<Cow<'a, FailureNote>> {
    let said = |kind: &str, message: String| {
        Some(Cow::Owned(FailureNote { kind: kind.to_owned(), message, ..FailureNote::default() }))
    };
    let why = || early_end(run).unwrap_or_else(|| "the run ended first".to_owned());
    match outcome {
        Outcome::Verdict(Verdict::Passed | Verdict::Flaky) | Outcome::NotLoaded => return None,
        Outcome::NotRun => return said("not_run", format!("not run: {}", why())),
        Outcome::NotFinished => {
            let number = test.attempts.last().map_or(1, |attempt| attempt.number);
            return said("not_finished", format!("not finished: attempt {number} began and did not end"));
        }
        Outcome::Verdict(_) => {}
    }
    let noted = test.attempts.iter().rev().find_map(|attempt| attempt.ended.as_ref()?.failure.as_ref());
    match (noted, outcome) {
        (Some(failure), _) => Some(Cow::Borrowed(failure)),
        (None, Outcome::Verdict(Verdict::Cancelled)) => said("cancelled", format!("cancelled: {}", why())),
        (None, outcome) => said(outcome.name(), format!("{} without a word", outcome.name())),
    }
}

/// What comes first where only a few are shown: what other failures may follow from.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Verdict(Verdict::Bug) => 0,
        Outcome::NotLoaded => 1,
        Outcome::Verdict(Verdict::Failed) => 2,
        Outcome::Verdict(Verdict::TimedOut) => 3,
        Outcome::Verdict(Verdict::Error) => 4,
        Outcome::Verdict(Verdict::LaneFailed) => 5,
        Outcome::NotFinished => 6,
        _ => 7,
    }
}

/// What a script that does not load is called.
const NOT_LOADED_NAME: &str = "the script loads";

/// Of an id.
const NAME_BYTES: usize = 2_000;

/// Gives each name once: some readers drop the second of two.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn unique(&mut self, name: &str) -> String {
        let name = shorten(&one_line(name), NAME_BYTES);
        let mut candidate = name.clone();
        while let Some(used) = self.0.get_mut(&candidate) {
            *used += 1;
            candidate = format!("{name} ({used})");
        }
        self.0.insert(candidate.clone(), 1);
        candidate
    }
}
