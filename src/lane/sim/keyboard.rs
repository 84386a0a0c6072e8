//! From keys going down and up to what firmware reports of them. Performs no IO.

use std::collections::BTreeSet;

use sextant::Key;

use crate::console::{Scancode, layout};

/// A keyboard with a US layout, as UEFI's simple text input sees it.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    held: BTreeSet<u16>,
    lights: u16,
    keys: Vec<Key>,
}

impl Keyboard {
    /// A key went down or up. One that is held and goes down again repeats.
    pub(super) fn handle_key(&mut self, code: u16, is_down: bool) {
        if !is_down {
            self.held.remove(&code);
            return;
        }
        let is_new = self.held.insert(code);
        match code {
            CAPS_LOCK if is_new => self.lights ^= CAPS_LIGHT,
            NUM_LOCK if is_new => self.lights ^= NUM_LIGHT,
            SCROLL_LOCK if is_new => self.lights ^= SCROLL_LIGHT,
            _ => self.keys.extend(self.key(code)),
        }
    }

    /// The lock lights are to be so.
    pub(super) fn set_lights(&mut self, lights: u16) {
        self.lights = lights & (CAPS_LIGHT | NUM_LIGHT | SCROLL_LIGHT);
    }

    /// The lock lights: 1 scroll, 2 num, 4 caps.
    pub(super) fn lights(&self) -> u16 {
        self.lights
    }

    /// Whether firmware would hold further keys back.
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= MOST_KEYS
    }

    /// Takes what was typed, the oldest first.
    pub(super) fn take(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.keys)
    }

    /// What a key that goes down means now; nothing for one that only changes the meaning of others.
    fn key(&self, code: u16) -> Option<Key> {
        let code = self.navigation(code);
        if let Some((_, scancode)) = SPECIAL.iter().find(|(known, _)| *known == code) {
            return Some(Key::special(*scancode));
        }
        let character = match code {
            ENTER | KEYPAD_ENTER => '\r',
            BACKSPACE => '\u{8}',
            KEYPAD_DIVIDE => '/',
            KEYPAD_MULTIPLY => '*',
            KEYPAD_MINUS => '-',
            KEYPAD_PLUS => '+',
            _ => match KEYPAD.iter().find(|(known, ..)| *known == code) {
                Some((_, digit, _)) => *digit,
                None => self.letter(code)?,
            },
        };
        Some(Key::character(character))
    }

    fn letter(&self, code: u16) -> Option<char> {
        let has = |keys: &[u16]| keys.iter().any(|key| self.held.contains(key));
        let character = layout::US.character(Scancode(code), false)?;
        if has(&CTRL) && character.is_ascii_lowercase() {
            // As terminals do: Ctrl+A is 1.
            return u8::try_from(character).ok().map(|letter| char::from(letter - b'a' + 1));
        }
        let is_capital = self.lights & CAPS_LIGHT != 0 && character.is_ascii_lowercase();
        layout::US.character(Scancode(code), has(&SHIFT) != is_capital)
    }

    /// The key that a key of the keypad is without Num Lock.
    fn navigation(&self, code: u16) -> u16 {
        let keypad = KEYPAD.iter().find(|(known, ..)| *known == code);
        match keypad {
            Some((.., without)) if self.lights & NUM_LIGHT == 0 => *without,
            _ => code,
        }
    }
}

const SCROLL_LIGHT: u16 = 1;
const NUM_LIGHT: u16 = 2;
const CAPS_LIGHT: u16 = 4;
const ENTER: u16 = 0x1C;
const BACKSPACE: u16 = 0x0E;
const CAPS_LOCK: u16 = 0x3A;
const NUM_LOCK: u16 = 0x45;
const SCROLL_LOCK: u16 = 0x46;
const KEYPAD_ENTER: u16 = 0xE01C;
const KEYPAD_DIVIDE: u16 = 0xE035;
const KEYPAD_MULTIPLY: u16 = 0x37;
const KEYPAD_MINUS: u16 = 0x4A;
const KEYPAD_PLUS: u16 = 0x4E;
const SHIFT: [u16; 2] = [0x2A, 0x36];
const CTRL: [u16; 2] = [0x1D, 0xE01D];
/// As many as the guest keeps between two polls.
const MOST_KEYS: usize = 1024;

