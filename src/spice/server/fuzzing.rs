//! What a hostile client says on each channel of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Encoding;
use super::peer::{CursorPeer, DisplayPeer, InputsPeer, MainOptions, MainPeer, MouseModes, Peer};
use super::stage::Stage;
use crate::spice::fuzzing::{Source, check_error};
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::link::{Capabilities, ChannelId};

/// The first byte says which channel it is, the next how the client behaves: 1 it uses full headers, 2 it reads nothing
/// after the first messages, 4 it lets time pass between its messages, 8 the screen changes between them. The rest is what it
/// sends.
pub fn peers(data: &[u8]) {
    let mut source = Source(data);
    let (channel, habits) = (source.up_to(3), source.u8());
    let form = if habits & 1 == 0 { HeaderForm::Mini } else { HeaderForm::Full };
    let (stage, start) = (Arc::new(Stage::default()), Instant::now());
    stage.set_screen(40, 30).expect("a small screen");
    let caps = Capabilities::of(&[0, 1, 6]);
    let mouse = MouseModes::new();
    let mut peer: Box<dyn Peer> = match channel {
        0 => Box::new(MainPeer::new(
            MainOptions {
                form,
                session_id: 1,
                name: "fuzz",
                caps: &caps,
                channels: vec![ChannelId::MAIN],
                mouse,
            },
            start,
        )),
        1 => Box::new(DisplayPeer::new(form, Arc::clone(&stage), &caps, Encoding::Lz, start)),
        2 => Box::new(InputsPeer::new(form, Arc::clone(&stage), mouse)),
        _ => Box::new(CursorPeer::new(form, Arc::clone(&stage))),
    };
    let client = Client { form, reads: habits & 2 == 0 };
    let mut now = start;
    client.read(&mut *peer, now);
    let mut rest = source.rest();
    for turn in 0_u32.. {
        match Frame::split(form, rest, peer.message_bytes()) {
            Ok(Some((message, behind))) => {
                rest = behind;
                let result = peer.handle_message(now, message);
                let events = std::iter::from_fn(|| peer.poll_event()).count();
                assert!(events <= 1 + message.body.len(), "{events} events of {} bytes", message.body.len());
                if let Err(error) = result {
                    check_error(&error);
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                check_error(&error);
                break;
            }
        }
        if habits & 8 != 0 {
            let shade = turn.to_le_bytes()[0];
            stage.draw(turn % 40, turn % 30, 1, &[shade; 4]).expect("a pixel of the screen");
        }
        if habits & 4 != 0 {
            now += Duration::from_secs(1);
            if let Err(error) = peer.handle_timeout(now) {
                check_error(&error);
                break;
            }
        }
        client.read(&mut *peer, now);
    }
    peer.close();
    // What is held is released once: there are 256 codes, plain and extended.
    assert!(std::iter::from_fn(|| peer.poll_event()).count() <= 512);
}

struct Client {
    form: HeaderForm,
    reads: bool,
}

impl Client {
    /// Takes what there is; it is well formed, and there is an end to it.
    fn read(&self, peer: &mut dyn Peer, now: Instant) {
        /// A screen in pieces, or what one message asks for.
        const MOST: usize = 1 << 18;
        if !self.reads {
            return;
        }
        let mut bytes = 0;
        while let Some(frame) = peer.poll_transmit(now) {
            bytes += frame.len();
            assert!(bytes <= MOST, "{bytes} bytes at once");
            let split = Frame::split(self.form, &frame, 1 << 20);
            assert!(matches!(split, Ok(Some((_, [])))), "a frame of {} bytes is not one", frame.len());
        }
    }
}
