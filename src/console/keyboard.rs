//! Keys by name and by logical AT set 1 make code (control-socket protocol, section 11; SPICE protocol, section 15.5).

use serde::{Deserialize, Serialize};

use super::layout;

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
    /// Right alt, which makes third characters on many layouts.
    pub const ALTGR: Self = Self(0xE038);

    /// Whether it is a make code: 0x01 to 0x7F, alone or after 0xE0.
    pub fn is_make_code(self) -> bool {
        let [prefix, code] = self.0.to_be_bytes();
        matches!(prefix, 0 | 0xE0) && (1..0x80).contains(&code)
    }

    /// Finds a key by name (`enter`, `f10`, `ctrl`), upper and lower case alike. What a key is that makes a character
    /// is up to a layout.
    pub fn by_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        NAMED.iter().find(|(known, _)| *known == lower).map(|(_, code)| Self(*code))
    }

    /// Returns the key's name, if it has one: a word, or what a US keyboard has printed on it.
    pub fn name(self) -> Option<String> {
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.0) {
            return Some((*name).to_owned());
        }
        layout::US.plain(self).map(String::from)
    }

    /// Names that [`Scancode::by_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

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
    fn keys_are_found_by_name_whatever_the_case() {
        assert_eq!(Scancode::by_name("Enter"), Some(Scancode(0x1C)));
        assert_eq!(Scancode::by_name("LEFT"), Some(Scancode(0xE04B)));
        assert_eq!(Scancode::by_name("i"), None, "which key makes it is up to a layout");
        assert_eq!(Scancode(0x17).name().as_deref(), Some("i"));
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
