//! What a console tells beside pixels: the pointer, the lock lights, what came over its channels.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Area;

/// What a person would see on one monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the graphics device, which is that of its display channel.
    pub display: u8,
    /// The surface it shows.
    pub surface_id: u32,
    /// The part of it.
    pub area: Area,
}

/// The pointer as the guest's device has it. It is on no screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Where its hot spot is, from the left edge.
    pub x: i32,
    /// Where its hot spot is, from the top edge.
    pub y: i32,
    /// Whether it is shown.
    pub is_visible: bool,
    /// What it looks like, if the guest has said.
    pub shape: Option<PointerShape>,
}

/// What a pointer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerShape {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The pixel that points, from the left edge; may lie outside.
    pub hot_x: i32,
    /// The pixel that points, from the top edge; may lie outside.
    pub hot_y: i32,
    /// `width * height * 4` bytes in the order B, G, R, alpha.
    pub pixels: Vec<u8>,
}

impl PointerShape {
    /// Which shape it is: `sha256:<hex>` over both sides, the hot spot and the pixels.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.width.to_le_bytes());
        hash.update(self.height.to_le_bytes());
        hash.update(self.hot_x.to_le_bytes());
        hash.update(self.hot_y.to_le_bytes());
        hash.update(&self.pixels);
        format!("sha256:{:x}", hash.finalize())
    }
}

/// The lock lights of a keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LockLights {
    /// Caps lock.
    pub caps: bool,
    /// Num lock.
    pub num: bool,
    /// Scroll lock.
    pub scroll: bool,
}

/// What came over one channel so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Messages received.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Drawing messages by SPICE name, whether or not they were drawn.
    pub draws: BTreeMap<String, u64>,
    /// Images in them by SPICE name of their codec.
    pub images: BTreeMap<String, u64>,
    /// Sound by SPICE name of its mode.
    pub sounds: BTreeMap<String, Sound>,
    /// What was received but is not supported.
    pub left_out: BTreeMap<String, u64>,
}

/// How much sound came. It is not heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sound {
    /// Packets.
    pub packets: u64,
    /// Bytes of their samples.
    pub bytes: u64,
}

/// What came over the display channel of the screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisplayTraffic {
    /// Its number.
    pub channel_id: u8,
    /// As for every channel.
    pub traffic: Traffic,
    /// How often the screen was said to be worth showing.
    pub marks: u64,
    /// Video streams that there were, and that are gone.
    pub streams_created: u64,
    /// Video streams that are gone.
    pub streams_destroyed: u64,
    /// Frames of streams that did not exist.
    pub orphans: u64,
    /// Reports that were sent about streams.
    pub reports: u64,
    /// The streams there are.
    pub streams: Vec<StreamTraffic>,
    /// The last of those that are gone, the oldest first.
    pub streams_gone: Vec<StreamTraffic>,
}

/// What came over one video stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTraffic {
    /// The server's number of it.
    pub stream_id: u32,
    /// What it is drawn on.
    pub surface_id: u32,
    /// As SPICE numbers it: 1 is MJPEG.
    pub codec_type: u8,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames that came.
    pub received: u64,
    /// Frames that were drawn.
    pub drawn: u64,
    /// When it began.
    pub created_at: Instant,
    /// When it ended.
    pub destroyed_at: Option<Instant>,
}

impl Traffic {
    /// Adds what came over another channel.
    pub fn add(&mut self, other: &Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (name, more) in &other.sounds {
            let mine = self.sounds.entry(name.clone()).or_default();
            mine.packets = mine.packets.saturating_add(more.packets);
            mine.bytes = mine.bytes.saturating_add(more.bytes);
        }
        for (mine, more) in [
            (&mut self.draws, &other.draws),
            (&mut self.images, &other.images),
            (&mut self.left_out, &other.left_out),
        ] {
            for (name, count) in more {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_known_by_its_pixels_and_its_hot_spot() {
        let shape = PointerShape { width: 1, height: 1, hot_x: 0, hot_y: 0, pixels: vec![1, 2, 3, 4] };
        assert_eq!(shape.hash(), shape.clone().hash());
        assert_ne!(shape.hash(), PointerShape { hot_x: 1, ..shape.clone() }.hash());
        assert_ne!(shape.hash(), PointerShape { pixels: vec![1, 2, 3, 5], ..shape.clone() }.hash());
        assert!(shape.hash().starts_with("sha256:"));
    }

    #[test]
    fn traffic_of_several_channels_adds_up_by_name() {
        let images = |name: &str, count| BTreeMap::from([(name.to_owned(), count)]);
        let mut all = Traffic { messages: 1, bytes: 10, images: images("QUIC", 2), ..Traffic::default() };
        all.add(&Traffic { messages: 2, bytes: 5, images: images("QUIC", 1), ..Traffic::default() });
        all.add(&Traffic { images: images("LZ_RGB", 4), ..Traffic::default() });
        assert_eq!((all.messages, all.bytes), (3, 15));
        assert_eq!(
            all.images.into_iter().collect::<Vec<_>>(),
            [("LZ_RGB".to_owned(), 4), ("QUIC".to_owned(), 3)]
        );
    }
}
