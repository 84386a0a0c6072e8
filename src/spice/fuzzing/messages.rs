//! Messages of every channel: decoded and encoded again, and fed to the machines of the client.

use std::fmt::Debug;
use std::time::Instant;

use super::{Source, check_error};
use crate::spice::channel::{
    BaseEvent, CursorChannel, InputsChannel, InputsEvent, KeyCode, Machine, MainChannel, MainEvent, Motion,
};
use crate::spice::surface::CursorShape;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::{WireError, base, cursor, display, inputs, main};

/// One message: which set it belongs to, its type, its body. What decodes is encoded to something that decodes to the
/// same.
pub fn messages(data: &[u8]) {
    let mut source = Source(data);
    let (set, kind) = (source.up_to(9), source.u16());
    let body = source.rest();
    macro_rules! there_and_back {
        ($set:ty) => {
            check_message(
                kind,
                body,
                <$set>::decode(kind, body),
                |message| message.to_body(),
                |encoded| {
                    <$set>::decode(kind, encoded)
                        .is_ok_and(|again| <$set>::decode(kind, body).is_ok_and(|first| again == first))
                },
            )
        };
    }
    match set {
        0 => there_and_back!(base::BaseMessage<'_>),
        1 => there_and_back!(base::client::BaseMessage<'_>),
        2 => there_and_back!(main::MainMessage<'_>),
        3 => there_and_back!(main::client::MainMessage<'_>),
        4 | 5 => there_and_back!(display::DisplayMessage<'_>),
        6 => there_and_back!(display::client::DisplayMessage),
        7 => there_and_back!(inputs::InputsMessage),
        8 => there_and_back!(inputs::client::InputsMessage<'_>),
        _ => there_and_back!(cursor::CursorMessage<'_>),
    }
}

pub(super) fn check_message<M: Debug>(
    kind: u16,
    body: &[u8],
    decoded: Result<Option<M>, WireError>,
    encode: impl Fn(&M) -> Vec<u8>,
    is_same: impl Fn(&[u8]) -> bool,
) {
    match decoded {
        Ok(Some(message)) => {
            let encoded = encode(&message);
            assert!(is_same(&encoded), "message {kind}, {body:02x?}: {message:?} became {encoded:02x?}");
        }
        Ok(None) => {}
        Err(error) => check_error(&error),
    }
}

/// The stream of a main, an inputs or a cursor channel, by the first byte. Of an inputs channel the second says what
/// is typed and moved between its messages.
pub fn channels(data: &[u8]) {
    let mut source = Source(data);
    match source.up_to(2) {
        0 => {
            let mut machine = MainChannel::new();
            converse(
                &mut machine,
                source.rest(),
                |_, _| {},
                |event| match event {
                    MainEvent::Name(text) => check_text(&text),
                    MainEvent::Channels(channels) => assert!(channels.len() <= 256),
                    MainEvent::Base(event) => check_base(&event),
                    _ => {}
                },
            );
        }
        1 => {
            let habits = source.u8();
            let mut machine = InputsChannel::new();
            converse(
                &mut machine,
                source.rest(),
                |machine, at| act(machine, habits, at),
                |event| {
                    if let InputsEvent::Base(event) = event {
                        check_base(&event);
                    }
                },
            );
        }
        _ => {
            let mut machine = CursorChannel::new();
            converse(
                &mut machine,
                source.rest(),
                |machine, _| {
                    if let Some(shape) = &machine.state().shape {
                        let picture = &shape.picture;
                        assert!(picture.width.max(picture.height) <= CursorShape::SIDE);
                        assert_eq!(u64::try_from(picture.bytes.len()), Ok(picture.pixels() * 4));
                    }
                },
                |event| check_base(&event),
            );
        }
    }
}

/// Feeds the messages of a stream until one is refused; `between` is called after each.
pub(super) fn converse<M: Machine>(
    machine: &mut M,
    stream: &[u8],
    mut between: impl FnMut(&mut M, u64),
    mut event: impl FnMut(M::Event),
) {
    let now = Instant::now();
    let mut rest = stream;
    while let Ok(Some((message, behind))) = Frame::split(HeaderForm::Mini, rest, 1 << 16) {
        rest = behind;
        let result = machine.handle_message(now, message);
        let sent = std::iter::from_fn(|| machine.poll_transmit()).count();
        // The message and its sub-messages, each with two answers, and an acknowledgement.
        assert!(sent <= 4 * 64 + 2, "{sent} answers to one message");
        let mut events = 0;
        while let Some(it) = machine.poll_event() {
            event(it);
            events += 1;
        }
        assert!(events <= 4 * 64, "{events} events of one message");
        if let Err(error) = result {
            check_error(&error);
            return;
        }
        between(machine, machine.counters().messages);
        std::iter::from_fn(|| machine.poll_transmit()).for_each(drop);
    }
}

fn act(machine: &mut InputsChannel, habits: u8, at: u64) {
    if habits & 1 != 0 {
        machine.mouse_move(Motion::By { dx: i32::MAX, dy: i32::MIN }, Instant::now());
    }
    if habits & 2 != 0 {
        machine.mouse_move(Motion::To { x: u32::MAX, y: 0, display_id: 0 }, Instant::now());
    }
    if habits & 4 != 0 {
        machine.mouse_press(at.to_le_bytes()[0]);
    }
    if habits & 8 != 0 {
        machine.mouse_release(at.to_le_bytes()[0]);
    }
    if habits & 16 != 0 {
        machine.probe(Instant::now());
    }
    if let Ok(key) = KeyCode::try_from(u16::from(at.to_le_bytes()[0])) {
        machine.key_down(key);
        machine.key_up(key);
    }
}

pub(super) fn check_base(event: &BaseEvent) {
    match event {
        BaseEvent::Notice { text, .. } => check_text(text),
        BaseEvent::Unsupported { what } => check_text(what),
        BaseEvent::Pinged => {}
    }
}

/// Text from the wire that may be shown: bounded, without control characters.
fn check_text(text: &str) {
    assert!(text.len() <= 1024 * 10, "{} bytes of text", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}
