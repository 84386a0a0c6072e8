//! The cause of a failure, in at most fifteen lines.

use super::failure::printable;
use super::source::{JOURNAL_FILE, RawEvent, RawJournal};
use super::story::early_end;
use super::style::{Look, Tone};
use crate::journal::Event;
use crate::journal::matching::show;
use crate::journal::run::{AttemptRecord, FailureNote, RunRecord, TestRecord, Verdict};

/// Says why a run did not pass, or that nothing failed.
pub fn text(run: &RunRecord, look: Look) -> String {
    let causes = causes(run);
    let Some((first, others)) = causes.split_first() else { return nothing_failed(run, look) };
    let mut lines = match first {
        Cause::NotLoaded(index) => {
            let broken = &run.not_loaded[*index];
            let head = format!("{} {}", look.paint(Tone::Bad, "NOT LOADED"), cut(&broken.file, 11, look));
            let parts = Parts { failure: Some(&broken.failure), ..Parts::default() };
            page(run, head, parts, look)
        }
        Cause::Test(test) => of_test(run, test, look),
    };
    if !others.is_empty() {
        lines.push(others_line(run, others, look));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Whether there is anything to explain.
pub fn has_failed(run: &RunRecord) -> bool {
    !causes(run).is_empty()
}

/// Something that went wrong.
#[derive(Clone, Copy)]
enum Cause<'a> {
    NotLoaded(usize),
    Test(&'a TestRecord),
}

/// What went wrong, what was only cut off by something else last.
fn causes(run: &RunRecord) -> Vec<Cause<'_>> {
    let scripts = (0..run.not_loaded.len()).map(Cause::NotLoaded);
    let is_wrong = |test: &&TestRecord| match test.verdict {
        Some(Verdict::Flaky) => run.began.fail_on_flaky,
        Some(verdict) => !verdict.is_fine(),
        // Of what had not begun when the run ended there is nothing to say.
        None => !test.attempts.is_empty(),
    };
    let is_cut_off = |test: &&TestRecord| matches!(test.verdict, None | Some(Verdict::Cancelled));
    let (cut_off, wrong): (Vec<_>, Vec<_>) = run.tests.iter().filter(is_wrong).partition(is_cut_off);
    scripts.chain(wrong.into_iter().chain(cut_off).map(Cause::Test)).collect()
}

fn nothing_failed(run: &RunRecord, look: Look) -> String {
    let counts = Verdict::ALL.iter().filter_map(|verdict| {
        let count = run.tests.iter().filter(|test| test.verdict == Some(*verdict)).count();
        (count > 0).then(|| format!("{count} {}", word(Some(*verdict)).to_lowercase()))
    });
    let mut counts: Vec<String> = counts.collect();
    let waiting = run.tests.iter().filter(|test| test.verdict.is_none()).count();
    if waiting > 0 {
        counts.push(format!("{waiting} not begun"));
    }
    if counts.is_empty() {
        counts.push("nothing ran".to_owned());
    }
    let end = early_end(run).map(|why| format!("; {why}")).unwrap_or_default();
    format!("{}: {}{end}\n", look.paint(Tone::Good, "nothing failed"), counts.join(", "))
}

fn others_line(run: &RunRecord, others: &[Cause<'_>], look: Look) -> String {
    let name = |cause: &Cause<'_>| match cause {
        Cause::NotLoaded(index) => format!("{} (does not load)", run.not_loaded[*index].file),
        Cause::Test(test) => format!("{} ({})", full_name(test), word(test.verdict).to_lowercase()),
    };
    let mut names: Vec<String> = others.iter().take(OTHERS_NAMED).map(name).collect();
    if others.len() > OTHERS_NAMED {
        names.push(format!("{} more", others.len() - OTHERS_NAMED));
    }
    let text = cut(&format!("and {} further: {}", others.len(), names.join(", ")), 0, look);
    look.paint(Tone::Warn, text)
}

/// What the fifteen lines are made of.
#[derive(Default)]
struct Parts<'a> {
    failure: Option<&'a FailureNote>,
    /// For a failure without words.
    instead: Option<String>,
    attempt: Option<&'a AttemptRecord>,
    before: Vec<String>,
    host: Vec<String>,
    further_misses: usize,
}

