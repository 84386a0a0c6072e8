//! The guest agent's end of the main channel (SPICE protocol, section 7): who is there, what it can do, clipboards both
//! ways, monitors.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::spice::wire::WireError;
use crate::spice::wire::agent::{AgentMessage, CHUNK_BYTES, ClipboardKind, Header, Selection, capability};
use crate::spice::wire::link::Capabilities;

/// The agent's part of the main channel's state.
#[derive(Debug, Default)]
pub(super) struct Agent {
    state: AgentState,
    /// AGENT_DATA messages that may be sent. INVARIANT: none is sent without one, or the server closes the channel.
    tokens: u32,
    /// Pieces of messages that wait for tokens.
    chunks: VecDeque<Vec<u8>>,
    /// Bytes in `chunks`.
    queued_bytes: usize,
    inbox: Inbox,
    /// What this side offers.
    ours: BTreeMap<Selection, Arc<[u8]>>,
    /// What this side has asked for and not got yet.
    asked: BTreeMap<Selection, ClipboardKind>,
    fetched: BTreeMap<Selection, Arc<[u8]>>,
    events: VecDeque<AgentEvent>,
    /// What was left out, to be counted.
    left_out: Vec<String>,
}

/// What is known of the guest's agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentState {
    /// Whether the agent's port is open.
    pub is_connected: bool,
    /// What the agent says it can do; `None` before it has said anything.
    pub capabilities: Option<Capabilities>,
    /// What the guest offers now.
    pub offers: BTreeMap<Selection, Vec<ClipboardKind>>,
}

/// What happens with the guest's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// Its port is open.
    Connected,
    /// Its port is closed; what it offered or was offered is forgotten.
    Disconnected,
    /// It said what it can do.
    Announced(Capabilities),
    /// The guest has something to offer.
    Offered {
        /// In which clipboard.
        selection: Selection,
        /// As what.
        kinds: Vec<ClipboardKind>,
    },
    /// The guest offers nothing any more.
    Withdrawn {
        /// In which clipboard.
        selection: Selection,
    },
    /// What was asked for is here, or will not come.
    Fetched {
        /// Of which clipboard.
        selection: Selection,
        /// The data.
        data: Result<Arc<[u8]>, NotFetched>,
    },
    /// The guest has asked for what this side offers, and is being sent it.
    Taken {
        /// Of which clipboard.
        selection: Selection,
        /// How much.
        bytes: usize,
    },
    /// It did what it was told, or could not.
    Replied {
        /// The type of the message.
        to: u32,
        /// Whether it did.
        is_done: bool,
    },
}

/// Why what was asked for will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotFetched {
    /// The agent says so.
    #[error("the agent has no text to give")]
    Refused,
    /// It was passed over.
    #[error("the agent sends {bytes} bytes, limit is {limit}")]
    TooLarge {
        /// Bytes of the message.
        bytes: u32,
        /// The most that is taken.
        limit: u32,
    },
}

/// Why the agent cannot be told something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentError {
    /// Nobody has opened its port.
    #[error("no guest agent is connected")]
    NotConnected,
    /// It has said nothing yet.
    #[error("the guest agent has not announced itself yet")]
    NotAnnounced,
    /// It does not understand that.
    #[error("the guest agent lacks `{0}`")]
    Lacks(&'static str),
    /// There is nothing to fetch.
    #[error("the guest offers no text in its {0}")]
    NothingOffered(Selection),
    /// The session is over.
    #[error("the session is closed")]
    Closed,
}

impl AgentState {
    /// Names of what the agent can do.
    pub fn capability_names(&self) -> Option<Vec<String>> {
        self.capabilities.as_ref().map(capability_names)
    }

    fn has(&self, bit: u32) -> bool {
        self.capabilities.as_ref().is_some_and(|capabilities| capabilities.has(bit))
    }
}

/// Names of what an agent can do, unknown bits by their number.
pub fn capability_names(capabilities: &Capabilities) -> Vec<String> {
    let bits = u32::try_from(capabilities.0.len()).unwrap_or(u32::MAX).saturating_mul(32);
    let names = (0..bits).filter(|bit| capabilities.has(*bit)).map(|bit| {
        let name = usize::try_from(bit).ok().and_then(|bit| capability::NAMES.get(bit));
        name.map_or_else(|| format!("bit-{bit}"), |name| (*name).to_owned())
    });
    names.collect()
}

