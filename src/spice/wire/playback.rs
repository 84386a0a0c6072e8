//! The playback channel: sound of the guest's (SPICE protocol, section 16).

use super::bytes::{Rest, message, message_set};

/// SPICE_AUDIO_DATA_MODE.
pub mod mode {
    /// Interleaved samples of 16 bits.
    pub const RAW: u16 = 1;
    /// CELT 0.5.1, which nobody speaks any more.
    pub const CELT: u16 = 2;
    /// A packet of Opus.
    pub const OPUS: u16 = 3;
}

message! {
    /// SPICE_MSG_PLAYBACK_DATA.
    101 "DATA" Data<'a> {
        /// Milliseconds of the server's clock.
        time: u32,
        /// Samples in the mode in force.
        data: Rest<'a>,
    }
}

message! {
    /// SPICE_MSG_PLAYBACK_MODE.
    102 "MODE" Mode<'a> {
        /// Milliseconds of the server's clock.
        time: u32,
        /// One of [`mode`].
        mode: u16,
        /// What a mode needs; empty for those there are.
        data: Rest<'a>,
    }
}

message! {
    /// SPICE_MSG_PLAYBACK_START.
    103 "START" Start {
        /// 2 for stereo.
        channels: u32,
        /// 1: signed, 16 bits.
        format: u16,
        /// Samples a second.
        frequency: u32,
        /// Milliseconds of the server's clock.
        time: u32,
    }
}

message! {
    /// SPICE_MSG_PLAYBACK_STOP.
    104 "STOP" Stop {}
}

message! {
    /// SPICE_MSG_PLAYBACK_VOLUME.
    105 "VOLUME" Volume<'a> {
        /// A count and a word for each channel.
        data: Rest<'a>,
    }
}

message! {
    /// SPICE_MSG_PLAYBACK_MUTE.
    106 "MUTE" Mute {
        /// Not 0: nothing is to be heard.
        mute: u8,
    }
}

message! {
    /// SPICE_MSG_PLAYBACK_LATENCY.
    107 "LATENCY" Latency {
        /// Milliseconds that this side shall buffer.
        latency_ms: u32,
    }
}

message_set! {
    /// What a server says on the playback channel.
    PlaybackMessage<'a> {
        Data(Data<'a>),
        Mode(Mode<'a>),
        Start(Start),
        Stop(Stop),
        Volume(Volume<'a>),
        Mute(Mute),
        Latency(Latency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::testing::{annotated, check};

    #[test]
    fn server_messages_are_their_bytes() {
        check(&Data { time: 7, data: Rest(&[1, 2]) }, 101, &annotated("07000000 time \n 0102 data"));
        check(
            &Mode { time: 7, mode: mode::OPUS, data: Rest(&[]) },
            102,
            &annotated("07000000 time \n 0300 mode"),
        );
        check(
            &Start { channels: 2, format: 1, frequency: 48_000, time: 7 },
            103,
            &annotated("02000000 channels \n 0100 format \n 80bb0000 frequency \n 07000000 time"),
        );
        check(&Stop {}, 104, &[]);
        check(&Volume { data: Rest(&[1, 0, 1]) }, 105, &annotated("01 count \n 0001 volume"));
        check(&Mute { mute: 1 }, 106, &annotated("01 mute"));
        check(&Latency { latency_ms: 200 }, 107, &annotated("c8000000 latency_ms"));
    }
}
