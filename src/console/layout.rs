//! Which key makes which character: keyboard layouts as data. The guest decides what a key means, so the layout to type
//! with is the guest's.

use super::keyboard::Scancode;

/// A keyboard layout.
#[derive(Debug)]
pub struct Layout {
    /// As scenarios name it.
    pub name: &'static str,
    /// As people name it.
    pub title: &'static str,
    rows: &'static [Row],
    /// Keys that make no character by themselves: the accent, and how its key is pressed.
    dead: &'static [(char, Key)],
}

/// How a key is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub code: Scancode,
    /// Whether shift is held.
    pub shifted: bool,
    /// Whether AltGr is held.
    pub altgr: bool,
}

impl Key {
    const fn plain(code: u16) -> Self {
        Self { code: Scancode(code), shifted: false, altgr: false }
    }

    const fn shifted(code: u16) -> Self {
        Self { shifted: true, ..Self::plain(code) }
    }

    const fn altgr(code: u16) -> Self {
        Self { altgr: true, ..Self::plain(code) }
    }

    /// The keys to hold, in the order in which they go down.
    pub fn codes(self) -> impl Iterator<Item = Scancode> {
        let shift = self.shifted.then_some(Scancode::SHIFT);
        let altgr = self.altgr.then_some(Scancode::ALTGR);
        shift.into_iter().chain(altgr).chain([self.code])
    }
}

/// Make code, and the characters it makes alone, with shift and with AltGr; a NUL where it makes none.
type Row = (u16, char, char, char);

/// Text that cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot type {count} character(s) on a {title} keyboard: {shown}")]
pub struct Unrepresentable {
    /// Distinct characters that no key makes.
    pub count: usize,
    /// The layout's title.
    pub title: &'static str,
    /// At most three of them, as `U+00E9 'é'`.
    pub shown: String,
}

impl Layout {
    /// Finds a layout by its name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|layout| layout.name == name)
    }

    /// Names of all layouts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.into_iter().map(|layout| layout.name)
    }

    /// Finds a key by its name (`enter`, `f10`), or by the character it makes alone, upper and lower case alike.
    pub fn key_by_name(&self, name: &str) -> Option<Scancode> {
        Scancode::by_name(name).or_else(|| {
            let lower = name.to_lowercase();
            let mut chars = lower.chars();
            let (only, None) = (chars.next()?, chars.next()) else { return None };
            self.key(only).filter(|key| !key.shifted && !key.altgr).map(|key| key.code)
        })
    }

    /// Translates text to keys. `\r\n` and a lone `\r` are one Enter; an accented letter may take two keys.
    ///
    /// # Errors
    /// Some character has no key; nothing of the text should be typed then.
    pub fn keys(&self, text: &str) -> Result<Vec<Key>, Unrepresentable> {
        let mut keys = Vec::with_capacity(text.len());
        let mut unknown: Vec<char> = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            if char == '\r' && chars.peek() == Some(&'\n') {
                continue;
            }
            let char = if char == '\r' { '\n' } else { char };
            if let Some(key) = self.key(char) {
                keys.push(key);
            } else if let Some(composed) = self.composed(char) {
                keys.extend(composed);
            } else if !unknown.contains(&char) {
                unknown.push(char);
            }
        }
        if unknown.is_empty() {
            return Ok(keys);
        }
        let shown: Vec<String> =
            unknown.iter().take(3).map(|&char| format!("U+{:04X} {char:?}", u32::from(char))).collect();
        Err(Unrepresentable { count: unknown.len(), title: self.title, shown: shown.join(", ") })
    }

    /// The one key that makes `char`.
    pub(super) fn key(&self, char: char) -> Option<Key> {
        let of = |&(code, plain, shifted, altgr): &Row| match char {
            '\0' => None,
            _ if char == plain => Some(Key::plain(code)),
            _ if char == shifted => Some(Key::shifted(code)),
            _ if char == altgr => Some(Key::altgr(code)),
            _ => None,
        };
        self.rows.iter().chain(&EVERYWHERE).find_map(of)
    }

    /// The character that a key makes alone.
    pub(super) fn plain(&self, code: Scancode) -> Option<char> {
        self.rows.iter().find(|row| row.0 == code.0).map(|row| row.1)
    }

    /// The character that a key makes, with shift held or without; `None` for a key that makes none.
    pub fn character(&self, code: Scancode, shifted: bool) -> Option<char> {
        let row = self.rows.iter().chain(&EVERYWHERE).find(|row| row.0 == code.0)?;
        let char = if shifted && row.2 != '\0' { row.2 } else { row.1 };
        (char != '\0').then_some(char)
    }

    /// A dead key and what it goes on: a letter, or space for the accent itself.
    fn composed(&self, char: char) -> Option<[Key; 2]> {
        let dead = |accent| self.dead.iter().find(|(dead, _)| *dead == accent).map(|(_, key)| *key);
        if let Some(accent) = dead(char) {
            return Some([accent, self.key(' ')?]);
        }
        let &(_, accent, letter) = COMPOSED.iter().find(|(composed, ..)| *composed == char)?;
        Some([dead(accent)?, self.key(letter)?])
    }
}

