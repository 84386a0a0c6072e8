//! Which records of a digest are new. A digest shows a sliding window of the newest records; its channel hashes cover
//! all of them, and so prove which ones came since the digest before, and whether any were missed.

use visual_digest::{Channel, ChannelHashes, Digest, Record};

/// The records that a digest adds to what was known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecords {
    /// How many of the digest's records are new, counted from the newest.
    pub count: usize,
    /// Channels with records that came and left the window between two looks at the screen.
    pub missed: Vec<Channel>,
}

/// Compares a digest with the hashes of the one before; `None` at the beginning of a boot.
pub fn new_records(before: Option<&ChannelHashes>, digest: &Digest) -> NewRecords {
    let before = before.copied().unwrap_or_default();
    let records = &digest.raw_records;
    let explains =
        |count: &usize| extended(before, &records[records.len() - count..]) == digest.channel_hashes;
    match (0..=records.len()).find(explains) {
        Some(count) => NewRecords { count, missed: Vec::new() },
        // Had no more come than the window holds, one of its ends would have explained the hashes: so all of it is
        // new, and what it does not explain was missed.
        None => {
            let explained = extended(before, records);
            let is_missed =
                |channel: &Channel| explained.get(*channel) != digest.channel_hashes.get(*channel);
            NewRecords { count: records.len(), missed: Channel::ALL.into_iter().filter(is_missed).collect() }
        }
    }
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

    fn digest(all: &[Record], shown: usize) -> Digest {
        Digest {
            frame_counter: 1,
            channel_hashes: extended(ChannelHashes::default(), all),
            raw_records: all[all.len() - shown..].to_vec(),
            unknown_records: Vec::new(),
            framebuffer_hash: 0,
        }
    }

    #[test]
    fn a_window_that_did_not_move_adds_nothing() {
        let seen = digest(&[line(1), line(2)], 2);
        let found = new_records(Some(&seen.channel_hashes), &seen);
        assert_eq!(found, NewRecords { count: 0, missed: Vec::new() });
    }

    #[test]
    fn only_what_came_since_is_new() {
        let before = digest(&[line(1), line(2)], 2);
        let after = digest(&[line(1), line(2), line(3)], 3);
        assert_eq!(
            new_records(Some(&before.channel_hashes), &after),
            NewRecords { count: 1, missed: Vec::new() }
        );
        assert_eq!(new_records(None, &before), NewRecords { count: 2, missed: Vec::new() });
    }

    #[test]
    fn two_equal_records_are_two() {
        let before = digest(&[line(1)], 1);
        let after = digest(&[line(1), line(1)], 2);
        assert_eq!(
            new_records(Some(&before.channel_hashes), &after),
            NewRecords { count: 1, missed: Vec::new() }
        );
    }

    #[test]
    fn more_than_the_window_holds_is_a_gap() {
        let all: Vec<Record> = (0..9).map(line).collect();
        let after = digest(&all, 3);
        let found = new_records(Some(&digest(&all[..2], 2).channel_hashes), &after);
        assert_eq!(found, NewRecords { count: 3, missed: vec![Channel::LineRendered] });
    }
}
