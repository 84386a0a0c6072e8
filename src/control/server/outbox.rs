//! What waits to be sent to one client: a bounded queue of lines which never holds anybody up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::protocol::{Event, EventKind};

/// Lines that wait at most, responses and events together (control-socket protocol, section 8).
pub(super) const QUEUE_LINES: usize = 256;

/// A set of event kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventSet(u16);

impl EventSet {
    /// Whether it holds this kind.
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// Returns whether it was not there.
    pub(super) fn insert(&mut self, kind: EventKind) -> bool {
        let is_new = !self.has(kind);
        self.0 |= Self::bit(kind);
        is_new
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, kind: EventKind) -> bool {
        let was_there = self.has(kind);
        self.0 &= !Self::bit(kind);
        was_there
    }

    /// What is in any of the two.
    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bit(kind: EventKind) -> u16 {
        let place = EventKind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        1 << place
    }
}

/// The queue. A full one loses its oldest event for each new line; how many were lost is told in one `dropped` event
/// when the queue has drained, or when as many lines as it holds have passed since. Responses are never lost: who asks
/// faster than they read has to wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Something to send.
    filled: Notify,
    /// Something was sent.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    responses: usize,
    subscribed: EventSet,
    /// Events lost since it was told last.
    lost: u64,
    /// Lines handed out since the first of these was lost.
    handed_out: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Line {
    text: Arc<str>,
    is_response: bool,
}

