//! Digests and drains that tell the same story, and such that do not.

use backstaff::journal::ObservedDigest;
use backstaff::oracle::drain::{DrainLine, DrainParser};
use backstaff::oracle::reconcile::{Reconciliation, Standing, reconcile};
use visual_digest::{ChannelHashes, Record, decode, encode};

/// A guest that records, refreshes and drains.
#[derive(Default)]
struct Guest {
    hashes: ChannelHashes,
    records: Vec<Record>,
    refreshes: u32,
    drain: DrainParser,
    lines: Vec<DrainLine>,
}

impl Guest {
    fn write(&mut self, line: &str) {
        let line = self.drain.handle_line(line).expect("a line of the drain");
        if let Some(record) = line.record() {
            self.hashes.extend(&record);
            self.records.push(record);
        }
        self.lines.push(line);
    }

    fn refresh(&mut self) -> ObservedDigest {
        self.refreshes += 1;
        let payload = encode(self.refreshes, &self.hashes, self.records.iter(), 0);
        decode(payload.as_bytes()).expect("our own payload").into()
    }

    fn finish(&mut self) {
        let count = self.refreshes;
        self.write(&format!("type=refresh_stats count={count} total_ms=1 mean_us=1 max_us=1 p99_us=1"));
    }
}

/// A short story with four digests, the last but one record covered by none.
fn story() -> (Guest, Vec<ObservedDigest>) {
    let mut guest = Guest::default();
    let mut digests = vec![guest.refresh()];
    guest.write("t=50 type=keypress unicode=000d scancode=0000");
    guest.write("t=50 type=transition from=awaiting to=booting");
    digests.push(guest.refresh());
    for row in 0..4 {
        guest.write(&format!("t={} type=line row={row}", 50 + 200 * row));
    }
    digests.push(guest.refresh());
    guest.write("t=900 type=mode_switch requested=1280x720 applied=1280x768");
    guest.write("t=950 type=keypress unicode=d83d scancode=0000");
    digests.push(guest.refresh());
    guest.write("t=950 type=transition from=booting to=parked");
    guest.finish();
    (guest, digests)
}

fn standing(outcome: &Reconciliation, standing: Standing) -> Vec<&str> {
    let of_interest = outcome.findings.iter().filter(|finding| finding.standing == standing);
    of_interest.map(|finding| finding.text.as_str()).collect()
}

#[test]
fn an_honest_guest_agrees_even_when_its_last_record_was_never_seen() {
    let (guest, digests) = story();
    let outcome = reconcile(&digests, &guest.lines);
    assert!(outcome.agrees, "{outcome:#?}");
    let seen = standing(&outcome, Standing::Agrees);
    assert_eq!(
        seen,
        [
            "4 digests, frame counters rise from 1 to 4",
            "the channel hashes and records of 4 digests are those of the drain; the last covers 8 of its 9 records",
            "the guest counted 4 refreshes, the highest frame seen is 4",
        ]
    );
}

#[test]
fn a_record_missing_in_the_drain_names_its_channel() {
    let (mut guest, digests) = story();
    guest.lines.retain(|line| !matches!(line, DrainLine::Line { row: 2, .. }));
    let outcome = reconcile(&digests, &guest.lines);
    assert!(!outcome.agrees);
    let faults = standing(&outcome, Standing::Disagrees);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with("channel line_rendered of frame 3 has hash "), "{}", faults[0]);
    assert!(faults[0].contains("no number of its 3 drained records"), "{}", faults[0]);
}

#[test]
fn a_changed_record_names_its_channel() {
    let (mut guest, digests) = story();
    guest.lines[0] = DrainLine::Keypress { t: 51, unicode: 13, scancode: 0 };
    let outcome = reconcile(&digests, &guest.lines);
    let faults = standing(&outcome, Standing::Disagrees);
    assert!(faults[0].starts_with("channel keypress of frame 2 has hash "), "{faults:#?}");
}

#[test]
fn records_in_another_order_than_they_were_hashed_disagree() {
    let (mut guest, digests) = story();
    guest.lines.swap(1, 2);
    let outcome = reconcile(&digests, &guest.lines);
    let faults = standing(&outcome, Standing::Disagrees);
    assert!(faults[0].contains("never stood together"), "{faults:#?}");
    assert!(faults[0].contains("keypress 1, line_rendered 0, scene_transition 1"), "{faults:#?}");
}

#[test]
fn raw_records_that_are_not_the_newest_ones_disagree() {
    let (guest, digests) = story();
    for spoil in [
        (|records| records.swap(0, 1)) as fn(&mut Vec<Record>),
        |records| records.clear(),
        |records| {
            records.remove(0);
        },
    ] {
        let mut digests = digests.clone();
        spoil(&mut digests[2].raw_records);
        let outcome = reconcile(&digests, &guest.lines);
        let faults = standing(&outcome, Standing::Disagrees);
        assert!(
            faults[0].starts_with("frame 3 has the hashes of the first 6 drained records"),
            "{faults:#?}"
        );
    }
}

#[test]
fn frames_out_of_order_disagree() {
    let (guest, mut digests) = story();
    digests.swap(1, 2);
    let outcome = reconcile(&digests, &guest.lines);
    let faults = standing(&outcome, Standing::Disagrees);
    assert_eq!(
        faults,
        [
            "frame 2 was seen after frame 3: frame counters must rise within a boot",
            "frame 2 covers the first 2 drained records only, though an earlier frame covered 6",
        ]
    );
}

