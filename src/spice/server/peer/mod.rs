//! The state machines of the four channels a server offers, each at the server's end.
//!
//! INVARIANT: pure. A peer is fed whole messages and the time, and drained of frames and events; the driver moves the
//! bytes. A peer makes its next frame only when it is asked for one, so a client that does not read costs no memory.

mod base;
mod cursor;
mod display;
mod inputs;
mod main;

use std::time::{Duration, Instant};

use thiserror::Error;

pub(super) use cursor::CursorPeer;
pub(super) use display::DisplayPeer;
pub(super) use inputs::InputsPeer;
pub(super) use main::{MainOptions, MainPeer, MouseModes};

use super::InputEvent;
use crate::spice::wire::WireError;
use crate::spice::wire::header::Frame;

/// The server's end of one channel.
pub(super) trait Peer: Send {
    /// The largest body a client may send here.
    fn message_bytes(&self) -> u32;

    /// Takes one message. An error ends the channel.
    fn handle_message(&mut self, now: Instant, message: Frame<'_>) -> Result<(), PeerError>;

    /// Makes the next frame to send, if there is something to say and the client may be told.
    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>>;

    /// The next thing the client did.
    fn poll_event(&mut self) -> Option<InputEvent> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Lets time pass. An error ends the channel.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError>;

    /// Whether the client was sent everything there is.
    fn is_idle(&self) -> bool {
        true
    }

    /// Queues a message that is not what its type says.
    fn malform(&mut self);

    /// The channel is over; what that makes happen can be polled.
    fn close(&mut self) {}
}

/// Why a channel is ended by the server. The message number counts received messages from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// A body is not what its type says.
    #[error("message {serial} ({name})")]
    Decode {
        /// Number of the message.
        serial: u64,
        /// SPICE's name of its type.
        name: &'static str,
        /// What is wrong with it.
        source: WireError,
    },
    /// A type that no client sends here.
    #[error("message {serial} has the type {kind}, which is unknown on this channel")]
    Unknown {
        /// Number of the message.
        serial: u64,
        /// Its type.
        kind: u16,
    },
    /// A message that must not come now.
    #[error("message {serial} ({name}) came {problem}")]
    Unexpected {
        /// Number of the message.
        serial: u64,
        /// SPICE's name of its type.
        name: &'static str,
        /// Such as "twice".
        problem: &'static str,
    },
    /// Something did not come in time.
    #[error("no {what} within {after:?}")]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
}

#[cfg(test)]
mod tests;
