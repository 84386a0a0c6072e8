//! The inputs channel: keys and mouse of a client, as events.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::base::Base;
use super::main::MouseModes;
use super::{Peer, PeerError};
use crate::spice::server::InputEvent;
use crate::spice::server::stage::Stage;
use crate::spice::wire::Message;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::inputs::client::InputsMessage;
use crate::spice::wire::inputs::{Init, KeyModifiers, MouseMotionAck};
use crate::spice::wire::main::mouse_mode;

/// The inputs channel's state.
pub(in crate::spice::server) struct InputsPeer {
    base: Base,
    stage: Arc<Stage>,
    mouse: MouseModes,
    lights: u16,
    keyboard: Scanner,
    motions: u32,
    events: VecDeque<InputEvent>,
}

impl InputsPeer {
    pub(in crate::spice::server) fn new(form: HeaderForm, stage: Arc<Stage>, mouse: MouseModes) -> Self {
        let mut base = Base::new(form);
        let lights = stage.lights();
        base.send(&Init { modifiers: lights });
        let (keyboard, events) = (Scanner::default(), VecDeque::new());
        Self { base, stage, mouse, lights, keyboard, motions: 0, events }
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), PeerError> {
        let name = InputsMessage::name_of(kind).unwrap_or("unknown");
        let message =
            InputsMessage::decode(kind, body).map_err(|source| self.base.decode_error(name, source))?;
        match message {
            // Which of the two it is says nothing: the break bit does.
            Some(InputsMessage::KeyDown(key)) => self.scan(bytes_of(key.code)),
            Some(InputsMessage::KeyUp(key)) => self.scan(bytes_of(key.code)),
            Some(InputsMessage::KeyScancode(keys)) => self.scan(keys.scancodes.0.iter().copied()),
            Some(InputsMessage::KeyModifiers(wish)) => {
                self.events.push_back(InputEvent::Lights(wish.modifiers));
            }
            Some(InputsMessage::MouseMotion(motion)) => {
                if self.mouse.current() == mouse_mode::SERVER {
                    let (dx, dy, buttons) = (motion.dx, motion.dy, motion.buttons);
                    self.events.push_back(InputEvent::MouseMotion { dx, dy, buttons });
                }
                self.count_motion();
            }
            Some(InputsMessage::MousePosition(position)) => {
                if self.mouse.current() == mouse_mode::CLIENT {
                    let (x, y, buttons) = (position.x, position.y, position.buttons);
                    self.events.push_back(InputEvent::MousePosition { x, y, buttons });
                }
                self.count_motion();
            }
            Some(InputsMessage::MousePress(press)) => self.events.push_back(InputEvent::MouseButton {
                button: press.button,
                is_down: true,
                buttons: press.buttons,
            }),
            Some(InputsMessage::MouseRelease(release)) => self.events.push_back(InputEvent::MouseButton {
                button: release.button,
                is_down: false,
                buttons: release.buttons,
            }),
            None => return Err(self.base.unknown(kind)),
        }
        Ok(())
    }

    fn scan(&mut self, bytes: impl IntoIterator<Item = u8>) {
        let keys = bytes.into_iter().filter_map(|byte| self.keyboard.handle_byte(byte));
        self.events.extend(keys);
    }

    fn count_motion(&mut self) {
        self.motions += 1;
        if self.motions == MOTIONS_PER_ACK {
            self.motions = 0;
            self.base.send(&MouseMotionAck {});
        }
    }
}

/// The bytes of a key message's code, up to the first zero.
fn bytes_of(code: u32) -> impl Iterator<Item = u8> {
    code.to_le_bytes().into_iter().take_while(|byte| *byte != 0)
}

/// Makes keys of set-1 bytes, and remembers which are down.
#[derive(Debug, Default)]
struct Scanner {
    is_extended: bool,
    /// Bytes of a Pause, which is no key like others, that are still to come.
    skipped: u8,
    down: BTreeSet<u16>,
}

impl Scanner {
    fn handle_byte(&mut self, byte: u8) -> Option<InputEvent> {
        const EXTENDED: u8 = 0xe0;
        const PAUSE: u8 = 0xe1;
        const BREAK: u8 = 0x80;
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        match byte {
            EXTENDED => {
                self.is_extended = true;
                return None;
            }
            PAUSE => {
                self.skipped = 2;
                return None;
            }
            _ => {}
        }
        let prefix = if std::mem::take(&mut self.is_extended) { EXTENDED } else { 0 };
        let (code, is_down) = (u16::from_be_bytes([prefix, byte & !BREAK]), byte & BREAK == 0);
        if code & 0xff == 0 {
            return None;
        }
        if is_down {
            self.down.insert(code);
        } else {
            self.down.remove(&code);
        }
        Some(InputEvent::Key { code, is_down })
    }
}

impl Peer for InputsPeer {
    fn message_bytes(&self) -> u32 {
        2048
    }

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), PeerError> {
        match self.base.receive(message)? {
            Some((kind, body)) => self.handle(kind, body),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let lights = self.stage.lights();
        if lights != self.lights {
            self.lights = lights;
            self.base.send(&KeyModifiers { modifiers: lights });
        }
        self.base.poll_transmit(now)
    }

    fn poll_event(&mut self) -> Option<InputEvent> {
        self.events.pop_front()
    }

    fn malform(&mut self) {
        self.base.malform(<KeyModifiers as Message<'_>>::KIND);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.base.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        self.base.handle_timeout(now)
    }

    /// Releases what is held: a client that is gone holds no key.
    fn close(&mut self) {
        let down = std::mem::take(&mut self.keyboard.down);
        self.events.extend(down.into_iter().map(|code| InputEvent::Key { code, is_down: false }));
    }
}

const MOTIONS_PER_ACK: u32 = 4;
