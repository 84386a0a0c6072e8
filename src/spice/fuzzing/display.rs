//! A display channel that is told anything, and what must hold of it after every message.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{IMAGES, Source, check_error};
use crate::spice::channel::{DisplayChannel, DisplayEvent, DisplayOptions, Machine as _};
use crate::spice::limits::Limits;
use crate::spice::wire::header::Frame;
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::types::Rect;

const LIMITS: Limits = Limits {
    message_bytes: 1 << 16,
    images: IMAGES,
    surfaces: 6,
    surface_bytes: 3 << 16,
    image_cache_pixels: 1 << 14,
    glz_window_pixels: 1 << 14,
};

/// Messages of a display channel: each a type, an offset of sub-messages where the type's highest bit is set, and a body
/// behind its length.
pub fn display(data: &[u8]) {
    let mut source = Source(data);
    let mut watched = Watched::new();
    while !source.is_empty() {
        let kind = source.u16();
        let sub_list = if kind & 0x8000 == 0 { 0 } else { source.u32() };
        let frame = Frame { kind: kind & 0x7fff, sub_list, body: source.part() };
        if !watched.feed(frame) {
            break;
        }
    }
}

/// A channel and its surfaces as they were after the last message.
pub(super) struct Watched {
    channel: DisplayChannel,
    now: Instant,
    surfaces: BTreeMap<u32, Seen>,
}

struct Seen {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    /// Where the message that is being handled says it drew.
    drawn: Vec<Rect>,
}

impl Watched {
    pub(super) fn new() -> Self {
        let options =
            DisplayOptions { channel_id: 0, compression: None, has_image_cache: true, limits: LIMITS };
        let mut channel = DisplayChannel::new(options, &Capabilities::default());
        assert!(channel.poll_transmit().is_some(), "INIT is said unasked");
        Self { channel, now: Instant::now(), surfaces: BTreeMap::new() }
    }

    /// Returns whether the channel goes on.
    pub(super) fn feed(&mut self, message: Frame<'_>) -> bool {
        self.now += Duration::from_millis(7);
        let mut result = self.channel.handle_message(self.now, message);
        // The wait for another channel is met, or long enough.
        for gives_up in [message.kind.is_multiple_of(2), true] {
            if result.is_ok() && self.channel.hold().is_some() {
                result = self.channel.resume(self.now, gives_up);
            }
        }
        assert!(result.is_err() || self.channel.hold().is_none(), "nothing is held for ever");
        let sent = std::iter::from_fn(|| self.channel.poll_transmit()).count();
        // The message and its sub-messages, each with an answer, and an acknowledgement.
        assert!(sent <= 2 * 64 + 2, "{sent} answers to one message");
        while let Some(event) = self.channel.poll_event() {
            self.note(event);
        }
        match result {
            Ok(()) => {
                self.check_bounds();
                self.check_pixels();
                true
            }
            Err(error) => {
                check_error(&error);
                false
            }
        }
    }

    fn note(&mut self, event: DisplayEvent) {
        match event {
            DisplayEvent::SurfaceCreated { surface_id, width, height, .. } => {
                let bytes = u64::from(width) * u64::from(height) * 4;
                let pixels = vec![0; usize::try_from(bytes).expect("a surface that exists")];
                self.surfaces.insert(surface_id, Seen { width, height, pixels, drawn: Vec::new() });
            }
            DisplayEvent::SurfaceDestroyed { surface_id } => {
                assert!(self.surfaces.remove(&surface_id).is_some(), "surface {surface_id} did not exist");
            }
            DisplayEvent::Drawn { surface_id, rect, .. } => {
                let seen = self.surfaces.get_mut(&surface_id).expect("what is drawn on exists");
                let whole = whole(seen.width, seen.height);
                assert!(rect == rect.intersect(&whole), "{rect:?} leaves the surface, {whole:?}");
                seen.drawn.push(rect);
            }
            DisplayEvent::Monitors(monitors) => assert!(monitors.len() <= 256),
            DisplayEvent::Marked | DisplayEvent::Base(_) => {}
        }
    }

    fn check_bounds(&self) {
        assert!(u64::try_from(self.surfaces.len()).unwrap_or(u64::MAX) <= LIMITS.surfaces);
        let bytes: usize = self.surfaces.values().map(|seen| seen.pixels.len()).sum();
        assert!(
            u64::try_from(bytes).unwrap_or(u64::MAX) <= LIMITS.surface_bytes,
            "{bytes} bytes of surfaces"
        );
        let (cached, window) = self.channel.held_pixels();
        // The newest image may come on top.
        assert!(
            cached <= u64::from(LIMITS.image_cache_pixels) + IMAGES.pixels,
            "{cached} pixels in the cache"
        );
        assert!(
            window <= u64::from(LIMITS.glz_window_pixels) + IMAGES.pixels,
            "{window} pixels in the window"
        );
        for monitor in self.channel.monitors() {
            let seen = self.surfaces.get(&monitor.surface_id).expect("what a monitor shows exists");
            let whole = whole(seen.width, seen.height);
            assert!(monitor.rect == monitor.rect.intersect(&whole) && !monitor.rect.is_empty());
        }
    }

    /// Pixels changed only where something is said to have been drawn.
    fn check_pixels(&mut self) {
        for (id, seen) in &mut self.surfaces {
            let surface = self.channel.surface(*id).expect("a surface that was not destroyed");
            assert_eq!(
                (surface.width(), surface.height()),
                (seen.width, seen.height),
                "size of surface {id}"
            );
            assert_eq!(surface.pixels().len(), seen.pixels.len(), "bytes of surface {id}");
            if surface.pixels() != seen.pixels {
                let pairs = surface.pixels().chunks_exact(4).zip(seen.pixels.chunks_exact(4));
                let changed = pairs.enumerate().filter(|(_, (new, old))| new != old);
                for (at, _) in changed {
                    let at = i32::try_from(at).expect("few pixels");
                    let width = i32::try_from(seen.width).expect("few pixels");
                    let pixel = Rect::new(at % width, at / width, 1, 1);
                    let is_told = seen.drawn.iter().any(|rect| !rect.intersect(&pixel).is_empty());
                    assert!(is_told, "{pixel:?} of surface {id} changed outside of {:?}", seen.drawn);
                }
                seen.pixels.copy_from_slice(surface.pixels());
            }
            seen.drawn.clear();
        }
    }
}

fn whole(width: u32, height: u32) -> Rect {
    let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
    Rect::new(0, 0, side(width), side(height))
}
