//! A console without a machine, for tests of what stands above it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use visual_digest::Frame;

use super::{Console, ConsoleError, MouseAction, Scancode, Screenshot};

/// Remembers the keys and shows a fixed screen.
#[derive(Debug, Default)]
pub(crate) struct TestConsole {
    keys: Mutex<Vec<String>>,
    screen: Mutex<Option<Screenshot>>,
    closed: bool,
}

impl TestConsole {
    pub(crate) fn closed() -> Self {
        Self { closed: true, ..Self::default() }
    }

    pub(crate) fn show(&self, screen: Screenshot) {
        *self.screen.lock().unwrap() = Some(screen);
    }

    /// `+1c` for down, `-1c` for up, `+left` and `-left` for buttons, `3,4` for positions, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    fn note(&self, what: String) -> Result<(), ConsoleError> {
        if self.closed {
            return Err(ConsoleError::Closed { reason: "test".to_owned() });
        }
        self.keys.lock().unwrap().push(what);
        Ok(())
    }
}

impl Console for TestConsole {
    fn key_down(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.note(format!("+{:02x}", code.0))
    }

    fn key_up(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.note(format!("-{:02x}", code.0))
    }

    fn mouse(&self, action: MouseAction) -> Result<(), ConsoleError> {
        self.note(match action {
            MouseAction::MoveTo { x, y } => format!("{x},{y}"),
            MouseAction::MoveBy { dx, dy } => format!("{dx:+},{dy:+}"),
            MouseAction::Press(button) => format!("+{}", button.name()),
            MouseAction::Release(button) => format!("-{}", button.name()),
        })
    }

    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        let screen = self.screen.lock().unwrap();
        let Some(screen) = screen.as_ref() else { return false };
        let frame = Frame::new(screen.width, screen.height, screen.width as usize * 4, &screen.pixels);
        look(frame.unwrap());
        true
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}