impl Agent {
    /// The most that a message of the agent's may have.
    pub(super) const MESSAGE_LIMIT: u32 = 16 << 20;
    /// The most that waits for tokens; what the guest asks for beyond is not answered.
    const QUEUE_LIMIT: usize = 32 << 20;

    /// Tokens granted to the server: as the reference client does, so many that they never run out.
    pub(super) const GRANTED: u32 = u32::MAX;

    pub(super) fn state(&self) -> &AgentState {
        &self.state
    }

    /// The agent's port was opened.
    pub(super) fn connect(&mut self) {
        self.forget();
        self.state.is_connected = true;
        self.events.push_back(AgentEvent::Connected);
        self.announce(true);
    }

    /// The agent's port was closed.
    pub(super) fn disconnect(&mut self) {
        let was_connected = self.state.is_connected;
        self.forget();
        if was_connected {
            self.events.push_back(AgentEvent::Disconnected);
        }
    }

    pub(super) fn set_tokens(&mut self, tokens: u32) {
        self.tokens = tokens;
    }

    pub(super) fn add_tokens(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// Takes a piece of the agent's byte stream.
    pub(super) fn handle_data(&mut self, mut data: &[u8]) -> Result<(), WireError> {
        if !self.state.is_connected {
            return Ok(());
        }
        while !data.is_empty() {
            match self.inbox.take(&mut data, Self::MESSAGE_LIMIT)? {
                None => {}
                Some(Arrived::Message { kind, payload }) => self.handle_message(kind, &payload),
                Some(Arrived::TooLarge(header)) => self.pass_over(header),
            }
        }
        Ok(())
    }

    /// Offers text to the guest.
    pub(super) fn copy(&mut self, selection: Selection, text: Arc<[u8]>) -> Result<(), AgentError> {
        self.require_clipboard(selection)?;
        self.ours.insert(selection, text);
        self.state.offers.remove(&selection);
        self.send(&AgentMessage::Grab { selection, kinds: vec![ClipboardKind::TEXT] });
        Ok(())
    }

    /// Asks for the text that the guest offers.
    pub(super) fn fetch(&mut self, selection: Selection) -> Result<(), AgentError> {
        self.require_clipboard(selection)?;
        let kind = ClipboardKind::TEXT;
        if !self.state.offers.get(&selection).is_some_and(|kinds| kinds.contains(&kind)) {
            return Err(AgentError::NothingOffered(selection));
        }
        self.fetched.remove(&selection);
        self.asked.insert(selection, kind);
        self.send(&AgentMessage::Request { selection, kind });
        Ok(())
    }

    /// What was fetched last.
    pub(super) fn fetched(&self, selection: Selection) -> Option<Arc<[u8]>> {
        self.fetched.get(&selection).cloned()
    }

    /// Says how large the monitors shall be. The server may give that to the guest's graphics driver instead.
    pub(super) fn resize(&mut self, monitors: Vec<(u32, u32)>) -> Result<(), AgentError> {
        if !self.state.is_connected {
            return Err(AgentError::NotConnected);
        }
        self.send(&AgentMessage::MonitorsConfig(monitors));
        Ok(())
    }

    /// The body of the next AGENT_DATA, if there is one and a token for it.
    pub(super) fn poll_chunk(&mut self) -> Option<Vec<u8>> {
        let left = self.tokens.checked_sub(1)?;
        let chunk = self.chunks.pop_front()?;
        self.queued_bytes -= chunk.len();
        self.tokens = left;
        Some(chunk)
    }

    /// Bytes that wait for tokens or to be asked for, and of the message that is arriving.
    pub(super) fn held_bytes(&self) -> (usize, usize) {
        (self.queued_bytes, self.inbox.header.len() + self.inbox.payload.len())
    }

    pub(super) fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    /// What was left out since this was asked last.
    pub(super) fn take_left_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left_out)
    }

    fn handle_message(&mut self, kind: u32, payload: &[u8]) {
        match AgentMessage::decode(kind, payload, self.has_selection()) {
            Ok(message) => self.handle(message),
            Err(_) => self.leave_out(kind, " that is cut short"),
        }
    }

    fn handle(&mut self, message: AgentMessage<'_>) {
        match message {
            AgentMessage::Announce { wants_answer, capabilities } => {
                self.state.capabilities = Some(capabilities.clone());
                self.events.push_back(AgentEvent::Announced(capabilities));
                if wants_answer {
                    self.announce(false);
                }
            }
            AgentMessage::Grab { selection, kinds } => {
                self.ours.remove(&selection);
                self.state.offers.insert(selection, kinds.clone());
                self.events.push_back(AgentEvent::Offered { selection, kinds });
            }
            AgentMessage::Release { selection } => {
                if self.state.offers.remove(&selection).is_some() {
                    self.events.push_back(AgentEvent::Withdrawn { selection });
                }
            }
            AgentMessage::Request { selection, kind } => self.hand_over(selection, kind),
            AgentMessage::Clipboard { selection, kind, data } => {
                if self.asked.remove(&selection).is_none() {
                    return self.left_out.push("clipboard data that nobody asked for".to_owned());
                }
                let data = match kind {
                    ClipboardKind::TEXT => Ok(self.plain_text(data)),
                    _ => Err(NotFetched::Refused),
                };
                self.end_fetch(selection, data);
            }
            AgentMessage::Reply { to, error } => {
                const SUCCESS: u32 = 1;
                self.events.push_back(AgentEvent::Replied { to, is_done: error == SUCCESS });
            }
            AgentMessage::MonitorsConfig(_) => self.leave_out(AgentMessage::MONITORS_CONFIG, ""),
            AgentMessage::Other(kind) => self.leave_out(kind, ""),
        }
    }

    /// Notes what is not handled. What is counted is up to the guest, so there must not be too many different words.
    fn leave_out(&mut self, kind: u32, why: &str) {
        const KNOWN: u32 = 64;
        self.left_out.push(match kind {
            0..KNOWN => format!("agent message type {kind}{why}"),
            _ => format!("agent message of an unknown type{why}"),
        });
    }

    /// A message beyond the limit is skipped: its length is known, so the stream goes on behind it.
    fn pass_over(&mut self, header: Header) {
        let (bytes, limit) = (header.size, Self::MESSAGE_LIMIT);
        self.leave_out(header.kind, " beyond 16 MiB");
        if header.kind == AgentMessage::CLIPBOARD {
            // Which one it was is in what was skipped.
            for selection in std::mem::take(&mut self.asked).into_keys() {
                self.end_fetch(selection, Err(NotFetched::TooLarge { bytes, limit }));
            }
        }
    }

    fn end_fetch(&mut self, selection: Selection, data: Result<Arc<[u8]>, NotFetched>) {
        if let Ok(data) = &data {
            self.fetched.insert(selection, Arc::clone(data));
        }
        self.events.push_back(AgentEvent::Fetched { selection, data });
    }

    /// Answers a request of the guest's.
    fn hand_over(&mut self, selection: Selection, kind: ClipboardKind) {
        let text = self.ours.get(&selection).filter(|_| kind == ClipboardKind::TEXT).cloned();
        // A guest that asks again and again is not worth a copy each time.
        if text.as_ref().is_some_and(|text| !self.has_room_for(text.len())) {
            return;
        }
        let (kind, data) = match text {
            Some(text) => (kind, self.guest_text(&text)),
            None => (ClipboardKind::NONE, Vec::new()),
        };
        if self.send(&AgentMessage::Clipboard { selection, kind, data: &data }) && kind == ClipboardKind::TEXT
        {
            self.events.push_back(AgentEvent::Taken { selection, bytes: data.len() });
        }
    }

    fn announce(&mut self, wants_answer: bool) {
        let capabilities = Capabilities::of(&[
            capability::MONITORS_CONFIG,
            capability::REPLY,
            capability::CLIPBOARD_BY_DEMAND,
            capability::CLIPBOARD_SELECTION,
        ]);
        self.send(&AgentMessage::Announce { wants_answer, capabilities });
    }

    fn require_clipboard(&self, selection: Selection) -> Result<(), AgentError> {
        if !self.state.is_connected {
            return Err(AgentError::NotConnected);
        }
        if self.state.capabilities.is_none() {
            return Err(AgentError::NotAnnounced);
        }
        if !self.state.has(capability::CLIPBOARD_BY_DEMAND) {
            return Err(AgentError::Lacks("clipboard_by_demand"));
        }
        if selection != Selection::CLIPBOARD && !self.has_selection() {
            return Err(AgentError::Lacks("clipboard_selection"));
        }
        Ok(())
    }

    /// Whether both sides say which selection they mean; this one always can.
    fn has_selection(&self) -> bool {
        self.state.has(capability::CLIPBOARD_SELECTION)
    }

    /// Text with the line ends that the guest wants.
    fn guest_text(&self, text: &[u8]) -> Vec<u8> {
        if !self.state.has(capability::GUEST_LINEEND_CRLF) {
            return text.to_vec();
        }
        let mut converted = Vec::with_capacity(text.len());
        for (at, byte) in text.iter().enumerate() {
            if *byte == b'\n' && at.checked_sub(1).and_then(|before| text.get(before)) != Some(&b'\r') {
                converted.push(b'\r');
            }
            converted.push(*byte);
        }
        converted
    }

    /// The guest's text with plain line ends.
    fn plain_text(&self, text: &[u8]) -> Arc<[u8]> {
        if !self.state.has(capability::GUEST_LINEEND_CRLF) {
            return text.into();
        }
        let is_end = |at: usize| text[at] == b'\r' && text.get(at + 1) == Some(&b'\n');
        (0..text.len()).filter(|at| !is_end(*at)).map(|at| text[at]).collect()
    }

    /// Whether so much may wait beside what waits already; counted where it may not.
    fn has_room_for(&mut self, bytes: usize) -> bool {
        let has_room = self.queued_bytes.saturating_add(bytes) <= Self::QUEUE_LIMIT;
        if !has_room {
            self.left_out.push("message to an agent that takes none".to_owned());
        }
        has_room
    }

    /// Queues a message in pieces. False when too much waits already.
    fn send(&mut self, message: &AgentMessage<'_>) -> bool {
        let bytes = message.encode(self.has_selection());
        if !self.has_room_for(bytes.len()) {
            return false;
        }
        self.queued_bytes += bytes.len();
        self.chunks.extend(bytes.chunks(CHUNK_BYTES).map(<[u8]>::to_vec));
        true
    }

    /// Everything that ends with an agent's connection. Tokens are the server's to reset.
    fn forget(&mut self) {
        let (tokens, events) = (self.tokens, std::mem::take(&mut self.events));
        let asked = std::mem::take(&mut self.asked);
        *self = Self { tokens, events, left_out: std::mem::take(&mut self.left_out), ..Self::default() };
        for selection in asked.into_keys() {
            self.end_fetch(selection, Err(NotFetched::Refused));
        }
    }
}

