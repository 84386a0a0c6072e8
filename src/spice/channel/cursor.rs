//! The cursor channel: where the pointer is. Its shapes are checked and let go.
//!
//! The channel is opened because a server expects it, and it must be read: a client that does not drain
//! it blocks the machine.

use std::time::Instant;

use super::base::Base;
use super::{BaseEvent, ChannelError, Counters, Machine};
use crate::spice::wire::cursor::CursorMessage;
use crate::spice::wire::header::Frame;
use crate::spice::wire::types::Point16;

/// The cursor channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct CursorChannel {
    base: Base<BaseEvent>,
    state: CursorState,
}

/// The pointer as the server draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CursorState {
    /// Where its hot spot is.
    pub position: Point16,
    /// Whether it is shown.
    pub is_visible: bool,
}

impl CursorChannel {
    /// The state right after the link.
    pub fn new() -> Self {
        Self { base: Base::new(), state: CursorState::default() }
    }

    /// Where the pointer is.
    pub fn state(&self) -> CursorState {
        self.state
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = CursorMessage::name_of(kind).unwrap_or("unknown");
        let message =
            CursorMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        match message {
            Some(CursorMessage::Init(init)) => {
                self.state = CursorState { position: init.position, is_visible: init.visible != 0 };
            }
            Some(CursorMessage::Set(set)) => {
                self.state = CursorState { position: set.position, is_visible: set.visible != 0 };
            }
            Some(CursorMessage::Move(message)) => {
                self.state = CursorState { position: message.position, is_visible: true };
            }
            Some(CursorMessage::Hide(_)) => self.state.is_visible = false,
            Some(CursorMessage::Reset(_)) => self.state = CursorState::default(),
            Some(CursorMessage::Trail(_) | CursorMessage::InvalOne(_) | CursorMessage::InvalAll(_)) => {}
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        Ok(())
    }
}

impl Default for CursorChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for CursorChannel {
    type Event = BaseEvent;

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), ChannelError> {
        let own = self.base.receive(message)?;
        own.into_iter().try_for_each(|(kind, body)| self.handle(kind, body))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.base.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<BaseEvent> {
        self.base.poll_event()
    }

    fn counters(&self) -> &Counters {
        &self.base.counters
    }

    /// SET_ACK and INIT.
    fn is_established(&self) -> bool {
        self.base.counters.messages >= 2
    }
}
