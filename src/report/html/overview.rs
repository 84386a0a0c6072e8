//! The run in the page: its tests, what became of them, and which traces there is room for.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::pictures::Pictures;
use super::trace::{TightWait, Trace, tight_waits};
use super::{is_wrong, packed};
use crate::journal::run::{AttemptRecord, FailureNote, RunBegan, RunRecord, TestNote, TestRecord, Verdict};
use crate::report::source::{JOURNAL_FILE, RawJournal};

/// All there is to a page.
pub(super) struct Overview<'a> {
    pub(super) run: Run<'a>,
    /// Deflated traces.
    traces: Vec<String>,
    /// The deflated texts of scripts.
    scripts: String,
    pictures: Pictures,
}

/// What the page begins with.
#[derive(Serialize)]
pub(super) struct Run<'a> {
    program: &'static str,
    folder: String,
    began_ms: i64,
    began: &'a RunBegan,
    took_ms: Option<u64>,
    ended_by: Option<&'a str>,
    not_loaded: Vec<NotLoaded<'a>>,
    tests: Vec<Test<'a>>,
    /// Those that used most of their time first.
    waits: Vec<Wait>,
    /// Attempts whose traces are not in the page for want of room.
    left_out: usize,
    budget_bytes: usize,
}

#[derive(Serialize)]
struct NotLoaded<'a> {
    file: &'a str,
    failure: &'a FailureNote,
    source: Vec<(u32, &'a str)>,
}

#[derive(Serialize)]
struct Test<'a> {
    #[serde(flatten)]
    note: &'a TestNote,
    verdict: Option<Verdict>,
    took_ms: u64,
    is_slow: bool,
    attempts: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
struct Attempt<'a> {
    number: u32,
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a FailureNote>,
    /// Lines of the script around the failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source: Vec<(u32, &'a str)>,
    #[serde(skip_serializing_if = "is_none")]
    further_misses: usize,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    host_notes: &'a [String],
    took_ms: Option<u64>,
    folder: String,
    /// Number of its trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<usize>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

#[derive(Serialize)]
struct Wait {
    test: usize,
    attempt: u32,
    #[serde(flatten)]
    wait: TightWait,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl<'a> Overview<'a> {
    pub(super) fn of(run: &'a RunRecord, budget: usize) -> Self {
        let mut packer = Packer { budget, ..Packer::default() };
        let mut tests: Vec<Test<'a>> = run.tests.iter().map(|test| Test::of(run, test)).collect();
        for (test, attempt) in in_order(run) {
            let record = &run.tests[test].attempts[attempt];
            match packer.take(test, record) {
                Ok(trace) => tests[test].attempts[attempt].trace = Some(trace),
                Err(why) => tests[test].attempts[attempt].why_not = Some(why),
            }
        }
        packer.waits.retain(|wait| wait.used() >= TIGHT);
        packer.waits.sort_by(|a, b| b.used().total_cmp(&a.used()));
        packer.waits.truncate(MAX_WAITS);
        let scripts: BTreeMap<&str, &str> =
            run.scripts.iter().map(|(file, text)| (file.as_str(), &**text)).collect();
        let not_loaded = run.not_loaded.iter().map(|broken| NotLoaded {
            file: &broken.file,
            failure: &broken.failure,
            source: source_around(run, &broken.failure),
        });
        let run = Run {
            program: env!("CARGO_PKG_VERSION"),
            folder: run.folder.display().to_string(),
            began_ms: run.began_at.as_millisecond(),
            began: &run.began,
            took_ms: run.took_ms,
            ended_by: run.ended_by.as_deref(),
            not_loaded: not_loaded.collect(),
            tests,
            waits: packer.waits,
            left_out: packer.left_out,
            budget_bytes: budget,
        };
        Self { run, traces: packer.traces, scripts: packed(&scripts), pictures: packer.pictures }
    }

    /// Writes scripts, traces and pictures as elements of their own, of which the page decodes those it shows.
    pub(super) fn write_blocks(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut block =
            |id: String, text: &str| writeln!(out, "<script type=\"text/plain\" id=\"{id}\">{text}</script>");
        block("scripts".to_owned(), &self.scripts)?;
        for (number, trace) in self.traces.iter().enumerate() {
            block(format!("trace-{number}"), trace)?;
        }
        for (number, picture) in self.pictures.encoded().iter().enumerate() {
            block(format!("picture-{number}"), picture)?;
        }
        Ok(())
    }
}

impl<'a> Test<'a> {
    fn of(run: &'a RunRecord, test: &'a TestRecord) -> Self {
        let attempts = test.attempts.iter().map(|attempt| Attempt::of(run, attempt)).collect();
        Self {
            note: &test.test,
            verdict: test.verdict,
            took_ms: test.took_ms,
            is_slow: test.is_slow,
            attempts,
        }
    }
}

impl<'a> Attempt<'a> {
    fn of(run: &'a RunRecord, attempt: &'a AttemptRecord) -> Self {
        let note = attempt.ended.as_ref();
        let failure = note.and_then(|note| note.failure.as_ref());
        Self {
            number: attempt.number,
            verdict: note.map(|note| note.verdict),
            failure,
            source: failure.map(|failure| source_around(run, failure)).unwrap_or_default(),
            further_misses: note.map_or(0, |note| note.further_misses),
            warnings: note.map_or(&[], |note| &note.warnings),
            host_notes: note.map_or(&[], |note| &note.host_notes),
            took_ms: note.map(|note| note.took_ms),
            folder: attempt.folder.display().to_string(),
            trace: None,
            why_not: None,
        }
    }
}

impl Wait {
    /// The part of its time that it took.
    fn used(&self) -> f64 {
        let took = std::time::Duration::from_millis(self.wait.took_ms).as_secs_f64() * 1000.0;
        if self.wait.timeout_ms > 0.0 { took / self.wait.timeout_ms } else { 0.0 }
    }
}

/// The failure's line and those before it, with their numbers.
fn source_around<'a>(run: &'a RunRecord, failure: &FailureNote) -> Vec<(u32, &'a str)> {
    let (Some(file), Some(line)) = (&failure.file, failure.line) else { return Vec::new() };
    let Some(script) = run.scripts.get(file) else { return Vec::new() };
    let around = line.saturating_sub(LINES_BEFORE)..=line.saturating_add(LINES_AFTER);
    (1..).zip(script.lines()).filter(|(number, _)| around.contains(number)).collect()
}

