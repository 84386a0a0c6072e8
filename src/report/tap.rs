//! TAP 14: a test point for each test, a subtest of its attempts where there were several, or of its steps.

use std::io::Write;

use super::evidence::Evidence;
use super::story::{Class, Entry, Outcome, Story};
use super::text::{clean, cut, one_line, shorten};
use crate::journal::run::{AttemptRecord, FailureNote, Verdict};

/// Writes the story as TAP 14.
///
/// # Errors
/// The writer fails.
pub fn render(story: &Story<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "TAP version 14")?;
    writeln!(out, "1..{}", story.entries.len())?;
    for (number, entry) in (1..).zip(&story.entries) {
        point(number, entry, out)?;
    }
    writeln!(out, "# {}", story.counts().line())?;
    match bail_out(story) {
        Some(why) => writeln!(out, "Bail out! {}", line(&why)),
        None => Ok(()),
    }
}

/// Why what is here says less than the list promises, if so.
fn bail_out(story: &Story<'_>) -> Option<String> {
    let is_fail_fast = story.run.ended_by.as_deref() == Some("fail_fast");
    if let Some(why) = story.early_end().filter(|_| !is_fail_fast) {
        return Some(why);
    }
    let lost = Outcome::Verdict(Verdict::LaneFailed);
    let mut ran = story.entries.iter().filter(|entry| entry.outcome.class() != Class::Skipped).peekable();
    let first = ran.peek().copied()?;
    let is_lost = ran.all(|entry| entry.outcome == lost);
    is_lost.then(|| format!("every lane failed: {}", first.message()))
}

fn point(number: usize, entry: &Entry<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    subtest(entry, out)?;
    let ok = if entry.outcome.is_bad() { "not ok" } else { "ok" };
    write!(out, "{ok} {number} - {}", line(&entry.id))?;
    if entry.outcome.class() == Class::Skipped {
        write!(out, " # SKIP {}", line(entry.message()))?;
    }
    writeln!(out)?;
    let mut diagnosis = Diagnosis::new(2);
    diagnosis.text("verdict", entry.outcome.name());
    diagnosis.number("duration_ms", entry.took().as_millis());
    if entry.outcome.is_bad()
        && let Some(failure) = &entry.failure
    {
        diagnosis.failure(failure);
        let (file, line) = entry.place();
        diagnosis.place(file, line);
    }
    out.write_all(diagnosis.end().as_bytes())
}

/// Its attempts, or the outermost steps of its only one.
fn subtest(entry: &Entry<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let attempts = entry.attempts();
    if let [only] = attempts {
        return steps(entry, only, out);
    }
    if attempts.is_empty() {
        return Ok(());
    }
    writeln!(out, "# Subtest: {}", line(&entry.id))?;
    writeln!(out, "    1..{}", attempts.len())?;
    for (index, attempt) in attempts.iter().enumerate() {
        let outcome = attempt.ended.as_ref().map_or(Outcome::NotFinished, |it| Outcome::Verdict(it.verdict));
        let ok = if outcome.is_bad() { "not ok" } else { "ok" };
        write!(out, "    {ok} {} - attempt {}", index + 1, attempt.number)?;
        let failure = attempt.ended.as_ref().and_then(|ended| ended.failure.as_ref());
        if outcome.is_bad() && !entry.outcome.is_bad() {
            // Not counted as a failure by anybody: another attempt passed.
            write!(out, " # TODO flaky")?;
        } else if outcome.class() == Class::Skipped {
            write!(out, " # SKIP {}", line(failure.map_or("", |failure| &failure.message)))?;
        }
        writeln!(out)?;
        let mut diagnosis = Diagnosis::new(6);
        diagnosis.text("verdict", outcome.name());
        diagnosis.number("duration_ms", attempt.ended.as_ref().map_or(0, |it| u128::from(it.took_ms)));
        if let Some(failure) = failure.filter(|_| outcome.is_bad()) {
            diagnosis.failure(failure);
            if let Some(file) = &failure.file {
                diagnosis.place(file, failure.line);
            }
        }
        out.write_all(diagnosis.end().as_bytes())?;
    }
    Ok(())
}

