//! The digest on a screen: one reader for any frame, and a watch over a screen that changes.
//!
//! [`DigestReader`] answers for a single frame, such as a screenshot. [`DigestWatch`] is fed with every draw and says
//! when a digest appeared and whether the pixels around it are the ones it vouches for. Neither knows where frames come
//! from; a search over a whole frame costs some ten milliseconds, which is why the watch does it only when nothing else
//! happens.

use crate::console::Area;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use visual_digest::symbol::{self, ReadError};
use visual_digest::{
    DecodeError, Digest, Frame, Payload, REGION_SIZE, decode, framebuffer_hash, region_origin,
};

/// Reads the digest of a single frame.
#[derive(Clone, Copy, Debug)]
pub struct DigestReader;

impl DigestReader {
    /// Reads the symbol at its place, or else the first digest found anywhere on the frame.
    ///
    /// # Errors
    /// When no symbol is found, or what was found is not a digest.
    pub fn read(frame: Frame<'_>) -> Result<Reading, ReadingError> {
        match symbol::read(frame) {
            Ok(payload) => Reading::of(&payload, Source::Place),
            Err(at_place) => search(frame, at_place),
        }
    }
}

/// A digest and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it says.
    pub digest: Digest,
    /// How it was found.
    pub source: Source,
}

impl Reading {
    fn of(payload: &Payload, source: Source) -> Result<Self, ReadingError> {
        Ok(Self { digest: decode(payload.as_bytes())?, source })
    }
}

/// How a symbol was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// At the place the format gives it, without a flaw.
    Place,
    /// By a search over the frame, which also repairs.
    Search,
}

/// Why a frame has no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// No symbol anywhere.
    #[error("no QR symbol on the screen")]
    NoSymbol(#[source] ReadError),
    /// A symbol that holds something else.
    #[error("the QR symbol on the screen is not a digest")]
    NotADigest(#[from] DecodeError),
}

/// A green at least this bright belongs to a set module: half of the foreground's.
const BRIGHT: u8 = 75;

fn search(frame: Frame<'_>, at_place: ReadError) -> Result<Reading, ReadingError> {
    // The detector asserts that the corners of a candidate can be computed, and some arrangements of pixels break
    // that. What a guest draws must not end the run.
    let payloads = catch_unwind(AssertUnwindSafe(|| find_symbols(frame))).unwrap_or_default();
    let mut first_error = ReadingError::NoSymbol(at_place);
    for payload in payloads {
        match Reading::of(&payload, Source::Search) {
            Ok(reading) => return Ok(reading),
            Err(error) if matches!(first_error, ReadingError::NoSymbol(_)) => first_error = error,
            Err(_) => {}
        }
    }
    Err(first_error)
}

fn find_symbols(frame: Frame<'_>) -> Vec<Payload> {
    let rows: Vec<&[u8]> = (0..frame.height()).map(|y| frame.row(y, 0..frame.width())).collect();
    let width = rows.first().map_or(0, |row| row.len() / 4);
    if width == 0 {
        return Vec::new();
    }
    // The detector knows dark symbols on bright ground only.
    let is_dark_for_detector = |x: usize, y: usize| rows[y][4 * x + 1] >= BRIGHT;
    let mut image = rqrr::PreparedImage::prepare_from_bitmap(width, rows.len(), is_dark_for_detector);
    let grids = image.detect_grids();
    let payloads = grids.iter().filter_map(|grid| {
        let mut bytes = Vec::new();
        grid.decode_to(&mut bytes).ok()?;
        Payload::from_bytes(&bytes)
    });
    payloads.collect()
}

fn region_of(frame: Frame<'_>) -> Area {
    let (left, top) = region_origin(frame.width(), frame.height());
    Area { left, top, right: left.saturating_add(REGION_SIZE), bottom: top.saturating_add(REGION_SIZE) }
}

/// Whether the screen has the hash that the digest on it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// It has.
    Matches,
    /// Not yet: draws may still be on their way. A [`Verdict`] follows unless another digest comes first.
    Unsettled,
    /// It has not, and nothing was drawn for a second.
    Differs,
}