/// Attempts as they get room: those that did not pass, in the order of the list, then the others.
fn in_order(run: &RunRecord) -> Vec<(usize, usize)> {
    let all = run.tests.iter().enumerate();
    let all = all.flat_map(|(test, record)| (0..record.attempts.len()).map(move |attempt| (test, attempt)));
    let (wrong, fine): (Vec<_>, Vec<_>) = all.partition(|&(test, attempt)| {
        let ended = run.tests[test].attempts[attempt].ended.as_ref();
        is_wrong(ended.map(|note| note.verdict))
    });
    wrong.into_iter().chain(fine).collect()
}

/// Takes traces until the page is full.
#[derive(Default)]
struct Packer {
    budget: usize,
    traces: Vec<String>,
    traces_bytes: usize,
    pictures: Pictures,
    waits: Vec<Wait>,
    left_out: usize,
}

impl Packer {
    /// Takes an attempt's trace, without its pictures when there is no room for those; returns its number, or why not.
    fn take(&mut self, test: usize, attempt: &AttemptRecord) -> Result<usize, String> {
        let journal = RawJournal::load(&attempt.folder.join(JOURNAL_FILE)).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("its journal is not there: {error}{}", source.unwrap_or_default())
        })?;
        let waits = tight_waits(&journal).into_iter();
        self.waits.extend(waits.map(|wait| Wait { test, attempt: attempt.number, wait }));
        let mut trace = Trace::of(&journal);
        let pictures_before = self.pictures.count();
        let shots = journal.events.iter().filter(|event| event.name == "screenshot");
        for path in shots.map(|shot| shot.text("path")) {
            if let Some(picture) = self.pictures.take(&attempt.folder, path) {
                trace.pictures.insert(path.to_owned(), picture);
            }
        }
        let mut text = packed(&trace);
        if self.traces_bytes + self.pictures.len_bytes() + text.len() > self.budget {
            self.pictures.truncate(pictures_before);
            let taken = trace.pictures.len();
            trace.pictures.retain(|_, picture| *picture < pictures_before);
            trace.pictures_left_out = taken - trace.pictures.len();
            text = packed(&trace);
        }
        if self.traces_bytes + self.pictures.len_bytes() + text.len() > self.budget {
            self.left_out += 1;
            return Err("it is left out of this page, which is full".to_owned());
        }
        self.traces_bytes += text.len();
        self.traces.push(text);
        Ok(self.traces.len() - 1)
    }
}

const LINES_BEFORE: u32 = 3;
const LINES_AFTER: u32 = 1;
const MAX_WAITS: usize = 50;
/// A wait that took less of its time than this is nobody's worry.
const TIGHT: f64 = 0.02;
