//! What a terminal sends when a key is pressed, and a terminal that sends it at once.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::console::Scancode;
use crate::console::layout::US;

/// Something a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// Keys that are held together.
    Keys(Vec<Scancode>),
    /// What no key makes, for people.
    Unknown(String),
    /// Enough.
    End,
}

/// The terminal's settings as they were, while it is raw. A clone is the same terminal.
#[derive(Clone, Default)]
pub(super) struct Raw {
    before: Arc<Mutex<Option<Termios>>>,
}

impl Raw {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// From here on keys arrive at once, Ctrl-C too. Where it cannot be, keys arrive line by line.
    pub(super) fn enter(&self) {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return };
        let mut raw = before.clone();
        raw.make_raw();
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).is_ok() {
            *self.before() = Some(before);
        }
    }

    /// As it was.
    pub(super) fn restore(&self) {
        if let Some(before) = self.before().take() {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        }
    }

    /// Says a line on standard error, whatever the terminal is like.
    pub(super) fn say(&self, line: &str) {
        let end = if self.before().is_some() && std::io::stderr().is_terminal() { "\r\n" } else { "\n" };
        let _ = write!(anstream::stderr(), "{line}{end}");
    }

    fn before(&self) -> std::sync::MutexGuard<'_, Option<Termios>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is a terminal that we may read: not one that another job of the shell has.
pub(super) fn is_ours() -> bool {
    let stdin = std::io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Reads keys from standard input for as long as somebody wants them. The thread ends with the process.
pub(super) fn read(keys: mpsc::UnboundedSender<Typed>) {
    let (sender, receiver) = std::sync::mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        let mut parser = Parser::default();
        loop {
            // What begins as a sequence and does not go on is Esc itself.
            let bytes = match parser.is_waiting() {
                true => receiver.recv_timeout(PATIENCE),
                false => receiver.recv().map_err(|_| std::sync::mpsc::RecvTimeoutError::Disconnected),
            };
            let typed = match bytes {
                Ok(bytes) => parser.handle_bytes(&bytes),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => parser.flush(),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            };
            if typed.into_iter().any(|typed| keys.send(typed).is_err()) {
                return;
            }
        }
    });
}

/// From bytes to keys.
#[derive(Default)]
struct Parser {
    pending: Vec<u8>,
}

impl Parser {
    fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    fn handle_bytes(&mut self, bytes: &[u8]) -> Vec<Typed> {
        self.pending.extend_from_slice(bytes);
        let mut typed = Vec::new();
        while let Some((one, used)) = parse(&self.pending) {
            self.pending.drain(..used);
            typed.push(one);
        }
        typed
    }

    /// Nothing more comes for what is half there.
    fn flush(&mut self) -> Vec<Typed> {
        let pending = std::mem::take(&mut self.pending);
        match &*pending {
            [] => Vec::new(),
            [0x1B, rest @ ..] => {
                let mut typed = vec![named(&[], "esc")];
                let mut rest_of = Self { pending: Vec::new() };
                typed.extend(rest_of.handle_bytes(rest));
                typed
            }
            bytes => vec![Typed::Unknown(String::from_utf8_lossy(bytes).into_owned())],
        }
    }
}

/// The first key in these bytes, and how many of them it is; nothing while it may go on.
fn parse(bytes: &[u8]) -> Option<(Typed, usize)> {
    match bytes {
        [] => None,
        [0x1D, ..] => Some((Typed::End, 1)),
        [0x1B, b'[', ..] => sequence(bytes),
        [0x1B, b'O', key, ..] => Some((of_final(*key, &[]), 3)),
        [0x1B] | [0x1B, b'O'] => None,
        [0x1B, 0x1B, ..] => Some((named(&[], "esc"), 1)),
        // Alt and a key.
        [0x1B, rest @ ..] => {
            let (typed, used) = parse(rest)?;
            let typed = match typed {
                Typed::Keys(mut codes) => {
                    codes.insert(0, Scancode::ALT);
                    Typed::Keys(codes)
                }
                other => other,
            };
            Some((typed, used + 1))
        }
        [b'\r' | b'\n', ..] => Some((named(&[], "enter"), 1)),
        [b'\t', ..] => Some((named(&[], "tab"), 1)),
        [0x7F | 0x08, ..] => Some((named(&[], "backspace"), 1)),
        [0x00, ..] => Some((named(&[Scancode::CTRL], "space"), 1)),
        [byte @ 0x01..=0x1A, ..] => {
            let letter = char::from(byte + b'a' - 1);
            Some((named(&[Scancode::CTRL], letter.encode_utf8(&mut [0; 4])), 1))
        }
        [0x1C, ..] => Some((named(&[Scancode::CTRL], "backslash"), 1)),
        [0x1E, ..] => Some((named(&[Scancode::CTRL], "6"), 1)),
        [0x1F, ..] => Some((named(&[Scancode::CTRL], "minus"), 1)),
        [first, ..] => {
            let length = match first {
                0xC2..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF4 => 4,
                _ => 1,
            };
            let text = bytes.get(..length)?;
            let text = String::from_utf8_lossy(text).into_owned();
            let typed = match US.keys(&text) {
                Ok(keys) if keys.len() == 1 => {
                    Typed::Keys(keys.into_iter().flat_map(crate::console::layout::Key::codes).collect())
                }
                _ => Typed::Unknown(text),
            };
            Some((typed, length))
        }
    }
}