fn of_test(run: &RunRecord, test: &TestRecord, look: Look) -> Vec<String> {
    // Of a flaky test the attempt that failed, of others the last one.
    let failed = |attempt: &&AttemptRecord| attempt.ended.as_ref().is_none_or(|it| !it.verdict.is_fine());
    let attempt = test.attempts.iter().rev().find(failed).or(test.attempts.last());
    let verdict = test.verdict.filter(|verdict| *verdict != Verdict::Flaky);
    let verdict = verdict.or(attempt.and_then(|it| it.ended.as_ref()).map(|note| note.verdict));
    let of = match (attempt, test.attempts.len()) {
        (Some(attempt), 2..) => format!(", attempt {} of {}", attempt.number, test.attempts.len()),
        _ => String::new(),
    };
    let word = word(verdict);
    let name = cut(&format!("{} on lane {}{of}", full_name(test), test.test.lane), word.len() + 1, look);
    let head = format!("{} {name}", look.paint(Tone::Bad, word));
    let Some(attempt) = attempt else {
        return page(
            run,
            head,
            Parts { instead: Some("it never began".to_owned()), ..Parts::default() },
            look,
        );
    };
    let journal = RawJournal::load(&attempt.folder.join(JOURNAL_FILE)).unwrap_or_default();
    let note = attempt.ended.as_ref();
    let failure = note.and_then(|note| note.failure.as_ref());
    let at = failing_event(&journal.events, failure);
    let mut host: Vec<String> = note.map(|note| note.host_notes.clone()).unwrap_or_default();
    host.extend(host_condition(&journal.events, at, host.is_empty()));
    let instead = (failure.is_none()).then(|| without_failure(note.is_some(), &journal.events));
    let before = journal.events[..at].iter().rev().filter_map(|event| told(event, look));
    let before = before.take(MAX_LINES).collect();
    let further_misses = note.map_or(0, |note| note.further_misses);
    page(run, head, Parts { failure, instead, attempt: Some(attempt), before, host, further_misses }, look)
}

fn without_failure(has_ended: bool, events: &[RawEvent]) -> String {
    if has_ended {
        return "no reason was noted".to_owned();
    }
    match events.last() {
        Some(last) => format!("the program ended {:.1} s into it, before it had a verdict", last.seconds()),
        None => "the program ended before anything was noted of it".to_owned(),
    }
}

/// Puts the parts together, so many of the less important lines as there is room for.
fn page(run: &RunRecord, head: String, parts: Parts<'_>, look: Look) -> Vec<String> {
    let Parts { failure, instead, attempt, before, host, further_misses } = parts;
    let mut lines = vec![head];
    let place = failure.and_then(|it| Some((it.file.as_deref()?, it.line?)));
    let message = instead.as_deref().or(failure.map(|it| it.message.as_str())).unwrap_or_default();
    let mut message = message.lines();
    let prefix = place.map(|(file, line)| format!("{}:{line}: ", printable(file))).unwrap_or_default();
    let first = message.next().filter(|line| !line.is_empty()).unwrap_or("failed without a word");
    let first = cut(first, prefix.chars().count(), look);
    lines.push(format!("{}{}", look.paint(Tone::Place, prefix), look.paint(Tone::Bad, first)));
    let mut tail = Vec::new();
    if let Some((file, line)) = place
        && let Some(source) = source_line(run, file, line)
    {
        tail.push(format!("  {} {}", look.paint(Tone::Bad, format!("> {line} |")), cut(source, 14, look)));
    }
    if let Some(failure) = failure.filter(|failure| !failure.steps.is_empty()) {
        let steps: Vec<String> = failure.steps.iter().map(|step| format!("\"{step}\"")).collect();
        tail.push(cut(&format!("in step {}", steps.join(" > ")), 0, look));
    }
    let mut ends = Vec::new();
    if !host.is_empty() {
        let text = cut(&host.join("; "), 6, look);
        ends.push(format!("{} {text}", look.paint(Tone::Warn, "host:")));
    }
    if further_misses > 0 {
        ends.push(super::failure::further_misses(further_misses));
    }
    if let (Some(shot), Some(attempt)) = (failure.and_then(|it| it.screenshot.as_deref()), attempt) {
        // A path that is cut leads nowhere.
        ends.push(format!("screen: {}", printable(&attempt.folder.join(shot).display().to_string())));
    }
    if let Some(hint) = failure.and_then(|it| it.hint.as_deref()) {
        let hint: Vec<&str> = hint.lines().map(str::trim).collect();
        let text = cut(&hint.join(" "), 6, look);
        ends.push(format!("{} {text}", look.paint(Tone::Warn, "hint:")));
    }
    let room = (MAX_LINES - 1).saturating_sub(lines.len() + tail.len() + ends.len());
    let rest: Vec<String> = message_rest(message, room.saturating_sub(before.len().min(FEWEST_EVENTS)));
    lines.extend(rest.iter().map(|line| format!("  {}", cut(line, 2, look))));
    lines.extend(tail);
    let room = (MAX_LINES - 1).saturating_sub(lines.len() + ends.len()).min(MOST_EVENTS);
    lines.extend(before.into_iter().take(room).collect::<Vec<_>>().into_iter().rev());
    lines.extend(ends);
    lines
}

