//! Keys by name and by logical AT set 1 make code, and the US-QWERTY layout
//! (control-socket protocol, section 11; SPICE protocol, section 15.5).

use serde::{Deserialize, Serialize};

/// An AT set 1 make code. Extended keys have their prefix in the high byte: 0xE04B is cursor left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scancode(pub u16);

impl Scancode {
    /// Left shift.
    pub const SHIFT: Self = Self(0x2A);
    /// Left control.
    pub const CTRL: Self = Self(0x1D);
    /// Left alt.
    pub const ALT: Self = Self(0x38);

    /// Whether it is a make code: 0x01 to 0x7F, alone or after 0xE0.
    pub fn is_make_code(self) -> bool {
        let [prefix, code] = self.0.to_be_bytes();
        matches!(prefix, 0 | 0xE0) && (1..0x80).contains(&code)
    }

    /// Finds a key by name (`enter`, `f10`, `ctrl`, `a`), upper and lower case alike.
    pub fn by_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        if let Some((_, code)) = NAMED.iter().find(|(known, _)| *known == lower) {
            return Some(Self(*code));
        }
        let mut chars = lower.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => us_key(only).filter(|key| !key.shifted).map(|key| key.code),
            _ => None,
        }
    }

    /// Returns the key's name, if it has one.
    pub fn name(self) -> Option<String> {
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.0) {
            return Some((*name).to_owned());
        }
        US.iter().find(|(code, ..)| *code == self.0).map(|(_, plain, _)| plain.to_string())
    }

    /// Returns what this key types on a US keyboard, with shift held or without; `None` for a key that types nothing.
    pub fn us_character(self, shifted: bool) -> Option<char> {
        let (_, plain, with_shift) = US.iter().find(|(code, ..)| *code == self.0)?;
        Some(if shifted { *with_shift } else { *plain })
    }

    /// Names that [`Scancode::by_name`] knows, besides the characters of the layout.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

/// How a character is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub code: Scancode,
    /// Whether shift is held.
    pub shifted: bool,
}

/// Text that cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot type {count} character(s) on a US keyboard: {shown}")]
pub struct Unrepresentable {
    /// Distinct characters that no key makes.
    pub count: usize,
    /// At most three of them, as `U+00E9 'é'`.
    pub shown: String,
}

/// Translates text to keys of a US-QWERTY keyboard. `\r\n` and a lone `\r` are one Enter.
///
/// # Errors
/// Some character has no key; nothing of the text should be typed then.
pub fn us_keys(text: &str) -> Result<Vec<Key>, Unrepresentable> {
    let mut keys = Vec::with_capacity(text.len());
    let mut unknown: Vec<char> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        match us_key(char) {
            Some(key) => keys.push(key),
            None if unknown.contains(&char) => {}
            None => unknown.push(char),
        }
    }
    if unknown.is_empty() {
        return Ok(keys);
    }
    let shown: Vec<String> =
        unknown.iter().take(3).map(|&char| format!("U+{:04X} {char:?}", u32::from(char))).collect();
    Err(Unrepresentable { count: unknown.len(), shown: shown.join(", ") })
}

fn us_key(char: char) -> Option<Key> {
    let char = if char == '\r' { '\n' } else { char };
    US.iter().find_map(|&(code, plain, shifted)| {
        let code = Scancode(code);
        if char == plain {
            Some(Key { code, shifted: false })
        } else if char == shifted && shifted != plain {
            Some(Key { code, shifted: true })
        } else {
            None
        }
    })
}

/// Make code, plain and shifted character.
#[rustfmt::skip]
const US: [(u16, char, char); 50] = [
    (0x1E, 'a', 'A'), (0x30, 'b', 'B'), (0x2E, 'c', 'C'), (0x20, 'd', 'D'), (0x12, 'e', 'E'), (0x21, 'f', 'F'),
    (0x22, 'g', 'G'), (0x23, 'h', 'H'), (0x17, 'i', 'I'), (0x24, 'j', 'J'), (0x25, 'k', 'K'), (0x26, 'l', 'L'),
    (0x32, 'm', 'M'), (0x31, 'n', 'N'), (0x18, 'o', 'O'), (0x19, 'p', 'P'), (0x10, 'q', 'Q'), (0x13, 'r', 'R'),
    (0x1F, 's', 'S'), (0x14, 't', 'T'), (0x16, 'u', 'U'), (0x2F, 'v', 'V'), (0x11, 'w', 'W'), (0x2D, 'x', 'X'),
    (0x15, 'y', 'Y'), (0x2C, 'z', 'Z'),
    (0x02, '1', '!'), (0x03, '2', '@'), (0x04, '3', '#'), (0x05, '4', '$'), (0x06, '5', '%'), (0x07, '6', '^'),
    (0x08, '7', '&'), (0x09, '8', '*'), (0x0A, '9', '('), (0x0B, '0', ')'),
    (0x0C, '-', '_'), (0x0D, '=', '+'), (0x1A, '[', '{'), (0x1B, ']', '}'), (0x2B, '\\', '|'), (0x27, ';', ':'),
    (0x28, '\'', '"'), (0x29, '`', '~'), (0x33, ',', '<'), (0x34, '.', '>'), (0x35, '/', '?'),
    (0x39, ' ', ' '), (0x0F, '\t', '\t'), (0x1C, '\n', '\n'),
];

