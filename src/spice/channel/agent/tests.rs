//! The agent's part of the main channel against an agent played by hand.

use super::*;
use crate::spice::channel::{Machine as _, MainChannel, MainEvent};
use crate::spice::wire::bytes::{Message, Rest};
use crate::spice::wire::header::{Frame, HeaderForm, mini_frame};
use crate::spice::wire::main;
use std::time::Instant;

const CLIPBOARD: Selection = Selection::CLIPBOARD;
const TEXT: ClipboardKind = ClipboardKind::TEXT;

/// A main channel, and the agent behind the server.
struct Guest {
    main: MainChannel,
    has_selection: bool,
}

impl Guest {
    /// An agent that was there before the client.
    fn new(tokens: u32) -> Self {
        let mut guest = Self { main: MainChannel::new(), has_selection: false };
        guest.send(&main::Init {
            session_id: 1,
            display_channels_hint: 1,
            supported_mouse_modes: 1,
            current_mouse_mode: 1,
            agent_connected: 1,
            agent_tokens: tokens,
            multi_media_time: 0,
            ram_hint: 0,
        });
        guest
    }

    /// The same, announced.
    fn announced(bits: &[u32]) -> Self {
        let mut guest = Self::new(1000);
        guest.says(&AgentMessage::Announce { wants_answer: false, capabilities: Capabilities::of(bits) });
        guest.has_selection = bits.contains(&capability::CLIPBOARD_SELECTION);
        guest.messages();
        guest.events();
        guest
    }

    fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.try_send(message).unwrap();
    }

    fn try_send<'m>(
        &mut self,
        message: &impl Message<'m>,
    ) -> Result<(), crate::spice::channel::ChannelError> {
        let bytes = mini_frame(message);
        let (frame, _) = Frame::split(HeaderForm::Mini, &bytes, u32::MAX).unwrap().unwrap();
        self.main.handle_message(Instant::now(), frame)
    }

    /// In pieces that fall as they may.
    fn says(&mut self, message: &AgentMessage<'_>) {
        for piece in message.encode(self.has_selection).chunks(7) {
            self.send(&main::AgentData { data: Rest(piece) });
        }
    }

    /// AGENT_DATA bodies that were sent.
    fn chunks(&mut self) -> Vec<Vec<u8>> {
        let frames = std::iter::from_fn(|| self.main.poll_transmit());
        let bodies = frames.filter_map(|bytes| {
            let (frame, _) = Frame::split(HeaderForm::Mini, &bytes, u32::MAX).unwrap().unwrap();
            (frame.kind == main::client::AgentData::KIND).then(|| frame.body.to_vec())
        });
        bodies.collect()
    }

    /// Messages that were sent, each from the beginning of a piece.
    fn messages(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut messages: Vec<(u32, Vec<u8>, usize)> = Vec::new();
        for chunk in self.chunks() {
            assert!(chunk.len() <= 2048, "a piece of {} bytes", chunk.len());
            match messages.last_mut() {
                Some((_, payload, size)) if payload.len() < *size => payload.extend_from_slice(&chunk),
                _ => {
                    let Header { kind, size } = Header::decode(&chunk).unwrap();
                    messages.push((kind, chunk[20..].to_vec(), usize::try_from(size).unwrap()));
                }
            }
        }
        let whole = messages.into_iter().map(|(kind, payload, size)| {
            assert_eq!(payload.len(), size, "one message at a time");
            (kind, payload)
        });
        whole.collect()
    }

    fn events(&mut self) -> Vec<AgentEvent> {
        let events = std::iter::from_fn(|| self.main.poll_event());
        let agents = events.filter_map(|event| match event {
            MainEvent::Agent(event) => Some(event),
            _ => None,
        });
        agents.collect()
    }
}

const ALL: [u32; 2] = [capability::CLIPBOARD_BY_DEMAND, capability::CLIPBOARD_SELECTION];
const OLD: [u32; 1] = [capability::CLIPBOARD_BY_DEMAND];

