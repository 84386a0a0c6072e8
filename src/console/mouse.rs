//! What a hand does with a mouse, paced as hands are. A guest reads a pointer in its own time, and two clicks that come
//! at once are one to many of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Console, ConsoleError};

/// A button, or one notch of the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Button {
    /// Bit 0.
    Left,
    /// Bit 1: the wheel, pressed.
    Middle,
    /// Bit 2.
    Right,
    /// A notch away from the hand.
    WheelUp,
    /// A notch towards the hand.
    WheelDown,
    /// Bit 5: back.
    Side,
    /// Bit 6: forward.
    Extra,
}

impl Button {
    /// What scenarios can press.
    pub const PRESSED: [(&'static str, Self); 5] = [
        ("left", Self::Left),
        ("middle", Self::Middle),
        ("right", Self::Right),
        ("side", Self::Side),
        ("extra", Self::Extra),
    ];

    /// SPICE's number of it, 1 to 7 (SPICE protocol, section 15.4).
    pub fn number(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Middle => 2,
            Self::Right => 3,
            Self::WheelUp => 4,
            Self::WheelDown => 5,
            Self::Side => 6,
            Self::Extra => 7,
        }
    }

    /// Its name, e.g. `wheel_up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WheelUp => "wheel_up",
            Self::WheelDown => "wheel_down",
            pressed => Self::PRESSED.iter().find(|(_, it)| *it == pressed).map_or("", |(name, _)| name),
        }
    }
}

/// One thing that a mouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MouseAction {
    /// To this pixel of the screen. Only a machine that takes absolute positions heeds it.
    MoveTo {
        /// From the left edge.
        x: u32,
        /// From the top edge.
        y: u32,
    },
    /// By so much, to the right and down. Only a machine that takes relative motion heeds it.
    MoveBy {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
    /// A button goes down.
    Press(Button),
    /// A button goes up.
    Release(Button),
}

/// Clicks `count` times: down for `hold`, up for as long.
///
/// # Errors
/// The console closed.
pub async fn click(
    console: &dyn Console,
    button: Button,
    count: u32,
    hold: Duration,
) -> Result<(), ConsoleError> {
    for _ in 0..count {
        let held = HeldButton::press(console, button)?;
        console.flushed().await;
        tokio::time::sleep(hold).await;
        drop(held);
        console.flushed().await;
        tokio::time::sleep(hold).await;
    }
    Ok(())
}

/// Presses a button, goes through `way` with a pause at each point, and lets go.
///
/// # Errors
/// The console closed.
pub async fn drag(
    console: &dyn Console,
    button: Button,
    way: &[MouseAction],
    pause: Duration,
) -> Result<(), ConsoleError> {
    let held = HeldButton::press(console, button)?;
    console.flushed().await;
    tokio::time::sleep(pause).await;
    for &action in way {
        console.mouse(action)?;
        console.flushed().await;
        tokio::time::sleep(pause).await;
    }
    drop(held);
    console.flushed().await;
    Ok(())
}

/// The points of a straight way from one pixel to another in `steps` steps, the last one included.
pub fn way(from: (u32, u32), to: (u32, u32), steps: u32) -> Vec<MouseAction> {
    let between = |from: u32, to: u32, step: u32| {
        let (from, to, step, steps) =
            (i64::from(from), i64::from(to), i64::from(step), i64::from(steps.max(1)));
        u32::try_from(from + (to - from) * step / steps).unwrap_or(0)
    };
    (1..=steps.max(1))
        .map(|step| MouseAction::MoveTo { x: between(from.0, to.0, step), y: between(from.1, to.1, step) })
        .collect()
}

/// A button that is down; it goes up when this is dropped, also when a wait was cancelled half way.
struct HeldButton<'a> {
    console: &'a dyn Console,
    button: Button,
}

impl<'a> HeldButton<'a> {
    fn press(console: &'a dyn Console, button: Button) -> Result<Self, ConsoleError> {
        console.mouse(MouseAction::Press(button))?;
        Ok(Self { console, button })
    }
}

impl Drop for HeldButton<'_> {
    fn drop(&mut self) {
        // A closed console holds no button.
        let _ = self.console.mouse(MouseAction::Release(self.button));
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_console::TestConsole;
    use super::*;

    #[tokio::test]
    async fn a_double_click_is_down_and_up_twice() {
        let console = TestConsole::default();
        click(&console, Button::Right, 2, Duration::ZERO).await.unwrap();
        assert_eq!(console.keys(), ["+right", "-right", "+right", "-right"]);
    }

    #[tokio::test]
    async fn a_drag_goes_straight_and_lets_go_at_the_end() {
        let console = TestConsole::default();
        drag(&console, Button::Left, &way((10, 0), (0, 3), 2), Duration::ZERO).await.unwrap();
        assert_eq!(console.keys(), ["+left", "5,1", "0,3", "-left"]);
    }

    #[tokio::test]
    async fn a_cancelled_click_leaves_no_button_down() {
        let console = TestConsole::default();
        let click = click(&console, Button::Left, 1, Duration::from_secs(600));
        tokio::time::timeout(Duration::from_millis(10), click).await.unwrap_err();
        assert_eq!(console.keys(), ["+left", "-left"]);
    }

    #[test]
    fn a_way_ends_where_it_shall_however_few_steps() {
        assert_eq!(way((5, 5), (1, 9), 0), [MouseAction::MoveTo { x: 1, y: 9 }]);
        assert_eq!(way((0, 0), (u32::MAX, 1), 3).len(), 3);
    }
}
