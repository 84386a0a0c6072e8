//! The graphics modes: the keys that ask for one, the walk through all of them, and the toast that tells.

use crate::guest::Guest;
use crate::platform::{Key, Platform, Size};
use visual_digest::Record;

/// The mode the guest starts in, as near as the firmware comes to it.
pub(crate) const PREFERRED: Size = Size::new(1024, 768);

const TOAST_MS: u64 = 1500;
const DWELL_MS: u64 = 1000;

/// What a mode key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeKey {
    Switch(Size),
    Walk,
}

impl ModeKey {
    pub(crate) fn of(key: Key) -> Option<Self> {
        Some(match key.unicode {
            '0' => Self::Walk,
            '1' => Self::Switch(Size::new(640, 480)),
            '2' => Self::Switch(Size::new(800, 600)),
            '3' => Self::Switch(Size::new(1024, 768)),
            '4' => Self::Switch(Size::new(1280, 720)),
            '5' => Self::Switch(Size::new(1280, 1024)),
            '6' => Self::Switch(Size::new(1920, 1080)),
            _ => return None,
        })
    }
}

/// Returns the index of the mode nearest to `wanted`; `None` when there are no modes.
pub(crate) fn nearest(modes: &[Size], wanted: Size) -> Option<usize> {
    let distance = |mode: &Size| mode.width.abs_diff(wanted.width) + mode.height.abs_diff(wanted.height);
    let key = |mode: &Size| (distance(mode), mode.width, mode.height);
    modes.iter().enumerate().min_by_key(|(_, mode)| key(mode)).map(|(index, _)| index)
}

/// A walk through all modes, with the modes before `next` done.
pub(crate) struct Walk {
    next: usize,
    /// When, by the guest's clock, the walk goes on.
    due_ms: u64,
}

impl<P: Platform> Guest<P> {
    pub(crate) fn obey_mode_key(&mut self, key: ModeKey) {
        match key {
            ModeKey::Switch(requested) => self.switch_mode(nearest(&self.modes, requested), requested),
            ModeKey::Walk => self.step_walk(0),
        }
    }

    pub(crate) fn poll_walk(&mut self) {
        match self.walk {
            Some(Walk { next, due_ms }) if self.clock_ms >= due_ms => self.step_walk(next),
            _ => {}
        }
    }

    pub(crate) fn interrupt_walk(&mut self) {
        if let Some(walk) = self.walk.take() {
            self.push_cycle(walk.next, true);
        }
    }

    pub(crate) fn poll_toast(&mut self) {
        if self.toast_ends_ms.is_some_and(|end| self.clock_ms >= end) {
            self.toast_ends_ms = None;
            self.repaint();
        }
    }

    fn step_walk(&mut self, next: usize) {
        let Some(requested) = self.modes.get(next).copied() else {
            self.walk = None;
            self.push_cycle(next, false);
            return;
        };
        self.walk = Some(Walk { next: next + 1, due_ms: self.clock_ms + DWELL_MS });
        self.switch_mode(Some(next), requested);
    }

    fn push_cycle(&mut self, done: usize, interrupted: bool) {
        let count = u32::try_from(done).unwrap_or(u32::MAX);
        self.push_record(|timestamp_ms| Record::ModeCycle { count, interrupted, timestamp_ms });
    }

    /// Without a mode to switch to this is a switch to the mode the screen has.
    fn switch_mode(&mut self, mode: Option<usize>, requested: Size) {
        let applied = match mode {
            Some(index) => self.change_mode(index),
            None => self.platform().size(),
        };
        self.push_record(|timestamp_ms| Record::ModeSwitch {
            requested_w: requested.width,
            requested_h: requested.height,
            applied_w: applied.width,
            applied_h: applied.height,
            timestamp_ms,
        });
        self.repaint();
        if applied == requested {
            self.screen.draw_toast(format_args!("mode {applied}"));
        } else {
            self.screen.draw_toast(format_args!("requested {requested} -> using {applied}"));
        }
        self.present();
        self.toast_ends_ms = Some(self.clock_ms + TOAST_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_adds_both_distances_and_prefers_the_narrower_then_the_lower() {
        let modes = [(1280, 800), (1000, 768), (1048, 768), (1024, 744), (1024, 792), (640, 480)];
        let modes = modes.map(|(width, height)| Size::new(width, height));
        assert_eq!(nearest(&modes, PREFERRED), Some(1));
        assert_eq!(nearest(&modes[2..], PREFERRED), Some(1));
        assert_eq!(nearest(&modes, Size::new(640, 400)), Some(5));
        assert_eq!(nearest(&[], PREFERRED), None);
    }

    #[test]
    fn only_the_digits_from_0_to_6_are_mode_keys() {
        for character in (0..=0x7F_u8).map(char::from) {
            let expected = ('0'..='6').contains(&character);
            assert_eq!(ModeKey::of(Key::character(character)).is_some(), expected, "{character:?}");
        }
        assert_eq!(ModeKey::of(Key::special(1)), None);
    }
}
