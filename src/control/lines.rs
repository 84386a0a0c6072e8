//! Bytes to lines. Pure; the limit is the caller's.

/// Collects bytes until they are lines. A `\r` before the `\n` is not part of the line; lines that hold nothing but
/// white space are skipped (control-socket protocol, section 3).
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Up to here there is no line end.
    searched: usize,
    /// Up to here everything was handed out.
    taken: usize,
}

impl LineBuffer {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 && (self.taken == self.bytes.len() || self.taken >= COMPACT) {
            self.bytes.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next line, without its end.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let end = self.searched + self.bytes[self.searched..].iter().position(|&byte| byte == b'\n')?;
            let start = std::mem::replace(&mut self.taken, end + 1);
            self.searched = end + 1;
            let line = &self.bytes[start..end];
            if !line.iter().all(u8::is_ascii_whitespace) {
                let line = start..if line.ends_with(b"\r") { end - 1 } else { end };
                return Some(&self.bytes[line]);
            }
        }
    }

    /// The line that has begun. To be asked after [`next_line`](Self::next_line) has returned `None`.
    pub fn rest(&mut self) -> &[u8] {
        self.searched = self.bytes.len();
        &self.bytes[self.taken..]
    }
}

/// So many bytes that were handed out are worth moving the others for.
const COMPACT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&str]) -> (Vec<String>, String) {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for part in parts {
            buffer.push(part.as_bytes());
            while let Some(line) = buffer.next_line() {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
            buffer.rest();
        }
        let rest = String::from_utf8(buffer.rest().to_vec()).unwrap();
        (lines, rest)
    }

    #[test]
    fn lines_come_out_however_they_were_cut() {
        let text = "{\"a\":1}\r\n\n \t\r\nzwei\u{e9}\nhalf";
        let whole = lines(&[text]);
        assert_eq!(whole, (vec!["{\"a\":1}".to_owned(), "zwei\u{e9}".to_owned()], "half".to_owned()));
        let mut buffer = LineBuffer::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            buffer.push(&[byte]);
            while let Some(line) = buffer.next_line() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(found, whole.0);
        assert_eq!(buffer.rest(), b"half");
    }

    #[test]
    fn what_was_handed_out_takes_no_memory() {
        let mut buffer = LineBuffer::default();
        let line = [b'x'; 99].iter().copied().chain([b'\n']).collect::<Vec<u8>>();
        for _ in 0..10_000 {
            buffer.push(&line);
            assert_eq!(buffer.next_line().unwrap().len(), 99);
            assert!(buffer.next_line().is_none());
        }
        assert!(buffer.bytes.capacity() <= 2 * COMPACT, "{}", buffer.bytes.capacity());
    }
}
