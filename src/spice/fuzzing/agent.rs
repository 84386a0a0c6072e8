//! The agent protocol of the main channel: a guest's agent, a server and a client that do things in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::messages::check_base;
use super::{Source, check_error};
use crate::spice::channel::{AgentError, AgentEvent, AgentState, Machine as _, MainChannel, MainEvent};
use crate::spice::wire::Message;
use crate::spice::wire::agent::{AgentMessage, CHUNK_BYTES, ClipboardKind, Header, Selection, capability};
use crate::spice::wire::bytes::Rest;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::main::client::MainMessage;
use crate::spice::wire::main::{
    AgentConnected, AgentConnectedTokens, AgentData, AgentDisconnected, AgentToken, Init,
};

/// The first bytes make INIT; then each act is a byte that says which, and what it takes. At the end the server takes all
/// that is left.
pub fn agent(data: &[u8]) {
    let mut play = Play {
        source: Source(data),
        main: MainChannel::new(),
        tokens: 0,
        known: AgentState::default(),
        ours: BTreeMap::new(),
        asked: BTreeSet::new(),
        stream: Vec::new(),
        sent: None,
        bytes: 0,
    };
    let mut goes_on = play.init();
    while goes_on && !play.source.is_empty() && play.bytes < WORK_BYTES {
        goes_on = play.act();
    }
    if goes_on {
        play.grant(u32::MAX);
        play.read(usize::MAX);
        assert!(play.sent.unwrap_or_default().is_empty(), "a message has no end");
        assert_eq!(play.main.agent_held_bytes().0, 0, "bytes wait although there are tokens");
    }
}

/// The channel, and what must be true of it.
struct Play<'a> {
    source: Source<'a>,
    main: MainChannel,
    /// What the server has granted and not got yet.
    tokens: u32,
    known: AgentState,
    /// Bytes of what the client offers.
    ours: BTreeMap<Selection, usize>,
    /// What the client waits for.
    asked: BTreeSet<Selection>,
    /// What the guest's agent has said and the server not passed on.
    stream: Vec<u8>,
    /// The message that is on its way to the agent; nothing before the agent was started.
    sent: Option<Vec<u8>>,
    /// How much was moved.
    bytes: usize,
}

