//! Text to tokens, as Lua 5.4 reads it.

use super::syntax::Comment;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Name,
    Number,
    /// Its text, unless an escape makes it something else than UTF-8.
    String(Option<Box<str>>),
    /// A reserved word or a sign.
    Symbol(&'static str),
    End,
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    pub(super) comments: Vec<Comment>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lexer = Self { text, at: 0, comments: Vec::new() };
        // The first line may be for the system.
        if text.starts_with('#') {
            lexer.skip_line();
        }
        lexer
    }

    /// The next token, or where it cannot be read.
    pub(super) fn next(&mut self) -> Result<Token, usize> {
        self.skip_space()?;
        let start = self.at;
        let Some(first) = self.peek(0) else {
            return Ok(Token { kind: TokenKind::End, start, end: start });
        };
        let kind = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => self.number(),
            b'"' | b'\'' => self.quoted(first)?,
            b'[' if self.long_level().is_some() => {
                let level = self.long_level().unwrap_or_default();
                TokenKind::String(Some(self.long(level)?.into()))
            }
            _ => {
                let rest = &self.text[start..];
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or(start)?;
                self.at += sign.len();
                TokenKind::Symbol(sign)
            }
        };
        Ok(Token { kind, start, end: self.at })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_space(&mut self) -> Result<(), usize> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0B | 0x0C => self.at += 1,
                b'-' if self.peek(1) == Some(b'-') => {
                    let start = self.at;
                    self.at += 2;
                    match self.long_level() {
                        Some(level) => drop(self.long(level)?),
                        None => self.skip_line(),
                    }
                    self.comments.push(Comment { start, end: self.at });
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// To the end of the line, which stays.
    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        RESERVED.iter().find(|reserved| **reserved == word).map_or(TokenKind::Name, |r| TokenKind::Symbol(r))
    }

    fn number(&mut self) -> TokenKind {
        let is_hex = self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X'));
        let mut before = 0;
        while let Some(byte) = self.peek(0) {
            let exponent: &[u8] = if is_hex { b"pP" } else { b"eE" };
            let is_sign = matches!(byte, b'+' | b'-') && exponent.contains(&before);
            if !(is_sign || byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_') {
                break;
            }
            before = byte;
            self.at += 1;
        }
        TokenKind::Number
    }

    fn quoted(&mut self, quote: u8) -> Result<TokenKind, usize> {
        let start = self.at;
        self.at += 1;
        let mut content = Vec::new();
        loop {
            match self.peek(0).ok_or(start)? {
                byte if byte == quote => break,
                b'\n' | b'\r' => return Err(start),
                b'\\' => self.escape(&mut content).ok_or(start)?,
                byte => {
                    content.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(TokenKind::String(String::from_utf8(content).ok().map(String::into_boxed_str)))
    }

    /// What stands after a backslash.
    fn escape(&mut self, content: &mut Vec<u8>) -> Option<()> {
        self.at += 1;
        let byte = self.peek(0)?;
        self.at += 1;
        let plain = match byte {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0B,
            b'\\' | b'"' | b'\'' => byte,
            b'\n' | b'\r' => {
                // The two bytes of one line end.
                if self.peek(0).is_some_and(|next| next != byte && matches!(next, b'\n' | b'\r')) {
                    self.at += 1;
                }
                b'\n'
            }
            b'x' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 2)?;
                let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                self.at += 2;
                value
            }
            b'z' => {
                while self.peek(0).is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0B) {
                    self.at += 1;
                }
                return Some(());
            }
            b'0'..=b'9' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit) = self.peek(0).filter(u8::is_ascii_digit) else { break };
                    value = value * 10 + u32::from(digit - b'0');
                    self.at += 1;
                }
                u8::try_from(value).ok()?
            }
            b'u' => {
                let rest = self.text[self.at..].strip_prefix('{')?;
                let (digits, _) = rest.split_once('}')?;
                let value = u32::from_str_radix(digits, 16).ok()?;
                self.at += digits.len() + 2;
                match char::from_u32(value) {
                    Some(char) => content.extend(char.to_string().bytes()),
                    // Lua takes more than there are characters.
                    None => content.push(0xFF),
                }
                return Some(());
            }
            _ => return None,
        };
        content.push(plain);
        Some(())
    }

    /// How many `=` stand in the long bracket that opens here.
    fn long_level(&self) -> Option<usize> {
        let rest = self.text[self.at..].strip_prefix('[')?;
        let level = rest.len() - rest.trim_start_matches('=').len();
        rest[level..].starts_with('[').then_some(level)
    }

    /// What stands in a long bracket, without the line end it may begin with.
    fn long(&mut self, level: usize) -> Result<&'a str, usize> {
        let start = self.at;
        let inside = start + level + 2;
        let close = format!("]{}]", "=".repeat(level));
        let length = self.text[inside..].find(&close).ok_or(start)?;
        self.at = inside + length + close.len();
        let content = &self.text[inside..inside + length];
        let without_first = ["\r\n", "\n\r", "\n", "\r"].iter().find_map(|end| content.strip_prefix(end));
        Ok(without_first.unwrap_or(content))
    }
}

const RESERVED: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// The longest of those that begin alike first.
const SIGNS: [&str; 33] = [
    "...", "..", "<<", ">>", "//", "==", "~=", "<=", ">=", "::", "+", "-", "*", "/", "%", "^", "#", "&", "~",
    "|", "<", ">", "=", "(", ")", "{", "}", "[", "]", ";", ":", ",", ".",
];
