//! From serial bytes to lines of text. Pure: bytes in, lines out, in pieces of any size.
//!
//! Lines end with CR LF, LF, or a CR that overwrites. Firmware paints with escape sequences: they are taken out,
//! and one that moves the cursor to another place or clears the screen ends the line, so that words painted in
//! different places do not run together. Bytes that are no UTF-8 become U+FFFD; other control characters vanish.

/// Longest line in bytes; a longer one is delivered in pieces.
pub(super) const LINE_LIMIT: usize = 64 * 1_024;
/// Longest escape sequence in bytes; what is longer was none.
const ESCAPE_LIMIT: usize = 256;

/// Splits a byte stream into lines.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    line: Vec<u8>,
    escape: Escape,
    escape_bytes: usize,
    /// The last byte ended a line as CR; an LF right behind it belongs to it.
    after_cr: bool,
}

/// Where in an escape sequence (ECMA-48) the stream is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Escape {
    #[default]
    Outside,
    /// After ESC.
    Started,
    /// After ESC and an intermediate byte.
    Intermediate,
    /// After ESC `[`.
    Control,
    /// After ESC `]` and its relatives: text up to BEL or ESC `\`.
    Text,
    /// After an ESC within such text.
    TextEnding,
}

impl LineSplitter {
    /// Takes bytes and gives the lines that ended in them to `emit`.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        for byte in bytes {
            if self.handle_byte(*byte) {
                emit(self.take_line());
            }
        }
    }

    /// Returns the line that has begun and not ended, if it has any text.
    pub(super) fn unfinished(&self) -> Option<String> {
        (!self.line.is_empty()).then(|| String::from_utf8_lossy(&self.line).into_owned())
    }

    /// Ends the line that has begun, if it has any text.
    pub(super) fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take_line())
    }

    fn take_line(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        text
    }

    /// Returns whether the line ends here.
    fn handle_byte(&mut self, byte: u8) -> bool {
        let after_cr = std::mem::take(&mut self.after_cr);
        if self.escape != Escape::Outside {
            return self.handle_escape(byte);
        }
        match byte {
            b'\n' => !after_cr,
            b'\r' => {
                // An empty line cannot be overwritten; behind an LF this CR only returns the carriage.
                self.after_cr = !self.line.is_empty();
                self.after_cr
            }
            0x1b => {
                self.escape = Escape::Started;
                self.escape_bytes = 0;
                false
            }
            0x08 => {
                erase_last_character(&mut self.line);
                false
            }
            b'\t' | 0x20..=0x7e | 0x80.. => {
                self.line.push(byte);
                let over_bytes = self.line.len().checked_sub(LINE_LIMIT);
                over_bytes.is_some_and(|over| over >= 4 || ends_with_whole_character(&self.line))
            }
            _ => false,
        }
    }

    fn handle_escape(&mut self, byte: u8) -> bool {
        self.escape_bytes += 1;
        if self.escape_bytes > ESCAPE_LIMIT {
            self.escape = Escape::Outside;
            return self.handle_byte(byte);
        }
        let is_text = matches!(self.escape, Escape::Text | Escape::TextEnding);
        if !is_text && !(0x20..0x7f).contains(&byte) {
            // Not part of any sequence: the sequence was cut off, and this byte counts for itself.
            self.escape = Escape::Outside;
            return self.handle_byte(byte);
        }
        self.escape = match (self.escape, byte) {
            (Escape::Started, b'[') => Escape::Control,
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => Escape::Text,
            (Escape::Started | Escape::Intermediate, 0x20..=0x2f) => Escape::Intermediate,
            (Escape::Control, 0x20..=0x3f) => Escape::Control,
            (Escape::Text, 0x07) | (Escape::TextEnding, b'\\') => Escape::Outside,
            (Escape::Text | Escape::TextEnding, 0x1b) => Escape::TextEnding,
            (Escape::Text | Escape::TextEnding, _) => Escape::Text,
            (Escape::Control, b'H' | b'f' | b'J' | b'd') => {
                self.escape = Escape::Outside;
                return !self.line.is_empty();
            }
            _ => Escape::Outside,
        };
        false
    }
}

fn erase_last_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| (0x80..0xc0).contains(&byte)) {}
}

fn ends_with_whole_character(line: &[u8]) -> bool {
    let lead = line.iter().rposition(|byte| !(0x80..0xc0).contains(byte)).unwrap_or(0);
    std::str::from_utf8(&line[lead..]).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{LINE_LIMIT, LineSplitter};

    /// The lines of `bytes`, the unfinished one included.
    fn lines(bytes: &[u8]) -> Vec<String> {
        lines_in_pieces([bytes])
    }

    fn lines_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.handle_bytes(piece, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn every_kind_of_line_end_ends_one_line() {
        assert_eq!(lines(b"a\r\nb\nc\n\rd\re"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn an_empty_line_counts() {
        assert_eq!(lines(b"a\n\nb\r\n\r\nc"), ["a", "", "b", "", "c"]);
    }

    #[test]
    fn escape_sequences_leave_no_trace() {
        assert_eq!(lines(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b(Bend\x1bP..\x1b\\!"), ["red end!"]);
    }

    #[test]
    fn moving_the_cursor_ends_the_line() {
        let painted = b"\x1b[2J\x1b[01;01Hfirst\x1b[03;01Hsecond\x1b[2Jtype=event\r\n";
        assert_eq!(lines(painted), ["first", "second", "type=event"]);
    }

    #[test]
    fn a_sequence_cut_off_swallows_no_line() {
        assert_eq!(lines(b"a\x1b[12\nb"), ["a", "b"]);
        let endless = [b"\x1b]".as_slice(), &[b'x'; 300], b"\nb"].concat();
        assert_eq!(lines(&endless).last().unwrap(), "b");
    }

    #[test]
    fn what_is_no_utf8_is_replaced_and_controls_vanish() {
        assert_eq!(lines(b"a\xffb\x00\x07c\td"), ["a\u{fffd}bc\td"]);
        assert_eq!(lines("na\u{ef}x\u{8}ve".as_bytes()), ["na\u{ef}ve"]);
    }

    #[test]
    fn an_endless_line_comes_in_bounded_pieces() {
        let pieces = lines(&vec![b'x'; LINE_LIMIT * 2 + 10]);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [LINE_LIMIT, LINE_LIMIT, 10]);
    }

    #[test]
    fn a_piece_never_ends_within_a_character() {
        let text = format!("x{}", "\u{e9}".repeat(LINE_LIMIT));
        let pieces = lines(text.as_bytes());
        assert!(pieces.len() > 1 && pieces.concat() == text);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(
            bytes in prop::collection::vec(prop::sample::select(b"ab\r\n\x1b[;1H]\x07\\\x08\xc3\xa9".to_vec()), 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
            assert_eq!(lines_in_pieces([left, right]), lines(&bytes));
        }

        #[test]
        fn no_line_holds_a_line_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            assert!(lines(&bytes).iter().all(|line| !line.contains(['\n', '\r', '\x1b'])));
        }
    }
}