fn steps(entry: &Entry<'_>, attempt: &AttemptRecord, out: &mut dyn Write) -> std::io::Result<()> {
    if entry.outcome.class() == Class::Skipped {
        return Ok(());
    }
    let evidence = Evidence::load_or_say(&attempt.folder);
    let outermost: Vec<_> = evidence.steps.iter().filter(|step| step.path.len() == 1).collect();
    if outermost.is_empty() {
        return Ok(());
    }
    writeln!(out, "# Subtest: {}", line(&entry.id))?;
    writeln!(out, "    1..{}", outermost.len())?;
    for (number, step) in (1..).zip(outermost) {
        let ok = if step.passed == Some(true) { "ok" } else { "not ok" };
        let name = step.path.first().map_or("", String::as_str);
        write!(out, "    {ok} {number} - {}", line(name))?;
        if step.passed != Some(true) && !entry.outcome.is_bad() {
            // The script caught it.
            write!(out, " # TODO caught by the script")?;
        }
        writeln!(out)?;
        let mut diagnosis = Diagnosis::new(6);
        diagnosis.number("duration_ms", u128::from(step.took_ms));
        out.write_all(diagnosis.end().as_bytes())?;
    }
    Ok(())
}

/// One line, in which nothing looks like a directive.
fn line(text: &str) -> String {
    shorten(&one_line(text), LINE_BYTES).replace('\\', "\\\\").replace('#', "\\#")
}

/// A block of YAML. Its scalars are quoted as JSON is, or literal blocks: both are YAML whatever they hold.
struct Diagnosis {
    text: String,
    indent: usize,
}

impl Diagnosis {
    fn new(indent: usize) -> Self {
        Self { text: format!("{:indent$}---\n", ""), indent }
    }

    fn text(&mut self, key: &str, value: &str) {
        let value = clean(&cut(value, MESSAGE_BYTES));
        let value = value.trim_end();
        // Readers find out how far a block is indented by its first line, so that must not begin with spaces of its own.
        // There is a digit for that, which not all of them know.
        let is_block = value.contains('\n') && !value.trim_start_matches('\n').starts_with([' ', '\t']);
        if !is_block {
            let quoted = serde_json::Value::from(value);
            return self.line(&format!("{key}: {quoted}"));
        }
        self.line(&format!("{key}: |"));
        for line in value.lines() {
            self.line(&format!("  {line}"));
        }
    }

    fn number(&mut self, key: &str, value: u128) {
        self.line(&format!("{key}: {value}"));
    }

    fn failure(&mut self, failure: &FailureNote) {
        self.text("kind", &failure.kind);
        self.text("message", &failure.message);
        if !failure.steps.is_empty() {
            self.text("step", &failure.steps.join(" > "));
        }
        if let Some(hint) = &failure.hint {
            self.text("hint", hint);
        }
        if let Some(traceback) = &failure.traceback {
            self.text("stack", traceback);
        }
        if let Some(screenshot) = &failure.screenshot {
            self.text("screenshot", screenshot);
        }
    }

    fn place(&mut self, file: &str, line: Option<u32>) {
        self.line("at:");
        self.text("  file", &one_line(file));
        if let Some(line) = line {
            self.number("  line", u128::from(line));
        }
    }

    fn line(&mut self, line: &str) {
        // Empty ones, too: a line that is not indented ends the block.
        self.text.push_str(&" ".repeat(self.indent));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn end(mut self) -> String {
        self.line("...");
        self.text
    }
}

/// Of a name or a reason.
const LINE_BYTES: usize = 4_096;
/// Of a message or another text; all of it is in the run's journal.
const MESSAGE_BYTES: usize = 65_536;