/// The further lines of a message, so many as there is room for: the last ones say most, such as the nearest miss.
fn message_rest<'a>(lines: impl Iterator<Item = &'a str>, room: usize) -> Vec<String> {
    let lines: Vec<&str> = lines.collect();
    if lines.len() <= room {
        return lines.into_iter().map(str::to_owned).collect();
    }
    let (Some(first), true) = (lines.first(), room >= 3) else {
        return lines[lines.len() - room..].iter().map(|&line| line.to_owned()).collect();
    };
    let kept = room - 2;
    let left_out = format!("… {} lines left out", lines.len() - 1 - kept);
    let last = lines[lines.len() - kept..].iter().map(|&line| line.to_owned());
    [(*first).to_owned(), left_out].into_iter().chain(last).collect()
}

fn source_line<'a>(run: &'a RunRecord, file: &str, line: u32) -> Option<&'a str> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    run.scripts.get(file)?.lines().nth(index)
}

/// The event at which it failed: what comes before it is the story, what comes after it the end of the machine.
fn failing_event(events: &[RawEvent], failure: Option<&FailureNote>) -> usize {
    let line = failure.and_then(|failure| failure.line).map(u64::from);
    let is_it = |event: &RawEvent| match event.name.as_str() {
        "wait_ended" => !["matched", "cancelled"].contains(&event.text("outcome")),
        "expectation" => {
            event.data["passed"] == false && line.is_none_or(|line| event.number("line") == Some(line))
        }
        "always" => event.text("state") == "violated",
        "step_ended" => event.data["passed"] == false,
        _ => false,
    };
    let ending = |event: &RawEvent| event.name == "attempt_ended" || is_going_down(event);
    let fallback = || events.iter().position(ending);
    events.iter().position(is_it).or_else(fallback).unwrap_or(events.len())
}

fn is_going_down(event: &RawEvent) -> bool {
    event.name == "lane_state" && event.text("state") == "stopping"
}

/// What should be known of the host up to the failure.
fn host_condition(events: &[RawEvent], at: usize, tells_stalls: bool) -> Vec<String> {
    let mut said = Vec::new();
    let before = events.get(..=at).unwrap_or(events);
    let stalled = before.iter().filter(|event| event.name == "host_stalled");
    let stalled_ms: u64 = stalled.filter_map(|event| event.number("stalled_ms")).sum();
    if stalled_ms > 0 && tells_stalls {
        let seconds = std::time::Duration::from_millis(stalled_ms).as_secs_f64();
        said.push(format!("this process got no processor for {seconds:.1} s in all"));
    }
    let Some(wait) = events.get(at).filter(|event| event.name == "wait_ended") else { return said };
    if let Some(load) = wait.float("host_load").filter(|load| *load >= CROWDED) {
        said.push(format!("{load:.1} processes for each processor during the wait"));
    }
    if let Some(speed) = wait.float("lane_speed").filter(|speed| *speed <= STARVED) {
        let share = speed * 100.0;
        said.push(format!("the machine got {share:.0} % of the processor time it wanted"));
    }
    said
}