#[test]
fn an_agent_is_started_and_told_what_this_side_can_do() {
    let mut guest = Guest::new(10);
    let frames: Vec<Vec<u8>> = std::iter::from_fn(|| guest.main.poll_transmit()).collect();
    let kinds: Vec<u8> = frames.iter().map(|frame| frame[0]).collect();
    assert_eq!(kinds, [104, 106, 107], "ATTACH_CHANNELS, AGENT_START, AGENT_DATA");
    assert_eq!(frames[1][6..], [0xff; 4]);
    assert_eq!(guest.events(), [AgentEvent::Connected]);
    let capabilities = Capabilities::of(&ALL);
    guest.says(&AgentMessage::Announce { wants_answer: true, capabilities: capabilities.clone() });
    let answer = guest.messages();
    assert_eq!(answer, [(6, vec![0, 0, 0, 0, 0x66, 0, 0, 0])], "asked for, it is announced again");
    assert_eq!(guest.events(), [AgentEvent::Announced(capabilities)]);
    let names = guest.main.agent().capability_names().unwrap();
    assert_eq!(names, ["clipboard_by_demand", "clipboard_selection"]);
}

#[test]
fn text_is_offered_and_handed_over_when_it_is_asked_for() {
    for (bits, selection) in [(&ALL[..], &[0_u8; 4][..]), (&OLD, &[])] {
        let mut guest = Guest::announced(bits);
        guest.main.agent_copy(CLIPBOARD, b"hello"[..].into()).unwrap();
        assert_eq!(guest.messages(), [(7, [selection, &[1, 0, 0, 0]].concat())]);
        for _ in 0..2 {
            guest.says(&AgentMessage::Request { selection: CLIPBOARD, kind: TEXT });
            assert_eq!(guest.messages(), [(4, [selection, &[1, 0, 0, 0], &b"hello"[..]].concat())]);
            assert_eq!(guest.events(), [AgentEvent::Taken { selection: CLIPBOARD, bytes: 5 }]);
        }
        guest.says(&AgentMessage::Request { selection: CLIPBOARD, kind: ClipboardKind(2) });
        assert_eq!(guest.messages(), [(4, [selection, &[0; 4]].concat())], "a picture there is not");
        guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT] });
        guest.says(&AgentMessage::Request { selection: CLIPBOARD, kind: TEXT });
        assert_eq!(guest.messages(), [(4, [selection, &[0; 4]].concat())], "the guest owns it now");
    }
}

#[test]
fn what_the_guest_offers_is_fetched() {
    for bits in [&ALL[..], &OLD] {
        let mut guest = Guest::announced(bits);
        assert_eq!(guest.main.agent_fetch(CLIPBOARD), Err(AgentError::NothingOffered(CLIPBOARD)));
        guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT, ClipboardKind(2)] });
        let kinds = vec![TEXT, ClipboardKind(2)];
        assert_eq!(guest.events(), [AgentEvent::Offered { selection: CLIPBOARD, kinds }]);
        guest.main.agent_fetch(CLIPBOARD).unwrap();
        assert_eq!(guest.messages().len(), 1);
        let data: Vec<u8> = (0..5000_u32).map(|i| b'a' + u8::try_from(i % 26).unwrap()).collect();
        guest.says(&AgentMessage::Clipboard { selection: CLIPBOARD, kind: TEXT, data: &data });
        let fetched = AgentEvent::Fetched { selection: CLIPBOARD, data: Ok(data.clone().into()) };
        assert_eq!(guest.events(), [fetched]);
        assert_eq!(guest.main.agent_fetched(CLIPBOARD).as_deref(), Some(&data[..]));
        guest.says(&AgentMessage::Clipboard { selection: CLIPBOARD, kind: TEXT, data: b"again" });
        assert_eq!(guest.events(), [], "nobody asked");
        guest.says(&AgentMessage::Release { selection: CLIPBOARD });
        assert_eq!(guest.events(), [AgentEvent::Withdrawn { selection: CLIPBOARD }]);
        assert!(guest.main.agent().offers.is_empty());
    }
}