/// US-QWERTY (SPICE protocol, section 15.5).
pub static US: Layout = Layout { name: "us", title: "US", rows: &US_ROWS, dead: &[] };
/// British QWERTY.
pub static UK: Layout = Layout { name: "uk", title: "UK", rows: &UK_ROWS, dead: &[] };
/// German QWERTZ, with dead keys.
pub static DE: Layout = Layout { name: "de", title: "German", rows: &DE_ROWS, dead: &DE_DEAD };

static ALL: [&Layout; 3] = [&US, &UK, &DE];

const EVERYWHERE: [Row; 3] = [(0x39, ' ', '\0', '\0'), (0x0F, '\t', '\0', '\0'), (0x1C, '\n', '\0', '\0')];

#[rustfmt::skip]
const US_ROWS: [Row; 47] = [
    (0x1E, 'a', 'A', '\0'), (0x30, 'b', 'B', '\0'), (0x2E, 'c', 'C', '\0'), (0x20, 'd', 'D', '\0'),
    (0x12, 'e', 'E', '\0'), (0x21, 'f', 'F', '\0'), (0x22, 'g', 'G', '\0'), (0x23, 'h', 'H', '\0'),
    (0x17, 'i', 'I', '\0'), (0x24, 'j', 'J', '\0'), (0x25, 'k', 'K', '\0'), (0x26, 'l', 'L', '\0'),
    (0x32, 'm', 'M', '\0'), (0x31, 'n', 'N', '\0'), (0x18, 'o', 'O', '\0'), (0x19, 'p', 'P', '\0'),
    (0x10, 'q', 'Q', '\0'), (0x13, 'r', 'R', '\0'), (0x1F, 's', 'S', '\0'), (0x14, 't', 'T', '\0'),
    (0x16, 'u', 'U', '\0'), (0x2F, 'v', 'V', '\0'), (0x11, 'w', 'W', '\0'), (0x2D, 'x', 'X', '\0'),
    (0x15, 'y', 'Y', '\0'), (0x2C, 'z', 'Z', '\0'),
    (0x02, '1', '!', '\0'), (0x03, '2', '@', '\0'), (0x04, '3', '#', '\0'), (0x05, '4', '$', '\0'),
    (0x06, '5', '%', '\0'), (0x07, '6', '^', '\0'), (0x08, '7', '&', '\0'), (0x09, '8', '*', '\0'),
    (0x0A, '9', '(', '\0'), (0x0B, '0', ')', '\0'),
    (0x0C, '-', '_', '\0'), (0x0D, '=', '+', '\0'), (0x1A, '[', '{', '\0'), (0x1B, ']', '}', '\0'),
    (0x2B, '\\', '|', '\0'), (0x27, ';', ':', '\0'), (0x28, '\'', '"', '\0'), (0x29, '`', '~', '\0'),
    (0x33, ',', '<', '\0'), (0x34, '.', '>', '\0'), (0x35, '/', '?', '\0'),
];

