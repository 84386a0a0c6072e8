//! What a guest needs of the machine it runs on.

use core::fmt;
use visual_digest::Frame;

/// The machine below a guest: a screen, a serial port and a counter. It has no clock; the guest's time is the number
/// of its polls.
pub trait Platform {
    /// Returns the size of the screen as it is now.
    fn size(&self) -> Size;

    /// Changes to the graphics mode at `index` of the list given to [`Guest::boot`](crate::Guest::boot). Failure shows
    /// in [`Platform::size`] only.
    fn set_mode(&mut self, index: usize);

    /// Shows a piece of the screen with its top left pixel at (`x`, `y`). It lies within the screen.
    fn present(&mut self, piece: Frame<'_>, x: u32, y: u32);

    /// The pieces presented since the last call are one picture, and whole: a platform may show them together.
    fn finish_picture(&mut self) {}

    /// Sends text to the first serial port, or nowhere when there is none. Line ends are already CR LF.
    fn write_serial(&mut self, text: &str);

    /// Returns a counter which goes up steadily; measures how long a refresh takes and nothing else.
    fn ticks(&mut self) -> u64;
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// Returns the size `width` x `height`.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A key as UEFI's simple text input reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The character; U+0000 for a special key. Enter is `'\r'`.
    pub unicode: char,
    /// The UEFI scan code; 0 for a key with a character.
    pub scancode: u16,
}

impl Key {
    /// Returns the key of a character.
    pub const fn character(unicode: char) -> Self {
        Self { unicode, scancode: 0 }
    }

    /// Returns a special key, such as 0x17 for Esc.
    pub const fn special(scancode: u16) -> Self {
        Self { unicode: '\0', scancode }
    }

    /// Returns whether this is Enter.
    pub(crate) fn is_enter(self) -> bool {
        matches!(self.unicode, '\r' | '\n')
    }
}

/// What the caller of [`Guest::poll`](crate::Guest::poll) does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Poll again after [`POLL_MS`](crate::POLL_MS).
    Continue,
    /// Power the machine off.
    PowerOff,
    /// Reset the machine cold.
    Reset,
}
