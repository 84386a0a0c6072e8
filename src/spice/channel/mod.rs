//! The state machines of the channels a console needs.
//!
//! INVARIANT: pure. A channel is fed whole messages and the time, and drained of frames to send and of
//! events; the caller moves the bytes. Everything can be played with a `Vec<u8>` and an invented `Instant`.
//!
//! [`Machine`] is what they have in common. Start with [`MainChannel`] (what a session is) or
//! [`DisplayChannel`] (where pixels come from).

mod agent;
mod base;
mod cursor;
mod display;
mod inputs;
mod main;
mod playback;
mod reports;
mod streams;

use std::collections::BTreeMap;
use std::time::Instant;

use thiserror::Error;

pub use agent::{AgentError, AgentEvent, AgentState, NotFetched, capability_names};
pub use cursor::{CursorChannel, CursorState};
pub use display::{Compression, DisplayChannel, DisplayEvent, DisplayOptions, Monitor};
pub use inputs::{InputsChannel, InputsEvent, KeyCode, KeyCodeError, Motion};
pub use main::{MainChannel, MainEvent};
pub use playback::PlaybackChannel;
pub use streams::{StreamFacts, StreamLog};

use super::surface::DrawError;
use super::wire::WireError;
use super::wire::base::{Severity, WaitForChannel};
use super::wire::header::Frame;

/// One end of one channel.
pub trait Machine {
    /// What [`poll_event`](Self::poll_event) reports.
    type Event;

    /// Takes one message. An error ends the channel.
    fn handle_message(&mut self, now: Instant, message: Frame<'_>) -> Result<(), ChannelError>;

    /// The next bytes to send: one whole frame.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;

    /// Appends everything there is to send to `out`.
    fn transmit_into(&mut self, out: &mut Vec<u8>) {
        while let Some(frame) = self.poll_transmit() {
            out.extend_from_slice(&frame);
        }
    }

    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// What was counted so far.
    fn counters(&self) -> &Counters;

    /// What the message that was taken last waits for. Until it comes and [`resume`](Self::resume) was called, no other
    /// message may be handed in.
    fn hold(&self) -> Option<Hold<'_>> {
        None
    }

    /// Goes on with what waits, as far as that is possible; with `gives_up` as if it had waited long enough.
    fn resume(&mut self, _now: Instant, _gives_up: bool) -> Result<(), ChannelError> {
        Ok(())
    }

    /// Whether the server has taken the channel in. QEMU crashes on channels that close before that.
    fn is_established(&self) -> bool;
}

/// What a channel waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold<'a> {
    /// An image that comes on another channel.
    Image,
    /// Other channels, each until it has handled a message. Who calls `resume` has seen to it.
    Channels(&'a [WaitForChannel]),
}

/// Why a channel cannot go on. The message number counts received messages from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChannelError {
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
    /// A drawing message cannot be drawn.
    #[error("message {serial} ({name})")]
    Draw {
        /// Number of the message.
        serial: u64,
        /// SPICE's name of its type.
        name: &'static str,
        /// What is wrong with it.
        source: Box<DrawError>,
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
}

/// What a channel has seen, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Drawing messages by SPICE name, whether or not they were drawn.
    pub draws: BTreeMap<&'static str, u64>,
    /// Images in them by SPICE type name.
    pub images: BTreeMap<&'static str, u64>,
    /// Packets of sound by mode.
    pub sounds: BTreeMap<&'static str, SoundCount>,
    /// What was received but left out.
    pub unsupported: BTreeMap<String, u64>,
}

/// How much sound came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoundCount {
    /// Packets.
    pub packets: u64,
    /// Bytes of their samples.
    pub bytes: u64,
}

impl Counters {
    /// Counts something left out. True the first time.
    fn is_first_unsupported(&mut self, what: &str) -> bool {
        /// More than any server thinks of.
        const NAMES: usize = 256;
        let is_known = self.unsupported.contains_key(what) || self.unsupported.len() < NAMES;
        let what = if is_known { what } else { "others" };
        match self.unsupported.get_mut(what) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.unsupported.insert(what.to_owned(), 1);
                true
            }
        }
    }
}

/// What any channel may report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseEvent {
    /// The server has something to say to people.
    Notice {
        /// How bad it is.
        severity: Severity,
        /// The text, control characters escaped.
        text: String,
    },
    /// Something was left out for the first time.
    Unsupported {
        /// SPICE's name of it, or a reason.
        what: String,
    },
    /// The server measures: it has sent a PING, on a channel that tells of them.
    Pinged,
}

#[cfg(test)]
mod tests;