#[test]
fn a_refusal_and_a_message_beyond_the_limit_end_the_fetch_and_nothing_else() {
    let mut guest = Guest::announced(&ALL);
    guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT] });
    guest.main.agent_fetch(CLIPBOARD).unwrap();
    guest.says(&AgentMessage::Clipboard { selection: CLIPBOARD, kind: ClipboardKind::NONE, data: &[] });
    guest.main.agent_fetch(CLIPBOARD).unwrap();
    guest.events();
    let bytes = Agent::MESSAGE_LIMIT + 1;
    let header = [&[1, 0, 0, 0, 4, 0, 0, 0][..], &[0; 8], &bytes.to_le_bytes()].concat();
    guest.send(&main::AgentData { data: Rest(&header) });
    let limit = Agent::MESSAGE_LIMIT;
    let data = Err(NotFetched::TooLarge { bytes, limit });
    assert_eq!(guest.events(), [AgentEvent::Fetched { selection: CLIPBOARD, data }]);
    let mut left = usize::try_from(bytes).unwrap();
    while left > 0 {
        let piece = left.min(1 << 20);
        guest.send(&main::AgentData { data: Rest(&vec![1; piece]) });
        left -= piece;
    }
    guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT] });
    assert_eq!(guest.events(), [AgentEvent::Offered { selection: CLIPBOARD, kinds: vec![TEXT] }]);
    let left_out = &guest.main.counters().unsupported;
    assert_eq!(left_out.keys().collect::<Vec<_>>(), ["agent message type 4 beyond 16 MiB"]);
}

#[test]
fn nothing_is_sent_without_a_token_and_large_messages_go_in_pieces() {
    let mut guest = Guest::new(3);
    assert_eq!(guest.chunks().len(), 1, "the announcement");
    guest.says(&AgentMessage::Announce { wants_answer: false, capabilities: Capabilities::of(&ALL) });
    guest.has_selection = true;
    let text = vec![b'x'; 6000];
    guest.main.agent_copy(CLIPBOARD, text.into()).unwrap();
    assert_eq!(guest.chunks().len(), 1, "the offer");
    guest.says(&AgentMessage::Request { selection: CLIPBOARD, kind: TEXT });
    assert_eq!(guest.chunks().iter().map(Vec::len).collect::<Vec<_>>(), [2048], "the last token");
    guest.send(&main::AgentToken { num_tokens: 1 });
    assert_eq!(guest.chunks().iter().map(Vec::len).collect::<Vec<_>>(), [2048]);
    guest.send(&main::AgentToken { num_tokens: 0 });
    assert_eq!(guest.chunks(), Vec::<Vec<u8>>::new());
    guest.send(&main::AgentToken { num_tokens: 10 });
    assert_eq!(guest.chunks().iter().map(Vec::len).collect::<Vec<_>>(), [6028 - 2 * 2048]);
}

#[test]
fn a_guest_that_asks_and_takes_nothing_fills_no_memory() {
    let mut guest = Guest::announced(&ALL);
    guest.main.agent_copy(CLIPBOARD, vec![b'x'; 4 << 20].into()).unwrap();
    let request = AgentMessage::Request { selection: CLIPBOARD, kind: TEXT }.encode(true);
    for _ in 0..20 {
        guest.send(&main::AgentData { data: Rest(&request) });
        guest.chunks();
    }
    assert_eq!(guest.events().len(), 8, "so many were answered");
    assert!(guest.main.counters().unsupported.contains_key("message to an agent that takes none"));
}

