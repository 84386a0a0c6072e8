//! Paced typing. The emulated keyboard holds 16 bytes and firmware reads it every 20 ms, so a burst loses keys
//! without any error: every key gets its time.

use std::time::{Duration, Instant};

use super::keyboard::Scancode;
use super::layout::Key;
use super::{Console, ConsoleError};

/// Presses `codes` together: down in order, held, up in reverse order.
///
/// # Errors
/// The console closed.
pub async fn press(console: &dyn Console, codes: &[Scancode], hold: Duration) -> Result<(), ConsoleError> {
    let held = Held::press(console, codes)?;
    console.flushed().await;
    tokio::time::sleep(hold).await;
    drop(held);
    console.flushed().await;
    Ok(())
}

/// Types `keys`, one every `char_delay`: shift or AltGr down if needed, key down, half the delay, all up in reverse
/// order, the other half. Returns how many keys were typed.
///
/// # Errors
/// The console closed.
pub async fn type_keys(
    console: &dyn Console,
    keys: &[Key],
    char_delay: Duration,
) -> Result<u32, ConsoleError> {
    let half = char_delay / 2;
    let mut next = Instant::now();
    let mut typed = 0;
    for key in keys {
        let codes: Vec<Scancode> = key.codes().collect();
        let held = Held::press(console, &codes)?;
        console.flushed().await;
        next = pause_until(next, half).await;
        drop(held);
        console.flushed().await;
        next = pause_until(next, half).await;
        typed += 1;
    }
    Ok(typed)
}

/// Sleeps until `pause` after `from` and returns that moment. A moment long past starts anew from now: catching up
/// would type a burst.
async fn pause_until(from: Instant, pause: Duration) -> Instant {
    let now = Instant::now();
    let until = if from + pause + pause < now { now + pause } else { from + pause };
    tokio::time::sleep_until(until.into()).await;
    until
}

/// Keys that are down; they go up, in reverse order, when this is dropped, also when a wait was cancelled half way.
struct Held<'a> {
    console: &'a dyn Console,
    codes: &'a [Scancode],
}

impl<'a> Held<'a> {
    fn press(console: &'a dyn Console, codes: &'a [Scancode]) -> Result<Self, ConsoleError> {
        let held = Self { console, codes };
        codes.iter().try_for_each(|&code| console.key_down(code))?;
        Ok(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for &code in self.codes.iter().rev() {
            // A closed console has no keys down; a machine may well end between the press and the release.
            let _ = self.console.key_up(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{DE, US};
    use super::super::test_console::TestConsole;
    use super::*;

    const NO_DELAY: Duration = Duration::ZERO;

    #[tokio::test]
    async fn typing_shifts_only_what_needs_it() {
        let console = TestConsole::default();
        let typed = type_keys(&console, &US.keys("aB").unwrap(), NO_DELAY).await.unwrap();
        assert_eq!(typed, 2);
        assert_eq!(console.keys(), ["+1e", "-1e", "+2a", "+30", "-30", "-2a"]);
    }

    #[tokio::test]
    async fn third_characters_hold_altgr() {
        let console = TestConsole::default();
        type_keys(&console, &DE.keys("@").unwrap(), NO_DELAY).await.unwrap();
        assert_eq!(console.keys(), ["+e038", "+10", "-10", "-e038"]);
    }

    #[tokio::test]
    async fn a_chord_goes_up_in_reverse_order() {
        let console = TestConsole::default();
        press(&console, &[Scancode::CTRL, Scancode::ALT, Scancode(0xE053)], NO_DELAY).await.unwrap();
        assert_eq!(console.keys(), ["+1d", "+38", "+e053", "-e053", "-38", "-1d"]);
    }

    #[tokio::test]
    async fn a_cancelled_press_leaves_no_key_down() {
        let console = TestConsole::default();
        let press = press(&console, &[Scancode(0x1C)], Duration::from_secs(600));
        tokio::time::timeout(Duration::from_millis(10), press).await.unwrap_err();
        assert_eq!(console.keys(), ["+1c", "-1c"]);
    }

    #[tokio::test]
    async fn typing_on_a_closed_console_says_so() {
        let console = TestConsole::closed();
        let error = type_keys(&console, &US.keys("a").unwrap(), NO_DELAY).await.unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    }
}
