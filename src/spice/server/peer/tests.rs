//! Peers fed by hand, with an invented clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::spice::server::Encoding;
use crate::spice::server::stage::Stage;
use crate::spice::wire::base::client::{Ack, AckSync, Pong};
use crate::spice::wire::display::client::Init;
use crate::spice::wire::header::{HeaderForm, mini_frame};
use crate::spice::wire::inputs::client::{KeyDown, KeyScancode, KeyUp, MouseMotion};
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::{Message, Reader, bytes::Rest};

const INIT: Init =
    Init { pixmap_cache_id: 1, pixmap_cache_size: 0, glz_dictionary_id: 1, glz_dictionary_window_size: 0 };

fn tell<'m, M: Message<'m>>(peer: &mut dyn Peer, now: Instant, message: &M) -> Result<(), PeerError> {
    let stream = mini_frame(message);
    let (frame, _) = Frame::split(HeaderForm::Mini, &stream, 1 << 20).unwrap().unwrap();
    peer.handle_message(now, frame)
}

/// The types of everything a peer has to say now.
fn said(peer: &mut dyn Peer, now: Instant) -> Vec<u16> {
    let frames = std::iter::from_fn(|| peer.poll_transmit(now));
    frames.map(|frame| u16::from_le_bytes([frame[0], frame[1]])).collect()
}

fn display(stage: &Arc<Stage>, now: Instant) -> DisplayPeer {
    let caps = Capabilities::of(&[1]);
    DisplayPeer::new(HeaderForm::Mini, Arc::clone(stage), &caps, Encoding::Raw, now)
}

#[test]
fn a_display_says_nothing_before_init_and_then_what_there_is() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    stage.set_screen(8, 8).unwrap();
    let mut peer = display(&stage, now);
    assert!(said(&mut peer, now).is_empty());
    tell(&mut peer, now, &INIT).unwrap();
    assert!(!peer.is_idle());
    assert_eq!(said(&mut peer, now), [3, 108, 314, 317, 102, 304]);
    assert!(peer.is_idle());
    stage.set_screen(4, 4).unwrap();
    assert_eq!(said(&mut peer, now), [315, 314, 317, 102, 304]);
    stage.clear_screen();
    assert_eq!(said(&mut peer, now), [315]);
    assert!(matches!(tell(&mut peer, now, &INIT), Err(PeerError::Unexpected { problem: "twice", .. })));
}

#[test]
fn nobody_is_sent_lz4_who_does_not_say_to_understand_it() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    stage.set_screen(64, 64).unwrap();
    for (caps, kind) in [(Capabilities::of(&[5]), 109), (Capabilities::default(), 101)] {
        let stage = Arc::clone(&stage);
        let mut peer = DisplayPeer::new(HeaderForm::Mini, stage, &caps, Encoding::Lz4, now);
        tell(&mut peer, now, &INIT).unwrap();
        let draw = std::iter::from_fn(|| peer.poll_transmit(now)).last().unwrap();
        // Behind the header and the copy come the image's id and kind.
        assert_eq!(draw[6 + 57 + 8], kind);
    }
}

#[test]
fn what_is_malformed_counts_like_any_message() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    let mut peer = CursorPeer::new(HeaderForm::Full, stage);
    peer.malform();
    let frames: Vec<Vec<u8>> = std::iter::from_fn(|| peer.poll_transmit(now)).collect();
    let serials: Vec<u8> = frames.iter().map(|frame| frame[0]).collect();
    assert_eq!(serials, [1, 2, 3]);
    assert_eq!(frames[2][8..], [103, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn a_client_that_does_not_acknowledge_gets_41_messages_and_is_dropped_in_the_end() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    stage.set_screen(8, 100).unwrap();
    let mut peer = display(&stage, now);
    tell(&mut peer, now, &INIT).unwrap();
    let mut count = said(&mut peer, now).len();
    for y in 0..100 {
        stage.draw(0, y, 1, &[1; 4]).unwrap();
        count += said(&mut peer, now).len();
    }
    assert_eq!(count, 41, "SET_ACK and two windows");
    assert_eq!(peer.poll_timeout(), Some(now + Duration::from_secs(30)));
    tell(&mut peer, now, &Ack {}).unwrap();
    assert!(said(&mut peer, now).is_empty(), "an ACK before ACK_SYNC counts for nothing");
    tell(&mut peer, now, &AckSync { generation: 1 }).unwrap();
    tell(&mut peer, now, &Ack {}).unwrap();
    assert!(!said(&mut peer, now).is_empty());
    for y in 0..100 {
        stage.draw(4, y, 1, &[1; 4]).unwrap();
        let _ = said(&mut peer, now);
    }
    let late = now + Duration::from_secs(31);
    assert_eq!(
        peer.handle_timeout(late),
        Err(PeerError::Silent { what: "ACK", after: Duration::from_secs(30) })
    );
}

#[test]
fn acknowledging_what_was_not_sent_is_refused() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    let mut peer = display(&stage, now);
    tell(&mut peer, now, &INIT).unwrap();
    let _ = said(&mut peer, now);
    tell(&mut peer, now, &AckSync { generation: 1 }).unwrap();
    assert!(matches!(tell(&mut peer, now, &Ack {}), Err(PeerError::Unexpected { name: "ACK", .. })));
}

