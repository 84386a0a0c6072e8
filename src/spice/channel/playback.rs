//! The playback channel: sound is taken and counted, so that a guest that plays does not stall, and not heard.

use super::base::{Base, OnBase};
use super::{BaseEvent, ChannelError};
use crate::spice::wire::playback::{PlaybackMessage, mode};

/// The playback channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct PlaybackChannel {
    base: Base<BaseEvent>,
    /// What the data is in from now on.
    mode: &'static str,
}

impl PlaybackChannel {
    /// The state right after the link.
    pub fn new() -> Self {
        Self { base: Base::new(), mode: mode_name(mode::RAW) }
    }
}

fn mode_name(mode: u16) -> &'static str {
    match mode {
        mode::RAW => "RAW",
        mode::CELT => "CELT",
        mode::OPUS => "OPUS",
        _ => "unknown",
    }
}

impl Default for PlaybackChannel {
    fn default() -> Self {
        Self::new()
    }
}

impl OnBase for PlaybackChannel {
    type Event = BaseEvent;

    /// MODE comes first.
    const GREETINGS: u64 = 1;

    fn base(&self) -> &Base<BaseEvent> {
        &self.base
    }

    fn base_mut(&mut self) -> &mut Base<BaseEvent> {
        &mut self.base
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = PlaybackMessage::name_of(kind).unwrap_or("unknown");
        let message =
            PlaybackMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        match message {
            Some(PlaybackMessage::Data(packet)) => {
                let count = self.base.counters.sounds.entry(self.mode).or_default();
                count.packets += 1;
                count.bytes += u64::try_from(packet.data.0.len()).unwrap_or(u64::MAX);
            }
            Some(PlaybackMessage::Mode(message)) => self.mode = mode_name(message.mode),
            Some(
                PlaybackMessage::Start(_)
                | PlaybackMessage::Stop(_)
                | PlaybackMessage::Volume(_)
                | PlaybackMessage::Mute(_)
                | PlaybackMessage::Latency(_),
            ) => {}
            None => self.base.unsupported(&format!("message type {kind}")),
        }
        Ok(())
    }
}