impl Play<'_> {
    fn init(&mut self) -> bool {
        let (agent_connected, agent_tokens) = (self.source.up_to(1).into(), self.number());
        self.tokens = agent_tokens;
        self.feed(&Init {
            session_id: 1,
            display_channels_hint: 1,
            supported_mouse_modes: 3,
            current_mouse_mode: 2,
            agent_connected,
            agent_tokens,
            multi_media_time: 0,
            ram_hint: 0,
        })
    }

    /// Returns whether the channel goes on.
    fn act(&mut self) -> bool {
        match self.source.up_to(15) {
            0 => self.feed(&AgentConnected {}),
            1 => {
                let num_tokens = self.number();
                self.tokens = num_tokens;
                self.feed(&AgentConnectedTokens { num_tokens })
            }
            2 => {
                let error_code = self.number();
                self.feed(&AgentDisconnected { error_code })
            }
            3 => {
                let tokens = self.number();
                self.grant(tokens)
            }
            4..=7 => {
                self.speak();
                self.pass_on(usize::MAX)
            }
            8 => {
                self.speak();
                true
            }
            9 => {
                let most = usize::from(self.source.u16());
                self.pass_on(most)
            }
            // Without what the agent's stream needs: beginnings, or nothing of it.
            10 => {
                let data = Rest(self.source.part());
                self.feed(&AgentData { data })
            }
            11 => {
                self.copy();
                true
            }
            12 => {
                self.fetch();
                true
            }
            13 => {
                let count = self.source.up_to(3);
                let monitors = (0..count).map(|_| (self.number(), self.number())).collect();
                let result = self.main.agent_resize(monitors);
                assert_eq!(result.is_ok(), self.known.is_connected, "{result:?}");
                self.listen(0);
                true
            }
            14 => {
                let most = self.source.u8().into();
                self.read(most);
                true
            }
            _ => {
                self.read(usize::MAX);
                true
            }
        }
    }

    /// A number, mostly a small one.
    fn number(&mut self) -> u32 {
        match self.source.u8() {
            252 => 0xffff_fffe,
            253 => 1 << 31,
            254 => (16 << 20) + 1,
            255 => u32::MAX,
            small => small.into(),
        }
    }

    fn selection(&mut self) -> Selection {
        Selection(match self.source.u8() {
            own @ 250.. => own,
            other => other % 3,
        })
    }

    fn kind(&mut self) -> ClipboardKind {
        ClipboardKind(match self.source.up_to(7) {
            7 => self.number(),
            6 => 0,
            0..=3 => 1,
            other => other.into(),
        })
    }

    fn words(&mut self) -> Vec<u32> {
        let count = self.source.up_to(40);
        (0..count).map(|_| self.number()).collect()
    }

    fn grant(&mut self, num_tokens: u32) -> bool {
        self.tokens = self.tokens.saturating_add(num_tokens);
        self.feed(&AgentToken { num_tokens })
    }

    /// Lets the agent say a message.
    fn speak(&mut self) {
        let message = match self.source.up_to(10) {
            0 | 1 => {
                let wants_answer = self.source.up_to(1) == 1;
                let capabilities = match self.source.up_to(3) {
                    0 => Capabilities::of(&[capability::CLIPBOARD_BY_DEMAND]),
                    1 => Capabilities::of(&[capability::CLIPBOARD_BY_DEMAND, capability::GUEST_LINEEND_CRLF]),
                    2 => {
                        Capabilities::of(&[capability::CLIPBOARD_BY_DEMAND, capability::CLIPBOARD_SELECTION])
                    }
                    _ => Capabilities(self.words()),
                };
                AgentMessage::Announce { wants_answer, capabilities }
            }
            2 | 3 => {
                let selection = self.selection();
                let kinds = match self.source.up_to(1) {
                    0 => vec![ClipboardKind::TEXT],
                    _ => self.words().into_iter().map(ClipboardKind).collect(),
                };
                AgentMessage::Grab { selection, kinds }
            }
            4 => AgentMessage::Release { selection: self.selection() },
            5 | 6 => AgentMessage::Request { selection: self.selection(), kind: self.kind() },
            7 | 8 => {
                let (selection, kind) = (self.selection(), self.kind());
                AgentMessage::Clipboard { selection, kind, data: self.source.part() }
            }
            9 => AgentMessage::Reply { to: self.number(), error: self.number() },
            _ => match self.source.up_to(1) {
                0 => AgentMessage::MonitorsConfig(vec![(self.number(), self.number())]),
                _ => AgentMessage::Other(self.number()),
            },
        };
        let habits = self.source.u8();
        // An agent may disagree about what both sides can do.
        let has_selection = self.has_selection() != (habits & 0x10 != 0);
        let mut bytes = message.encode(has_selection);
        match habits & 0xf {
            // Its payload is not what its header says.
            1 => bytes[16..20].copy_from_slice(&self.number().to_le_bytes()),
            2 => bytes.truncate(usize::from(self.source.u8())),
            // A payload that only the size is known of.
            3 => bytes.resize(bytes.len() + (usize::from(self.source.u8()) << 12), 0),
            4 => bytes[0] = self.source.u8(),
            _ => {}
        }
        self.stream.extend(bytes);
    }

    /// Passes on what the agent has said, at most so many bytes, in pieces of the source's choice.
    fn pass_on(&mut self, most: usize) -> bool {
        let stream = std::mem::take(&mut self.stream);
        let (now, later) = stream.split_at(most.min(stream.len()));
        self.stream = later.to_vec();
        let size = match self.source.u8() {
            0 => now.len().max(1),
            255 => CHUNK_BYTES,
            // Not too many of them.
            size => usize::from(size).max(now.len() / 256),
        };
        now.chunks(size).all(|piece| self.feed(&AgentData { data: Rest(piece) }))
    }

    fn copy(&mut self) {
        let selection = self.selection();
        let text: Vec<u8> = match self.source.u8() {
            // Much, with line ends.
            large @ 192.. => b"text of some length\r\nand\n".repeat(usize::from(large - 191) << 10),
            length => self.source.bytes(length.into()).to_vec(),
        };
        let (bytes, wanted) = (text.len(), self.refusal(selection));
        let result = self.main.agent_copy(selection, text.into());
        assert_eq!(result, wanted.map_or(Ok(()), Err), "copying to the {selection}");
        if result.is_ok() {
            self.ours.insert(selection, bytes);
            self.known.offers.remove(&selection);
        }
        self.listen(0);
    }

    fn fetch(&mut self) {
        let selection = self.selection();
        let has_text =
            self.known.offers.get(&selection).is_some_and(|kinds| kinds.contains(&ClipboardKind::TEXT));
        let nothing = (!has_text).then_some(AgentError::NothingOffered(selection));
        let wanted = self.refusal(selection).or(nothing);
        let result = self.main.agent_fetch(selection);
        assert_eq!(result, wanted.map_or(Ok(()), Err), "fetching from the {selection}");
        if result.is_ok() {
            self.asked.insert(selection);
        }
        self.listen(0);
    }

    /// Why this clipboard cannot be used.
    fn refusal(&self, selection: Selection) -> Option<AgentError> {
        let can = self.known.capabilities.as_ref();
        match can {
            _ if !self.known.is_connected => Some(AgentError::NotConnected),
            None => Some(AgentError::NotAnnounced),
            Some(can) if !can.has(capability::CLIPBOARD_BY_DEMAND) => {
                Some(AgentError::Lacks("clipboard_by_demand"))
            }
            Some(_) if selection != Selection::CLIPBOARD && !self.has_selection() => {
                Some(AgentError::Lacks("clipboard_selection"))
            }
            Some(_) => None,
        }
    }

    fn has_selection(&self) -> bool {
        self.known.capabilities.as_ref().is_some_and(|can| can.has(capability::CLIPBOARD_SELECTION))
    }

    /// Returns whether the channel goes on.
    fn feed<'m, M: Message<'m>>(&mut self, message: &M) -> bool {
        let body = message.to_body();
        self.bytes += body.len();
        let result =
            self.main.handle_message(Instant::now(), Frame { kind: M::KIND, sub_list: 0, body: &body });
        self.listen(body.len());
        if let Err(error) = &result {
            check_error(error);
        }
        result.is_ok()
    }

    /// Takes the events of `bytes` that were fed, and compares what the channel knows with what they told.
    fn listen(&mut self, bytes: usize) {
        let mut events = 0;
        while let Some(event) = self.main.poll_event() {
            events += 1;
            match event {
                MainEvent::Agent(event) => self.note(event),
                MainEvent::Base(event) => check_base(&event),
                _ => {}
            }
        }
        // Each message of the agent's has a header; a disconnection ends what was asked for.
        let most = 8 + 256 + 2 * (bytes / Header::LENGTH);
        assert!(events <= most, "{events} events of {bytes} bytes");
        assert_eq!(self.main.agent(), &self.known, "what is known of the agent is what was told");
        let (waiting, arriving) = self.main.agent_held_bytes();
        assert!(waiting <= 32 << 20, "{waiting} bytes wait for the agent");
        assert!(arriving <= self.bytes.min(16 << 20), "{arriving} bytes of a message are kept");
        assert!(self.main.counters().unsupported.len() <= 257);
    }

    fn note(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Connected => {
                self.forget();
                self.known.is_connected = true;
            }
            AgentEvent::Disconnected => self.forget(),
            AgentEvent::Announced(capabilities) => {
                assert!(capabilities.0.len() <= 32, "{} words", capabilities.0.len());
                self.known.capabilities = Some(capabilities);
                assert!(self.main.agent().capability_names().is_some_and(|names| names.len() <= 1024));
            }
            AgentEvent::Offered { selection, kinds } => {
                assert!(kinds.len() <= 32, "{} kinds", kinds.len());
                self.ours.remove(&selection);
                self.known.offers.insert(selection, kinds);
            }
            AgentEvent::Withdrawn { selection } => {
                assert!(self.known.offers.remove(&selection).is_some(), "{selection} was not offered");
            }
            AgentEvent::Fetched { selection, data } => {
                assert!(self.asked.remove(&selection), "nobody asked for the {selection}");
                match data {
                    Ok(data) => {
                        assert!(data.len() <= self.bytes, "{} bytes out of {}", data.len(), self.bytes);
                        assert_eq!(self.main.agent_fetched(selection), Some(data));
                    }
                    Err(why) => check_error(&why),
                }
            }
            AgentEvent::Taken { selection, bytes } => {
                let offered = self.ours.get(&selection).copied();
                let offered = offered.unwrap_or_else(|| panic!("nothing is offered in the {selection}"));
                // Each line end may become two bytes.
                assert!((offered..=2 * offered).contains(&bytes), "{bytes} bytes of {offered}");
            }
            AgentEvent::Replied { .. } => {}
        }
    }

    fn forget(&mut self) {
        self.known = AgentState::default();
        self.ours.clear();
        // What was on its way to an agent that is gone need not come to an end.
        self.sent = None;
        assert!(self.asked.is_empty(), "{:?} are still waited for", self.asked);
    }

    /// The server takes so many frames: they are what a client may say, with a token for each piece, and the pieces are
    /// messages.
    fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Some(bytes) = self.main.poll_transmit() else { break };
            self.bytes += bytes.len();
            let split = Frame::split(HeaderForm::Mini, &bytes, 1 << 12);
            let Ok(Some((frame, []))) = split else { panic!("{} bytes are not one frame", bytes.len()) };
            match MainMessage::decode(frame.kind, frame.body) {
                Ok(Some(MainMessage::AgentStart(_))) => self.sent = Some(Vec::new()),
                Ok(Some(MainMessage::AgentData(data))) => self.take_piece(data.data.0),
                Ok(Some(_)) => {}
                other => panic!("{other:?} of type {}", frame.kind),
            }
        }
    }

    fn take_piece(&mut self, piece: &[u8]) {
        let left = self.tokens.checked_sub(1);
        self.tokens = left.expect("there is a token for each piece");
        assert!((1..=CHUNK_BYTES).contains(&piece.len()), "a piece of {} bytes", piece.len());
        let sent = self.sent.as_mut().expect("the agent was started");
        sent.extend_from_slice(piece);
        let header = Header::decode(sent).expect("a message begins with a piece");
        let size = Header::LENGTH + usize::try_from(header.size).unwrap_or(usize::MAX);
        assert!(sent.len() <= size, "two messages in one piece");
        if sent.len() < size {
            return;
        }
        let message = std::mem::take(sent);
        let is_same = |has_selection| {
            let message_again = AgentMessage::decode(header.kind, &message[Header::LENGTH..], has_selection);
            message_again.is_ok_and(|again| {
                !matches!(again, AgentMessage::Other(_)) && again.encode(has_selection) == message
            })
        };
        // What both sides can do may have changed while it waited.
        assert!(is_same(true) || is_same(false), "a message of type {} does not decode", header.kind);
    }
}

/// Enough for the limits to be reached, and for an end to it.
const WORK_BYTES: usize = 24 << 20;
