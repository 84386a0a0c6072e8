//! A watch over a screen that a test paints, in simulated time.

use crate::digest::screen::Screen;
use backstaff::console::Area;
use backstaff::oracle::digest::{
    DigestReader, DigestWatch, Match, ReadingError, Sighting, Source, Verdict, WatchEvent,
};
use std::time::{Duration, Instant};
use visual_digest::{
    ChannelHashes, DecodeError, FOREGROUND, MODULE_SIZE, Payload, REGION_SIZE, Record, framebuffer_hash,
    region_origin,
};

const LINE: Record = Record::LineRendered { row: 3, timestamp_ms: 2350 };

/// A watch, the screen it watches, and the time.
struct Pair {
    watch: DigestWatch,
    screen: Screen,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let screen = Screen::new(640, 480);
        Self { watch: DigestWatch::new(), screen, now: Instant::now() }
    }

    fn region(&self) -> Area {
        let (left, top) = region_origin(self.screen.width, self.screen.height);
        Area { left, top, right: left + REGION_SIZE, bottom: top + REGION_SIZE }
    }

    fn draw(&mut self, drawn: Area) -> Option<WatchEvent> {
        self.watch.handle_draw(self.now, self.screen.frame(), drawn)
    }

    /// Paints a refresh and tells the watch of its region.
    fn refresh(&mut self, frame_counter: u32) -> Option<WatchEvent> {
        self.screen.refresh(frame_counter, &[LINE]);
        self.draw(self.region())
    }

    /// Draws a row of pixels at the top of the screen.
    fn draw_beside(&mut self, colour: [u8; 3]) -> Option<WatchEvent> {
        self.screen.fill(16, 16, 100, 1, colour);
        self.draw(Area { left: 16, top: 16, right: 116, bottom: 17 })
    }

    /// Inverts one module of the symbol, as an overlapping draw would.
    fn spoil_a_module(&mut self) -> Option<WatchEvent> {
        let Area { left, top, .. } = self.region();
        let at = 24 * MODULE_SIZE;
        let colour = if self.screen.frame().row(top + at, left + at..left + at + 1)[1] == 0 {
            FOREGROUND
        } else {
            [0; 3]
        };
        self.screen.fill(left + at, top + at, MODULE_SIZE, MODULE_SIZE, colour);
        self.draw(self.region())
    }

    /// Lets time pass up to the next timeout and returns what it brought.
    fn run_to_timeout(&mut self) -> Option<WatchEvent> {
        self.now = self.watch.poll_timeout().expect("a timeout is due");
        self.watch.handle_timeout(self.now, self.screen.frame())
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }
}

fn sighting(event: Option<WatchEvent>) -> Sighting {
    match event {
        Some(WatchEvent::Sighting(sighting)) => sighting,
        other => panic!("wanted a sighting, got {other:?}"),
    }
}

#[test]
fn a_digest_on_an_honest_screen_matches_at_once_and_is_told_once() {
    let mut pair = Pair::new();
    let seen = sighting(pair.refresh(1));
    assert_eq!(
        (seen.digest.frame_counter, seen.framebuffer, seen.source),
        (1, Match::Matches, Source::Place)
    );
    assert_eq!(seen.digest.raw_records, [LINE]);
    assert_eq!(seen.screen_hash, framebuffer_hash(pair.screen.frame()));
    assert!(!seen.restarted);
    assert_eq!(pair.draw(pair.region()), None);
    assert_eq!(pair.draw_beside([9; 3]), None);
    assert_eq!(pair.watch.poll_timeout(), None, "nothing is left to do");
    assert_eq!(sighting(pair.refresh(2)).digest.frame_counter, 2);
}

