//! A finished run as a person reads it: what is wrong, and the line that generic tools look for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{printable, render};
use super::story::{Class, Entry, Outcome, Story};
use super::style::{Look, Tone};
use crate::journal::run::{FailureNote, Verdict};
use crate::script::{Failure, FailureKind, Place, Script};

/// Everything that somebody has to look at, then the counts; the last line is `N passed, N failed, N skipped`.
pub fn text(story: &Story<'_>, look: Look) -> String {
    let mut text = String::new();
    for entry in &story.entries {
        text.push_str(&entry_text(entry, story, look));
    }
    let mut line = |tone: Tone, line: String| {
        text.push_str(&look.paint(tone, printable(&line)));
        text.push('\n');
    };
    let count = |outcome: Outcome| story.entries.iter().filter(|entry| entry.outcome == outcome).count();
    let lane_failed = count(Outcome::Verdict(Verdict::LaneFailed));
    if lane_failed > 0 {
        let are = if lane_failed == 1 { "is" } else { "are" };
        let what = "the machine's or the host's, not the scenario's";
        line(Tone::Warn, format!("{lane_failed} of the failures {are} {what}"));
    }
    let flaky = count(Outcome::Verdict(Verdict::Flaky));
    if flaky > 0 {
        let fails = if story.run.began.fail_on_flaky { ", which fails this run" } else { "" };
        line(Tone::Warn, format!("{flaky} flaky: passed, but not at the first attempt{fails}"));
    }
    if let Some(why) = story.early_end() {
        let not_finished = count(Outcome::Verdict(Verdict::Cancelled))
            + count(Outcome::NotRun)
            + count(Outcome::NotFinished);
        let what = if not_finished > 0 { format!("{not_finished} not finished: {why}") } else { why };
        line(Tone::Warn, what);
    }
    if let Some(took_ms) = story.run.took_ms {
        let seconds = super::evidence::millis(took_ms) / 1e3;
        // What was made of several runs has no folder.
        let folder = &story.run.folder;
        let place = match folder.as_os_str().is_empty() {
            true => String::new(),
            false => format!(", everything is in {}", folder.display()),
        };
        line(Tone::Faint, format!("{seconds:.1} s{place}"));
    }
    // No colour here: other programs read this line.
    text.push_str(&story.counts().line());
    text.push('\n');
    text
}

fn entry_text(entry: &Entry<'_>, story: &Story<'_>, look: Look) -> String {
    let (tone, word) = match entry.outcome {
        Outcome::Verdict(Verdict::Passed) | Outcome::NotRun => return String::new(),
        Outcome::Verdict(Verdict::Flaky) => (Tone::Warn, "FLAKY"),
        Outcome::Verdict(Verdict::Failed | Verdict::TimedOut) => (Tone::Bad, "FAIL "),
        Outcome::Verdict(Verdict::Error) | Outcome::NotLoaded => (Tone::Bad, "ERROR"),
        Outcome::Verdict(Verdict::LaneFailed) => (Tone::Bad, "LANE "),
        Outcome::Verdict(Verdict::Bug) => (Tone::Bad, "BUG  "),
        Outcome::Verdict(Verdict::Skipped) => (Tone::Warn, "SKIP "),
        Outcome::Verdict(Verdict::Cancelled) | Outcome::NotFinished => (Tone::Warn, "STOP "),
    };
    let took = look.paint(Tone::Faint, format!("{:.1} s", entry.took().as_secs_f64()));
    let mut text = format!("{} {} {took}\n", look.paint(tone, word), printable(&entry.id));
    let last = entry.attempts().last();
    if entry.outcome == Outcome::Verdict(Verdict::Flaky) {
        let first = entry.attempts().iter().find_map(|attempt| attempt.ended.as_ref()?.failure.as_ref());
        if let Some(first) = first {
            text.push_str(&failure_text(first, story, None, look));
        }
        return text;
    }
    if let Some(failure) = entry.failure.as_deref() {
        if entry.outcome.class() == Class::Skipped {
            text.push_str(&format!("      {}\n", printable(&super::text::one_line(&failure.message))));
            return text;
        }
        text.push_str(&failure_text(failure, story, last.map(|attempt| attempt.folder.as_path()), look));
    }
    let further = last.and_then(|attempt| attempt.ended.as_ref()).map_or(0, |ended| ended.further_misses);
    if further > 0 {
        text.push_str(&format!("      {}\n", super::failure::further_misses(further)));
    }
    if let Some(last) = last {
        text.push_str(&format!("      logs: {}\n", last.folder.display()));
    }
    text
}

fn failure_text(note: &FailureNote, story: &Story<'_>, folder: Option<&Path>, look: Look) -> String {
    let mut failure = Failure::new(kind(&note.kind), super::text::clean(&note.message));
    failure.place =
        note.file.as_ref().map(|file| Place { file: file.clone(), line: note.line.unwrap_or_default() });
    failure.hint.clone_from(&note.hint);
    failure.steps.clone_from(&note.steps);
    failure.traceback.clone_from(&note.traceback);
    failure.screenshot = note.screenshot.as_ref().map(PathBuf::from);
    let script = note.file.as_ref().and_then(|file| {
        let source = story.run.scripts.get(file)?;
        Some(Script { path: PathBuf::from(file), source: Arc::clone(source) })
    });
    render(&failure, script.as_ref(), folder, 6, look)
}

/// What is rendered does not depend on it but for its being there.
fn kind(name: &str) -> FailureKind {
    let kinds = [
        FailureKind::Expectation,
        FailureKind::Timeout,
        FailureKind::MachineEnded,
        FailureKind::LaneLost,
        FailureKind::Usage,
        FailureKind::Skip,
        FailureKind::Cancelled,
        FailureKind::Bug,
    ];
    kinds.into_iter().find(|kind| kind.name() == name).unwrap_or(FailureKind::Script)
}
