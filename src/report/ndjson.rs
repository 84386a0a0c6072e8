//! A run as lines of JSON for programs: a header, the run, a line for each test, and the summary. `docs/reports.md`
//! describes the fields.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::evidence::{Evidence, WaitNote};
use super::story::{Class, Entry, Outcome, Story};
use crate::journal::run::{AttemptRecord, FailureNote};

/// The name in the header line.
pub const FORMAT: &str = "backstaff-report";
/// The major version written.
pub const VERSION: u32 = 1;

/// Writes the story as NDJSON.
///
/// # Errors
/// The writer fails.
pub fn render(story: &Story<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    line(out, &json!({"format": FORMAT, "version": VERSION}))?;
    let run = story.run;
    let began = &run.began;
    line(
        out,
        &json!({
            "event": "run",
            "began_at": run.began_at,
            "backstaff": began.version,
            "lane": began.lane,
            "jobs": began.jobs,
            "retries": began.retries,
            "shard": began.shard,
            "list_tests": began.list_tests,
            "list_digest": began.list_digest,
            "fail_on_flaky": began.fail_on_flaky,
            "working_dir": began.working_dir,
        }),
    )?;
    for entry in &story.entries {
        line(out, &test(entry))?;
    }
    let counts = story.counts();
    line(
        out,
        &json!({
            "event": "summary",
            "tests": counts.tests,
            "passed": counts.passed,
            "flaky": counts.flaky,
            "failures": counts.failures,
            "errors": counts.errors,
            "skipped": counts.skipped,
            "took_ms": run.took_ms,
            "ended_by": run.ended_by,
            "ended_early": story.early_end(),
        }),
    )
}

#[derive(Serialize)]
struct Test<'a> {
    event: &'static str,
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<&'a str>,
    file: &'a str,
    line: Option<u32>,
    lane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition: Option<u32>,
    tags: &'a [String],
    verdict: &'static str,
    class: &'static str,
    took_ms: u64,
    is_slow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a FailureNote>,
    attempts: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
struct Attempt<'a> {
    attempt: u32,
    verdict: &'static str,
    began_at: jiff::Timestamp,
    took_ms: Option<u64>,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a FailureNote>,
    #[serde(skip_serializing_if = "is_zero")]
    further_misses: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    host_notes: &'a [String],
    files: Vec<String>,
    waits: Value,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn test<'a>(entry: &'a Entry<'_>) -> Test<'a> {
    let note = entry.note();
    Test {
        event: "test",
        id: &entry.id,
        name: &entry.name,
        scenario: note.map(|note| note.name.as_str()),
        case: note.and_then(|note| note.case.as_deref()),
        file: entry.file,
        line: entry.line,
        lane: note.map(|note| note.lane.as_str()),
        repetition: note.and_then(|note| note.repetition),
        tags: note.map_or(&[], |note| &note.tags),
        verdict: entry.outcome.name(),
        class: match entry.outcome.class() {
            Class::Passed => "passed",
            Class::Failure => "failure",
            Class::Error => "error",
            Class::Skipped => "skipped",
        },
        took_ms: u64::try_from(entry.took().as_millis()).unwrap_or(u64::MAX),
        is_slow: entry.test.is_some_and(|test| test.is_slow),
        failure: entry.failure.as_deref(),
        attempts: entry.attempts().iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &AttemptRecord) -> Attempt<'_> {
    let evidence = Evidence::load_or_say(&attempt.folder);
    let ended = attempt.ended.as_ref();
    let outcome = ended.map_or(Outcome::NotFinished, |ended| Outcome::Verdict(ended.verdict));
    Attempt {
        attempt: attempt.number,
        verdict: outcome.name(),
        began_at: attempt.began_at,
        took_ms: ended.map(|ended| ended.took_ms),
        folder: attempt.folder.display().to_string(),
        failure: ended.and_then(|ended| ended.failure.as_ref()),
        further_misses: ended.map_or(0, |ended| ended.further_misses),
        warnings: ended.map_or(&[], |ended| &ended.warnings),
        host_notes: ended.map_or(&[], |ended| &ended.host_notes),
        files: evidence.files.iter().map(|file| file.path.display().to_string()).collect(),
        waits: waits(&evidence),
    }
}

/// How near its waits came to their deadlines.
fn waits(evidence: &Evidence) -> Value {
    let timeouts = evidence
        .waits
        .iter()
        .filter(|wait| wait.ended.as_ref().is_some_and(|ended| ended.outcome == "timeout"));
    json!({
        "count": evidence.waits.len(),
        "timeouts": timeouts.count(),
        "tightest": evidence.tightest().map(wait),
    })
}

fn wait(wait: &WaitNote) -> Value {
    let ended = wait.ended.as_ref();
    json!({
        "call": wait.call,
        "wanted": wait.wanted,
        "line": wait.line,
        "step": wait.step,
        "timeout_s": wait.timeout_s,
        "took_ms": ended.map(|ended| ended.took_ms),
        "slack": wait.slack().map(|slack| (slack * 1e4).round() / 1e4),
        "host_load": ended.and_then(|ended| ended.host_load),
        "lane_speed": ended.and_then(|ended| ended.lane_speed),
    })
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
