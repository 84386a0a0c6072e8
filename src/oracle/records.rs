//! Which records of a digest are new. A digest shows a sliding window of the newest records; its channel hashes cover
//! all of them, and so prove which ones came since the digest before, and whether any were missed. Where nobody tells the
//! hashes, what two windows have in common is all there is to go by.

use visual_digest::{Channel, ChannelHashes, Record};

use crate::journal::ObservedDigest;

/// What is known of the digest before, within the same boot. Nothing, at the beginning.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// Its channel hashes, if they are known.
    pub hashes: Option<ChannelHashes>,
    /// Its records, oldest first.
    pub window: Vec<Record>,
}

/// The records that a digest adds to what was known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecords {
    /// How many of the digest's records are new, counted from the newest.
    pub count: usize,
    /// Channels with records that came and left the window between two looks at the screen.
    pub missed: Vec<Channel>,
    /// Whether records may have come and left unseen. Without hashes that is all that can be said.
    pub may_have_missed: bool,
}

/// Compares a digest with the one before.
pub fn new_records(before: &Before, digest: &ObservedDigest) -> NewRecords {
    let is_first = before.hashes.is_none() && before.window.is_empty();
    match (digest.channel_hashes, before.hashes) {
        (Some(hashes), Some(known)) => by_hashes(known, &digest.raw_records, &hashes),
        (Some(hashes), None) if is_first => by_hashes(ChannelHashes::default(), &digest.raw_records, &hashes),
        _ => by_windows(&before.window, &digest.raw_records),
    }
}

fn by_hashes(before: ChannelHashes, records: &[Record], hashes: &ChannelHashes) -> NewRecords {
    let explains = |count: &usize| extended(before, &records[records.len() - count..]) == *hashes;
    let (count, missed) = match (0..=records.len()).find(explains) {
        Some(count) => (count, Vec::new()),
        // Had no more come than the window holds, one of its ends would have explained the hashes: so all of it is
        // new, and what it does not explain was missed.
        None => {
            let explained = extended(before, records);
            let is_missed = |channel: &Channel| explained.get(*channel) != hashes.get(*channel);
            (records.len(), Channel::ALL.into_iter().filter(is_missed).collect())
        }
    };
    NewRecords { count, missed, may_have_missed: false }
}

/// The beginning of a window is the end of the one before, as long as no more came than it holds.
fn by_windows(before: &[Record], records: &[Record]) -> NewRecords {
    let most = before.len().min(records.len());
    let known = (0..=most).rev().find(|&known| before.ends_with(&records[..known])).unwrap_or_default();
    let may_have_missed = known == 0 && !before.is_empty() && !records.is_empty();
    NewRecords { count: records.len() - known, missed: Vec::new(), may_have_missed }
}

fn extended(mut hashes: ChannelHashes, records: &[Record]) -> ChannelHashes {
    for record in records {
        hashes.extend(record);
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(row: u32) -> Record {
        Record::LineRendered { row, timestamp_ms: u64::from(row) * 200 }
    }

    fn digest(all: &[Record], shown: usize) -> ObservedDigest {
        ObservedDigest {
            frame_counter: 1,
            channel_hashes: Some(extended(ChannelHashes::default(), all)),
            raw_records: all[all.len() - shown..].to_vec(),
            unknown_records: Vec::new(),
            framebuffer_hash: 0,
        }
    }

    fn hashless(records: &[Record]) -> ObservedDigest {
        ObservedDigest { channel_hashes: None, ..digest(records, records.len()) }
    }

    fn after(digest: &ObservedDigest) -> Before {
        Before { hashes: digest.channel_hashes, window: digest.raw_records.clone() }
    }

    fn sure(count: usize, missed: Vec<Channel>) -> NewRecords {
        NewRecords { count, missed, may_have_missed: false }
    }

    #[test]
    fn a_window_that_did_not_move_adds_nothing() {
        let seen = digest(&[line(1), line(2)], 2);
        assert_eq!(new_records(&after(&seen), &seen), sure(0, Vec::new()));
    }

    #[test]
    fn only_what_came_since_is_new() {
        let before = digest(&[line(1), line(2)], 2);
        let newer = digest(&[line(1), line(2), line(3)], 3);
        assert_eq!(new_records(&after(&before), &newer), sure(1, Vec::new()));
        assert_eq!(new_records(&Before::default(), &before), sure(2, Vec::new()));
    }

    #[test]
    fn two_equal_records_are_two() {
        let before = digest(&[line(1)], 1);
        let newer = digest(&[line(1), line(1)], 2);
        assert_eq!(new_records(&after(&before), &newer), sure(1, Vec::new()));
    }

    #[test]
    fn more_than_the_window_holds_is_a_gap() {
        let all: Vec<Record> = (0..9).map(line).collect();
        let newer = digest(&all, 3);
        let found = new_records(&after(&digest(&all[..2], 2)), &newer);
        assert_eq!(found, sure(3, vec![Channel::LineRendered]));
    }

    #[test]
    fn without_hashes_the_longest_overlap_of_two_windows_is_known_already() {
        let all: Vec<Record> = [1, 1, 2, 1, 1, 2, 3].into_iter().map(line).collect();
        let count = |before: &[Record], newer: &[Record]| {
            let found = new_records(&after(&hashless(before)), &hashless(newer));
            assert!(!found.may_have_missed && found.missed.is_empty(), "{found:?}");
            found.count
        };
        assert_eq!(count(&[], &all), 7, "the first of a boot");
        assert_eq!(count(&all, &all), 0);
        assert_eq!(count(&all[..6], &all[3..]), 1);
        assert_eq!(count(&all[..2], &all[1..3]), 1);
        assert_eq!(count(&all[..3], &[]), 0);
    }

    #[test]
    fn without_hashes_two_windows_that_share_nothing_leave_a_doubt() {
        let newer = hashless(&[line(7), line(8)]);
        let found = new_records(&after(&hashless(&[line(1), line(2)])), &newer);
        assert_eq!(found, NewRecords { count: 2, missed: Vec::new(), may_have_missed: true });
    }

    #[test]
    fn hashes_that_come_after_a_digest_without_are_no_reason_to_tell_everything_again() {
        let all: Vec<Record> = (0..9).map(line).collect();
        let found = new_records(&after(&hashless(&all[2..5])), &digest(&all, 5));
        assert_eq!(found, sure(4, Vec::new()));
        let found = new_records(&after(&digest(&all[..5], 3)), &hashless(&all[3..]));
        assert_eq!(found, sure(4, Vec::new()));
    }
}
