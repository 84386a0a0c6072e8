//! The inputs channel: keys, buttons, motion, lock lights.

use super::bytes::{Rest, message, message_set};

/// Lock lights in [`Init::modifiers`] and [`KeyModifiers::modifiers`].
pub mod modifier {
    /// Scroll lock.
    pub const SCROLL_LOCK: u16 = 1;
    /// Num lock.
    pub const NUM_LOCK: u16 = 2;
    /// Caps lock.
    pub const CAPS_LOCK: u16 = 4;
}

/// Bits of the channel capability word.
pub mod capability {
    /// KEY_SCANCODE is understood.
    pub const KEY_SCANCODE: u32 = 0;
}

message! {
    /// SPICE_MSG_INPUTS_INIT.
    101 "INIT" Init {
        /// Or of [`modifier`].
        modifiers: u16,
    }
}

message! {
    /// SPICE_MSG_INPUTS_KEY_MODIFIERS: the guest changed the lock lights.
    102 "KEY_MODIFIERS" KeyModifiers {
        /// Or of [`modifier`].
        modifiers: u16,
    }
}

message! {
    /// SPICE_MSG_INPUTS_MOUSE_MOTION_ACK: four motion or position messages were taken.
    111 "MOUSE_MOTION_ACK" MouseMotionAck {}
}

message_set! {
    /// What a server says on the inputs channel.
    InputsMessage {
        Init(Init),
        KeyModifiers(KeyModifiers),
        MouseMotionAck(MouseMotionAck),
    }
}

/// What a client says on the inputs channel.
pub mod client {
    use super::{Rest, message, message_set};

    message_set! {
        /// What a client says on the inputs channel.
        InputsMessage<'a> {
            KeyDown(KeyDown),
            KeyUp(KeyUp),
            KeyModifiers(KeyModifiers),
            KeyScancode(KeyScancode<'a>),
            MouseMotion(MouseMotion),
            MousePosition(MousePosition),
            MousePress(MousePress),
            MouseRelease(MouseRelease),
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_KEY_DOWN.
        101 "KEY_DOWN" KeyDown {
            /// Set-1 bytes from the lowest up, to the first zero.
            code: u32,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_KEY_UP.
        102 "KEY_UP" KeyUp {
            /// As for [`KeyDown`], with the break bit in it.
            code: u32,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_KEY_MODIFIERS: presses lock keys until the lights are so.
        103 "KEY_MODIFIERS" KeyModifiers {
            /// Or of [`super::modifier`].
            modifiers: u16,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_KEY_SCANCODE.
        104 "KEY_SCANCODE" KeyScancode<'a> {
            /// Raw set-1 bytes.
            scancodes: Rest<'a>,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_MOUSE_MOTION.
        111 "MOUSE_MOTION" MouseMotion {
            /// To the right.
            dx: i32,
            /// Down.
            dy: i32,
            /// Buttons held, bit 0 is the left one.
            buttons: u16,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_MOUSE_POSITION.
        112 "MOUSE_POSITION" MousePosition {
            /// Pixels from the left edge.
            x: u32,
            /// Pixels from the top edge.
            y: u32,
            /// Buttons held, bit 0 is the left one.
            buttons: u16,
            /// The display channel's id.
            display_id: u8,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_MOUSE_PRESS.
        113 "MOUSE_PRESS" MousePress {
            /// 1 left, 2 middle, 3 right, 4 wheel up, 5 wheel down.
            button: u8,
            /// Buttons held after the press.
            buttons: u16,
        }
    }

    message! {
        /// SPICE_MSGC_INPUTS_MOUSE_RELEASE.
        114 "MOUSE_RELEASE" MouseRelease {
            /// As in [`MousePress`].
            button: u8,
            /// Buttons held after the release.
            buttons: u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::client::{
        KeyDown, KeyModifiers as SetModifiers, KeyScancode, KeyUp, MouseMotion, MousePosition, MousePress,
        MouseRelease,
    };
    use super::*;
    use crate::spice::wire::testing::{annotated, check};

    #[test]
    fn server_messages_are_their_bytes() {
        check(&Init { modifiers: modifier::NUM_LOCK }, 101, &annotated("0200 modifiers"));
        check(&KeyModifiers { modifiers: modifier::CAPS_LOCK }, 102, &annotated("0400 modifiers"));
        check(&MouseMotionAck {}, 111, &[]);
    }

    #[test]
    fn client_messages_are_their_bytes() {
        check(&KeyDown { code: 0x1e }, 101, &annotated("1e000000 code"));
        check(&KeyUp { code: 0x9e }, 102, &annotated("9e000000 code"));
        check(&SetModifiers { modifiers: 1 }, 103, &annotated("0100 modifiers"));
        check(&KeyScancode { scancodes: Rest(&[0xe0, 0x4d]) }, 104, &annotated("e04d scancodes"));
        check(
            &MouseMotion { dx: -1, dy: 2, buttons: 1 },
            111,
            &annotated(
                "ffffffff dx
                 02000000 dy
                 0100 buttons",
            ),
        );
        check(
            &MousePosition { x: 3, y: 4, buttons: 0, display_id: 1 },
            112,
            &annotated(
                "03000000 x
                 04000000 y
                 0000 buttons
                 01 display_id",
            ),
        );
        check(
            &MousePress { button: 3, buttons: 4 },
            113,
            &annotated(
                "03 button
                 0400 buttons",
            ),
        );
        check(
            &MouseRelease { button: 3, buttons: 0 },
            114,
            &annotated(
                "03 button
                 0000 buttons",
            ),
        );
    }
}
