//! `control key` and `control type`: keys go down and up one by one, so that it is right for every server, also for
//! those whose `press` types twice and for those that do not paste.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ControlError, Session, given};
use crate::cli::exit::ExitCode;
use crate::console::keyboard::Scancode;
use crate::console::layout::{Key, US};
use crate::control::protocol::{Call, KeyState, SendKeyParams};
use crate::near::nearest;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  backstaff control key enter\n  backstaff control key ctrl+alt+delete\n  backstaff control \
key down down enter\n  backstaff control key 0xe04b\n  backstaff control key shift --down"
)]
pub(super) struct KeyCommand {
    /// Names (`enter`, `f10`), characters of a US keyboard, make codes (`0xe04b`), or several of them held together
    /// (`ctrl+alt+delete`).
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Only press them.
    #[arg(long, conflicts_with = "up")]
    down: bool,
    /// Only release them.
    #[arg(long)]
    up: bool,
    /// For how long a key is held, and the pause after it.
    #[arg(long, value_name = "MS", default_value_t = 20)]
    delay: u32,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Characters are those of a US keyboard, a line end is Enter. If one cannot be typed, nothing is.\n\n\
Examples:\n  backstaff control type 'ls -l'\n  backstaff control type --delay 50 - < commands.txt"
)]
pub(super) struct TypeCommand {
    /// The text; `-` reads it from standard input, as it is.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
    /// Time per character. Firmware loses keys below 10.
    #[arg(long, value_name = "MS", default_value_t = 20)]
    delay: u32,
}

/// Strokes that are to be sent.
pub(super) struct Keys {
    strokes: Vec<Stroke>,
    delay: Duration,
}

/// Keys that are held together.
struct Stroke {
    codes: Vec<Scancode>,
    goes_down: bool,
    goes_up: bool,
}

impl KeyCommand {
    pub(super) fn keys(self) -> Result<Keys, ControlError> {
        let stroke = |word: &String| {
            let codes = chord(word)?;
            Ok(Stroke { codes, goes_down: !self.up, goes_up: !self.down })
        };
        let strokes = self.keys.iter().map(stroke).collect::<Result<_, ControlError>>()?;
        Ok(Keys { strokes, delay: Duration::from_millis(u64::from(self.delay) * 2) })
    }
}

impl TypeCommand {
    pub(super) fn keys(self) -> Result<Keys, ControlError> {
        let keys = US.keys(&given(self.text)?)?;
        let stroke = |key: Key| Stroke { codes: key.codes().collect(), goes_down: true, goes_up: true };
        let strokes = keys.into_iter().map(stroke).collect();
        Ok(Keys { strokes, delay: Duration::from_millis(u64::from(self.delay)) })
    }
}

/// Reads `ctrl+alt+delete`. A `+` alone, or at the end, is the key.
fn chord(word: &str) -> Result<Vec<Scancode>, ControlError> {
    let (held, plus) = match word.strip_suffix('+') {
        Some(held) if held.is_empty() || held.ends_with('+') => {
            (held.strip_suffix('+').unwrap_or(held), true)
        }
        _ => (word, false),
    };
    let names = held.split('+').filter(|_| !(plus && held.is_empty()));
    let mut codes = names.map(code).collect::<Result<Vec<Scancode>, ControlError>>()?;
    if plus {
        // The key is that of `=`, as on the keyboard itself.
        codes.extend(US.key_by_name("="));
    }
    Ok(codes)
}

fn code(name: &str) -> Result<Scancode, ControlError> {
    if let Some(digits) = name.strip_prefix("0x").or_else(|| name.strip_prefix("0X")) {
        let code = u16::from_str_radix(digits, 16).ok().map(Scancode);
        return code
            .filter(|code| code.is_make_code())
            .ok_or_else(|| ControlError::NoScancode { word: name.to_owned() });
    }
    US.key_by_name(name).ok_or_else(|| {
        let meant = nearest(&name.to_ascii_lowercase(), Scancode::names()).map(str::to_owned);
        ControlError::NoKey { name: name.to_owned(), meant }
    })
}

impl Keys {
    pub(super) async fn send(self, session: &mut Session) -> Result<ExitCode, ControlError> {
        let half = self.delay / 2;
        for stroke in &self.strokes {
            let mut held = Held { session, codes: Vec::new() };
            for code in &stroke.codes {
                // Noted first: what is on its way when we are interrupted is down, too.
                held.codes.push(*code);
                if stroke.goes_down {
                    key(session, *code, KeyState::Down).await?;
                }
            }
            if stroke.goes_down && stroke.goes_up {
                tokio::time::sleep(half).await;
            }
            if stroke.goes_up {
                while let Some(code) = held.codes.last().copied() {
                    key(session, code, KeyState::Up).await?;
                    held.codes.pop();
                }
            }
            held.codes.clear();
            tokio::time::sleep(half).await;
        }
        let sent = self.strokes.len();
        let plural = if sent == 1 { "" } else { "s" };
        session.print(&json!({ "keys_sent": sent }), &format!("{sent} key{plural} sent\n"))
    }
}

async fn key(session: &Session, code: Scancode, state: KeyState) -> Result<(), ControlError> {
    session.call::<Value>(event(code, state)).await.map(drop)
}

fn event(code: Scancode, state: KeyState) -> Call {
    // Some servers forget the break bit.
    let scancode = if state == KeyState::Up { code.0 | 0x80 } else { code.0 };
    Call::SendKey(SendKeyParams { scancode, state: state.name().to_owned() })
}

/// Keys that are down. When we are interrupted they go up all the same.
struct Held<'a> {
    session: &'a Session,
    codes: Vec<Scancode>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for code in self.codes.drain(..).rev() {
            drop(self.session.client.send(event(code, KeyState::Up)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(word: &str) -> Vec<u16> {
        chord(word).unwrap().into_iter().map(|code| code.0).collect()
    }

    #[test]
    fn chords_are_names_characters_and_codes() {
        assert_eq!(codes("ctrl+alt+delete"), [0x1D, 0x38, 0xE053]);
        assert_eq!(codes("Enter"), [0x1C]);
        assert_eq!(codes("a"), codes("A"));
        assert_eq!(codes("0xe04b+0X1E"), [0xE04B, 0x1E]);
        assert_eq!(codes("1"), [0x02], "a digit is a key");
        assert_eq!(codes("-"), [0x0C]);
    }

    #[test]
    fn plus_is_a_key_too() {
        assert_eq!(codes("+"), [0x0D]);
        assert_eq!(codes("ctrl++"), [0x1D, 0x0D]);
    }

    #[test]
    fn what_is_no_key_is_named_with_what_was_meant() {
        let wrong = |word: &str| chord(word).err().unwrap().to_string();
        assert_eq!(wrong("ctrl+entre"), "no key \"entre\", did you mean \"enter\"?");
        assert_eq!(wrong("nonsense"), "no key \"nonsense\"");
        for word in ["", "ctrl+", "+a", "ctrl+++", "é", "ab"] {
            assert!(wrong(word).starts_with("no key"), "{word:?}: {}", wrong(word));
        }
        for word in ["0x", "0x0", "0x9c", "0x10000", "0xg", "0x114b", "0x+1"] {
            assert!(wrong(word).contains("no make code") || wrong(word).contains("no key"), "{word:?}");
        }
    }
}
