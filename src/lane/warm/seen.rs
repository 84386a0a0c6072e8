//! What the oracles saw of a machine at its ready point: what is stored beside a saved machine, and what a restored or
//! another booted one is compared with.

use serde::{Deserialize, Serialize};
use visual_digest::ChannelHashes;

use crate::console::{Console, Screenshot};
use crate::journal::{Body, Cursor, Journal, Source};

/// What the oracles saw of a machine so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Width and height of the screen, in pixels.
    pub screen: Option<(u32, u32)>,
    /// The newest digest.
    pub digest: Option<SeenDigest>,
    /// Lines on the serial port.
    pub serial: Vec<String>,
}

/// A digest without what differs from boot to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDigest {
    /// Refreshes since boot.
    pub frame_counter: u32,
    /// What has happened since boot.
    pub channel_hashes: ChannelHashes,
    /// The hashes of the screens seen since the last thing happened: something may blink.
    pub framebuffer_hashes: Vec<u32>,
}

impl Seen {
    /// Reads a journal, and looks at the screen.
    pub fn of(journal: &Journal, console: Option<&dyn Console>) -> Self {
        let mut screen = None;
        if let Some(console) = console {
            console.with_screen(&mut |frame| screen = Some((frame.width(), frame.height())));
        }
        let mut digest: Option<SeenDigest> = None;
        for event in journal.after(Source::Digest, Cursor::default()) {
            let Body::DigestUpdated { digest: newer, .. } = &event.body else { continue };
            let Some(channel_hashes) = newer.channel_hashes else { continue };
            let mut framebuffer_hashes = match digest.take() {
                Some(older) if older.channel_hashes == channel_hashes => older.framebuffer_hashes,
                _ => Vec::new(),
            };
            if !framebuffer_hashes.contains(&newer.framebuffer_hash) {
                framebuffer_hashes.push(newer.framebuffer_hash);
            }
            digest =
                Some(SeenDigest { frame_counter: newer.frame_counter, channel_hashes, framebuffer_hashes });
        }
        let serial = journal.after(Source::Serial, Cursor::default());
        let serial = serial.iter().filter_map(|event| match &event.body {
            Body::SerialLine { text } => Some(text.clone()),
            _ => None,
        });
        Self { screen, digest, serial: serial.collect() }
    }

    /// Returns in words what of a restored machine is not as in this one, which was booted.
    pub fn differences(&self, restored: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.screen != restored.screen {
            found.push(format!("screen: booted {:?}, restored {:?}", self.screen, restored.screen));
        }
        match (&self.digest, &restored.digest) {
            (Some(booted), Some(restored)) => {
                if booted.channel_hashes != restored.channel_hashes {
                    found.push("digest: other records have happened".to_owned());
                }
                let is_known = |hash: &u32| booted.framebuffer_hashes.contains(hash);
                if !restored.framebuffer_hashes.iter().any(is_known) {
                    found.push("digest: the screen around it is another one".to_owned());
                }
            }
            (None, None) => {}
            (booted, _) => {
                let only = if booted.is_some() { "booted" } else { "restored" };
                found.push(format!("digest: only the {only} machine shows one"));
            }
        }
        if let Some((line, (booted, restored))) =
            self.serial.iter().zip(&restored.serial).enumerate().find(|(_, (one, other))| one != other)
        {
            found.push(format!("serial line {}: booted {booted:?}, restored {restored:?}", line + 1));
        } else if self.serial.len() != restored.serial.len() {
            found.push(format!(
                "serial: booted {} lines, restored {}",
                self.serial.len(),
                restored.serial.len()
            ));
        }
        found
    }
}

/// Whether two screens show the same, but for something small that blinks or a clock.
pub(in crate::lane) fn looks_like(one: &Screenshot, other: &Screenshot) -> bool {
    if (one.width, one.height) != (other.width, other.height) {
        return false;
    }
    let colours = |shot: &[u8]| [shot[0], shot[1], shot[2]];
    let different = one
        .pixels
        .chunks_exact(4)
        .zip(other.pixels.chunks_exact(4))
        .filter(|(one, other)| colours(one) != colours(other));
    let pixels = one.pixels.len() / 4;
    different.count() * SMALL_PART <= pixels
}

/// A fiftieth of the screen.
const SMALL_PART: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(pixels: Vec<u8>) -> Screenshot {
        Screenshot { width: 10, height: 10, pixels }
    }

    #[test]
    fn a_blinking_cursor_is_the_same_screen_and_another_text_is_not() {
        let dark = shot(vec![0; 400]);
        let mut cursor = dark.clone();
        cursor.pixels[..8].fill(255);
        let mut text = dark.clone();
        text.pixels[..12].fill(255);
        assert!(looks_like(&dark, &cursor));
        assert!(!looks_like(&dark, &text));
        assert!(!looks_like(&dark, &Screenshot { width: 5, height: 20, pixels: vec![0; 400] }));
    }

    #[test]
    fn what_differs_is_said_in_words() {
        let digest = SeenDigest {
            frame_counter: 7,
            channel_hashes: ChannelHashes::default(),
            framebuffer_hashes: vec![1, 2],
        };
        let booted =
            Seen { screen: Some((10, 10)), digest: Some(digest.clone()), serial: vec!["hello".to_owned()] };
        let mut restored = booted.clone();
        restored.digest =
            Some(SeenDigest { frame_counter: 9, framebuffer_hashes: vec![2], ..digest.clone() });
        assert!(booted.differences(&restored).is_empty(), "counters and blinking do not count");
        restored.serial = vec!["hullo".to_owned()];
        restored.digest = Some(SeenDigest { framebuffer_hashes: vec![3], ..digest });
        let found = booted.differences(&restored);
        assert_eq!(found[0], "digest: the screen around it is another one");
        assert_eq!(found[1], "serial line 1: booted \"hello\", restored \"hullo\"");
        assert_eq!(booted.differences(&Seen::default()).len(), 3);
    }
}
