//! Text of guests and scripts made fit for formats: it may hold anything.

/// Returns the text without escape sequences of terminals, without control characters but line ends and tabs, and
/// without what is no character of XML. Line ends become `\n`.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            // Readers of YAML and of lines break there.
            '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\n' | '\t' => clean.push(char),
            '\u{FFFE}' | '\u{FFFF}' => {}
            _ if char.is_control() => {}
            _ => clean.push(char),
        }
    }
    clean
}

/// Skips what follows an escape character and belongs to it.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next_if(|next| matches!(next, '[' | ']' | 'P' | '_' | '^') || next.is_ascii_graphic()) {
        Some('[') => while chars.next_if(|next| matches!(next, ' '..='?')).is_some() {},
        // A title, a hyperlink: up to the bell or the string terminator; what never ends is a line at most.
        Some(']' | 'P' | '_' | '^') => {
            while let Some(next) = chars.next_if(|next| *next != '\n') {
                if next == '\u{7}' {
                    return;
                }
                if next == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
            return;
        }
        _ => return,
    }
    chars.next_if(|next| matches!(next, '@'..='~'));
}

/// The same in one line.
pub(super) fn one_line(text: &str) -> String {
    clean(text)
        .split(['\n', '\t'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first line, cleaned.
pub(super) fn first_line(text: &str) -> String {
    clean(text).lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// At most about `limit` bytes of the text: its beginning and its end, and how much is missing between them.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let head = floor(text, limit.saturating_mul(2) / 3);
    let tail = ceil(text, text.len() - limit / 3);
    let left_out = tail - head;
    format!("{}\n… {left_out} bytes are left out here …\n{}", &text[..head], &text[tail..])
}

/// At most about `limit` bytes of the beginning of a line.
pub(super) fn shorten(line: &str, limit: usize) -> String {
    if line.len() <= limit { line.to_owned() } else { format!("{}…", &line[..floor(line, limit)]) }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil(text: &str, at: usize) -> usize {
    (at.min(text.len())..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_control_characters_are_gone() {
        let text = "a\u{1b}[31;1mred\u{1b}[0m\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c\u{0}\u{8}\u{7f}\u{9b}\u{FFFE}\td";
        assert_eq!(clean(text), "aredbc\td");
        assert_eq!(clean("1\r\n2\r3\u{2028}4\n"), "1\n2\n3\n4\n");
        assert_eq!(clean("\u{1b}"), "");
        assert_eq!(clean("\u{1b}]never\nends \u{1b}["), "\nends ");
        assert_eq!(one_line(" a\r\n\n b\tc "), "a b c");
        assert_eq!(first_line("\n \n x \ny"), "x");
    }

    #[test]
    fn what_is_too_long_loses_its_middle_and_says_so() {
        let text = "ä".repeat(1_000);
        let short = cut(&text, 301);
        assert!(short.len() < 400 && short.starts_with('ä') && short.ends_with('ä'), "{short}");
        assert!(short.contains("bytes are left out here"), "{short}");
        assert_eq!(cut("whole", 5), "whole");
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(cut("ä", 0), "\n… 2 bytes are left out here …\n");
    }
}
