//! Do the screen and the serial port tell the same story? Every digest hashes all records since boot; the drain lists
//! them. So each digest must be what the guest had recorded at one point of the drain, and later digests stand later.
//! Where nobody tells the hashes, the records that a digest shows must stand together in the drain.
//!
//! Start reading at [`reconcile`].

use super::drain::{DrainLine, RefreshStats};
use crate::journal::ObservedDigest;
use serde::{Deserialize, Serialize};
use visual_digest::{Channel, ChannelHashes, Record, decode, encode};

/// How many events a guest remembers; of more the oldest are missing in its drain.
pub const RING_CAPACITY: usize = 256;

/// The outcome of a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Whether everything was judged and found in order.
    pub agrees: bool,
    /// What was looked at and what came of it, with evidence.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What came of it.
    pub standing: Standing,
    /// What was seen, in a line for people.
    pub text: String,
}

/// What came of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The two agree.
    Agrees,
    /// They contradict each other.
    Disagrees,
    /// The evidence does not suffice.
    NotJudged,
}

/// Compares the digests of one boot, in the order they were seen, with the drain at its end.
///
/// The last digest may be older than the last records; what is covered by none is told. A drain of
/// [`RING_CAPACITY`] records may lack its beginning, and then the hashes are not judged.
pub fn reconcile(digests: &[ObservedDigest], drain: &[DrainLine]) -> Reconciliation {
    let story = Story::of(drain);
    let findings = if digests.is_empty() {
        vec![not_judged("no digest was seen".to_owned())]
    } else {
        vec![judge_order(digests), judge_records(digests, &story), judge_count(digests, &story)]
    };
    let agrees = findings.iter().all(|finding| finding.standing == Standing::Agrees);
    Reconciliation { agrees, findings }
}

fn agrees(text: String) -> Finding {
    Finding { standing: Standing::Agrees, text }
}

fn disagrees(text: String) -> Finding {
    Finding { standing: Standing::Disagrees, text }
}

fn not_judged(text: String) -> Finding {
    Finding { standing: Standing::NotJudged, text }
}

/// The drain as records, and what a guest's hashes were after each of them.
struct Story {
    records: Vec<Record>,
    /// The records as digests show them: the wire cuts some numbers off.
    shown: Vec<Record>,
    /// One more than records: the hashes before the first one, and after each.
    hashes: Vec<ChannelHashes>,
    stats: Option<RefreshStats>,
    /// Why the guest may have recorded more than the drain tells.
    gap: Option<String>,
}

impl Story {
    fn of(drain: &[DrainLine]) -> Self {
        let records: Vec<Record> = drain.iter().filter_map(DrainLine::record).collect();
        let mut hashes = vec![ChannelHashes::default()];
        hashes.extend(records.iter().scan(ChannelHashes::default(), |hashes, record| {
            hashes.extend(record);
            Some(*hashes)
        }));
        let shown = records.iter().map(as_shown).collect();
        let stats = match drain.last() {
            Some(DrainLine::RefreshStats(stats)) => Some(*stats),
            _ => None,
        };
        let strange = drain.iter().find(|line| matches!(line, DrainLine::Other(_)));
        let gap = if let Some(line) = strange {
            Some(format!("a line of the drain is not understood: {line:?}"))
        } else if stats.is_none() {
            Some(format!("the drain ends after {} records without its summary", records.len()))
        } else if records.len() >= RING_CAPACITY {
            Some(format!(
                "the drain has {} records, as many as a guest remembers: older ones may be gone",
                records.len()
            ))
        } else {
            None
        };
        Self { records, shown, hashes, stats, gap }
    }

    /// Returns after how many records the hashes were these, from `start` on.
    fn position(&self, hashes: &ChannelHashes, start: usize) -> Option<usize> {
        let found = self.hashes.iter().skip(start).position(|known| known == hashes);
        found.map(|beyond| start + beyond)
    }

    /// Returns after how many records these were the newest ones, from `start` on.
    fn position_of(&self, window: &[Record], start: usize) -> Option<usize> {
        (start..=self.shown.len()).find(|&covered| self.shown[..covered].ends_with(window))
    }

    /// Returns whether the digest's records are the newest ones after `covered` records, as many as fit.
    fn has_records_of(&self, digest: &ObservedDigest, covered: usize) -> bool {
        let (known, hashes) = (self.records.iter().take(covered), ChannelHashes::default());
        let payload = encode(digest.frame_counter, &hashes, known, digest.framebuffer_hash);
        let newest = decode(payload.as_bytes()).map(|digest| digest.raw_records).unwrap_or_default();
        if digest.unknown_records.is_empty() {
            digest.raw_records == newest
        } else {
            newest.ends_with(&digest.raw_records)
        }
    }

    /// Returns after how many of its own records the channel had this hash.
    fn position_in(&self, channel: Channel, hash: u32) -> Option<usize> {
        let mut own: Vec<u32> = self.hashes.iter().map(|hashes| hashes.get(channel)).collect();
        own.dedup();
        own.into_iter().position(|known| known == hash)
    }
}

fn judge_order(digests: &[ObservedDigest]) -> Finding {
    let fall = digests.windows(2).find(|pair| pair[1].frame_counter <= pair[0].frame_counter);
    match (fall, digests) {
        (Some([before, after]), _) => {
            let (before, after) = (before.frame_counter, after.frame_counter);
            disagrees(format!(
                "frame {after} was seen after frame {before}: frame counters must rise within a boot"
            ))
        }
        (_, [first, .., last]) => agrees(format!(
            "{} digests, frame counters rise from {} to {}",
            digests.len(),
            first.frame_counter,
            last.frame_counter
        )),
        _ => agrees("one digest".to_owned()),
    }
}