/// What a watch has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A digest not seen before is on the screen.
    Sighting(Sighting),
    /// What became of a sighting that was [`Match::Unsettled`].
    Verdict(Verdict),
    /// A symbol appeared that is not a digest.
    NotADigest(DecodeError),
}

/// A digest that appeared on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it says.
    pub digest: Digest,
    /// How it was found.
    pub source: Source,
    /// Whether the pixels around it are the ones it vouches for; never [`Match::Differs`].
    pub framebuffer: Match,
    /// The hash of these pixels.
    pub screen_hash: u32,
    /// Whether the frame counter did not rise: the guest began anew since the last sighting.
    pub restarted: bool,
}

/// The end of waiting for the pixels around a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which digest.
    pub frame_counter: u32,
    /// [`Match::Matches`] or [`Match::Differs`].
    pub framebuffer: Match,
    /// The hash of the pixels.
    pub screen_hash: u32,
}

/// Watches a screen for digests.
///
/// Performs no IO: the caller hands in frames and the time. After every call [`DigestWatch::poll_timeout`] says when
/// [`DigestWatch::handle_timeout`] has to be called if nothing is drawn until then.
#[derive(Clone, Debug, Default)]
pub struct DigestWatch {
    place: Place,
    /// The last draw since the surface exists.
    last_draw: Option<Instant>,
    last_digest: Option<Digest>,
    last_fault: Option<DecodeError>,
    /// Whether the last digest had to be searched for: then no draw is known to be beside it.
    is_elsewhere: bool,
    unsettled: Option<Unsettled>,
    /// Whether the last digest is forgotten when it is no longer on the screen.
    forgets_when_gone: bool,
}

/// What is known of the symbol on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nobody looked yet.
    #[default]
    Unread,
    /// There is a symbol, and it was read.
    Read,
    /// No flawless symbol at its place; a search may find it.
    Unreadable,
    /// A search found none either.
    Empty,
}

/// A sighting whose pixels have not come yet.
#[derive(Clone, Copy, Debug)]
struct Unsettled {
    frame_counter: u32,
    wanted_hash: u32,
    screen_hash: u32,
    checked_at: Instant,
    /// Whether pixels may have changed since.
    is_stale: bool,
}

/// How long nothing is drawn before a search is worth its price.
const SEARCH_AFTER: Duration = Duration::from_millis(120);
/// How long nothing is drawn before a mismatch is final.
const DIFFERS_AFTER: Duration = Duration::from_secs(1);
/// The screen is not hashed more often than this while waiting for its pixels.
const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

impl DigestWatch {
    /// Returns a watch that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of pixels that changed; `drawn` may enclose several draws.
    pub fn handle_draw(&mut self, now: Instant, frame: Frame<'_>, drawn: Area) -> Option<WatchEvent> {
        self.last_draw = Some(now);
        let region = region_of(frame);
        if let Some(unsettled) = &mut self.unsettled {
            unsettled.is_stale |= !drawn.is_within(region);
        }
        if self.place == Place::Unread || self.is_elsewhere || drawn.touches(region) {
            let found = match symbol::read(frame) {
                Ok(payload) => self.handle_reading(now, frame, Reading::of(&payload, Source::Place)),
                Err(_) => {
                    self.place = Place::Unreadable;
                    self.forget_if_gone();
                    None
                }
            };
            if found.is_some() {
                return found;
            }
        }
        self.recheck(now, frame)
    }

    /// Does what is due. Call it again while [`DigestWatch::poll_timeout`] is not in the future.
    pub fn handle_timeout(&mut self, now: Instant, frame: Frame<'_>) -> Option<WatchEvent> {
        if self.place == Place::Unreadable && self.idle_since(SEARCH_AFTER).is_some_and(|due| due <= now) {
            self.place = Place::Empty;
            let reading = DigestReader::read(frame);
            let found = self.handle_reading(now, frame, reading);
            if found.is_some() {
                return found;
            }
        }
        self.recheck(now, frame)
    }