#[rustfmt::skip]
const NAMED: [(&str, u16); 72] = [
    ("enter", 0x1C), ("return", 0x1C), ("esc", 0x01), ("escape", 0x01), ("backspace", 0x0E), ("tab", 0x0F),
    ("space", 0x39), ("ctrl", 0x1D), ("shift", 0x2A), ("alt", 0x38), ("right_shift", 0x36), ("right_ctrl", 0xE01D),
    ("right_alt", 0xE038), ("altgr", 0xE038), ("meta", 0xE05B), ("right_meta", 0xE05C), ("menu", 0xE05D),
    ("caps_lock", 0x3A), ("num_lock", 0x45), ("scroll_lock", 0x46), ("print_screen", 0xE037),
    ("up", 0xE048), ("down", 0xE050), ("left", 0xE04B), ("right", 0xE04D), ("home", 0xE047), ("end", 0xE04F),
    ("page_up", 0xE049), ("page_down", 0xE051), ("insert", 0xE052), ("delete", 0xE053),
    ("f1", 0x3B), ("f2", 0x3C), ("f3", 0x3D), ("f4", 0x3E), ("f5", 0x3F), ("f6", 0x40), ("f7", 0x41), ("f8", 0x42),
    ("f9", 0x43), ("f10", 0x44), ("f11", 0x57), ("f12", 0x58),
    ("minus", 0x0C), ("equal", 0x0D), ("left_bracket", 0x1A), ("right_bracket", 0x1B), ("backslash", 0x2B),
    ("semicolon", 0x27), ("apostrophe", 0x28), ("grave", 0x29), ("comma", 0x33), ("dot", 0x34), ("slash", 0x35),
    ("kp_enter", 0xE01C), ("kp_divide", 0xE035), ("kp_multiply", 0x37), ("kp_minus", 0x4A), ("kp_plus", 0x4E),
    ("kp_0", 0x52), ("kp_1", 0x4F), ("kp_2", 0x50), ("kp_3", 0x51), ("kp_4", 0x4B), ("kp_5", 0x4C), ("kp_6", 0x4D),
    ("kp_7", 0x47), ("kp_8", 0x48), ("kp_9", 0x49), ("kp_decimal", 0x53), ("102nd", 0x56), ("power", 0xE05E),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_ascii_character_has_a_key() {
        let printable: String = (0x20..0x7F).map(char::from).collect();
        assert_eq!(us_keys(&printable).unwrap().len(), 95);
    }

    #[test]
    fn upper_case_and_shifted_signs_hold_shift() {
        let keys = us_keys("a{H_1!").unwrap();
        let seen: Vec<(u16, bool)> = keys.iter().map(|key| (key.code.0, key.shifted)).collect();
        assert_eq!(
            seen,
            [(0x1E, false), (0x1A, true), (0x23, true), (0x0C, true), (0x02, false), (0x02, true)]
        );
    }

    #[test]
    fn every_line_end_is_one_enter() {
        assert_eq!(us_keys("\r\n\r\n\n\r").unwrap().len(), 4);
    }

    #[test]
    fn what_cannot_be_typed_is_named() {
        let error = us_keys("café • café").unwrap_err();
        assert_eq!(error.to_string(), "cannot type 2 character(s) on a US keyboard: U+00E9 'é', U+2022 '•'");
    }

    #[test]
    fn keys_are_found_by_name_whatever_the_case() {
        assert_eq!(Scancode::by_name("Enter"), Some(Scancode(0x1C)));
        assert_eq!(Scancode::by_name("LEFT"), Some(Scancode(0xE04B)));
        assert_eq!(Scancode::by_name("i"), Some(Scancode(0x17)));
        assert_eq!(Scancode::by_name("!"), None, "that is a character, not a key");
        assert_eq!(Scancode::by_name("entre"), None);
    }

    #[test]
    fn every_named_key_is_a_make_code() {
        for name in Scancode::names() {
            assert!(Scancode::by_name(name).unwrap().is_make_code(), "{name}");
        }
        assert!(
            !Scancode(0x9C).is_make_code() && !Scancode(0).is_make_code() && !Scancode(0x114B).is_make_code()
        );
    }
}