#[test]
fn a_symbol_is_told_when_its_last_module_is_painted() {
    let mut pair = Pair::new();
    sighting(pair.refresh(1));
    let old = pair.screen.pixels.clone();
    pair.screen.refresh(2, &[LINE, LINE]);
    let new = std::mem::replace(&mut pair.screen.pixels, old);
    let Area { left, top, right, bottom } = pair.region();
    let mut told = Vec::new();
    for y in (top..bottom).step_by(4) {
        let rows = (y * 640 * 4) as usize..((y + 4) * 640 * 4) as usize;
        pair.screen.pixels[rows.clone()].copy_from_slice(&new[rows]);
        told.extend(pair.draw(Area { left, top: y, right, bottom: y + 4 }));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(sighting(told.pop()).digest.frame_counter, 2);
}

#[test]
fn pixels_that_come_late_settle_a_sighting() {
    let mut pair = Pair::new();
    pair.screen.fill(16, 16, 100, 1, [9; 3]);
    pair.screen.refresh(1, &[LINE]);
    pair.screen.fill(16, 16, 100, 1, [0; 3]);
    assert_eq!(sighting(pair.draw(pair.region())).framebuffer, Match::Unsettled);
    pair.pass(30);
    let verdict = pair.draw_beside([9; 3]);
    let screen_hash = framebuffer_hash(pair.screen.frame());
    let wanted = Verdict { frame_counter: 1, framebuffer: Match::Matches, screen_hash };
    assert_eq!(verdict, Some(WatchEvent::Verdict(wanted)));
    assert_eq!(pair.watch.poll_timeout(), None);
}

#[test]
fn a_burst_of_draws_is_hashed_once_and_the_rest_waits_for_a_timeout() {
    let mut pair = Pair::new();
    pair.screen.fill(16, 16, 100, 1, [9; 3]);
    pair.screen.refresh(1, &[LINE]);
    pair.screen.fill(16, 16, 100, 1, [0; 3]);
    sighting(pair.draw(pair.region()));
    pair.pass(5);
    assert_eq!(pair.draw_beside([9; 3]), None, "too soon to hash again");
    let before = pair.now;
    let event = pair.run_to_timeout();
    assert!(
        matches!(event, Some(WatchEvent::Verdict(Verdict { framebuffer: Match::Matches, .. }))),
        "{event:?}"
    );
    assert_eq!(pair.now, before + Duration::from_millis(15));
}

#[test]
fn a_screen_that_stays_wrong_for_a_second_differs_once() {
    let mut pair = Pair::new();
    pair.screen.refresh(1, &[LINE]);
    pair.screen.fill(16, 16, 100, 1, [9; 3]);
    let seen = sighting(pair.draw(pair.region()));
    assert_eq!(seen.framebuffer, Match::Unsettled);
    pair.pass(500);
    assert_eq!(pair.draw_beside([8; 3]), None);
    let drawn_at = pair.now;
    let screen_hash = framebuffer_hash(pair.screen.frame());
    let wanted = Verdict { frame_counter: 1, framebuffer: Match::Differs, screen_hash };
    assert_eq!(pair.run_to_timeout(), Some(WatchEvent::Verdict(wanted)));
    assert_eq!(pair.now, drawn_at + Duration::from_secs(1));
    assert_eq!(pair.watch.poll_timeout(), None);
    pair.pass(2000);
    assert_eq!(pair.watch.handle_timeout(pair.now, pair.screen.frame()), None);
}

#[test]
fn a_digest_that_is_replaced_before_its_pixels_came_gets_no_verdict() {
    let mut pair = Pair::new();
    pair.screen.refresh(1, &[LINE]);
    pair.screen.fill(16, 16, 100, 1, [9; 3]);
    sighting(pair.draw(pair.region()));
    let seen = sighting(pair.refresh(2));
    assert_eq!((seen.digest.frame_counter, seen.framebuffer), (2, Match::Matches));
    assert_eq!(pair.watch.poll_timeout(), None);
}

#[test]
fn a_damaged_symbol_is_searched_for_once_the_screen_has_settled() {
    let mut pair = Pair::new();
    pair.screen.refresh(1, &[LINE]);
    assert_eq!(pair.spoil_a_module(), None);
    let drawn_at = pair.now;
    let seen = sighting(pair.run_to_timeout());
    assert_eq!(pair.now, drawn_at + Duration::from_millis(120));
    assert_eq!((seen.digest.frame_counter, seen.source), (1, Source::Search));
    assert_eq!(seen.framebuffer, Match::Matches);
    assert_eq!(pair.watch.poll_timeout(), None);
}

#[test]
fn draws_put_the_search_off_and_an_empty_screen_is_searched_once() {
    let mut pair = Pair::new();
    assert_eq!(pair.draw_beside([9; 3]), None);
    pair.pass(100);
    assert_eq!(pair.draw_beside([8; 3]), None);
    assert_eq!(pair.watch.poll_timeout(), Some(pair.now + Duration::from_millis(120)));
    assert_eq!(pair.run_to_timeout(), None);
    assert_eq!(pair.draw_beside([7; 3]), None);
    assert_eq!(pair.watch.poll_timeout(), None, "a draw beside the region is no reason to search again");
}

#[test]
fn a_digest_elsewhere_is_followed() {
    let mut pair = Pair::new();
    for frame_counter in [1, 2] {
        let payload = visual_digest::encode(frame_counter, &ChannelHashes::default(), [].iter(), 0);
        pair.screen.paint_at(&payload, 40, 60);
        let drawn = Area { left: 40, top: 60, right: 220, bottom: 240 };
        assert_eq!(pair.draw(drawn), None);
        assert_eq!(sighting(pair.run_to_timeout()).digest.frame_counter, frame_counter);
    }
}

#[test]
fn a_counter_that_fell_means_the_guest_restarted() {
    let mut pair = Pair::new();
    assert!(!sighting(pair.refresh(7)).restarted);
    pair.watch.handle_surface_reset();
    assert_eq!(pair.watch.poll_timeout(), None);
    assert!(sighting(pair.refresh(1)).restarted);
    assert!(!sighting(pair.refresh(2)).restarted);
}

#[test]
fn the_same_digest_on_a_new_surface_is_not_told_again() {
    let mut pair = Pair::new();
    sighting(pair.refresh(7));
    pair.watch.handle_surface_reset();
    assert_eq!(pair.draw(pair.region()), None);
}

#[test]
fn the_digest_of_a_machine_that_was_put_back_is_told_again() {
    let mut pair = Pair::new();
    sighting(pair.refresh(7));
    pair.watch.handle_put_back();
    assert_eq!(sighting(pair.draw(pair.region())).digest.frame_counter, 7);
    assert_eq!(pair.draw(pair.region()), None);
}

#[test]
fn a_reset_machine_that_shows_the_same_digest_in_the_end_is_told_only_then() {
    let mut pair = Pair::new();
    sighting(pair.refresh(1));
    pair.watch.handle_reset();
    assert_eq!(pair.draw(pair.region()), None, "it is the picture from before");
    pair.watch.handle_surface_reset();
    assert_eq!(sighting(pair.draw(pair.region())).digest.frame_counter, 1);
}

#[test]
fn a_new_surface_is_read_at_its_first_draw_wherever_that_is() {
    let mut pair = Pair::new();
    pair.screen.refresh(1, &[]);
    let drawn = Area { left: 0, top: 0, right: 1, bottom: 1 };
    assert_eq!(sighting(pair.draw(drawn)).digest.frame_counter, 1);
}

#[test]
fn a_symbol_that_is_no_digest_is_told_once() {
    let mut pair = Pair::new();
    pair.screen.paint(&Payload::from_bytes(b"https://example.org").unwrap());
    let fault = DecodeError::Short { found: 19 };
    assert_eq!(pair.draw(pair.region()), Some(WatchEvent::NotADigest(fault)));
    assert_eq!(pair.draw(pair.region()), None);
    assert_eq!(DigestReader::read(pair.screen.frame()), Err(ReadingError::NotADigest(fault)));
}

#[test]
fn a_single_frame_is_read_at_its_place_or_anywhere() {
    let mut screen = Screen::new(800, 600);
    assert!(matches!(DigestReader::read(screen.frame()), Err(ReadingError::NoSymbol(_))));
    let payload = Payload::from_bytes(include_bytes!("../../../fixtures/digest/two_events.bin")).unwrap();
    screen.paint_at(&payload, 33, 57);
    let reading = DigestReader::read(screen.frame()).unwrap();
    assert_eq!((reading.digest.frame_counter, reading.source), (30, Source::Search));
    screen.paint(&payload);
    let reading = DigestReader::read(screen.frame()).unwrap();
    assert_eq!((reading.digest.frame_counter, reading.source), (30, Source::Place));
}

#[test]
fn frames_of_no_size_have_no_digest() {
    for (width, height) in [(0, 0), (0, 9), (9, 0), (1, 1)] {
        let screen = Screen::new(width, height);
        assert!(
            matches!(DigestReader::read(screen.frame()), Err(ReadingError::NoSymbol(_))),
            "{width}x{height}"
        );
    }
}

/// Four finder-like boxes from which the detector computes corners beyond all numbers, and gives up by a panic.
#[test]
fn boxes_that_break_the_detector_are_no_symbol() {
    let mut screen = Screen::new(160, 120);
    let boxes = [(46, 36, 4, 1, 1), (60, 48, 3, 3, 0), (80, 85, 2, 1, 0), (143, 21, 2, 4, 0)];
    for (x, y, width, height, shift) in boxes {
        screen.fill(x, y, 7 * width, 7 * height, FOREGROUND);
        screen.fill(x + width, y + height, 5 * width, 5 * height, [0; 3]);
        screen.fill(x + 2 * width - shift, y + 2 * height, 3 * width, 3 * height, FOREGROUND);
    }
    assert!(matches!(DigestReader::read(screen.frame()), Err(ReadingError::NoSymbol(_))));
}