fn judge_count(digests: &[ObservedDigest], story: &Story) -> Finding {
    let Some(stats) = story.stats else {
        return not_judged(
            "the drain does not end with its summary, so the number of refreshes is unknown".to_owned(),
        );
    };
    let highest = digests.iter().map(|digest| digest.frame_counter).max().unwrap_or_default();
    let text = format!("the guest counted {} refreshes, the highest frame seen is {highest}", stats.count);
    if stats.count >= u64::from(highest) { agrees(text) } else { disagrees(text) }
}

/// Places every digest in the story. The first one that fits nowhere ends it, as all later ones would follow suit.
fn judge_records(digests: &[ObservedDigest], story: &Story) -> Finding {
    let mut covered = 0;
    for digest in digests {
        let placed = match &digest.channel_hashes {
            Some(hashes) => place_by_hashes(digest, hashes, story, covered),
            None => place_by_records(digest, story, covered),
        };
        covered = match placed {
            Ok(position) => position,
            Err(finding) => return finding,
        };
    }
    let (count, total) = (digests.len(), story.records.len());
    let hashless = digests.iter().filter(|digest| digest.channel_hashes.is_none()).count();
    agrees(match hashless {
        0 => format!(
            "the channel hashes and records of {count} digests are those of the drain; the last covers {covered} of its \
             {total} records"
        ),
        _ => format!(
            "the records of {count} digests stand in the drain in this order; the last covers {covered} of its {total} \
             records; {hashless} were judged by their records alone, because this console does not tell channel hashes"
        ),
    })
}

/// Returns after how many records of the story this digest stands, from `covered` on.
fn place_by_hashes(
    digest: &ObservedDigest,
    hashes: &ChannelHashes,
    story: &Story,
    covered: usize,
) -> Result<usize, Finding> {
    let frame = digest.frame_counter;
    let covered = match (story.position(hashes, covered), &story.gap) {
        (Some(position), _) => position,
        (None, Some(gap)) => {
            return Err(not_judged(format!("the hashes of frame {frame} cannot be recomputed: {gap}")));
        }
        (None, None) => return Err(disagrees(misplaced(frame, hashes, story, covered))),
    };
    if story.has_records_of(digest, covered) {
        return Ok(covered);
    }
    Err(disagrees(format!(
        "frame {frame} has the hashes of the first {covered} drained records, but its own records are not the \
         last of these: {:?}",
        digest.raw_records
    )))
}

/// The same for a digest of which only the records are known.
fn place_by_records(digest: &ObservedDigest, story: &Story, covered: usize) -> Result<usize, Finding> {
    let (frame, window) = (digest.frame_counter, &digest.raw_records);
    // A window is never empty again once something was recorded.
    let is_lost = window.is_empty() && covered > 0;
    if let Some(position) = story.position_of(window, covered).filter(|_| !is_lost) {
        return Ok(position);
    }
    const BECAUSE: &str = "judged by its records, because this console does not tell channel hashes";
    if is_lost {
        return Err(disagrees(format!(
            "frame {frame} shows no record, though an earlier frame covered {covered} ({BECAUSE})"
        )));
    }
    if let Some(earlier) = story.position_of(window, 0) {
        return Err(disagrees(format!(
            "frame {frame} shows the last of the first {earlier} drained records, though an earlier frame covered \
             {covered} ({BECAUSE})"
        )));
    }
    if let Some(gap) = &story.gap {
        return Err(not_judged(format!("the records of frame {frame} cannot be looked up: {gap}")));
    }
    // Everything the digest and the drain agree on is left out.
    let known = (0..=window.len())
        .rev()
        .find(|&known| story.shown.windows(known.max(1)).any(|part| part == &window[..known]) || known == 0)
        .unwrap_or_default();
    Err(disagrees(format!(
        "the {} records of frame {frame} do not stand together in the drain: number {} of them does not follow, {:?} \
         ({BECAUSE})",
        window.len(),
        known + 1,
        window.get(known),
    )))
}

/// A record as a digest shows it.
fn as_shown(record: &Record) -> Record {
    let payload = encode(0, &ChannelHashes::default(), [record].into_iter(), 0);
    let shown = decode(payload.as_bytes()).ok().and_then(|digest| digest.raw_records.first().copied());
    shown.unwrap_or(*record)
}

/// Says why the digest fits nowhere from `covered` records on, naming the first channel at fault.
fn misplaced(frame: u32, hashes: &ChannelHashes, story: &Story, covered: usize) -> String {
    if let Some(earlier) = story.position(hashes, 0) {
        return format!(
            "frame {frame} covers the first {earlier} drained records only, though an earlier frame covered {covered}"
        );
    }
    let mut positions = Vec::new();
    for channel in Channel::ALL {
        let hash = hashes.get(channel);
        let Some(position) = story.position_in(channel, hash) else {
            let records = story.records.iter().filter(|record| record.channel() == channel).count();
            let last = story.hashes.last().map_or(0, |hashes| hashes.get(channel));
            return format!(
                "channel {channel} of frame {frame} has hash {hash:08x}, which no number of its {records} drained \
                 records gives; all of them give {last:08x}"
            );
        };
        positions.push(format!("{channel} {position}"));
    }
    format!(
        "each channel hash of frame {frame} is one of the drain's, but they never stood together; records per channel: {}",
        positions.join(", ")
    )
}
