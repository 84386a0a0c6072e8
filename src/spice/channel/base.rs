//! What all channels share: acknowledgements, pings, notices, sub-messages, counting.

use std::collections::VecDeque;
use std::time::Instant;

use super::{BaseEvent, ChannelError, Counters, Machine};
use crate::spice::wire::base::client::{Ack, AckSync, MigrateFlushMark, Pong};
use crate::spice::wire::base::{BaseMessage, FIRST_CHANNEL_KIND, List, Notify, WaitForChannel};
use crate::spice::wire::header::{Frame, append_mini_frame};
use crate::spice::wire::{Message, WireError, Writer};

/// The shared half of a channel's state.
#[derive(Debug)]
pub struct Base<E> {
    /// Messages received, as the server counts them: a list is one.
    serial: u64,
    ack: AckWindow,
    transmit: Transmit,
    events: VecDeque<E>,
    pub(super) counters: Counters,
    /// Whether PINGs are reported.
    tells_pings: bool,
    /// What is waited for, on a channel that waits at all.
    waits: Option<Vec<WaitForChannel>>,
}

/// What a channel itself has to handle.
pub(super) enum Own<'a> {
    /// A message, as nearly always.
    One((u16, &'a [u8])),
    /// What came with lists.
    Many(std::vec::IntoIter<(u16, &'a [u8])>),
    /// Nothing is left of it.
    None,
}

impl<'a> Iterator for Own<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Many(messages) => messages.next(),
            Self::One(message) => {
                let message = *message;
                *self = Self::None;
                Some(message)
            }
            Self::None => None,
        }
    }
}

/// Frames that wait to be sent, one behind the other.
#[derive(Debug, Default)]
struct Transmit {
    bytes: Vec<u8>,
    lengths: VecDeque<usize>,
    /// Memory for the next body.
    writer: Writer,
}

impl Transmit {
    fn push<'m>(&mut self, message: &impl Message<'m>) {
        let before = self.bytes.len();
        append_mini_frame(message, &mut self.writer, &mut self.bytes);
        self.lengths.push_back(self.bytes.len() - before);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let length = self.lengths.pop_front()?;
        Some(self.bytes.drain(..length).collect())
    }

    fn drain_into(&mut self, out: &mut Vec<u8>) {
        self.lengths.clear();
        out.append(&mut self.bytes);
    }
}

/// INVARIANT: counted per channel, over messages of every type but SET_ACK itself.
#[derive(Debug, Default)]
struct AckWindow {
    size: u32,
    left: u32,
}

/// A channel that is its base and what it makes of its own messages. All others are the base's matter, and time is
/// nobody's.
pub trait OnBase {
    type Event: From<BaseEvent>;

    /// With so many messages the server has taken the channel in.
    const GREETINGS: u64;

    fn base(&self) -> &Base<Self::Event>;

    fn base_mut(&mut self) -> &mut Base<Self::Event>;

    /// Takes a message of the channel's own.
    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError>;
}

impl<C: OnBase> Machine for C {
    type Event = C::Event;

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), ChannelError> {
        let own = self.base_mut().receive(message)?;
        own.into_iter().try_for_each(|(kind, body)| self.handle(kind, body))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.base_mut().poll_transmit()
    }

    fn transmit_into(&mut self, out: &mut Vec<u8>) {
        self.base_mut().transmit_into(out);
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.base_mut().poll_event()
    }

    fn counters(&self) -> &Counters {
        &self.base().counters
    }

    fn is_established(&self) -> bool {
        self.base().counters.messages >= Self::GREETINGS
    }
}

impl<E: From<BaseEvent>> Base<E> {
    pub(super) fn new() -> Self {
        Self {
            serial: 0,
            ack: AckWindow::default(),
            transmit: Transmit::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            tells_pings: false,
            waits: None,
        }
    }

    /// One of a channel that reports PINGs.
    pub(super) fn telling_pings() -> Self {
        Self { tells_pings: true, ..Self::new() }
    }

    /// One of a channel that waits for others where the server wants it.
    pub(super) fn patient() -> Self {
        Self { waits: Some(Vec::new()), ..Self::new() }
    }

    /// What the server wants this channel to wait for before it goes on.
    pub(super) fn waits(&self) -> &[WaitForChannel] {
        self.waits.as_deref().unwrap_or_default()
    }

    /// There is nothing to wait for any more.
    pub(super) fn stop_waiting(&mut self) {
        if let Some(waits) = &mut self.waits {
            waits.clear();
        }
    }