#[rustfmt::skip]
const UK_ROWS: [Row; 48] = [
    (0x1E, 'a', 'A', '\0'), (0x30, 'b', 'B', '\0'), (0x2E, 'c', 'C', '\0'), (0x20, 'd', 'D', '\0'),
    (0x12, 'e', 'E', '\0'), (0x21, 'f', 'F', '\0'), (0x22, 'g', 'G', '\0'), (0x23, 'h', 'H', '\0'),
    (0x17, 'i', 'I', '\0'), (0x24, 'j', 'J', '\0'), (0x25, 'k', 'K', '\0'), (0x26, 'l', 'L', '\0'),
    (0x32, 'm', 'M', '\0'), (0x31, 'n', 'N', '\0'), (0x18, 'o', 'O', '\0'), (0x19, 'p', 'P', '\0'),
    (0x10, 'q', 'Q', '\0'), (0x13, 'r', 'R', '\0'), (0x1F, 's', 'S', '\0'), (0x14, 't', 'T', '\0'),
    (0x16, 'u', 'U', '\0'), (0x2F, 'v', 'V', '\0'), (0x11, 'w', 'W', '\0'), (0x2D, 'x', 'X', '\0'),
    (0x15, 'y', 'Y', '\0'), (0x2C, 'z', 'Z', '\0'),
    (0x02, '1', '!', '\0'), (0x03, '2', '"', '\0'), (0x04, '3', '£', '\0'), (0x05, '4', '$', '€'),
    (0x06, '5', '%', '\0'), (0x07, '6', '^', '\0'), (0x08, '7', '&', '\0'), (0x09, '8', '*', '\0'),
    (0x0A, '9', '(', '\0'), (0x0B, '0', ')', '\0'),
    (0x0C, '-', '_', '\0'), (0x0D, '=', '+', '\0'), (0x1A, '[', '{', '\0'), (0x1B, ']', '}', '\0'),
    (0x2B, '#', '~', '\0'), (0x27, ';', ':', '\0'), (0x28, '\'', '@', '\0'), (0x29, '`', '¬', '¦'),
    (0x33, ',', '<', '\0'), (0x34, '.', '>', '\0'), (0x35, '/', '?', '\0'), (0x56, '\\', '|', '\0'),
];

#[rustfmt::skip]
const DE_ROWS: [Row; 47] = [
    (0x1E, 'a', 'A', '\0'), (0x30, 'b', 'B', '\0'), (0x2E, 'c', 'C', '\0'), (0x20, 'd', 'D', '\0'),
    (0x12, 'e', 'E', '€'), (0x21, 'f', 'F', '\0'), (0x22, 'g', 'G', '\0'), (0x23, 'h', 'H', '\0'),
    (0x17, 'i', 'I', '\0'), (0x24, 'j', 'J', '\0'), (0x25, 'k', 'K', '\0'), (0x26, 'l', 'L', '\0'),
    (0x32, 'm', 'M', 'µ'), (0x31, 'n', 'N', '\0'), (0x18, 'o', 'O', '\0'), (0x19, 'p', 'P', '\0'),
    (0x10, 'q', 'Q', '@'), (0x13, 'r', 'R', '\0'), (0x1F, 's', 'S', '\0'), (0x14, 't', 'T', '\0'),
    (0x16, 'u', 'U', '\0'), (0x2F, 'v', 'V', '\0'), (0x11, 'w', 'W', '\0'), (0x2D, 'x', 'X', '\0'),
    (0x2C, 'y', 'Y', '\0'), (0x15, 'z', 'Z', '\0'),
    (0x02, '1', '!', '\0'), (0x03, '2', '"', '²'), (0x04, '3', '§', '³'), (0x05, '4', '$', '\0'),
    (0x06, '5', '%', '\0'), (0x07, '6', '&', '\0'), (0x08, '7', '/', '{'), (0x09, '8', '(', '['),
    (0x0A, '9', ')', ']'), (0x0B, '0', '=', '}'),
    (0x0C, 'ß', '?', '\\'), (0x29, '\0', '°', '\0'), (0x1A, 'ü', 'Ü', '\0'), (0x1B, '+', '*', '~'),
    (0x2B, '#', '\'', '\0'), (0x27, 'ö', 'Ö', '\0'), (0x28, 'ä', 'Ä', '\0'),
    (0x33, ',', ';', '\0'), (0x34, '.', ':', '\0'), (0x35, '-', '_', '\0'), (0x56, '<', '>', '|'),
];

const DE_DEAD: [(char, Key); 3] =
    [('^', Key::plain(0x29)), ('´', Key::plain(0x0D)), ('`', Key::shifted(0x0D))];