    /// Returns when [`DigestWatch::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let search = self.idle_since(SEARCH_AFTER).filter(|_| self.place == Place::Unreadable);
        let waiting = self.unsettled.filter(|_| self.place == Place::Read);
        let recheck =
            waiting.filter(|waiting| waiting.is_stale).map(|waiting| waiting.checked_at + RECHECK_INTERVAL);
        let differs = self.idle_since(DIFFERS_AFTER).filter(|_| waiting.is_some());
        [search, recheck, differs].into_iter().flatten().min()
    }

    /// Forgets the screen, as its surface was made anew; what was seen on it stays seen.
    pub fn handle_surface_reset(&mut self) {
        self.place = Place::Unread;
        self.last_draw = None;
        self.unsettled = None;
        self.is_elsewhere = false;
        self.forget_if_gone();
    }

    /// Forgets what was seen: the machine was put back, and what it shows next is news.
    pub fn handle_put_back(&mut self) {
        self.handle_surface_reset();
        self.last_digest = None;
        self.last_fault = None;
    }

    /// The machine was reset: the digest that may still be on the screen is no news, the same one later is.
    pub fn handle_reset(&mut self) {
        self.forgets_when_gone = true;
    }

    fn forget_if_gone(&mut self) {
        if std::mem::take(&mut self.forgets_when_gone) {
            self.last_digest = None;
        }
    }

    fn idle_since(&self, idle: Duration) -> Option<Instant> {
        self.last_draw.map(|last_draw| last_draw + idle)
    }

    fn handle_reading(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        reading: Result<Reading, ReadingError>,
    ) -> Option<WatchEvent> {
        let Reading { digest, source } = match reading {
            Ok(reading) => reading,
            Err(ReadingError::NoSymbol(_)) => return None,
            Err(ReadingError::NotADigest(fault)) => {
                self.place = Place::Read;
                self.unsettled = None;
                let is_news = self.last_fault.replace(fault) != Some(fault);
                return is_news.then_some(WatchEvent::NotADigest(fault));
            }
        };
        self.place = Place::Read;
        self.last_fault = None;
        if self.last_digest.as_ref() == Some(&digest) {
            return None;
        }
        self.is_elsewhere = source == Source::Search;
        let restarted =
            self.last_digest.as_ref().is_some_and(|last| digest.frame_counter <= last.frame_counter);
        self.last_digest = Some(digest.clone());
        let screen_hash = framebuffer_hash(frame);
        let matches = screen_hash == digest.framebuffer_hash;
        self.unsettled = (!matches).then_some(Unsettled {
            frame_counter: digest.frame_counter,
            wanted_hash: digest.framebuffer_hash,
            screen_hash,
            checked_at: now,
            is_stale: false,
        });
        let framebuffer = if matches { Match::Matches } else { Match::Unsettled };
        Some(WatchEvent::Sighting(Sighting { digest, source, framebuffer, screen_hash, restarted }))
    }

    fn recheck(&mut self, now: Instant, frame: Frame<'_>) -> Option<WatchEvent> {
        if self.place != Place::Read {
            return None;
        }
        let is_idle = self.idle_since(DIFFERS_AFTER).is_some_and(|due| due <= now);
        let unsettled = self.unsettled.as_mut()?;
        if unsettled.is_stale && unsettled.checked_at + RECHECK_INTERVAL <= now {
            unsettled.screen_hash = framebuffer_hash(frame);
            unsettled.checked_at = now;
            unsettled.is_stale = false;
        }
        let Unsettled { frame_counter, wanted_hash, screen_hash, .. } = *unsettled;
        let framebuffer = if screen_hash == wanted_hash {
            Match::Matches
        } else if is_idle {
            Match::Differs
        } else {
            return None;
        };
        self.unsettled = None;
        Some(WatchEvent::Verdict(Verdict { frame_counter, framebuffer, screen_hash }))
    }
}