#[test]
fn a_guest_that_asks_faster_than_is_sent_fills_no_memory() {
    let mut guest = Guest::announced(&ALL);
    guest.send(&main::AgentToken { num_tokens: u32::MAX });
    guest.main.agent_copy(CLIPBOARD, vec![b'x'; 4 << 20].into()).unwrap();
    let request = AgentMessage::Request { selection: CLIPBOARD, kind: TEXT }.encode(true);
    for _ in 0..20 {
        guest.send(&main::AgentData { data: Rest(&request) });
    }
    let bytes: usize = guest.chunks().iter().map(Vec::len).sum();
    assert!((24 << 20..=32 << 20).contains(&bytes), "{bytes} bytes wait, although the server takes them all");
    guest.send(&main::AgentData { data: Rest(&request) });
    assert!(!guest.chunks().is_empty(), "what was sent makes room");
}

#[test]
fn line_ends_are_the_guests_in_the_guest_and_plain_here() {
    let mut guest = Guest::announced(&[capability::CLIPBOARD_BY_DEMAND, capability::GUEST_LINEEND_CRLF]);
    guest.main.agent_copy(CLIPBOARD, b"a\nb\r\nc"[..].into()).unwrap();
    guest.messages();
    guest.says(&AgentMessage::Request { selection: CLIPBOARD, kind: TEXT });
    assert_eq!(guest.messages(), [(4, [&[1, 0, 0, 0][..], b"a\r\nb\r\nc"].concat())]);
    guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT] });
    guest.main.agent_fetch(CLIPBOARD).unwrap();
    guest.says(&AgentMessage::Clipboard { selection: CLIPBOARD, kind: TEXT, data: b"a\r\nb\rc\n" });
    assert_eq!(guest.main.agent_fetched(CLIPBOARD).as_deref(), Some(&b"a\nb\rc\n"[..]));
}

#[test]
fn a_resize_is_sent_and_its_answer_told() {
    let mut guest = Guest::announced(&[capability::MONITORS_CONFIG, capability::REPLY]);
    guest.main.agent_resize(vec![(1024, 768)]).unwrap();
    assert_eq!(guest.messages().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [2]);
    guest.says(&AgentMessage::Reply { to: 2, error: 1 });
    guest.says(&AgentMessage::Reply { to: 2, error: 2 });
    let replied = |is_done| AgentEvent::Replied { to: 2, is_done };
    assert_eq!(guest.events(), [replied(true), replied(false)]);
    assert_eq!(
        guest.main.agent_copy(CLIPBOARD, b""[..].into()),
        Err(AgentError::Lacks("clipboard_by_demand"))
    );
}

#[test]
fn an_agent_that_goes_takes_everything_with_it() {
    let mut guest = Guest::announced(&ALL);
    guest.says(&AgentMessage::Grab { selection: CLIPBOARD, kinds: vec![TEXT] });
    guest.main.agent_fetch(CLIPBOARD).unwrap();
    guest.events();
    // In the middle of a message.
    guest.send(&main::AgentData { data: Rest(&[1, 0, 0]) });
    guest.send(&main::AgentDisconnected { error_code: 0 });
    let refused = AgentEvent::Fetched { selection: CLIPBOARD, data: Err(NotFetched::Refused) };
    assert_eq!(guest.events(), [refused, AgentEvent::Disconnected]);
    assert_eq!(guest.main.agent(), &AgentState::default());
    assert_eq!(guest.main.agent_copy(CLIPBOARD, b""[..].into()), Err(AgentError::NotConnected));
    assert_eq!(guest.main.agent_resize(vec![(1, 1)]), Err(AgentError::NotConnected));
    guest.chunks();
    guest.send(&main::AgentConnectedTokens { num_tokens: 10 });
    assert_eq!(guest.messages().len(), 1, "announced anew");
    assert_eq!(guest.main.agent_copy(CLIPBOARD, b""[..].into()), Err(AgentError::NotAnnounced));
}

#[test]
fn another_protocol_cannot_be_followed() {
    let mut guest = Guest::new(10);
    let error = guest.try_send(&main::AgentData { data: Rest(&[9; 20]) }).unwrap_err();
    assert_eq!(error.to_string(), "message 2 (AGENT_DATA)");
}
