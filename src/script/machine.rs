//! One of an attempt's machines, as its bindings share it: the lane, its streams, and how far they were read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::{Failure, Place};
use crate::console::Console;
use crate::console::layout::{self, Layout};
use crate::journal::{Cursor, Journal, Source};
use crate::lane::handle::{Capability, LaneHandle};

/// The machines of an attempt.
pub enum Lanes {
    /// One, which has no name of the scenario's.
    One(LaneHandle),
    /// Those of a scenario with `lanes = { … }`, by what it calls them. What each says goes to the journal through
    /// [`Journal::for_lane`] of that name.
    Several(BTreeMap<String, LaneHandle>),
}

/// One machine.
pub(super) struct Machine {
    /// What the scenario calls it, when it has several.
    pub(super) role: Option<String>,
    pub(super) lane: LaneHandle,
    /// Shows of the machines' streams only this one's.
    pub(super) journal: Journal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cursors: [Cursor; Source::ALL.len()],
    /// What the machine said up to here was said before it was put back or reset.
    since: Cursor,
    /// The line that paused the machine.
    paused_at: Option<Place>,
    /// Whether somebody at a prompt paused it or let it go on.
    is_left_alone: bool,
    /// What the guest takes its keyboard for; none: the US one.
    layout: Option<&'static Layout>,
}

impl Machine {
    /// The machines of an attempt whose journal this is.
    pub(super) fn all(lanes: Lanes, journal: &Journal) -> Vec<Arc<Self>> {
        let machine = |role: Option<String>, lane, journal| {
            Arc::new(Self { role, lane, journal, state: Mutex::default() })
        };
        match lanes {
            Lanes::One(lane) => vec![machine(None, lane, journal.clone())],
            Lanes::Several(lanes) => lanes
                .into_iter()
                .map(|(role, lane)| {
                    let journal = journal.for_lane(&role);
                    machine(Some(role), lane, journal)
                })
                .collect(),
        }
    }

    /// A call as messages name it: of several machines they say which.
    pub(super) fn call(&self, name: &str) -> String {
        match &self.role {
            None => name.to_owned(),
            // `lane:pause` is `t.lanes.a:pause`.
            Some(role) => match name.strip_prefix("lane:") {
                Some(method) => format!("lanes.{role}:{method}"),
                None => format!("lanes.{role}.{name}"),
            },
        }
    }

    /// The console, or why there is none.
    pub(super) fn console(&self, call: &str) -> Result<Arc<dyn Console>, Failure> {
        self.lane.console.clone().ok_or_else(|| {
            Failure::usage(format!("{call}: lane \"{}\" has no console", self.lane.name))
                .hint("name what the scenario needs: `needs = { \"keyboard\", \"screen\" }`")
        })
    }

    /// Refuses a call that the lane cannot serve.
    pub(super) fn require(&self, call: &str, capability: Capability) -> Result<(), Failure> {
        if self.lane.capabilities.contains(&capability) {
            return Ok(());
        }
        Err(self.lacking(call, capability))
    }

    /// The failure of a call that the lane cannot serve.
    pub(super) fn lacking(&self, call: &str, capability: Capability) -> Failure {
        Failure::usage(format!("{call}: lane \"{}\" has no {capability}", self.lane.name)).hint(format!(
            "add \"{capability}\" to the scenario's `needs`, so that it is skipped on such a lane"
        ))
    }

    pub(super) fn cursor(&self, source: Source) -> Cursor {
        self.state().cursors[source as usize]
    }

    pub(super) fn set_cursor(&self, source: Source, cursor: Cursor) {
        self.state().cursors[source as usize] = cursor;
    }

    /// Lets all that the machine said up to `cursor` lie behind: it was put back, or began anew.
    pub(super) fn begin_anew(&self, cursor: Cursor) {
        let mut state = self.state();
        for source in [Source::Qmp, Source::Serial, Source::Screen, Source::Digest, Source::Agent] {
            state.cursors[source as usize] = cursor;
        }
        state.since = cursor;
    }

    /// Up to where the machine's words are of an earlier life.
    pub(super) fn since(&self) -> Cursor {
        self.state().since
    }

    /// Notes which line paused the machine, or that it runs.
    pub(super) fn set_paused_at(&self, place: Option<Place>) {
        self.state().paused_at = place;
    }

    /// Notes whether somebody at a prompt has decided whether it runs.
    pub(super) fn leave_alone(&self, is_left_alone: bool) {
        self.state().is_left_alone = is_left_alone;
    }

    /// Whether somebody at a prompt has decided whether it runs.
    pub(super) fn is_left_alone(&self) -> bool {
        self.state().is_left_alone
    }

    /// What the guest takes its keyboard for.
    pub(super) fn layout(&self) -> &'static Layout {
        self.state().layout.unwrap_or(&layout::US)
    }

    pub(super) fn set_layout(&self, layout: &'static Layout) {
        self.state().layout = Some(layout);
    }

    /// What to say about a wait that expired on a machine which the script had paused, or on which things go wrong on
    /// purpose.
    pub(super) fn hint(&self) -> Option<String> {
        if let Some(place) = self.state().paused_at.clone() {
            let resume = self.call("lane:resume");
            let line = place.line;
            return Some(format!("the machine is paused since line {line}; `t.{resume}()` lets it go on"));
        }
        let faults = self.lane.faults.as_ref()?.summary()?;
        Some(format!("faults were injected: {faults}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
