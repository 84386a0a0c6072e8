//! The inputs channel: keys and a mouse out, lock lights in.

use std::collections::VecDeque;
use std::time::Instant;

use thiserror::Error;

use super::base::{Base, OnBase};
use super::{BaseEvent, ChannelError};
use crate::spice::wire::inputs::InputsMessage;
use crate::spice::wire::inputs::client::{
    KeyDown, KeyModifiers, KeyUp, MouseMotion, MousePosition, MousePress, MouseRelease,
};

/// The inputs channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct InputsChannel {
    base: Base<InputsEvent>,
    /// Buttons held, bit 0 is the left one.
    buttons: u16,
    /// Motions sent and not yet acknowledged.
    in_flight: u32,
    /// Motions sent since the last that asks for an acknowledgement.
    unasked: u32,
    /// When the motions were sent that the server has to acknowledge, if that is known.
    asked_at: VecDeque<Option<Instant>>,
    /// Motion that waits until the server has taken in what was sent.
    waiting: Option<Motion>,
}

/// Where a mouse goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// To a pixel of the screen; heeded in client mode.
    To {
        /// From the left edge.
        x: u32,
        /// From the top edge.
        y: u32,
        /// The display channel of the screen.
        display_id: u8,
    },
    /// By so much, to the right and down; heeded in server mode.
    By {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
}

/// What an inputs channel reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputsEvent {
    /// The guest's lock lights: an or of `wire::inputs::modifier`.
    KeyModifiers(u16),
    /// The server has taken the motion in that was sent then.
    MotionTaken {
        /// When.
        sent_at: Instant,
    },
    /// See [`BaseEvent`].
    Base(BaseEvent),
}

impl From<BaseEvent> for InputsEvent {
    fn from(event: BaseEvent) -> Self {
        Self::Base(event)
    }
}

/// A key as an AT set-1 make code; the code of an extended key has its 0xE0 prefix in the high byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCode {
    is_extended: bool,
    code: u8,
}

/// A number that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("key code {0:#06x}, wanted 0x01 to 0xff or 0xe001 to 0xe0ff")]
pub struct KeyCodeError(pub u16);

impl KeyCode {
    const PREFIX: u8 = 0xe0;
    const BREAK: u8 = 0x80;

    /// The wire value of a press: code bytes from the lowest up.
    fn down(self) -> u32 {
        self.wire(self.code)
    }

    /// The wire value of a release, which has the break bit in its last byte.
    fn up(self) -> u32 {
        self.wire(self.code | Self::BREAK)
    }

    fn wire(self, code: u8) -> u32 {
        if self.is_extended { u32::from_le_bytes([Self::PREFIX, code, 0, 0]) } else { code.into() }
    }
}

impl TryFrom<u16> for KeyCode {
    type Error = KeyCodeError;

    fn try_from(key: u16) -> Result<Self, KeyCodeError> {
        match key.to_be_bytes() {
            [_, 0] => Err(KeyCodeError(key)),
            [0, code] => Ok(Self { is_extended: false, code }),
            [Self::PREFIX, code] => Ok(Self { is_extended: true, code }),
            _ => Err(KeyCodeError(key)),
        }
    }
}

impl InputsChannel {
    /// The state right after the link.
    pub fn new() -> Self {
        Self {
            base: Base::new(),
            buttons: 0,
            in_flight: 0,
            unasked: 0,
            asked_at: VecDeque::new(),
            waiting: None,
        }
    }

    /// Queues a press.
    pub fn key_down(&mut self, key: KeyCode) {
        self.base.send(&KeyDown { code: key.down() });
    }

    /// Queues a release.
    pub fn key_up(&mut self, key: KeyCode) {
        self.base.send(&KeyUp { code: key.up() });
    }

    /// Queues a wish for the lock lights, an or of `wire::inputs::modifier`.
    pub fn set_modifiers(&mut self, modifiers: u16) {
        self.base.send(&KeyModifiers { modifiers });
    }

