//! What the reference guest has been typed, as its digest proves.
//!
//! At its first prompt the guest waits for ever: it records every key, and none but R, I and A does anything. R shows
//! the prompt anew and with it a digest, whose hash over all keys since boot leaves only one story of what was typed.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use backstaff::oracle::digest::DigestReader;
use base64::Engine as _;
use serde_json::json;
use visual_digest::{ChannelHashes, Digest, Frame, Record};

use super::wire::Talk;

/// A key as the guest records it: its character, and UEFI's code for one that has none.
pub(super) type Key = (char, u16);

/// Make codes.
pub(super) const X: u16 = 0x2D;
pub(super) const R: u16 = 0x13;
pub(super) const LEFT: u16 = 0xE04B;

/// What the guest records for the extended key [`LEFT`].
pub(super) const LEFT_KEY: Key = ('\0', 4);

/// A guest that waits at its prompt.
pub(super) struct Guest {
    digest: Digest,
}

impl Guest {
    /// Brings the guest to its prompt, past whatever was typed before. A booting guest is waited for; one that waits
    /// for a key gets it.
    pub(super) fn at_prompt(talk: &mut Talk) -> Self {
        let limit = Instant::now() + BOOT;
        let mut is_started = false;
        let digest = loop {
            if let Some(digest) = newest(talk) {
                assert_eq!(digest.channel_hashes.paste_received, 0, "the guest is beyond its first prompt");
                if waits_at_prompt(&digest) {
                    break digest;
                }
                if digest.channel_hashes.scene_transition == 0 && !is_started {
                    press(talk, X);
                    is_started = true;
                }
            }
            assert!(Instant::now() < limit, "the guest does not reach its prompt within {BOOT:?}");
            std::thread::sleep(PAUSE);
        };
        // Firmware that was typed too much at once loses keys, so this one may take several attempts.
        let mut guest = Self { digest };
        for _ in 0..ATTEMPTS {
            press(talk, R);
            if let Some(digest) = guest.next_prompt(talk, BOOT / ATTEMPTS) {
                guest.digest = digest;
                return guest;
            }
        }
        panic!("the guest does not retry; {:?}", guest.digest);
    }

    /// Checks that exactly these keys were typed since the last time, in this order.
    #[track_caller]
    pub(super) fn was_typed(&mut self, talk: &mut Talk, keys: &[Key]) {
        self.was_typed_one_of(talk, &[keys.to_vec()]);
    }

    /// Checks that exactly the keys of one of these lists were typed since the last time, in their order.
    #[track_caller]
    pub(super) fn was_typed_one_of(&mut self, talk: &mut Talk, lists: &[Vec<Key>]) {
        press(talk, R);
        let digest = self
            .next_prompt(talk, BOOT)
            .unwrap_or_else(|| panic!("the guest does not retry within {BOOT:?}"));
        let before = std::mem::replace(&mut self.digest, digest);
        let now = |digest: &Digest| digest.raw_records.last().map_or(0, Record::timestamp_ms) / POLL_MS;
        let (first, last) = (now(&before), now(&self.digest));
        let (from, to) = (before.channel_hashes.keypress, self.digest.channel_hashes.keypress);
        // The answer to the prompt has the time of its key. It may have left the window of records.
        let answered = self.digest.raw_records.iter().find_map(|record| match record {
            Record::BootloaderDecision { timestamp_ms, .. } => Some(timestamp_ms / POLL_MS),
            _ => None,
        });
        let ends = answered.map_or(first..=last, |poll| poll..=poll);
        let is_typed = |keys: &[Key]| {
            let keys: Vec<Key> = keys.iter().copied().chain([('r', 0)]).collect();
            is_story(from, to, &keys, first, &ends)
        };
        if lists.iter().any(|keys| is_typed(keys)) {
            return;
        }
        // What servers are known to do wrong.
        let twice = lists.iter().any(|keys| {
            let twice: Vec<Key> = keys.iter().flat_map(|key| [*key, *key]).collect();
            twice.len() <= 2 && is_typed(&twice)
        });
        let guess = match (twice, is_typed(&[])) {
            (true, _) => "each was typed twice",
            (_, true) => "nothing was typed",
            _ => "something else was typed",
        };
        panic!(
            "wants the keys {lists:?}: {guess} between {} and {} ms of guest time",
            first * POLL_MS,
            last * POLL_MS
        );
    }

    /// The digest of the next prompt, if it is shown within this time.
    fn next_prompt(&self, talk: &mut Talk, within: Duration) -> Option<Digest> {
        let limit = Instant::now() + within;
        let decided = self.digest.channel_hashes.bootloader_decision;
        while Instant::now() < limit {
            let digest = newest(talk);
            let is_next = |digest: &Digest| digest.channel_hashes.bootloader_decision != decided;
            if let Some(digest) = digest.filter(|digest| is_next(digest) && waits_at_prompt(digest)) {
                return Some(digest);
            }
            std::thread::sleep(PAUSE);
        }
        None
    }
}

/// Types a key, as it is right for every server.
pub(super) fn press(talk: &mut Talk, code: u16) {
    talk.call("send_key", json!({ "scancode": code, "state": "down" }));
    talk.call("send_key", json!({ "scancode": code | 0x80, "state": "up" }));
}

/// The digest on the screen, if there is one now.
pub(super) fn newest(talk: &mut Talk) -> Option<Digest> {
    let id = talk.ask("screenshot", json!({ "format": "rgba" }));
    let answer = talk.answer();
    assert_eq!(answer["id"], id, "the answer to screenshot");
    // A socket is there before its screen.
    if answer["error"]["code"] == "no_such_surface" {
        return None;
    }
    let shot = &answer["result"];
    let side = |key: &str| u32::try_from(shot[key].as_u64().unwrap()).unwrap();
    let (width, height) = (side("width"), side("height"));
    let data = shot["data_base64"].as_str().unwrap();
    let mut pixels = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    pixels.chunks_exact_mut(4).for_each(|pixel| pixel.swap(0, 2));
    let frame = Frame::new(width, height, width as usize * 4, &pixels).unwrap();
    DigestReader::read(frame).ok().map(|reading| reading.digest)
}

/// The last thing that happened is that the prompt, or the note below it, was shown.
fn waits_at_prompt(digest: &Digest) -> bool {
    matches!(digest.raw_records.last(), Some(Record::LineRendered { row: 21 | 22, .. }))
}

/// Whether these keys, typed at some time each and the last of them in `ends`, lead from one hash to the other.
fn is_story(from: u32, to: u32, keys: &[Key], first_poll: u64, ends: &RangeInclusive<u64>) -> bool {
    let Some(((unicode, scancode), rest)) = keys.split_first() else { return from == to };
    let begin = if rest.is_empty() { first_poll.max(*ends.start()) } else { first_poll };
    (begin..=*ends.end()).any(|poll| {
        let timestamp_ms = poll * POLL_MS;
        let mut hashes = ChannelHashes { keypress: from, ..ChannelHashes::default() };
        hashes.extend(&Record::Keypress { unicode: *unicode, scancode: *scancode, timestamp_ms });
        is_story(hashes.keypress, to, rest, poll, ends)
    })
}

/// The guest's clock goes in steps of this.
const POLL_MS: u64 = 50;
/// Between two looks at the screen.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than a boot takes under emulation on a busy host.
const BOOT: Duration = Duration::from_secs(180);
const ATTEMPTS: u32 = 9;
