//! The cursor channel: the pointer's shape.

use std::sync::Arc;
use std::time::Instant;

use super::base::Base;
use super::{Peer, PeerError};
use crate::spice::server::stage::{CursorShape, Stage};
use crate::spice::wire::Message;
use crate::spice::wire::cursor::{Cursor, CursorHeader, Init, Set};
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::types::Point16;

/// The cursor channel's state.
pub(in crate::spice::server) struct CursorPeer {
    base: Base,
    stage: Arc<Stage>,
    shown: u64,
}

impl CursorPeer {
    pub(in crate::spice::server) fn new(form: HeaderForm, stage: Arc<Stage>) -> Self {
        let mut base = Base::new(form);
        base.ask_for_acks();
        let (shown, shape) = stage.cursor();
        let (position, visible, cursor) = (Point16::default(), 1, cursor(shown, shape.as_deref()));
        base.send(&Init { position, trail_length: 0, trail_frequency: 0, visible, cursor });
        Self { base, stage, shown }
    }
}

/// The shape as it goes over the wire; nothing of it is cached.
fn cursor(unique: u64, shape: Option<&CursorShape>) -> Cursor<'_> {
    const ALPHA: u8 = 0;
    let Some(shape) = shape else { return Cursor { flags: Cursor::NONE, header: None, data: &[] } };
    let header = CursorHeader {
        unique,
        kind: ALPHA,
        width: shape.width,
        height: shape.height,
        hot_spot_x: shape.hot_spot_x,
        hot_spot_y: shape.hot_spot_y,
    };
    Cursor { flags: 0, header: Some(header), data: &shape.pixels }
}

impl Peer for CursorPeer {
    fn message_bytes(&self) -> u32 {
        1024
    }

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), PeerError> {
        match self.base.receive(message)? {
            Some((kind, _)) => Err(self.base.unknown(kind)),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.base.is_empty() {
            let (revision, shape) = self.stage.cursor();
            if revision == self.shown || !self.base.may_send(now) {
                return None;
            }
            self.shown = revision;
            let (visible, cursor) = (u8::from(shape.is_some()), cursor(revision, shape.as_deref()));
            self.base.send(&Set { position: Point16::default(), visible, cursor });
        }
        self.base.poll_transmit(now)
    }

    fn malform(&mut self) {
        self.base.malform(<Set<'_> as Message<'_>>::KIND);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.base.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        self.base.handle_timeout(now)
    }
}