    /// Queues a motion. While the server has too many to take in, the next ones become one.
    pub fn mouse_move(&mut self, motion: Motion, now: Instant) {
        let motion = match (self.waiting.take(), motion) {
            (Some(Motion::By { dx, dy }), Motion::By { dx: more_x, dy: more_y }) => {
                Motion::By { dx: dx.saturating_add(more_x), dy: dy.saturating_add(more_y) }
            }
            (_, motion) => motion,
        };
        if self.in_flight < MOTIONS_IN_FLIGHT {
            self.send_motion(motion, Some(now));
        } else {
            self.waiting = Some(motion);
        }
    }

    /// Queues a press of the button with this number, 1 to 16. What moved before it is sent before it.
    pub fn mouse_press(&mut self, button: u8) {
        self.send_waiting();
        self.buttons |= bit(button);
        self.base.send(&MousePress { button, buttons: self.buttons });
    }

    /// Queues a release; see [`mouse_press`](Self::mouse_press).
    pub fn mouse_release(&mut self, button: u8) {
        self.send_waiting();
        self.buttons &= !bit(button);
        self.base.send(&MouseRelease { button, buttons: self.buttons });
    }

    fn send_waiting(&mut self) {
        if let Some(motion) = self.waiting.take() {
            self.send_motion(motion, None);
        }
    }

    /// Queues motions that move nothing until the server has to acknowledge them, which measures how long it takes.
    pub fn probe(&mut self, now: Instant) {
        // Nobody waits for a second answer before the first.
        if !self.asked_at.is_empty() {
            return;
        }
        for _ in self.unasked..MOTIONS_PER_ACK {
            self.send_motion(Motion::By { dx: 0, dy: 0 }, Some(now));
        }
    }

    fn send_motion(&mut self, motion: Motion, at: Option<Instant>) {
        self.in_flight += 1;
        self.unasked += 1;
        if self.unasked == MOTIONS_PER_ACK {
            self.unasked = 0;
            // A server that never answers is not remembered for ever.
            self.asked_at.truncate(UNANSWERED);
            self.asked_at.push_back(at);
        }
        let buttons = self.buttons;
        match motion {
            Motion::To { x, y, display_id } => self.base.send(&MousePosition { x, y, buttons, display_id }),
            Motion::By { dx, dy } => self.base.send(&MouseMotion { dx, dy, buttons }),
        }
    }
}

/// The server says so once for this many (SPICE protocol, section 15.4).
const MOTIONS_PER_ACK: u32 = 4;
const UNANSWERED: usize = 64;
const MOTIONS_IN_FLIGHT: u32 = 2 * MOTIONS_PER_ACK;

/// The bit of a button in the set of those that are held.
fn bit(button: u8) -> u16 {
    1_u16.checked_shl(u32::from(button).saturating_sub(1)).unwrap_or(0)
}

impl Default for InputsChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl OnBase for InputsChannel {
    type Event = InputsEvent;

    const GREETINGS: u64 = 1;

    fn base(&self) -> &Base<InputsEvent> {
        &self.base
    }

    fn base_mut(&mut self) -> &mut Base<InputsEvent> {
        &mut self.base
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = InputsMessage::name_of(kind).unwrap_or("unknown");
        let message =
            InputsMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        match message {
            Some(InputsMessage::Init(init)) => self.base.report(InputsEvent::KeyModifiers(init.modifiers)),
            Some(InputsMessage::KeyModifiers(message)) => {
                self.base.report(InputsEvent::KeyModifiers(message.modifiers));
            }
            Some(InputsMessage::MouseMotionAck(_)) => {
                self.in_flight = self.in_flight.saturating_sub(MOTIONS_PER_ACK);
                if let Some(Some(sent_at)) = self.asked_at.pop_front() {
                    self.base.report(InputsEvent::MotionTaken { sent_at });
                }
                if self.in_flight < MOTIONS_IN_FLIGHT {
                    self.send_waiting();
                }
            }
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        Ok(())
    }
}