/// `ESC [ parameters final`.
fn sequence(bytes: &[u8]) -> Option<(Typed, usize)> {
    let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7E).contains(byte))? + 2;
    // The Linux console has an opening bracket in the middle.
    if let [0x1B, b'[', b'[', key @ b'A'..=b'E', ..] = bytes {
        return Some((named(&[], &format!("f{}", key - b'A' + 1)), 4));
    }
    if bytes.get(2) == Some(&b'[') && bytes.len() < 4 {
        return None;
    }
    let parameters = String::from_utf8_lossy(bytes.get(2..end)?).into_owned();
    let mut numbers = parameters.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
    let (first, held) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(1).saturating_sub(1));
    let all = [(1, Scancode::SHIFT), (2, Scancode::ALT), (4, Scancode::CTRL)];
    let held: Vec<Scancode> = all.iter().filter(|(bit, _)| held & bit != 0).map(|(_, code)| *code).collect();
    let typed = match bytes.get(end)? {
        b'~' => match TILDE.iter().find(|(number, _)| *number == first) {
            Some((_, name)) => named(&held, name),
            None => Typed::Unknown(format!("ESC [ {parameters} ~")),
        },
        b'Z' => named(&[Scancode::SHIFT], "tab"),
        key => of_final(*key, &held),
    };
    Some((typed, end + 1))
}

fn of_final(key: u8, held: &[Scancode]) -> Typed {
    match FINAL.iter().find(|(known, _)| *known == key) {
        Some((_, name)) => named(held, name),
        None => Typed::Unknown(format!("ESC {}", char::from(key))),
    }
}

fn named(held: &[Scancode], name: &str) -> Typed {
    match US.key_by_name(name) {
        Some(code) => Typed::Keys(held.iter().copied().chain([code]).collect()),
        None => Typed::Unknown(name.to_owned()),
    }
}

const FINAL: [(u8, &str); 11] = [
    (b'A', "up"),
    (b'B', "down"),
    (b'C', "right"),
    (b'D', "left"),
    (b'H', "home"),
    (b'F', "end"),
    (b'P', "f1"),
    (b'Q', "f2"),
    (b'R', "f3"),
    (b'S', "f4"),
    (b'M', "kp_enter"),
];

const TILDE: [(u8, &str); 20] = [
    (1, "home"),
    (2, "insert"),
    (3, "delete"),
    (4, "end"),
    (5, "page_up"),
    (6, "page_down"),
    (7, "home"),
    (8, "end"),
    (11, "f1"),
    (12, "f2"),
    (13, "f3"),
    (14, "f4"),
    (15, "f5"),
    (17, "f6"),
    (18, "f7"),
    (19, "f8"),
    (20, "f9"),
    (21, "f10"),
    (23, "f11"),
    (24, "f12"),
];
/// How long a terminal takes between the bytes of one key.
const PATIENCE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// What these bytes are, in the words of `keyboard:press`.
    fn keys(bytes: &[u8]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut typed = parser.handle_bytes(bytes);
        typed.extend(parser.flush());
        let name = |typed| match typed {
            Typed::Keys(codes) => {
                codes.iter().map(|code: &Scancode| code.name().unwrap()).collect::<Vec<_>>().join("+")
            }
            Typed::Unknown(what) => format!("?{what}"),
            Typed::End => "END".to_owned(),
        };
        typed.into_iter().map(name).collect()
    }

    #[test]
    fn what_terminals_send_is_what_was_pressed() {
        assert_eq!(keys(b"aB \r"), ["a", "shift+b", "space", "enter"]);
        assert_eq!(keys(b"\x03\x7f\t\x1b[Z"), ["ctrl+c", "backspace", "tab", "shift+tab"]);
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[3~\x1b[24~\x1bOP"), ["up", "down", "delete", "f12", "f1"]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[3;3~\x1bx"), ["ctrl+right", "alt+delete", "alt+x"]);
        assert_eq!(keys(b"\x1b[[A"), ["f1"]);
        assert_eq!(keys(b"\x1b"), ["esc"]);
        assert_eq!(keys(b"\x1b\x1b[A"), ["esc", "up"]);
        assert_eq!(keys(b"a\x1d"), ["a", "END"]);
    }

    #[test]
    fn what_no_key_makes_is_named() {
        assert_eq!(keys("é\u{1F600}x".as_bytes()), ["?é", "?\u{1F600}", "x"]);
        assert_eq!(keys(b"\x1b[99~"), ["?ESC [ 99 ~"]);
        assert_eq!(keys(b"\xff"), ["?\u{fffd}"]);
    }

    #[test]
    fn keys_may_arrive_in_pieces() {
        let whole = "a\x1b[1;5Cé\x1b[24~".as_bytes();
        let mut parser = Parser::default();
        let typed: Vec<Typed> = whole.iter().flat_map(|byte| parser.handle_bytes(&[*byte])).collect();
        assert_eq!(typed, Parser::default().handle_bytes(whole));
        assert!(!parser.is_waiting());
    }
}
