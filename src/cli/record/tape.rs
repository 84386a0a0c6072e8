//! What was typed, with what the journal had seen by then; and a desk that puts on it what clients type.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::console::Scancode;
use crate::console::served::ServedConsole;
use crate::control::protocol::{Fault, KeyState, PictureFormat, Size, StatsResult, StatusResult};
use crate::control::server::{Desk, Paste, Picture};
use crate::journal::Journal;
use crate::report::recorded::{Input, Stroke};

/// What was typed so far. A clone is the same tape.
#[derive(Clone)]
pub(super) struct Tape {
    journal: Journal,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    strokes: Vec<Stroke>,
    /// Modifiers that clients hold, and whether another key went down meanwhile.
    held: Vec<(Scancode, bool)>,
}

/// When something was typed.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    after: u64,
    at: Duration,
}

impl Tape {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, state: Arc::default() }
    }

    /// Taken before the key is sent: what is seen from here on may be its doing.
    pub(super) fn now(&self) -> Moment {
        Moment { after: self.journal.newest(), at: self.journal.began().elapsed() }
    }

    pub(super) fn put(&self, moment: Moment, input: Input) {
        self.state().strokes.push(Stroke { after: moment.after, at: moment.at, input });
    }

    /// All that was typed, in its order.
    pub(super) fn strokes(&self) -> Vec<Stroke> {
        let mut strokes = self.state().strokes.clone();
        // A text is put here when it is typed to its end, and stands where it began.
        strokes.sort_by_key(|stroke| (stroke.after, stroke.at));
        strokes
    }

    /// A key of a client went down or up, or both.
    fn put_key(&self, moment: Moment, code: Scancode, key: KeyState) {
        let mut state = self.state();
        let goes_down = key != KeyState::Up;
        if MODIFIERS.contains(&code) {
            if key == KeyState::Down {
                if !state.held.iter().any(|(held, _)| *held == code) {
                    state.held.push((code, false));
                }
                return;
            }
            let at = state.held.iter().position(|(held, _)| *held == code);
            let was_used = at.map(|at| state.held.remove(at)).is_some_and(|(_, was_used)| was_used);
            if was_used {
                return;
            }
        } else if !goes_down {
            return;
        }
        let mut codes: Vec<Scancode> = state.held.iter().map(|(held, _)| *held).collect();
        state.held.iter_mut().for_each(|(_, was_used)| *was_used = true);
        codes.push(code);
        state.strokes.push(Stroke { after: moment.after, at: moment.at, input: Input::Keys(codes) });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A desk whose keys and texts are put on a tape; everything else is the console's own.
pub(super) struct RecordedDesk {
    served: ServedConsole,
    tape: Tape,
}

impl RecordedDesk {
    pub(super) fn new(served: ServedConsole, tape: Tape) -> Self {
        Self { served, tape }
    }
}

impl Desk for RecordedDesk {
    fn status(&self) -> StatusResult {
        self.served.status()
    }

    fn send_key(&self, scancode: u16, state: KeyState) -> Result<(), Fault> {
        let moment = self.tape.now();
        self.served.send_key(scancode, state)?;
        // Clients of old servers set the break bit themselves.
        let code = if state == KeyState::Up { scancode & !0x80 } else { scancode };
        self.tape.put_key(moment, Scancode(code), state);
        Ok(())
    }

    fn paste(&self, text: String, char_delay: Duration) -> Paste {
        let (tape, moment) = (self.tape.clone(), self.tape.now());
        let typing = self.served.paste(text.clone(), char_delay);
        Box::pin(async move {
            let typed = typing.await?;
            if typed > 0 {
                tape.put(moment, Input::Text(text));
            }
            Ok(typed)
        })
    }

    fn screenshot(&self, surface_id: Option<u32>, format: PictureFormat) -> Result<Picture, Fault> {
        self.served.screenshot(surface_id, format)
    }

    fn clipboard_set(&self, text: String) -> Result<(), Fault> {
        self.served.clipboard_set(text)
    }

    fn clipboard_get(&self) -> Option<String> {
        self.served.clipboard_get()
    }

    fn resize(&self, size: Size) -> Result<Size, Fault> {
        self.served.resize(size)
    }

    fn stats(&self) -> StatsResult {
        self.served.stats()
    }

    fn subscriptions_changed(&self) {
        self.served.subscriptions_changed();
    }
}

/// Control, shift, alt and meta keys of both sides.
const MODIFIERS: [Scancode; 8] = [
    Scancode::CTRL,
    Scancode::SHIFT,
    Scancode::ALT,
    Scancode::ALTGR,
    Scancode(0x36),
    Scancode(0xE01D),
    Scancode(0xE05B),
    Scancode(0xE05C),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(sent: &[(u16, KeyState)]) -> Vec<Vec<u16>> {
        let tape = Tape::new(Journal::new());
        sent.iter().for_each(|(code, key)| tape.put_key(tape.now(), Scancode(*code), *key));
        let codes = |stroke: Stroke| match stroke.input {
            Input::Keys(codes) => codes.into_iter().map(|code| code.0).collect(),
            Input::Text(text) => panic!("{text}"),
        };
        tape.strokes().into_iter().map(codes).collect()
    }

    #[test]
    fn keys_that_are_held_belong_to_the_one_that_goes_down() {
        use KeyState::{Down, Press, Up};
        assert_eq!(keys(&[(0x1C, Press)]), [[0x1C]]);
        assert_eq!(keys(&[(0x1E, Down), (0x1E, Up)]), [[0x1E]]);
        assert_eq!(
            keys(&[(0x1D, Down), (0x38, Down), (0xE053, Press), (0x38, Up), (0x1D, Up)]),
            [[0x1D, 0x38, 0xE053]]
        );
        assert_eq!(
            keys(&[(0x2A, Down), (0x1E, Press), (0x30, Press), (0x2A, Up)]),
            [[0x2A, 0x1E], [0x2A, 0x30]]
        );
    }

    #[test]
    fn a_modifier_alone_is_a_key_like_others() {
        use KeyState::{Down, Press, Up};
        assert_eq!(keys(&[(0x2A, Down), (0x2A, Up)]), [[0x2A]]);
        assert_eq!(keys(&[(0xE05B, Press), (0x1E, Press)]), [[0xE05B], [0x1E]]);
    }
}