    pub(super) fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.transmit.push(message);
    }

    pub(super) fn report(&mut self, event: E) {
        self.events.push_back(event);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop()
    }

    /// Appends all frames that wait to `out`.
    pub(super) fn transmit_into(&mut self, out: &mut Vec<u8>) {
        self.transmit.drain_into(out);
    }

    pub(super) fn poll_event(&mut self) -> Option<E> {
        self.events.pop_front()
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Counts what is left out and reports it the first time.
    pub(super) fn unsupported(&mut self, what: &str) {
        if self.counters.is_first_unsupported(what) {
            self.report(BaseEvent::Unsupported { what: what.to_owned() }.into());
        }
    }

    /// Counts a message, answers what concerns all channels and returns what the channel itself has to
    /// handle, in order: sub-messages come before the message that carries them.
    pub(super) fn receive<'a>(&mut self, message: Frame<'a>) -> Result<Own<'a>, ChannelError> {
        self.serial += 1;
        self.counters.messages += 1;
        self.counters.bytes += u64::try_from(message.body.len()).unwrap_or(u64::MAX);
        if message.sub_list == 0 && message.kind >= FIRST_CHANNEL_KIND {
            self.count_towards_ack();
            return Ok(Own::One((message.kind, message.body)));
        }
        let mut queue: VecDeque<(u16, &'a [u8])> = VecDeque::new();
        let mut is_set_ack = false;
        if message.sub_list == 0 {
            is_set_ack = self.handle_kind(message.kind, message.body, &mut queue)?;
        } else {
            queue.extend(
                List::decode_at(message.body, message.sub_list)
                    .map_err(|e| self.decode_error(List::NAME, e))?
                    .messages,
            );
            queue.push_back((message.kind, message.body));
        }
        let mut own = Vec::new();
        while let Some((kind, body)) = queue.pop_front() {
            if kind >= FIRST_CHANNEL_KIND {
                own.push((kind, body));
                continue;
            }
            is_set_ack |= self.handle_kind(kind, body, &mut queue)?;
        }
        if !is_set_ack {
            self.count_towards_ack();
        }
        Ok(Own::Many(own.into_iter()))
    }

    /// Handles a message that concerns all channels, or queues what is in it. True for SET_ACK.
    fn handle_kind<'a>(
        &mut self,
        kind: u16,
        body: &'a [u8],
        queue: &mut VecDeque<(u16, &'a [u8])>,
    ) -> Result<bool, ChannelError> {
        let name = BaseMessage::name_of(kind).unwrap_or("base message");
        match BaseMessage::decode(kind, body).map_err(|e| self.decode_error(name, e))? {
            Some(BaseMessage::List(list)) => queue.extend(list.messages),
            Some(message) => return Ok(self.handle_base(message)),
            None => self.unsupported(&format!("message type {kind}")),
        }
        Ok(false)
    }

    pub(super) fn decode_error(&self, name: &'static str, source: WireError) -> ChannelError {
        ChannelError::Decode { serial: self.serial, name, source }
    }

    /// True for SET_ACK.
    fn handle_base(&mut self, message: BaseMessage<'_>) -> bool {
        match message {
            BaseMessage::SetAck(message) => {
                self.send(&AckSync { generation: message.generation });
                self.ack = AckWindow { size: message.window, left: message.window };
                return true;
            }
            BaseMessage::Ping(ping) => {
                self.send(&Pong { id: ping.id, timestamp: ping.timestamp });
                if self.tells_pings {
                    self.report(BaseEvent::Pinged.into());
                }
            }
            BaseMessage::Notify(notify) => self.report(notice(&notify).into()),
            BaseMessage::Migrate(message) if message.flags & 1 != 0 => self.send(&MigrateFlushMark {}),
            BaseMessage::WaitForChannels(message) => match &mut self.waits {
                Some(waits) => waits.extend(message.wait_list),
                // What displays share is all there is to wait for.
                None => self.unsupported("WAIT_FOR_CHANNELS"),
            },
            BaseMessage::Migrate(_)
            | BaseMessage::MigrateData(_)
            | BaseMessage::Disconnecting(_)
            | BaseMessage::List(_) => {}
        }
        false
    }

    fn count_towards_ack(&mut self) {
        if self.ack.size == 0 {
            return;
        }
        self.ack.left -= 1;
        if self.ack.left == 0 {
            self.ack.left = self.ack.size;
            self.send(&Ack {});
        }
    }
}

fn notice(notify: &Notify<'_>) -> BaseEvent {
    BaseEvent::Notice { severity: notify.severity, text: printable(notify.message.0) }
}

/// Text from the wire, safe to show: up to the first NUL, at most 1024 characters, control characters escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    const LIMIT: usize = 1024;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(..LIMIT * 4).unwrap_or(text));
    let mut shown = String::new();
    for character in text.chars().take(LIMIT) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