#[test]
fn a_display_without_init_is_silent() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    let mut peer = display(&stage, now);
    let due = peer.poll_timeout().unwrap();
    assert_eq!(peer.handle_timeout(now), Ok(()));
    assert!(matches!(peer.handle_timeout(due), Err(PeerError::Silent { what: "INIT", .. })));
}

#[test]
fn main_pings_and_misses_pongs() {
    let now = Instant::now();
    let caps = Capabilities::of(&[1]);
    let options = MainOptions {
        form: HeaderForm::Mini,
        session_id: 7,
        name: "it",
        caps: &caps,
        channels: Vec::new(),
        mouse: MouseModes::new(),
    };
    let mut peer = MainPeer::new(options, now);
    assert_eq!(said(&mut peer, now), [103, 113, 114]);
    let due = peer.poll_timeout().unwrap();
    peer.handle_timeout(due).unwrap();
    assert_eq!(said(&mut peer, due), [4]);
    tell(&mut peer, due, &Pong { id: 1, timestamp: 0 }).unwrap();
    let again = peer.poll_timeout().unwrap();
    peer.handle_timeout(again).unwrap();
    assert_eq!(said(&mut peer, again), [4]);
    tell(&mut peer, again, &Pong { id: 1, timestamp: 0 }).unwrap();
    let late = peer.poll_timeout().unwrap();
    assert!(matches!(peer.handle_timeout(late), Err(PeerError::Silent { what: "PONG", .. })));
}

#[test]
fn keys_come_out_as_make_codes_and_are_released_in_the_end() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    let mut peer = InputsPeer::new(HeaderForm::Mini, stage, MouseModes::new());
    assert_eq!(said(&mut peer, now), [101]);
    tell(&mut peer, now, &KeyDown { code: 0x1e }).unwrap();
    tell(&mut peer, now, &KeyUp { code: 0x9e }).unwrap();
    tell(&mut peer, now, &KeyDown { code: 0x4de0 }).unwrap();
    let raw = [0xe0, 0xcd, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x2a, 0x00];
    tell(&mut peer, now, &KeyScancode { scancodes: Rest(&raw) }).unwrap();
    for _ in 0..4 {
        tell(&mut peer, now, &MouseMotion { dx: 1, dy: -1, buttons: 0 }).unwrap();
    }
    peer.close();
    let events: Vec<InputEvent> = std::iter::from_fn(|| peer.poll_event()).collect();
    let key = |code, is_down| InputEvent::Key { code, is_down };
    let motion = InputEvent::MouseMotion { dx: 1, dy: -1, buttons: 0 };
    let wanted = [
        key(0x1e, true),
        key(0x1e, false),
        key(0xe04d, true),
        key(0xe04d, false),
        key(0x2a, true),
        motion,
        motion,
        motion,
        motion,
        key(0x2a, false),
    ];
    assert_eq!(events, wanted);
    assert_eq!(said(&mut peer, now), [111], "one acknowledgement for four motions");
}

#[test]
fn full_headers_count_their_messages() {
    let (stage, now) = (Arc::new(Stage::default()), Instant::now());
    let caps = Capabilities::default();
    let mut peer = DisplayPeer::new(HeaderForm::Full, stage, &caps, Encoding::Raw, now);
    tell(&mut peer, now, &INIT).unwrap();
    for serial in 1..=2_u64 {
        let frame = peer.poll_transmit(now).unwrap();
        let (header, rest) = frame.split_at(8);
        assert_eq!(header, serial.to_le_bytes());
        assert_eq!(Reader::new(rest).remaining(), rest.len());
    }
}

#[test]
fn nothing_a_client_may_not_say_is_passed_over() {
    let now = Instant::now();
    let stage = Arc::new(Stage::default());
    let peers: [Box<dyn Peer>; 3] = [
        Box::new(display(&stage, now)),
        Box::new(InputsPeer::new(HeaderForm::Mini, Arc::clone(&stage), MouseModes::new())),
        Box::new(CursorPeer::new(HeaderForm::Mini, stage)),
    ];
    for mut peer in peers {
        for kind in [0, 7, 99, 100, 199, u16::MAX] {
            let message = Frame { kind, sub_list: 0, body: &[0; 64] };
            assert!(matches!(peer.handle_message(now, message), Err(PeerError::Unknown { .. })), "{kind}");
        }
        for kind in [1, 3, 101, 111] {
            let message = Frame { kind, sub_list: 0, body: &[] };
            assert!(peer.handle_message(now, message).is_err(), "{kind} without its fields");
        }
    }
}
