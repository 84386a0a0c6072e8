//! What a replayed recording comes to, for people and as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::failure::printable;
use super::style::{Look, Tone};
use crate::spice::ChannelId;
use crate::spice::replay::ChannelSummary;

/// A recording that was replayed, as far as that was possible.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// The recording.
    pub file: PathBuf,
    /// Bytes of it that were read.
    pub bytes: u64,
    /// The time of its last entry.
    pub length: Duration,
    /// How many sessions are in it.
    pub sessions: u64,
    /// Whether it was ended in order.
    pub is_ended: bool,
    /// Whether it could not be read on.
    pub is_damaged: bool,
    /// What came on each channel.
    pub channels: BTreeMap<ChannelId, ChannelSummary>,
    /// The settled screens, in order.
    pub screens: Vec<SettledScreen>,
}

/// A screen that nobody drew on for a while.
#[derive(Debug, Clone)]
pub struct SettledScreen {
    /// When it was drawn last.
    pub at: Duration,
    /// Its display channel.
    pub channel_id: u8,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// SHA-256 of its pixels: B, G, R, 0, rows from the top.
    pub sha256: String,
    /// Where its picture is.
    pub file: Option<PathBuf>,
}

/// Returns the summary in lines.
pub fn text(replayed: &Replayed, look: Look) -> String {
    let Replayed { file, bytes, length, sessions, .. } = replayed;
    let file = look.paint(Tone::Strong, printable(&file.display().to_string()));
    let sessions = plural(*sessions, "session");
    let mut text = format!("{file}: {:.1} s, {sessions}, {bytes} bytes\n", length.as_secs_f64());
    for (channel, summary) in &replayed.channels {
        text.push_str(&format!("  {}\n", row(*channel, summary, look)));
        for error in &summary.errors {
            text.push_str(&format!("    {}\n", look.paint(Tone::Bad, printable(error))));
        }
        for (what, count) in &summary.counters.unsupported {
            let line = format!("left out {count} times: {}", printable(what));
            text.push_str(&format!("    {}\n", look.paint(Tone::Warn, line)));
        }
    }
    for screen in &replayed.screens {
        let SettledScreen { at, channel_id, width, height, sha256, file } = screen;
        let at = look.paint(Tone::Faint, format!("{:8.3} s", at.as_secs_f64()));
        let file = file.as_ref().map(|file| format!("  {}", printable(&file.display().to_string())));
        let file = look.paint(Tone::Place, file.unwrap_or_default());
        let short = sha256.get(..16).unwrap_or(sha256);
        text.push_str(&format!("{at}  display {channel_id}  {width}x{height}  sha256:{short}…{file}\n"));
    }
    if !replayed.is_ended && !replayed.is_damaged {
        let note = "it was not ended in order: whoever recorded it was killed";
        text.push_str(&format!("{} {note}\n", look.paint(Tone::Warn, "note:")));
    }
    text
}

fn row(channel: ChannelId, summary: &ChannelSummary, look: Look) -> String {
    let counters = &summary.counters;
    let name = format!("{:<12}", printable(&channel.to_string()));
    let messages = plural(counters.messages, "message");
    let mut row = format!("{} {messages}, {} bytes", look.paint(Tone::Place, name), counters.bytes);
    for (what, counts) in [("draws", &counters.draws), ("images", &counters.images)] {
        if !counts.is_empty() {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            row.push_str(&format!("; {what}: {}", counts.join(", ")));
        }
    }
    for (what, count) in [("not recorded", summary.withheld), ("not read", summary.unread)] {
        if count > 0 {
            row.push_str(&format!("; {what}: {count}"));
        }
    }
    row
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Returns the summary as a JSON document.
pub fn json(replayed: &Replayed) -> String {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let channels: Vec<Value> = replayed.channels.iter().map(channel_json).collect();
    let screens = replayed.screens.iter().map(|screen| {
        json!({
            "at_ms": milliseconds(screen.at),
            "channel_id": screen.channel_id,
            "width": screen.width,
            "height": screen.height,
            "sha256": screen.sha256,
            "file": screen.file,
        })
    });
    let document = json!({
        "format": "backstaff-replay",
        "version": 1,
        "file": replayed.file,
        "bytes": replayed.bytes,
        "length_ms": milliseconds(replayed.length),
        "sessions": replayed.sessions,
        "ended": replayed.is_ended,
        "channels": channels,
        "screens": screens.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn channel_json((channel, summary): (&ChannelId, &ChannelSummary)) -> Value {
    let counters = &summary.counters;
    json!({
        "channel": channel.to_string(),
        "messages": counters.messages,
        "bytes": counters.bytes,
        "draws": counters.draws,
        "images": counters.images,
        "left_out": counters.unsupported,
        "not_recorded": summary.withheld,
        "not_read": summary.unread,
        "errors": summary.errors,
    })
}
