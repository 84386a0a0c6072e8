//! Faults of a simulated lane: those of its wires are the server's, those of keys and serial lines are the machine's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::console::spice::SpiceConsole;
use crate::journal::{Body, Journal, Source};
use crate::lane::fault::{Fault, FaultChannel, FaultKind, Tally};
use crate::spice::ChannelType;
use crate::spice::server::{ChannelFault, FaultHandle, FaultId, ShowError};

/// The means to make things go wrong on a simulated lane. A clone is another handle to the same lane.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

/// Why a fault cannot be.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// It concerns a pixel beyond the screen.
    #[error(transparent)]
    Pixel(#[from] ShowError),
    /// There are too many already.
    #[error("{0} faults are in force already, which is the limit")]
    TooMany(usize),
}

struct Inner {
    wires: FaultHandle,
    console: Arc<SpiceConsole>,
    journal: Journal,
    runtime: tokio::runtime::Handle,
    /// Cancelled when the lane is taken down.
    over: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    so_far: u64,
    /// What was asked for, in order.
    asked: Vec<String>,
    live: BTreeMap<u64, Live>,
    /// Keys that went down, by the guest's count.
    keys: u64,
    /// Keys that are down and that the guest knows nothing of.
    hidden: BTreeSet<u16>,
}

/// A fault that waits for its time or is in force.
struct Live {
    name: String,
    over: CancellationToken,
    effect: Effect,
}

enum Effect {
    /// It has not begun.
    None,
    /// The server sees to it.
    Wire(FaultId),
    DropKey(Tally),
    DuplicateKey(Tally),
    LoseLine {
        tally: Tally,
        matching: Option<regex_lite::Regex>,
        seen: u64,
    },
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.summary()).finish()
    }
}

impl Faults {
    /// Must be called within a tokio runtime, which lasts as long as the lane.
    pub(super) fn new(
        wires: FaultHandle,
        console: Arc<SpiceConsole>,
        journal: Journal,
        over: CancellationToken,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self(Arc::new(Inner { wires, console, journal, runtime, over, state: Mutex::default() }))
    }

    /// Makes something go wrong, at once or after a while.
    ///
    /// # Errors
    /// It cannot be.
    pub fn inject(&self, fault: &Fault) -> Result<(), InjectError> {
        let mut state = self.lock();
        if state.live.len() >= MOST_FAULTS {
            return Err(InjectError::TooMany(MOST_FAULTS));
        }
        let name = fault.to_string();
        let effect = if fault.after.is_zero() { self.begin(fault)? } else { Some(Effect::None) };
        self.note(&name, "injected", None);
        state.so_far += 1;
        let id = state.so_far;
        if state.asked.len() < MOST_FAULTS {
            state.asked.push(name.clone());
        }
        let Some(effect) = effect else { return Ok(()) };
        let over = self.0.over.child_token();
        state.live.insert(id, Live { name, over: over.clone(), effect });
        if !fault.after.is_zero() || fault.lasts.is_some() {
            self.0.runtime.spawn(self.clone().keep_time(id, fault.clone(), over));
        }
        Ok(())
    }

    /// Ends all faults, and forgets those that have yet to begin.
    pub fn clear(&self) {
        let mut state = self.lock();
        for live in std::mem::take(&mut state.live).into_values() {
            live.over.cancel();
            self.lift(&live.effect);
            self.note(&live.name, "cleared", None);
        }
    }

    /// What was made to go wrong, in the order in which it was asked for; nothing where nothing was.
    pub fn summary(&self) -> Option<String> {
        let state = self.lock();
        (!state.asked.is_empty()).then(|| state.asked.join("; "))
    }

