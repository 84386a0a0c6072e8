//! Results in words for people.

use std::fmt::Write as _;

use crate::control::protocol::{HelloResult, StatsResult, StatusResult, StreamStats};

pub(super) fn hello(hello: &HelloResult) -> String {
    let mut text = format!(
        "server    {}\nprotocol  {}\nmethods   {}\nevents    {}\n",
        hello.server_name,
        hello.protocol_version,
        hello.supported_methods.join(" "),
        hello.supported_events.join(" ")
    );
    if !hello.features.is_empty() {
        let _ = writeln!(text, "features  {}", hello.features.join(" "));
    }
    text
}

pub(super) fn status(status: &StatusResult) -> String {
    let word = |is: bool| if is { "yes" } else { "no" };
    let mut text =
        format!("connected  {}\nagent      {}\n", word(status.spice_connected), word(status.agent_connected));
    if status.surfaces.is_empty() {
        text.push_str("surfaces   none\n");
    }
    for surface in &status.surfaces {
        let (width, height) = (surface.width, surface.height);
        let _ = writeln!(
            text,
            "surface    {width}x{height}, id {} of display channel {}",
            surface.surface_id, surface.channel_id
        );
    }
    text
}

pub(super) fn stats(stats: &StatsResult) -> String {
    let display = &stats.display;
    let counters = [
        ("channel_id", u64::from(display.channel_id)),
        ("bytes_in", display.bytes_in),
        ("messages_received", display.messages_received),
        ("marks_received", display.marks_received),
        ("streams_active", display.streams_active),
        ("streams_created_total", display.streams_created_total),
        ("streams_destroyed_total", display.streams_destroyed_total),
        ("stream_data_orphan_count", display.stream_data_orphan_count),
        ("stream_reports_sent_total", display.stream_reports_sent_total),
    ];
    let mut text = String::new();
    for (name, count) in counters {
        let _ = writeln!(text, "{name:<26}{count}");
    }
    for (codec, decodes) in &display.decodes {
        let name = format!("decodes {codec}");
        let _ =
            writeln!(text, "{name:<26}{}, {} failed", decodes.decodes_total, decodes.decode_failures_total);
    }
    let mut stream = |what: &str, stream: &StreamStats| {
        let name = format!("{what} {}", stream.stream_id);
        let _ = writeln!(
            text,
            "{name:<26}{} {}x{}, {} frames, {} failed",
            stream.codec, stream.width, stream.height, stream.frames_received, stream.frames_decode_failed
        );
    };
    display.streams.iter().for_each(|active| stream("stream", active));
    display.streams_recently_destroyed.iter().for_each(|ended| stream("ended stream", ended));
    text
}
