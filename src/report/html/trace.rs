//! What becomes of an attempt's journal in the page.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::report::source::{RawEvent, RawJournal};

/// A journal as the page reads it. Names are said once, and events are short rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Trace<'a> {
    /// When it began, in milliseconds since 1970.
    wall_ms: i64,
    sources: Vec<&'a str>,
    names: Vec<&'a str>,
    lanes: Vec<&'a str>,
    /// `[seq, microseconds, source, name, lane or -1, data]`.
    events: Vec<(u64, u64, usize, usize, i64, Value)>,
    /// `[seq, missing]`: so many events before this one are not in the journal.
    gaps: Vec<(u64, u64)>,
    /// Numbers of pictures by the paths of screenshots.
    pub(super) pictures: BTreeMap<String, usize>,
    /// Lines that were no events.
    damaged_lines: usize,
    /// Events that are not in the page, for there were too many.
    left_out: usize,
    /// Screenshots that are not in the page, for want of room.
    pub(super) pictures_left_out: usize,
}

/// A wait that was answered, and how much of its time that took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TightWait {
    /// The call.
    pub(super) call: String,
    /// What was waited for.
    pub(super) wanted: String,
    /// Line of the call.
    pub(super) line: u64,
    /// Milliseconds it took.
    pub(super) took_ms: u64,
    /// Milliseconds it might have taken.
    pub(super) timeout_ms: f64,
    /// The event at which it was over.
    pub(super) seq: u64,
}

impl<'a> Trace<'a> {
    pub(super) fn of(journal: &'a RawJournal) -> Self {
        let mut trace = Self { damaged_lines: journal.damaged_lines, ..Self::default() };
        trace.wall_ms =
            journal.events.first().and_then(|event| event.wall).map_or(0, |wall| wall.as_millisecond());
        let (mut sources, mut names, mut lanes) = (Names::default(), Names::default(), Names::default());
        let mut draws = Draws::new(&journal.events);
        for event in &journal.events {
            if event.name == "surface_drawn" && draws.take(event, &mut trace.events) {
                continue;
            }
            let lane = event.lane.as_deref().map(|lane| i64::try_from(lanes.number(lane)).unwrap_or(-1));
            let (source, name) = (sources.number(&event.source), names.number(&event.name));
            let row = (event.seq, event.t_ns / 1000, source, name, lane.unwrap_or(-1), short(event));
            if event.name == "surface_drawn" {
                draws.began(event, trace.events.len());
            }
            trace.events.push(row);
        }
        let follows = journal.events.iter().zip(journal.events.iter().skip(1));
        let gaps = follows
            .map(|(before, event)| (event.seq, event.seq.saturating_sub(before.seq.saturating_add(1))));
        trace.gaps = gaps.filter(|(_, missing)| *missing > 0).collect();
        (trace.sources, trace.names, trace.lanes) = (sources.names, names.names, lanes.names);
        trace.cut();
        trace
    }

    /// Leaves out the middle of what nobody would read, and no browser show.
    fn cut(&mut self) {
        let too_many = self.events.len().saturating_sub(MAX_EVENTS);
        if too_many > 0 {
            self.left_out = too_many;
            self.events.drain(KEPT_AT_FIRST..KEPT_AT_FIRST + too_many);
        }
    }
}

/// The data of an event without what is in other events as well.
fn short(event: &RawEvent) -> Value {
    let mut data = event.data.clone();
    // Every record of a digest comes as an event of its own, the first time it is seen.
    if event.name == "digest_updated"
        && let Some(fields) = data.as_object_mut()
        && let Some(records) = fields.remove("raw_records")
    {
        fields.insert("records".to_owned(), json!(records.as_array().map_or(0, Vec::len)));
        fields.retain(|_, value| !is_empty(value));
    }
    data
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value == &Value::Bool(false)
}

/// Waits that were answered.
pub(super) fn tight_waits(journal: &RawJournal) -> Vec<TightWait> {
    let mut open: HashMap<u64, &RawEvent> = HashMap::new();
    let mut waits = Vec::new();
    for event in &journal.events {
        let Some(wait) = event.number("wait") else { continue };
        if event.name == "wait_began" {
            open.insert(wait, event);
        } else if event.name == "wait_ended"
            && event.text("outcome") == "matched"
            && let Some(began) = open.remove(&wait)
        {
            waits.push(TightWait {
                call: began.text("call").to_owned(),
                wanted: began.text("wanted").chars().take(MAX_WANTED).collect(),
                line: began.number("line").unwrap_or_default(),
                took_ms: event.number("took_ms").unwrap_or_default(),
                timeout_ms: began.float("timeout_s").unwrap_or_default() * 1000.0,
                seq: event.seq,
            });
        }
    }
    waits
}

#[derive(Default)]
struct Names<'a> {
    names: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn number(&mut self, name: &'a str) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }
}

/// Draws that come close to one another are one in the page, which counts them.
struct Draws {
    within_ns: u64,
    /// By lane and surface: since when, and which row.
    open: HashMap<(Option<String>, u64), (u64, usize)>,
}

