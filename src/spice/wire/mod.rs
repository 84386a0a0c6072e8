//! What SPICE puts on the wire: one type per message, named as SPICE names it, decoded with checks and
//! encoded again.
//!
//! INVARIANT: pure. No IO, no clock, no state between two messages. A decoder takes what is present and
//! allocates in proportion to that, whatever the counts in it claim; every failure is a [`WireError`]
//! with the offset in the message body.
//!
//! Start with [`header`] (how a stream is cut into messages), then [`bytes`] (how a body is read), then the
//! channel you care about. Numbers are little-endian and packed; a pointer is an offset from the first
//! byte of the body.

pub mod agent;
pub mod base;
pub mod bytes;
pub mod cursor;
pub mod display;
pub mod draw;
pub mod elements;
pub mod header;
pub mod image;
pub mod inputs;
pub mod link;
pub mod main;
pub mod playback;
#[cfg(test)]
pub(crate) mod testing;
pub mod types;

pub use bytes::{Field, Message, Reader, WireError, Writer};
