//! What an event costs whoever appends it, and what a question to one costs.

use std::collections::BTreeMap;
use std::time::Instant;

use backstaff::journal::matching::Matcher;
use backstaff::journal::{Body, Journal, Source};
use visual_digest::{ChannelHashes, decode, encode};

use crate::digest::records;
use crate::measure::{Report, Samples};

const BATCH: u32 = 1000;

pub(crate) fn run(report: &mut Report) {
    report.row("append, in memory", &appends(report, Journal::new), None);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let on_disk = || Journal::create(&folder.path().join("journal.ndjson")).unwrap();
    report.row("append, with the writer's thread", &appends(report, on_disk), None);
    let to_disk = to_disk(report, on_disk);
    report.row("append until it is in the file", &to_disk, None);

    let payload = encode(7, &ChannelHashes::default(), records().iter(), 0);
    let digest = decode(payload.as_bytes()).unwrap();
    let to_json = || serde_json::to_value(&digest).unwrap();
    report.row("digest to JSON", &report.time(2000, 10, to_json), None);
    let value = to_json();
    let hit = Matcher::Record(BTreeMap::from([
        ("frame_counter".to_owned(), Matcher::AtLeast(3.0)),
        ("raw_records".to_owned(), Matcher::Any),
    ]));
    assert!(hit.matches(&value));
    report.row("matcher of two keys on it, hit", &report.time(2000, 100, || hit.matches(&value)), None);
    let line = Matcher::Record(BTreeMap::from([("row".to_owned(), Matcher::AtLeast(21.0))]));
    let miss = Matcher::Record(BTreeMap::from([("line_rendered".to_owned(), line)]));
    assert!(!miss.matches(&value));
    report.row("matcher of a record on it, miss", &report.time(2000, 100, || miss.matches(&value)), None);
}

fn appends(report: &Report, journal: impl Fn() -> Journal) -> Samples {
    let mut samples = Samples::default();
    for _ in 0..report.samples(300) {
        let journal = journal();
        let began = Instant::now();
        append(&journal);
        samples.push(began.elapsed(), BATCH);
        journal.close();
    }
    samples
}

fn to_disk(report: &Report, journal: impl Fn() -> Journal) -> Samples {
    let mut samples = Samples::default();
    for _ in 0..report.samples(300) {
        let journal = journal();
        let began = Instant::now();
        append(&journal);
        journal.close();
        samples.push(began.elapsed(), BATCH);
    }
    samples
}

fn append(journal: &Journal) {
    for _ in 0..BATCH {
        journal.append(Source::Serial, Body::SerialLine { text: "t=2350 type=line row=3".to_owned() });
    }
}
