//! The cursor channel: where the pointer is and what it looks like.
//!
//! The channel is opened because a server expects it, and it must be read: a client that does not drain
//! it blocks the machine.

use std::collections::HashMap;
use std::sync::Arc;

use super::base::{Base, OnBase};
use super::{BaseEvent, ChannelError};
use crate::spice::surface::{CursorShape, DrawError};
use crate::spice::wire::cursor::{Cursor, CursorMessage};
use crate::spice::wire::types::Point16;

/// The cursor channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct CursorChannel {
    base: Base<BaseEvent>,
    state: CursorState,
    /// Shapes that the server may refer to.
    shapes: HashMap<u64, Arc<CursorShape>>,
}

/// The pointer as the server draws it. It is not part of any surface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CursorState {
    /// Where its hot spot is.
    pub position: Point16,
    /// Whether it is shown.
    pub is_visible: bool,
    /// What it looks like; `None` when the guest has none or did not say.
    pub shape: Option<Arc<CursorShape>>,
}

impl CursorChannel {
    /// The state right after the link.
    pub fn new() -> Self {
        Self { base: Base::new(), state: CursorState::default(), shapes: HashMap::new() }
    }

    /// The pointer as it is now.
    pub fn state(&self) -> &CursorState {
        &self.state
    }

    /// The shape of a message, from the cache or decoded. One that the cache does not have is no shape.
    fn shape(
        &mut self,
        name: &'static str,
        cursor: &Cursor<'_>,
    ) -> Result<Option<Arc<CursorShape>>, ChannelError> {
        /// As many as servers keep, and as many again.
        const SHAPES: usize = 512;
        const BYTES: usize = 64 << 20;
        let Some(header) = &cursor.header else { return Ok(None) };
        if cursor.flags & Cursor::FROM_CACHE != 0 {
            let shape = self.shapes.get(&header.unique).cloned();
            if shape.is_none() {
                self.base.unsupported("cursor shape that is not in the cache");
            }
            return Ok(shape);
        }
        let in_message = |source| {
            let serial = self.base.serial();
            ChannelError::Draw { serial, name, source: Box::new(source) }
        };
        let id = header.unique;
        let shape = CursorShape::decode(header, cursor.data);
        let shape = shape.map_err(|source| in_message(DrawError::Image { id, kind: "CURSOR", source }))?;
        let shape = Arc::new(shape);
        if cursor.flags & Cursor::CACHE_ME != 0 {
            self.shapes.insert(id, Arc::clone(&shape));
            let bytes: usize = self.shapes.values().map(|shape| shape.picture.bytes.len()).sum();
            for (what, got, limit) in [
                ("shapes in the cursor cache", self.shapes.len(), SHAPES),
                ("bytes in the cursor cache", bytes, BYTES),
            ] {
                if got > limit {
                    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                    let (got, limit) = (number(got), number(limit));
                    return Err(in_message(DrawError::Limit { what, got, limit }));
                }
            }
        }
        Ok(Some(shape))
    }
}

impl Default for CursorChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl OnBase for CursorChannel {
    type Event = BaseEvent;

    /// SET_ACK and INIT.
    const GREETINGS: u64 = 2;

    fn base(&self) -> &Base<BaseEvent> {
        &self.base
    }

    fn base_mut(&mut self) -> &mut Base<BaseEvent> {
        &mut self.base
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = CursorMessage::name_of(kind).unwrap_or("unknown");
        let message =
            CursorMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        match message {
            Some(CursorMessage::Init(init)) => {
                self.shapes.clear();
                let shape = self.shape(name, &init.cursor)?;
                self.state = CursorState { position: init.position, is_visible: init.visible != 0, shape };
            }
            Some(CursorMessage::Set(set)) => {
                let shape = self.shape(name, &set.cursor)?;
                self.state = CursorState { position: set.position, is_visible: set.visible != 0, shape };
            }
            Some(CursorMessage::Move(message)) => {
                self.state.position = message.position;
                self.state.is_visible = true;
            }
            Some(CursorMessage::Hide(_)) => self.state.is_visible = false,
            Some(CursorMessage::Reset(_)) => {
                self.state = CursorState::default();
                self.shapes.clear();
            }
            Some(CursorMessage::InvalOne(message)) => {
                self.shapes.remove(&message.id);
            }
            Some(CursorMessage::InvalAll(_)) => self.shapes.clear(),
            Some(CursorMessage::Trail(_)) => {}
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        Ok(())
    }
}