    /// A key went down or up: says what of that the guest gets to know, `true` for down.
    pub(super) fn key(&self, code: u16, is_down: bool, mut tell: impl FnMut(bool)) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !is_down {
            if !state.hidden.remove(&code) {
                tell(false);
            }
            return;
        }
        state.keys += 1;
        let (mut is_dropped, mut is_twice) = (false, false);
        let number = state.keys;
        state.live.retain(|_, live| {
            let (tally, strikes) = match &mut live.effect {
                Effect::DropKey(tally) => (tally, &mut is_dropped),
                Effect::DuplicateKey(tally) => (tally, &mut is_twice),
                _ => return true,
            };
            if tally.strikes(number) {
                *strikes = true;
                self.note(&live.name, "struck", Some(format!("key {code:#04x}")));
            }
            !tally.is_over()
        });
        if is_dropped {
            state.hidden.insert(code);
            return;
        }
        tell(true);
        if is_twice {
            tell(false);
            tell(true);
        }
    }

    /// Whether there is anything against serial lines.
    pub(super) fn concern_lines(&self) -> bool {
        self.lock().live.values().any(|live| matches!(live.effect, Effect::LoseLine { .. }))
    }

    /// Whether this line is lost.
    pub(super) fn lose(&self, line: &str) -> bool {
        let mut is_lost = false;
        self.lock().live.retain(|_, live| {
            let Effect::LoseLine { tally, matching, seen } = &mut live.effect else { return true };
            if matching.as_ref().is_none_or(|matching| matching.is_match(line)) {
                *seen += 1;
                if tally.strikes(*seen) {
                    is_lost = true;
                    self.note(&live.name, "struck", Some(format!("line {line:?}")));
                }
            }
            !tally.is_over()
        });
        is_lost
    }

    /// Sees to a fault's beginning and end.
    async fn keep_time(self, id: u64, fault: Fault, over: CancellationToken) {
        let wait = |time: Duration| over.run_until_cancelled(tokio::time::sleep(time));
        if !fault.after.is_zero() {
            if wait(fault.after).await.is_none() {
                return;
            }
            let mut state = self.lock();
            // It may have been cleared at this very moment.
            let Some(mut live) = state.live.remove(&id) else { return };
            match self.begin(&fault) {
                Ok(Some(effect)) => {
                    live.effect = effect;
                    self.note(&live.name, "begun", None);
                    state.live.insert(id, live);
                }
                Ok(None) => self.note(&live.name, "begun", None),
                Err(error) => self.note(&live.name, "failed", Some(error.to_string())),
            }
        }
        if let Some(lasts) = fault.lasts
            && wait(lasts).await.is_some()
            && let Some(live) = self.lock().live.remove(&id)
        {
            self.lift(&live.effect);
            self.note(&live.name, "over", None);
        }
    }

    /// Puts a fault in force; nothing is left of one that is over at once.
    fn begin(&self, fault: &Fault) -> Result<Option<Effect>, InjectError> {
        let wires = &self.0.wires;
        Ok(Some(match &fault.kind {
            // By the time the guest has counted what was typed up to now, it may be later.
            FaultKind::DropKey(which) => Effect::DropKey(Tally::from(*which, self.0.console.keys_sent())),
            FaultKind::DuplicateKey(which) => {
                Effect::DuplicateKey(Tally::from(*which, self.0.console.keys_sent()))
            }
            FaultKind::LoseLine { which, matching } => {
                let (tally, matching) = (Tally::from(*which, 0), matching.clone());
                Effect::LoseLine { tally, matching, seen: 0 }
            }
            FaultKind::FlipPixel { x, y, xor, once } => Effect::Wire(wires.flip_pixel(*x, *y, *xor, *once)?),
            FaultKind::Delay { by, channel } => {
                Effect::Wire(wires.put(channel.map(channel_type), ChannelFault::Delay(*by)))
            }
            FaultKind::Throttle { bytes_per_second, channel } => {
                let throttle = ChannelFault::Throttle(*bytes_per_second);
                Effect::Wire(wires.put(channel.map(channel_type), throttle))
            }
            FaultKind::Stall(channel) => {
                Effect::Wire(wires.put(Some(channel_type(*channel)), ChannelFault::Stall))
            }
            FaultKind::Cut(channel) => {
                wires.cut(channel_type(*channel));
                return Ok(None);
            }
            FaultKind::Malform(channel) => {
                wires.malform(channel_type(*channel));
                return Ok(None);
            }
        }))
    }

    fn lift(&self, effect: &Effect) {
        if let Effect::Wire(id) = effect {
            self.0.wires.lift(*id);
        }
    }

    fn note(&self, fault: &str, state: &str, detail: Option<String>) {
        let (fault, state) = (fault.to_owned(), state.to_owned());
        self.0.journal.append(Source::Lane, Body::Fault { fault, state, detail });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channel_type(channel: FaultChannel) -> ChannelType {
    match channel {
        FaultChannel::Main => ChannelType::MAIN,
        FaultChannel::Display => ChannelType::DISPLAY,
        FaultChannel::Inputs => ChannelType::INPUTS,
        FaultChannel::Cursor => ChannelType::CURSOR,
    }
}

/// Faults at once, in force or yet to come.
const MOST_FAULTS: usize = 64;