impl Draws {
    fn new(events: &[RawEvent]) -> Self {
        let length_ns = events.last().map_or(0, |event| event.t_ns);
        Self { within_ns: (length_ns / MAX_DRAWS).max(20_000_000), open: HashMap::new() }
    }

    fn key(event: &RawEvent) -> (Option<String>, u64) {
        (event.lane.clone(), event.number("surface_id").unwrap_or_default())
    }

    fn began(&mut self, event: &RawEvent, row: usize) {
        self.open.insert(Self::key(event), (event.t_ns, row));
    }

    /// Adds the draws to the row of those just before them; false when there are none.
    fn take(&self, event: &RawEvent, rows: &mut [(u64, u64, usize, usize, i64, Value)]) -> bool {
        let Some((since, row)) = self.open.get(&Self::key(event)) else { return false };
        if event.t_ns.saturating_sub(*since) >= self.within_ns {
            return false;
        }
        let Some(data) = rows.get_mut(*row).and_then(|row| row.5.as_object_mut()) else { return false };
        let draws = data.get("draws").and_then(Value::as_u64).unwrap_or(1);
        data.insert("draws".to_owned(), json!(draws.saturating_add(event.number("draws").unwrap_or(1))));
        data.insert("until_us".to_owned(), json!(event.t_ns / 1000));
        let events = data.get("events").and_then(Value::as_u64).unwrap_or(1);
        data.insert("events".to_owned(), json!(events + 1));
        unite(data, &event.data["area"]);
        true
    }
}

/// Widens the `area` by another one.
fn unite(data: &mut Map<String, Value>, other: &Value) {
    let edges = |area: &Value| -> Option<[u64; 4]> { serde_json::from_value(area.clone()).ok() };
    let (Some(a), Some(b)) = (data.get("area").and_then(edges), edges(other)) else { return };
    let area = [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])];
    data.insert("area".to_owned(), json!(area));
}

const MAX_EVENTS: usize = 200_000;
const KEPT_AT_FIRST: usize = 50_000;
const MAX_DRAWS: u64 = 20_000;
const MAX_WANTED: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, t_ms: u64, name: &str, data: Value) -> RawEvent {
        let line =
            json!({"seq": seq, "t_ns": t_ms * 1_000_000, "source": "screen", "event": name, "data": data});
        serde_json::from_value(line).unwrap()
    }

    fn drawn(seq: u64, t_ms: u64, draws: u64, area: [u64; 4]) -> RawEvent {
        event(seq, t_ms, "surface_drawn", json!({"surface_id": 0, "draws": draws, "area": area}))
    }

    #[test]
    fn draws_close_together_are_one_row_that_counts_them() {
        let other = event(2, 1, "of_tomorrow", json!("</script>"));
        let events =
            vec![drawn(1, 0, 2, [5, 5, 6, 6]), other, drawn(3, 10, 3, [0, 5, 6, 9]), drawn(4, 50, 1, [0; 4])];
        let journal = RawJournal { events, damaged_lines: 0 };
        let trace = Trace::of(&journal);
        let rows: Vec<_> = trace.events.iter().map(|row| (row.0, row.5.clone())).collect();
        assert_eq!(
            rows,
            [
                (
                    1,
                    json!({"surface_id": 0, "draws": 5, "area": [0, 5, 6, 9], "until_us": 10_000, "events": 2})
                ),
                (2, json!("</script>")),
                (4, json!({"surface_id": 0, "draws": 1, "area": [0, 0, 0, 0]})),
            ]
        );
    }

    #[test]
    fn only_answered_waits_are_tight() {
        let began = |wait: u64| {
            event(
                wait,
                0,
                "wait_began",
                json!({"wait": wait, "call": "serial:wait_for", "wanted": "x", "timeout_s": 2.0, "line": 7}),
            )
        };
        let ended = |seq: u64, wait: u64, outcome: &str| {
            event(seq, 5, "wait_ended", json!({"wait": wait, "outcome": outcome, "took_ms": 1500}))
        };
        let events =
            vec![began(1), began(2), ended(3, 1, "matched"), ended(4, 2, "timeout"), ended(5, 9, "matched")];
        let waits = tight_waits(&RawJournal { events, damaged_lines: 0 });
        let [wait] = &waits[..] else { panic!("one wait: {waits:?}") };
        assert_eq!((wait.took_ms, wait.timeout_ms, wait.line, wait.seq), (1500, 2000.0, 7, 3));
    }

    #[test]
    fn what_is_too_much_is_left_out_in_the_middle_and_counted() {
        let events =
            (1..=u64::try_from(MAX_EVENTS).unwrap() + 10).map(|seq| event(seq, seq, "log", Value::Null));
        let journal = RawJournal { events: events.collect(), damaged_lines: 0 };
        let trace = Trace::of(&journal);
        assert_eq!((trace.events.len(), trace.left_out), (MAX_EVENTS, 10));
        assert_eq!(trace.events.last().unwrap().0, u64::try_from(MAX_EVENTS).unwrap() + 10);
    }
}