/// Make code and UEFI scan code.
#[rustfmt::skip]
const SPECIAL: [(u16, u16); 23] = [
    (0xE048, 0x01), (0xE050, 0x02), (0xE04D, 0x03), (0xE04B, 0x04), (0xE047, 0x05), (0xE04F, 0x06), (0xE052, 0x07),
    (0xE053, 0x08), (0xE049, 0x09), (0xE051, 0x0A), (0x3B, 0x0B), (0x3C, 0x0C), (0x3D, 0x0D), (0x3E, 0x0E),
    (0x3F, 0x0F), (0x40, 0x10), (0x41, 0x11), (0x42, 0x12), (0x43, 0x13), (0x44, 0x14), (0x57, 0x15), (0x58, 0x16),
    (0x01, 0x17),
];

/// Make code, character with Num Lock, and the key that it is without.
#[rustfmt::skip]
const KEYPAD: [(u16, char, u16); 10] = [
    (0x52, '0', 0xE052), (0x4F, '1', 0xE04F), (0x50, '2', 0xE050), (0x51, '3', 0xE051), (0x4B, '4', 0xE04B),
    (0x4D, '6', 0xE04D), (0x47, '7', 0xE047), (0x48, '8', 0xE048), (0x49, '9', 0xE049), (0x53, '.', 0xE053),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(events: &[(u16, bool)]) -> Vec<Key> {
        let mut keyboard = Keyboard::default();
        events.iter().for_each(|&(code, is_down)| keyboard.handle_key(code, is_down));
        keyboard.take()
    }

    #[test]
    fn all_that_can_be_typed_comes_out_as_it_went_in() {
        let text: String = (' '..='~').chain(['\n', '\t']).collect();
        let mut keyboard = Keyboard::default();
        for key in layout::US.keys(&text).unwrap() {
            if key.shifted {
                keyboard.handle_key(0x2A, true);
            }
            keyboard.handle_key(key.code.0, true);
            keyboard.handle_key(key.code.0, false);
            keyboard.handle_key(0x2A, false);
        }
        let characters: String = keyboard.take().iter().map(|key| key.unicode).collect();
        assert_eq!(characters, text.replace('\n', "\r"));
    }

    #[test]
    fn special_keys_have_scan_codes_and_modifiers_say_nothing() {
        let press = |code| typed(&[(code, true), (code, false)]);
        assert_eq!(press(0xE048), [Key::special(1)]);
        assert_eq!(press(0x01), [Key::special(0x17)]);
        assert_eq!(press(0x58), [Key::special(0x16)]);
        assert_eq!(press(0x0E), [Key::character('\u{8}')]);
        for silent in [0x2A, 0x36, 0x1D, 0x38, 0xE01D, 0xE038, 0xE05B, 0x3A, 0x45, 0x46, 0xE05E, 0x7F] {
            assert_eq!(press(silent), [], "{silent:#x}");
        }
        assert_eq!(typed(&[(0x1D, true), (0x2E, true)]), [Key::character('\u{3}')], "Ctrl+C");
    }

    #[test]
    fn locks_change_what_keys_mean_and_held_keys_repeat() {
        let mut keyboard = Keyboard::default();
        for code in [0x3A, 0x3A, 0x45] {
            keyboard.handle_key(code, true);
        }
        assert_eq!(keyboard.lights(), 6, "a lock that is held does not toggle again");
        keyboard.handle_key(0x1E, true);
        keyboard.handle_key(0x1E, true);
        keyboard.handle_key(0x02, true);
        keyboard.handle_key(0x47, true);
        keyboard.set_lights(0);
        keyboard.handle_key(0x47, true);
        let keys = keyboard.take();
        let characters: String = keys.iter().map(|key| key.unicode).collect();
        assert_eq!(characters, "AA17\0");
        assert_eq!(keys[4], Key::special(5));
    }
}
