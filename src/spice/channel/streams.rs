//! What became of the video streams of a display channel, for whoever counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::spice::wire::display::StreamCreate;

/// Counted since the channel was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamLog {
    /// Streams that were created, also those that are gone.
    pub created: u64,
    /// Streams that are gone.
    pub destroyed: u64,
    /// Frames of streams that did not exist.
    pub orphans: u64,
    /// Reports that were sent to the server.
    pub reports: u64,
    /// By the server's id.
    pub live: BTreeMap<u32, StreamFacts>,
    /// The last of those that are gone, the oldest first.
    pub gone: VecDeque<StreamFacts>,
}

/// What became of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StreamFacts {
    pub stream_id: u32,
    pub surface_id: u32,
    /// As SPICE numbers it: 1 is MJPEG.
    pub codec_type: u8,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    pub frames_received: u64,
    pub frames_drawn: u64,
    pub created_at: Instant,
    pub destroyed_at: Option<Instant>,
}

impl StreamLog {
    pub(super) fn create(&mut self, message: &StreamCreate<'_>, now: Instant) {
        self.destroy(message.id, now);
        self.created += 1;
        let facts = StreamFacts {
            stream_id: message.id,
            surface_id: message.surface_id,
            codec_type: message.codec_type,
            width: message.stream_width,
            height: message.stream_height,
            frames_received: 0,
            frames_drawn: 0,
            created_at: now,
            destroyed_at: None,
        };
        self.live.insert(message.id, facts);
    }

    pub(super) fn destroy(&mut self, id: u32, now: Instant) {
        let Some(mut facts) = self.live.remove(&id) else { return };
        self.destroyed += 1;
        facts.destroyed_at = Some(now);
        if self.gone.len() == GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(facts);
    }

    pub(super) fn destroy_all(&mut self, now: Instant) {
        while let Some(id) = self.live.keys().next().copied() {
            self.destroy(id, now);
        }
    }

    /// A frame came.
    pub(super) fn receive(&mut self, id: u32) {
        match self.live.get_mut(&id) {
            Some(facts) => facts.frames_received += 1,
            None => self.orphans += 1,
        }
    }

    /// The frame that came last was drawn.
    pub(super) fn draw(&mut self, id: u32) {
        if let Some(facts) = self.live.get_mut(&id) {
            facts.frames_drawn += 1;
        }
    }
}

/// Streams that are remembered when they are gone.
const GONE: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spice::wire::types::{Clip, Rect};

    fn create(id: u32) -> StreamCreate<'static> {
        StreamCreate {
            surface_id: 0,
            id,
            flags: 0,
            codec_type: 1,
            stamp: 0,
            stream_width: 64,
            stream_height: 32,
            src_width: 64,
            src_height: 32,
            dest: Rect::new(0, 0, 64, 32),
            clip: Clip::None,
        }
    }

    #[test]
    fn every_frame_belongs_to_a_stream_or_to_none() {
        let (mut log, now) = (StreamLog::default(), Instant::now());
        log.create(&create(7), now);
        log.receive(7);
        log.draw(7);
        log.receive(7);
        log.receive(8);
        assert_eq!((log.live[&7].frames_received, log.live[&7].frames_drawn, log.orphans), (2, 1, 1));
        log.create(&create(7), now + Duration::from_secs(1));
        assert_eq!((log.created, log.destroyed, log.live[&7].frames_received), (2, 1, 0));
        assert_eq!(log.gone[0].destroyed_at, Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn only_the_last_that_are_gone_are_remembered() {
        let (mut log, now) = (StreamLog::default(), Instant::now());
        (0..20).for_each(|id| log.create(&create(id), now));
        log.destroy(19, now);
        log.destroy(19, now);
        log.destroy_all(now);
        assert_eq!((log.created, log.destroyed, log.live.len(), log.gone.len()), (20, 20, 0, GONE));
        assert_eq!(log.gone.back().unwrap().stream_id, 18);
    }
}