/// A letter with an accent, the accent, and the letter.
#[rustfmt::skip]
const COMPOSED: [(char, char, char); 32] = [
    ('á', '´', 'a'), ('é', '´', 'e'), ('í', '´', 'i'), ('ó', '´', 'o'), ('ú', '´', 'u'), ('ý', '´', 'y'),
    ('Á', '´', 'A'), ('É', '´', 'E'), ('Í', '´', 'I'), ('Ó', '´', 'O'), ('Ú', '´', 'U'), ('Ý', '´', 'Y'),
    ('à', '`', 'a'), ('è', '`', 'e'), ('ì', '`', 'i'), ('ò', '`', 'o'), ('ù', '`', 'u'),
    ('À', '`', 'A'), ('È', '`', 'E'), ('Ì', '`', 'I'), ('Ò', '`', 'O'), ('Ù', '`', 'U'),
    ('â', '^', 'a'), ('ê', '^', 'e'), ('î', '^', 'i'), ('ô', '^', 'o'), ('û', '^', 'u'),
    ('Â', '^', 'A'), ('Ê', '^', 'E'), ('Î', '^', 'I'), ('Ô', '^', 'O'), ('Û', '^', 'U'),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(layout: &Layout, text: &str) -> Vec<u16> {
        layout.keys(text).unwrap().into_iter().flat_map(Key::codes).map(|code| code.0).collect()
    }

    #[test]
    fn every_printable_ascii_character_can_be_typed_on_every_layout() {
        let printable: String = (0x20..0x7F).map(char::from).collect();
        for layout in ALL {
            let keys = layout.keys(&printable).unwrap().len();
            // ^ and ` take two on a German keyboard.
            assert_eq!(keys, if layout.name == "de" { 97 } else { 95 }, "{}", layout.name);
        }
    }

    #[test]
    fn no_key_and_no_character_is_there_twice() {
        for layout in ALL {
            let rows = || layout.rows.iter().chain(&EVERYWHERE);
            let mut codes: Vec<u16> = rows().map(|row| row.0).collect();
            let mut chars: Vec<char> =
                rows().flat_map(|row| [row.1, row.2, row.3]).filter(|&it| it != '\0').collect();
            let (all_codes, all_chars) = (codes.len(), chars.len());
            codes.sort_unstable();
            codes.dedup();
            chars.sort_unstable();
            chars.dedup();
            assert_eq!((codes.len(), chars.len()), (all_codes, all_chars), "{}", layout.name);
            assert!(codes.into_iter().all(|code| Scancode(code).is_make_code()));
        }
    }

    #[test]
    fn shift_and_altgr_are_held_where_the_layout_wants_them() {
        assert_eq!(codes(&US, "a{_1!"), [0x1E, 0x2A, 0x1A, 0x2A, 0x0C, 0x02, 0x2A, 0x02]);
        assert_eq!(codes(&UK, "\"@#\\£€"), [0x2A, 0x03, 0x2A, 0x28, 0x2B, 0x56, 0x2A, 0x04, 0xE038, 0x05]);
        assert_eq!(codes(&DE, "zY@{"), [0x15, 0x2A, 0x2C, 0xE038, 0x10, 0xE038, 0x08]);
    }

    #[test]
    fn accents_are_dead_keys_on_a_german_keyboard() {
        assert_eq!(codes(&DE, "^"), [0x29, 0x39]);
        assert_eq!(codes(&DE, "è"), [0x2A, 0x0D, 0x12]);
        assert_eq!(codes(&DE, "Ô"), [0x29, 0x2A, 0x18]);
        assert!(UK.keys("è").is_err());
    }

    #[test]
    fn every_line_end_is_one_enter() {
        assert_eq!(US.keys("\r\n\r\n\n\r").unwrap().len(), 4);
    }

    #[test]
    fn what_cannot_be_typed_is_named() {
        let error = US.keys("café • café").unwrap_err();
        assert_eq!(error.to_string(), "cannot type 2 character(s) on a US keyboard: U+00E9 'é', U+2022 '•'");
        let error = DE.keys("ł\0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot type 2 character(s) on a German keyboard: U+0142 'ł', U+0000 '\\0'"
        );
    }

    #[test]
    fn keys_are_found_by_name_or_by_what_they_make_alone() {
        assert_eq!(US.key_by_name("Enter"), Some(Scancode(0x1C)));
        assert_eq!(US.key_by_name("y"), Some(Scancode(0x15)));
        assert_eq!(DE.key_by_name("Y"), Some(Scancode(0x2C)));
        assert_eq!(DE.key_by_name("ü"), Some(Scancode(0x1A)));
        assert_eq!(US.key_by_name("!"), None, "that is a character, not a key");
        assert_eq!(US.key_by_name("entre"), None);
    }
}
