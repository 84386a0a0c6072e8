//! Pixels to a decoded digest, and the two costs around it.

use std::hint::black_box;
use std::time::Duration;

use backstaff::oracle::digest::{DigestReader, Source};
use visual_digest::{ChannelHashes, Digest, Frame, Record, decode, encode, framebuffer_hash, symbol};

use crate::measure::{Goal, Report};
use crate::screen::Screen;

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 800;
const GOAL: Duration = Duration::from_micros(300);

pub(crate) fn run(report: &mut Report) {
    let goal = Goal::median(GOAL);
    let mut screen = Screen::new(WIDTH, HEIGHT);
    // Text-like content, so that the search has something to look at.
    for row in 0..40 {
        for column in 0..50 {
            screen.fill(16 + column * 12, 16 + row * 18, 7, 11, [120, 150, 120]);
        }
    }
    screen.refresh(7, &records());
    let read = || read_at_place(black_box(&screen).frame());
    assert_eq!(read().raw_records, records());
    report.row("read and decode at its place, 1280x800", &report.time(5000, 1, read), goal);
    let hash = || framebuffer_hash(black_box(&screen).frame());
    report.row("framebuffer hash, 1280x800", &report.time(5000, 1, hash), None);
    let both = || (read(), hash());
    report.row("both: what a sighting costs", &report.time(5000, 1, both), goal);

    let mut empty = Screen::new(WIDTH, HEIGHT);
    let missing = || symbol::read(black_box(&empty).frame()).is_err();
    report.row("no symbol at its place", &report.time(5000, 10, missing), None);
    empty.paint_at(&encode(7, &ChannelHashes::default(), records().iter(), 0), 200, 300);
    let search = || DigestReader::read(empty.frame()).unwrap();
    assert_eq!(search().source, Source::Search);
    report.row("search of the whole frame, symbol elsewhere", &report.time(300, 1, search), None);
}

fn read_at_place(frame: Frame<'_>) -> Digest {
    decode(symbol::read(frame).unwrap().as_bytes()).unwrap()
}

/// As many as a digest shows.
pub(crate) fn records() -> Vec<Record> {
    (0..3).map(|row| Record::LineRendered { row, timestamp_ms: 2350 }).collect()
}
