//! The portable core of the reference guest: its story, its screen and its record.
//!
//! A [`Guest`] plays a short boot story on whatever [`Platform`] it is given: the UEFI application, a simulated
//! machine inside the runner, or a test with an invented clock. It never waits, reads a clock or touches a device;
//! the caller polls it once every [`POLL_MS`] milliseconds with the keys that arrived and does what the
//! [`Flow`] says. Everything it tells the outside goes through the platform's screen and serial port.
//!
//! Start reading at [`Guest::poll`]. `story` holds the scenes in order, `bootloader` the one that asks questions,
//! `modes` the graphics modes, `screen` and `canvas` what is seen and how it is hashed.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod bootloader;
mod canvas;
mod cursor;
mod glyphs;
mod guest;
mod modes;
mod platform;
mod record;
mod screen;
mod stats;
mod story;

pub use guest::{BANNER, Guest, POLL_MS};
pub use platform::{Flow, Key, Platform, Size};
pub use visual_digest::Frame;