#[test]
fn a_frame_beyond_the_counted_refreshes_disagrees() {
    let (guest, mut digests) = story();
    digests[3].frame_counter = 5;
    let outcome = reconcile(&digests, &guest.lines);
    let faults = standing(&outcome, Standing::Disagrees);
    assert_eq!(faults, ["the guest counted 4 refreshes, the highest frame seen is 5"]);
}

#[test]
fn what_the_evidence_cannot_show_is_not_judged() {
    let (mut guest, digests) = story();
    let outcome = reconcile(&[], &guest.lines);
    assert_eq!(standing(&outcome, Standing::NotJudged), ["no digest was seen"]);

    guest.lines.truncate(5);
    let outcome = reconcile(&digests, &guest.lines);
    assert!(!outcome.agrees);
    assert_eq!(standing(&outcome, Standing::Disagrees), [""; 0]);
    let open = standing(&outcome, Standing::NotJudged);
    assert_eq!(
        open,
        [
            "the hashes of frame 3 cannot be recomputed: the drain ends after 5 records without its summary",
            "the drain does not end with its summary, so the number of refreshes is unknown",
        ]
    );
}

#[test]
fn an_overflown_ring_is_not_judged_but_a_full_one_is() {
    let mut guest = Guest::default();
    for row in 0..256 {
        guest.write(&format!("t={row} type=line row={row}"));
    }
    let full = guest.refresh();
    guest.write("t=256 type=line row=0");
    let overflown = guest.refresh();
    guest.finish();

    let drain: Vec<DrainLine> = guest.lines[1..].to_vec();
    let outcome = reconcile(&[overflown], &drain);
    assert!(!outcome.agrees);
    let open = standing(&outcome, Standing::NotJudged);
    assert_eq!(
        open,
        [
            "the hashes of frame 2 cannot be recomputed: the drain has 256 records, as many as a guest remembers: older \
          ones may be gone"
        ]
    );

    let mut drain = guest.lines.clone();
    drain.remove(256);
    assert!(reconcile(&[full], &drain).agrees);
}

/// The same story over a console that tells no hashes.
fn hashless() -> (Guest, Vec<ObservedDigest>) {
    let (guest, mut digests) = story();
    digests.iter_mut().for_each(|digest| digest.channel_hashes = None);
    (guest, digests)
}

#[test]
fn without_hashes_the_records_are_judged_and_the_finding_says_so() {
    let (guest, digests) = hashless();
    let outcome = reconcile(&digests, &guest.lines);
    assert!(outcome.agrees, "{outcome:#?}");
    assert_eq!(
        standing(&outcome, Standing::Agrees)[1],
        "the records of 4 digests stand in the drain in this order; the last covers 8 of its 9 records; 4 were judged by \
         their records alone, because this console does not tell channel hashes"
    );
    // Some hashes, such as those of a screenshot, are as good as none or all.
    let (_, whole) = story();
    let mixed = [&whole[..2], &digests[2..]].concat();
    assert!(reconcile(&mixed, &guest.lines).agrees);
}

#[test]
fn without_hashes_a_lie_in_any_record_is_found() {
    let (guest, digests) = hashless();
    for digest in 1..digests.len() {
        for record in 0..digests[digest].raw_records.len() {
            let mut digests = digests.clone();
            digests[digest].raw_records[record] = Record::LineRendered { row: 77, timestamp_ms: 1 };
            let outcome = reconcile(&digests, &guest.lines);
            let faults = standing(&outcome, Standing::Disagrees);
            assert_eq!(faults.len(), 1, "{outcome:#?}");
            let says = format!("number {} of them does not follow", record + 1);
            assert!(faults[0].contains(&says), "{}", faults[0]);
        }
    }
}

#[test]
fn without_hashes_another_order_is_found() {
    let (guest, digests) = hashless();
    let fault = |spoil: &dyn Fn(&mut Vec<ObservedDigest>)| {
        let mut digests = digests.clone();
        spoil(&mut digests);
        let outcome = reconcile(&digests, &guest.lines);
        let faults = standing(&outcome, Standing::Disagrees);
        assert_eq!(faults.len(), 1, "{outcome:#?}");
        faults[0].to_owned()
    };
    let swapped = fault(&|digests| digests[2].raw_records.swap(1, 2));
    assert!(swapped.starts_with("the 6 records of frame 3 do not stand together"), "{swapped}");
    let gone = fault(&|digests| {
        digests[3].raw_records.remove(4);
    });
    assert!(gone.contains("number 5 of them does not follow"), "{gone}");
    let fell = fault(&|digests| {
        let older = digests[1].raw_records.clone();
        digests[3].raw_records = older;
    });
    assert!(fell.contains("frame 4 shows the last of the first 2 drained records, though"), "{fell}");
    let lost = fault(&|digests| digests[3].raw_records.clear());
    assert!(lost.contains("frame 4 shows no record, though an earlier frame covered 6"), "{lost}");
}

#[test]
fn without_hashes_a_drain_without_its_beginning_is_not_judged() {
    let (guest, digests) = hashless();
    let outcome = reconcile(&digests, &guest.lines[1..4]);
    assert_eq!(standing(&outcome, Standing::Disagrees), [""; 0]);
    let open = standing(&outcome, Standing::NotJudged);
    assert!(
        open[0].starts_with("the records of frame 2 cannot be looked up: the drain ends after 3"),
        "{open:#?}"
    );
}
