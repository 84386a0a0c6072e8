//! What all channels share: the queue of what is to be said, the window of acknowledgements, pings.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::PeerError;
use crate::spice::wire::base::client::BaseMessage;
use crate::spice::wire::base::{FIRST_CHANNEL_KIND, Ping, SetAck};
use crate::spice::wire::bytes::Rest;
use crate::spice::wire::header::{Frame, FullHeader, HeaderForm, MiniHeader, frame};
use crate::spice::wire::{Field, Message, WireError, Writer};

/// The shared half of a peer's state.
#[derive(Debug)]
pub(super) struct Base {
    form: HeaderForm,
    received: u64,
    sent: u64,
    queue: VecDeque<(u16, Vec<u8>)>,
    ack: AckWindow,
    ping: Option<PingState>,
    /// The id of the last pong that answers no periodic ping.
    pong: Option<u32>,
}

/// INVARIANT: `unacked` counts what was sent since SET_ACK, without SET_ACK itself.
#[derive(Debug, Default)]
struct AckWindow {
    /// 0: the client is not asked for any.
    size: u32,
    is_synced: bool,
    unacked: u32,
    /// Since when nothing may be sent.
    full_since: Option<Instant>,
}

impl AckWindow {
    fn is_full(&self) -> bool {
        self.size > 0 && self.unacked >= self.size.saturating_mul(2)
    }
}

#[derive(Debug)]
struct PingState {
    every: Duration,
    due: Instant,
    id: u32,
    /// When the one that is not answered yet was sent.
    open_since: Option<Instant>,
}

impl Base {
    pub(super) fn new(form: HeaderForm) -> Self {
        let ack = AckWindow::default();
        Self { form, received: 0, sent: 0, queue: VecDeque::new(), ack, ping: None, pong: None }
    }

    /// Asks for acknowledgements from here on.
    pub(super) fn ask_for_acks(&mut self) {
        self.send(&SetAck { generation: GENERATION, window: WINDOW });
    }

    /// Asks the client to say when it has taken everything so far: see [`Base::take_pong`].
    pub(super) fn ping(&mut self, id: u32) {
        self.send(&Ping { id, timestamp: 0, data: Rest(&[]) });
    }

    /// The id of the last [`Base::ping`] that was answered, once.
    pub(super) fn take_pong(&mut self) -> Option<u32> {
        self.pong.take()
    }

    /// Pings the client every so often from here on.
    pub(super) fn ping_every(&mut self, every: Duration, now: Instant) {
        self.ping = Some(PingState { every, due: now + every, id: 0, open_since: None });
    }

    pub(super) fn send<'m, M: Message<'m>>(&mut self, message: &M) {
        self.sent += 1;
        self.queue.push_back((M::KIND, frame(self.form, self.sent, message)));
    }

    /// Queues a message of this type whose body is a single byte.
    pub(super) fn malform(&mut self, kind: u16) {
        self.sent += 1;
        let mut writer = Writer::default();
        match self.form {
            HeaderForm::Mini => MiniHeader { kind, size: 1 }.encode(&mut writer),
            HeaderForm::Full => {
                FullHeader { serial: self.sent, kind, size: 1, sub_list: 0 }.encode(&mut writer);
            }
        }
        writer.bytes(&[0xff]);
        self.queue.push_back((kind, writer.finish()));
    }

    /// Whether the window lets something out.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        if self.ack.is_full() {
            self.ack.full_since.get_or_insert(now);
            return false;
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.queue.is_empty() || !self.may_send(now) {
            return None;
        }
        let (kind, frame) = self.queue.pop_front()?;
        if kind == <SetAck as Message<'_>>::KIND {
            self.ack = AckWindow { size: WINDOW, ..AckWindow::default() };
        } else {
            self.ack.unacked = self.ack.unacked.saturating_add(1);
        }
        Some(frame)
    }

    /// Counts a message and takes what concerns all channels; returns what the channel itself has to take.
    pub(super) fn receive<'a>(&mut self, message: Frame<'a>) -> Result<Option<(u16, &'a [u8])>, PeerError> {
        self.received += 1;
        if message.kind >= FIRST_CHANNEL_KIND {
            return Ok(Some((message.kind, message.body)));
        }
        let name = BaseMessage::name_of(message.kind).unwrap_or("base message");
        let decoded = BaseMessage::decode(message.kind, message.body);
        match decoded.map_err(|source| self.decode_error(name, source))? {
            Some(BaseMessage::AckSync(sync)) => self.ack.is_synced |= sync.generation == GENERATION,
            Some(BaseMessage::Ack(_)) => self.handle_ack()?,
            Some(BaseMessage::Pong(pong)) => match &mut self.ping {
                Some(ping) if ping.id == pong.id => ping.open_since = None,
                Some(_) => {}
                None => self.pong = Some(pong.id),
            },
            Some(
                BaseMessage::MigrateFlushMark(_)
                | BaseMessage::MigrateData(_)
                | BaseMessage::Disconnecting(_),
            ) => {}
            None => return Err(self.unknown(message.kind)),
        }
        Ok(None)
    }

    fn handle_ack(&mut self) -> Result<(), PeerError> {
        if !self.ack.is_synced {
            return Ok(());
        }
        match self.ack.unacked.checked_sub(self.ack.size) {
            Some(left) => self.ack.unacked = left,
            None => return Err(self.unexpected("ACK", "for messages that were not sent")),
        }
        self.ack.full_since = None;
        Ok(())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ping = self.ping.as_ref().map(|ping| match ping.open_since {
            Some(since) => since + PATIENCE,
            None => ping.due,
        });
        let ack = self.ack.full_since.map(|since| since + PATIENCE);
        ping.into_iter().chain(ack).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        let is_late = |since: Option<Instant>| since.is_some_and(|since| now >= since + PATIENCE);
        if is_late(self.ack.full_since) {
            return Err(PeerError::Silent { what: "ACK", after: PATIENCE });
        }
        let Some(ping) = &mut self.ping else { return Ok(()) };
        if is_late(ping.open_since) {
            return Err(PeerError::Silent { what: "PONG", after: PATIENCE });
        }
        if ping.open_since.is_none() && now >= ping.due {
            ping.id = ping.id.wrapping_add(1);
            (ping.due, ping.open_since) = (now + ping.every, Some(now));
            let id = ping.id;
            self.ping(id);
        }
        Ok(())
    }

    pub(super) fn decode_error(&self, name: &'static str, source: WireError) -> PeerError {
        PeerError::Decode { serial: self.received, name, source }
    }

    pub(super) fn unknown(&self, kind: u16) -> PeerError {
        PeerError::Unknown { serial: self.received, kind }
    }

    pub(super) fn unexpected(&self, name: &'static str, problem: &'static str) -> PeerError {
        PeerError::Unexpected { serial: self.received, name, problem }
    }
}

/// Messages per acknowledgement, as QEMU asks for.
pub(super) const WINDOW: u32 = 20;
const GENERATION: u32 = 1;
/// For an acknowledgement or a pong.
const PATIENCE: Duration = Duration::from_secs(30);