/// What an event that is part of the story says, in words; nothing for what only accompanies it.
pub fn words(event: &Event) -> Option<String> {
    let raw = serde_json::to_value(event).and_then(serde_json::from_value).ok()?;
    words_of(&raw)
}

fn words_of(event: &RawEvent) -> Option<String> {
    Some(match event.name.as_str() {
        "serial_line" | "serial_prompt" => event.text("text").to_owned(),
        "digest_record" => record(event),
        "key_sent" => format!("key {} {}", event.text("key"), event.text("action")),
        "text_typed" => format!("typed {} characters", event.number("chars")?),
        "mouse_sent" => format!("mouse {} {}", event.text("action"), event.text("detail")),
        "qmp_event" => format!("{} {}", event.text("name"), show(&event.data["data"])),
        "lane_state" | "agent_state" => format!("{} {}", event.text("state"), event.text("detail")),
        "lane_ended" => format!("the machine ended: {}", event.text("how")),
        "lane_command" => format!("{} {}", event.text("command"), event.text("detail")),
        "fault" => format!("fault {} {}", event.text("fault"), event.text("state")),
        "console_closed" => format!("console closed: {}", event.text("reason")),
        "console_notice" => event.text("text").to_owned(),
        "warning" | "log" => event.text("message").to_owned(),
        "host_stalled" => format!("the host stalled for {} ms", event.number("stalled_ms")?),
        "always" if event.text("state") == "violated" => {
            format!("{} violated: {}", event.text("name"), event.text("detail"))
        }
        "expectation" => {
            format!(
                "{} {}",
                if event.data["passed"] == true { "held:" } else { "missed:" },
                event.text("what")
            )
        }
        _ => return None,
    })
}

/// An event that is part of the story, in a line; nothing for what only accompanies it.
fn told(event: &RawEvent, look: Look) -> Option<String> {
    let text = words_of(event)?;
    let source = match &event.lane {
        Some(lane) => format!("{lane}/{}", event.source),
        None => event.source.clone(),
    };
    let source = printable(&source);
    let head = format!("  {:>8.2} s  {source:<8} ", event.seconds());
    let text = cut(text.trim_end(), head.chars().count(), look);
    Some(format!("{}{text}", look.paint(Tone::Faint, head)))
}

/// `line_rendered { row = 3 }`, without its time, which the line has.
fn record(event: &RawEvent) -> String {
    let fields = event.data.as_object().into_iter().flatten();
    let Some((name, value)) = fields.into_iter().find(|(name, _)| *name != "frame_counter") else {
        return String::new();
    };
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| name != "timestamp_ms");
    }
    format!("{name} {}", show(&value))
}

fn full_name(test: &TestRecord) -> String {
    match &test.test.case {
        Some(case) => format!("{} [{case}]", test.test.name),
        None => test.test.name.clone(),
    }
}

fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "PASSED",
        Some(Verdict::Flaky) => "FLAKY",
        Some(Verdict::Failed) => "FAILED",
        Some(Verdict::Error) => "ERROR",
        Some(Verdict::LaneFailed) => "LANE FAILED",
        Some(Verdict::TimedOut) => "TIMED OUT",
        Some(Verdict::Skipped) => "SKIPPED",
        Some(Verdict::Cancelled) => "CANCELLED",
        Some(Verdict::Bug) => "BUG",
        None => "UNFINISHED",
    }
}

/// One line of text; on a terminal what fits into it behind `column`.
fn cut(text: &str, column: usize, look: Look) -> String {
    let text = printable(text);
    let room = look.width.saturating_sub(column + 1);
    if !look.live || text.chars().count() <= room {
        return text;
    }
    let head: String = text.chars().take(room.saturating_sub(1)).collect();
    head + "…"
}

const MAX_LINES: usize = 15;
const OTHERS_NAMED: usize = 3;
/// Kept of the events before a failure however long its message is.
const FEWEST_EVENTS: usize = 2;
const MOST_EVENTS: usize = 5;
/// Processes that want to run for each processor.
const CROWDED: f64 = 1.5;
/// Share of the processor time that a machine wanted.
const STARVED: f64 = 0.7;
