//! Offsets as lines and columns.

/// A stretch of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Counted from 1, as Lua counts.
    pub line: u32,
    /// Characters from the line's beginning, counted from 1.
    pub column: u32,
    /// Characters; 0 for a place between two.
    pub length: u32,
}

/// Where the lines of a text begin. Lua takes `\r` alone for a line end, too.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Looks a text through.
    pub fn new(text: &'a str) -> Self {
        let mut starts = vec![0];
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if byte == b'\n' || byte == b'\r' {
                if bytes.get(at).is_some_and(|next| *next != byte && matches!(next, b'\n' | b'\r')) {
                    at += 1;
                }
                starts.push(at);
            }
        }
        Self { text, starts }
    }

    /// The stretch from `start` to `end`, as far as it lies in the line of `start`.
    pub fn spot(&self, start: usize, end: usize) -> Spot {
        let line = self.starts.partition_point(|&first| first <= start).saturating_sub(1);
        let content = self.content(line);
        let first = self.starts.get(line).copied().unwrap_or_default();
        let count = |from: usize, to: usize| {
            let to = to.min(content.len());
            content.get(from.min(to)..to).map_or(0, |part| part.chars().count())
        };
        let (from, to) = (start - first, end.max(start) - first);
        Spot { line: small(line + 1), column: small(count(0, from) + 1), length: small(count(from, to)) }
    }

    /// All of a line but the space around it.
    pub fn line_spot(&self, line: u32) -> Spot {
        let text = self.text(line).unwrap_or_default();
        let indent = text.chars().take_while(|c| c.is_whitespace()).count();
        Spot { line, column: small(indent + 1), length: small(text.trim().chars().count()) }
    }

    /// A line without its end; counted from 1.
    pub fn text(&self, line: u32) -> Option<&'a str> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        (line < self.starts.len()).then(|| self.content(line))
    }

    /// The line that an offset lies in, from 1.
    pub(super) fn line_of(&self, at: usize) -> u32 {
        small(self.starts.partition_point(|&first| first <= at))
    }

    /// Where a line begins; counted from 1.
    pub(super) fn start(&self, line: u32) -> usize {
        let line = usize::try_from(line).ok().and_then(|line| self.starts.get(line.checked_sub(1)?));
        line.copied().unwrap_or(self.text.len())
    }

    fn content(&self, line: usize) -> &'a str {
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
