//! What an attempt's journal says at the prompt: its steps, and what led to a failure.

use std::sync::Arc;

use unicode_width::UnicodeWidthStr as _;

use super::feed;
use super::shown::{clean, cut, in_a_line};
use crate::journal::{Body, Event};
use crate::report::style::{Look, Tone};
use crate::script::prompt::Frame;

/// The steps in the order in which they began, with times and verdicts.
pub(super) fn steps(events: &[Arc<Event>], look: Look) -> String {
    struct Step<'a> {
        path: &'a [String],
        began: f64,
        ended: Option<(bool, u64)>,
        waits: usize,
    }
    let mut steps: Vec<Step<'_>> = Vec::new();
    for event in events {
        match &event.body {
            Body::StepBegan { path, .. } => {
                steps.push(Step { path, began: event.at().as_secs_f64(), ended: None, waits: 0 });
            }
            Body::StepEnded { path, passed, took_ms } => {
                let open = steps.iter_mut().rev().find(|step| step.path == path && step.ended.is_none());
                if let Some(step) = open {
                    step.ended = Some((*passed, *took_ms));
                }
            }
            Body::WaitBegan { .. } => {
                if let Some(step) = steps.iter_mut().rev().find(|step| step.ended.is_none()) {
                    step.waits += 1;
                }
            }
            _ => {}
        }
    }
    if steps.is_empty() {
        return "no step has begun\n".to_owned();
    }
    let mut text = String::new();
    for step in steps {
        let (mark, tone, took) = match step.ended {
            Some((true, took)) => ("✓", Tone::Good, seconds(took)),
            Some((false, took)) => ("✗", Tone::Bad, seconds(took)),
            None => ("…", Tone::Warn, "goes on".to_owned()),
        };
        let indent = "  ".repeat(step.path.len().saturating_sub(1).min(8));
        let waits = match step.waits {
            0 => String::new(),
            1 => ", 1 wait".to_owned(),
            waits => format!(", {waits} waits"),
        };
        let tail = format!("{took}{waits}");
        let head = format!("{:>6.1} s  {indent}", step.began);
        let room = look.width.saturating_sub(head.width() + tail.width() + 5).max(8);
        let name = cut(&clean(step.path.last().map_or("", String::as_str)), room);
        text.push_str(&format!(
            "{}{} {name}  {}\n",
            look.paint(Tone::Faint, head),
            look.paint(tone, mark),
            look.paint(Tone::Faint, tail)
        ));
    }
    text
}

/// The waits of the attempt that came to no match, the last one in full, and what was seen before its end.
pub(super) fn last_wait(events: &[Arc<Event>], look: Look) -> String {
    let ended = events.iter().rposition(|event| {
        matches!(&event.body, Body::WaitEnded { outcome, .. } if outcome != "matched")
            || matches!(event.body, Body::Expectation { passed: false, .. })
    });
    let mut text = String::new();
    let until = ended.unwrap_or(events.len());
    if let Some(Body::WaitEnded { wait, outcome, took_ms, host_load, lane_speed, .. }) =
        ended.map(|at| &events[at].body)
    {
        let began = events[..until].iter().rev().find_map(|event| match &event.body {
            Body::WaitBegan { wait: known, call, wanted, timeout_s, .. } if known == wait => {
                Some((call, wanted, *timeout_s))
            }
            _ => None,
        });
        if let Some((call, wanted, timeout)) = began {
            let took = seconds(*took_ms);
            text.push_str(&format!("{} {}\n", look.paint(Tone::Strong, "wait:"), clean(call)));
            text.push_str(&format!("  wanted {}\n", clean(wanted)));
            text.push_str(&format!("  {outcome} after {took}; it had {timeout:.1} s\n"));
        }
        if let Some(load) = host_load.filter(|load| *load >= CROWDED) {
            text.push_str(&format!("  {load:.1} processes for each processor meanwhile\n"));
        }
        if let Some(speed) = lane_speed.filter(|speed| *speed <= STARVED) {
            let share = speed * 100.0;
            text.push_str(&format!("  the machine got {share:.0} % of the processor time it wanted\n"));
        }
    }
    let told = events[..until].iter().filter_map(|event| Some((event, feed::words(event)?)));
    // What only goes along with everything else would push the rest out of sight.
    let is_beside = |event: &Event| matches!(event.body, Body::WaitBegan { .. } | Body::SurfaceDrawn { .. });
    let seen: Vec<_> = told.filter(|(event, _)| !is_beside(event)).collect();
    if !seen.is_empty() {
        text.push_str(&format!("{}\n", look.paint(Tone::Strong, "what happened before:")));
        for (event, words) in &seen[seen.len().saturating_sub(EVENTS_BEFORE)..] {
            text.push_str(&format!("{}\n", feed::line(event, words, look)));
        }
    }
    text
}

/// The functions being called, innermost first, with their variables.
pub(super) fn frames(frames: &[Frame], look: Look) -> String {
    if frames.is_empty() {
        return "no function of a script is being called\n".to_owned();
    }
    let mut text = String::new();
    for frame in frames {
        let place = frame.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let function = if frame.function.is_empty() { "a function" } else { &frame.function };
        let head = look.paint(Tone::Strong, clean(function));
        text.push_str(&format!("{head}{}\n", look.paint(Tone::Faint, clean(&place))));
        let widest = frame.variables.iter().map(|variable| variable.name.width()).max().unwrap_or(0).min(16);
        for variable in &frame.variables {
            let padding = " ".repeat(widest.saturating_sub(variable.name.width()));
            let outer = if variable.is_upvalue { "  (outer)" } else { "" };
            let used = 2 + variable.name.width().max(widest) + 3 + outer.len() + 1;
            let value = in_a_line(&variable.value, look.width.saturating_sub(used).max(10), look);
            let name = look.paint(Tone::Place, clean(&variable.name));
            text.push_str(&format!("  {name}{padding} = {value}{}\n", look.paint(Tone::Faint, outer)));
        }
        if frame.variables.is_empty() {
            text.push_str(&format!("  {}\n", look.paint(Tone::Faint, "no variables")));
        }
    }
    text
}

fn seconds(took_ms: u64) -> String {
    format!("{:.1} s", std::time::Duration::from_millis(took_ms).as_secs_f64())
}

const EVENTS_BEFORE: usize = 10;
/// Processes that want to run for each processor.
const CROWDED: f64 = 1.5;
/// Share of the processor time that a machine wanted.
const STARVED: f64 = 0.7;