impl Outbox {
    /// Queues an event. Never waits.
    pub(super) fn push_event(&self, text: Arc<str>) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        if state.lines.len() < QUEUE_LINES || state.lose_oldest_event() {
            state.lines.push_back(Line { text, is_response: false });
        } else {
            state.count_lost();
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Queues a response; waits while there are nothing but responses in a full queue.
    pub(super) async fn push_response(&self, text: String) {
        let mut text = Some(Arc::from(text));
        loop {
            let emptied = self.emptied.notified();
            if self.take_response(&mut text) {
                self.filled.notify_one();
                return;
            }
            emptied.await;
        }
    }

    fn take_response(&self, text: &mut Option<Arc<str>>) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return true;
        }
        if state.lines.len() >= QUEUE_LINES && !state.lose_oldest_event() {
            return false;
        }
        if let Some(text) = text.take() {
            state.lines.push_back(Line { text, is_response: true });
            state.responses += 1;
        }
        true
    }

    /// The next line to send; `None` when the outbox is closed and empty. Cancel safe.
    pub(super) async fn next(&self) -> Option<Arc<str>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state();
                if let Some(text) = state.next() {
                    drop(state);
                    self.emptied.notify_one();
                    return Some(text);
                }
                if state.is_closed {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Takes no more lines; those that wait are still handed out.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_one();
        self.emptied.notify_one();
    }

    pub(super) fn subscribed(&self) -> EventSet {
        self.state().subscribed
    }

    /// Returns whether that changed anything.
    pub(super) fn subscribe(&self, kind: EventKind) -> bool {
        self.state().subscribed.insert(kind)
    }

    /// Returns whether that changed anything.
    pub(super) fn unsubscribe(&self, kind: EventKind) -> bool {
        self.state().subscribed.remove(kind)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes room; false when there is no event to lose.
    fn lose_oldest_event(&mut self) -> bool {
        if self.responses == self.lines.len() {
            return false;
        }
        let Some(oldest) = self.lines.iter().position(|line| !line.is_response) else { return false };
        self.lines.remove(oldest);
        self.count_lost();
        true
    }

    fn count_lost(&mut self) {
        if self.lost == 0 {
            self.handed_out = 0;
        }
        self.lost += 1;
    }

    fn next(&mut self) -> Option<Arc<str>> {
        if self.lost > 0 && (self.lines.is_empty() || self.handed_out >= QUEUE_LINES) {
            let count = u32::try_from(self.lost).unwrap_or(u32::MAX);
            self.lost -= u64::from(count);
            self.handed_out = 0;
            return Some(Event::Dropped { count }.line().into());
        }
        let line = self.lines.pop_front()?;
        self.responses -= usize::from(line.is_response);
        self.handed_out = self.handed_out.saturating_add(1);
        Some(line.text)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn push(outbox: &Outbox, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| outbox.push_event(format!("{number}").into()));
    }

    fn drain(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next().now_or_never().flatten())
            .map(|text| text.trim().to_owned())
            .collect()
    }

    #[test]
    fn nothing_is_lost_up_to_the_limit() {
        let outbox = Outbox::default();
        push(&outbox, 0..QUEUE_LINES);
        let wanted: Vec<String> = (0..QUEUE_LINES).map(|number| number.to_string()).collect();
        assert_eq!(drain(&outbox), wanted);
    }

    #[test]
    fn a_full_queue_loses_its_oldest_events_and_tells_once_when_it_has_drained() {
        let outbox = Outbox::default();
        push(&outbox, 0..QUEUE_LINES + 1_000);
        let told = drain(&outbox);
        assert_eq!(told.len(), QUEUE_LINES + 1);
        assert_eq!(told[0], "1000");
        assert_eq!(told[QUEUE_LINES], r#"{"event":"dropped","data":{"count":1000}}"#);
        push(&outbox, 0..3);
        assert_eq!(drain(&outbox), ["0", "1", "2"], "what was told is not told again");
    }

    #[test]
    fn a_queue_that_never_drains_tells_all_the_same_and_every_event_is_accounted_for() {
        let outbox = Outbox::default();
        let (mut delivered, mut dropped, mut notes) = (0, 0, 0);
        let mut take = |line: &str| match line.strip_prefix(r#"{"event":"dropped","data":{"count":"#) {
            Some(count) => {
                dropped += count.trim_end().trim_end_matches('}').parse::<usize>().unwrap();
                notes += 1;
            }
            None => delivered += 1,
        };
        let produced = 100_000;
        for number in 0..produced {
            push(&outbox, number..number + 1);
            if number % 7 == 0 {
                take(&outbox.next().now_or_never().unwrap().unwrap());
            }
        }
        drain(&outbox).iter().for_each(|line| take(line));
        assert_eq!(delivered + dropped, produced);
        assert!((50..=60).contains(&notes), "one for 256 lines of {delivered}: {notes}");
    }

    #[test]
    fn responses_are_never_lost_and_wait_for_room() {
        let outbox = Outbox::default();
        push(&outbox, 0..QUEUE_LINES);
        for number in 0..QUEUE_LINES {
            outbox.push_response(format!("answer {number}")).now_or_never().unwrap();
        }
        outbox.push_event("one more".into());
        assert!(outbox.push_response("too many".to_owned()).now_or_never().is_none());
        let told = drain(&outbox);
        assert_eq!(told.len(), QUEUE_LINES + 1);
        assert_eq!(told[0], "answer 0");
        let lost = QUEUE_LINES + 1;
        assert_eq!(told[QUEUE_LINES], format!(r#"{{"event":"dropped","data":{{"count":{lost}}}}}"#));
        outbox.push_response("now".to_owned()).now_or_never().unwrap();
        assert_eq!(drain(&outbox), ["now"]);
    }

    #[tokio::test]
    async fn a_closed_outbox_hands_out_what_it_has() {
        let outbox = Outbox::default();
        push(&outbox, 0..2);
        outbox.close();
        push(&outbox, 2..3);
        outbox.push_response("late".to_owned()).await;
        assert_eq!(drain(&outbox), ["0", "1"]);
        assert_eq!(outbox.next().await, None);
    }

    #[test]
    fn sets_of_kinds_are_told_apart() {
        let mut set = EventSet::default();
        assert!(set.insert(EventKind::Dropped) && !set.insert(EventKind::Dropped));
        for kind in EventKind::ALL {
            assert_eq!(set.has(kind), kind == EventKind::Dropped);
        }
        assert!(set.remove(EventKind::Dropped) && !set.remove(EventKind::Dropped));
    }
}