/// The message that is arriving.
#[derive(Debug, Default)]
struct Inbox {
    header: Vec<u8>,
    /// The header, once it is complete.
    open: Option<Header>,
    payload: Vec<u8>,
    /// Bytes still to be skipped of a message that is too large.
    skipped: u32,
}

enum Arrived {
    Message { kind: u32, payload: Vec<u8> },
    TooLarge(Header),
}

impl Inbox {
    /// Takes what belongs to the message that is arriving off `data`.
    fn take(&mut self, data: &mut &[u8], limit: u32) -> Result<Option<Arrived>, WireError> {
        if self.skipped > 0 {
            let skipped = split(data, self.skipped).len();
            self.skipped -= u32::try_from(skipped).unwrap_or(self.skipped);
            return Ok(None);
        }
        let header = match self.open {
            Some(header) => header,
            None => {
                let wanted = Header::LENGTH - self.header.len();
                self.header.extend_from_slice(split(data, u32::try_from(wanted).unwrap_or(0)));
                if self.header.len() < Header::LENGTH {
                    return Ok(None);
                }
                let header = Header::decode(&std::mem::take(&mut self.header))?;
                if header.size > limit {
                    self.skipped = header.size;
                    return Ok(Some(Arrived::TooLarge(header)));
                }
                *self.open.insert(header)
            }
        };
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        let wanted = size.saturating_sub(self.payload.len());
        self.payload.extend_from_slice(split(data, u32::try_from(wanted).unwrap_or(u32::MAX)));
        if self.payload.len() < size {
            return Ok(None);
        }
        self.open = None;
        Ok(Some(Arrived::Message { kind: header.kind, payload: std::mem::take(&mut self.payload) }))
    }
}

/// Takes at most `most` bytes off the front.
fn split<'a>(data: &mut &'a [u8], most: u32) -> &'a [u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(data.len());
    let (taken, rest) = data.split_at(most);
    *data = rest;
    taken
}

#[cfg(test)]
mod tests;
