//! Events as they happen, above the prompt: at most so many lines at a time, and how many were left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::complete::stream_name;
use super::screen::Screen;
use super::shown::{clean, cut};
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::report::style::{Look, Tone};
use crate::report::why;

/// Which streams are told. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<BTreeSet<Source>>>);

impl Streams {
    /// Those that are told where nobody chose.
    pub(super) const USUAL: [Source; 2] = [Source::Digest, Source::Serial];

    pub(super) fn set(&self, streams: impl IntoIterator<Item = Source>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = streams.into_iter().collect();
    }

    pub(super) fn get(&self) -> BTreeSet<Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds a stream by its name.
    pub(super) fn by_name(name: &str) -> Option<Source> {
        Source::ALL.into_iter().find(|source| stream_name(*source) == name)
    }
}

/// Tells what happens until it is dropped.
pub(super) struct Feed {
    _task: AbortOnDropHandle<()>,
}

impl Feed {
    /// Tells what happens in the journal from now on.
    pub(super) fn start(journal: Journal, streams: Streams, screen: Screen) -> Self {
        let read = Cursor(journal.newest());
        Self { _task: AbortOnDropHandle::new(tokio::spawn(follow(journal, read, streams, screen))) }
    }
}

async fn follow(journal: Journal, mut read: Cursor, streams: Streams, screen: Screen) {
    let mut newest = journal.watch();
    loop {
        newest.mark_unchanged();
        let events = journal.all_after(read);
        if let Some(last) = events.last() {
            read = Cursor(last.seq);
            let chosen = streams.get();
            let text = lines(events.iter().filter(|event| chosen.contains(&event.source)), screen.look());
            if !text.is_empty() {
                screen.print(&text);
                // Who reads and types has no use for more prints than this; what comes meanwhile is told at once then.
                tokio::time::sleep(PRINT_EVERY).await;
                continue;
            }
        }
        if newest.changed().await.is_err() {
            return;
        }
    }
}

/// The newest of these events in lines, and before them how many are left out.
pub(super) fn lines<'a>(events: impl Iterator<Item = &'a Arc<Event>>, look: Look) -> String {
    let told: Vec<(&Arc<Event>, String)> = events.filter_map(|event| Some((event, words(event)?))).collect();
    let (left_out, shown) = told.split_at(told.len().saturating_sub(MOST_LINES));
    let mut text = String::new();
    if !left_out.is_empty() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (event, _) in left_out {
            *counts.entry(stream_name(event.source)).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let line = format!("… {} more: {}", left_out.len(), counts.join(", "));
        text.push_str(&look.paint(Tone::Faint, cut(&line, look.width.saturating_sub(1))));
        text.push('\n');
    }
    for (event, words) in shown {
        text.push_str(&line(event, words, look));
        text.push('\n');
    }
    text
}

/// `  12.3 serial   login:`, no wider than the terminal.
pub(super) fn line(event: &Event, words: &str, look: Look) -> String {
    let at = event.at().as_secs_f64();
    let stream = match &event.lane {
        Some(lane) => format!("{}/{}", clean(lane), stream_name(event.source)),
        None => stream_name(event.source).to_owned(),
    };
    // Where there is little room, the words get what columns and braces would take.
    let is_narrow = look.width < NARROW;
    let head = if is_narrow { format!("{at:>5.1} {stream} ") } else { format!("{at:>6.1} {stream:<8} ") };
    let words = clean(words);
    let words = match words.split_once(" { ") {
        Some((name, rest)) if is_narrow => format!("{name} {}", rest.trim_end_matches(" }")),
        _ => words,
    };
    let words = cut(words.trim_end(), look.width.saturating_sub(head.chars().count() + 1));
    format!("{}{words}", look.paint(Tone::Faint, head))
}

/// What an event says; nothing for those that only accompany others.
pub(super) fn words(event: &Event) -> Option<String> {
    let told = || why::words(event);
    Some(match &event.body {
        Body::StepBegan { path, .. } => format!("step {}", path.join(" › ")),
        Body::StepEnded { path, passed, .. } => {
            format!("step {} {}", path.join(" › "), if *passed { "held" } else { "failed" })
        }
        Body::WaitBegan { call, wanted, .. } => format!("{call} {wanted}"),
        Body::WaitEnded { outcome, took_ms, .. } => format!("wait: {outcome} after {took_ms} ms"),
        Body::SurfaceCreated { width, height, .. } => format!("a screen of {width}x{height}"),
        Body::SurfaceDestroyed { .. } => "the screen is gone".to_owned(),
        Body::SurfaceDrawn { draws, area: [left, top, right, bottom], .. } => {
            format!("{draws} drawn within {left},{top} to {right},{bottom}")
        }
        Body::DigestUpdated { restarted: true, .. } => "the guest began anew".to_owned(),
        Body::DigestUpdated { missed, .. } if !missed.is_empty() => format!("missed: {}", missed.join(", ")),
        Body::KeyboardLeds { caps, num, scroll } => {
            format!("lights: caps {caps}, num {num}, scroll {scroll}")
        }
        Body::Clipboard { action, selection, .. } => format!("{selection} {action}"),
        Body::Screenshot { path, .. } | Body::Attachment { path, .. } => format!("saved {path}"),
        Body::Gate { gate, passed, .. } => {
            format!("gate {gate} {}", if *passed { "passed" } else { "failed" })
        }
        Body::PutBack { snapshot, .. } => {
            format!("put back to {}", snapshot.as_deref().unwrap_or("its beginning"))
        }
        Body::Warm { outcome, .. } => outcome.clone(),
        _ => return told(),
    })
}

const PRINT_EVERY: Duration = Duration::from_millis(100);
const MOST_LINES: usize = 8;
/// Fewer columns than these are few.
const NARROW: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_by_its_stream() {
        let journal = Journal::new();
        for number in 0..11 {
            let source = if number % 3 == 0 { Source::Lane } else { Source::Serial };
            journal.append(
                source,
                Body::SerialLine { text: format!("line {number} 起動\u{1b}[2J {}", "x".repeat(50)) },
            );
        }
        let events = journal.all_after(Cursor::default());
        let text = lines(events.iter(), Look { color: false, live: true, width: 40 });
        assert!(text.starts_with("… 3 more: lane 1, serial 2\n"), "{text}");
        assert_eq!(text.lines().count(), 9);
        assert!(text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) < 40), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("  0.0 serial line 10 起動"), "{text}");
    }
}
