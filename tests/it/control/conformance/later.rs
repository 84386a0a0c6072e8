//! Section 6, what came with protocol 1.3 and 1.4: the clipboard, the size and the counters.

use serde_json::json;

use super::server::Server;
use super::shape::{Kind, Shape, U8, U32, U64};

const TEXT: Shape = &[("text", Kind::TextOrNull)];
const SIZE: Shape = &[("width", U32), ("height", U32)];
const STREAM: Shape = &[
    ("stream_id", U32),
    ("surface_id", U32),
    ("codec", Kind::Text),
    ("codec_type", U8),
    ("width", U32),
    ("height", U32),
    ("frames_received", U64),
    ("frames_decoded_ok", U64),
    ("frames_decode_failed", U64),
    ("created_at_secs", Kind::Number),
    ("destroyed_at_secs", Kind::NumberOrNull),
];
const STATS: Shape = &[(
    "display",
    Kind::Object(&[
        ("channel_id", U8),
        ("bytes_in", U64),
        ("messages_received", U64),
        ("marks_received", U64),
        ("streams_active", U64),
        ("streams_created_total", U64),
        ("streams_destroyed_total", U64),
        ("stream_data_orphan_count", U64),
        ("stream_reports_sent_total", U64),
        ("decodes", Kind::Named(&[("decodes_total", U64), ("decode_failures_total", U64)])),
        ("streams", Kind::Objects(STREAM)),
        ("streams_recently_destroyed", Kind::Objects(STREAM)),
    ]),
)];

#[test]
fn the_clipboard_takes_and_gives_a_text_also_without_an_agent() {
    let server = Server::take();
    if !server.keeps(server.has_method("clipboard_set"), "verb clipboard_set") {
        return;
    }
    let mut talk = server.talk();
    for text in ["", "a text", "é 𝄞 \n \u{0}"] {
        assert_eq!(talk.call("clipboard_set", json!({ "text": text })), json!({}));
    }
    // The guest has never copied anything; some servers then tell what they were given.
    let text = talk.call_shaped("clipboard_get", json!({}), TEXT)["text"].clone();
    assert!(text.is_null() || text == "é 𝄞 \n \u{0}", "{text}");
    for wrong in [json!({}), json!({ "text": null }), json!({ "text": 7 })] {
        talk.refused("clipboard_set", wrong, "bad_params");
    }
    talk.is_served();
}

#[test]
fn a_size_is_rounded_down_to_multiples_of_eight_and_told() {
    let server = Server::take();
    if !server.keeps(server.has_method("resize"), "verb resize") {
        return;
    }
    let mut talk = server.talk();
    for ((width, height), (wanted_width, wanted_height)) in
        [((800, 600), (800, 600)), ((807, 601), (800, 600)), ((1, 7), (8, 8)), ((15, 16), (8, 16))]
    {
        let size = talk.call_shaped("resize", json!({ "width": width, "height": height }), SIZE);
        assert_eq!(size, json!({ "width": wanted_width, "height": wanted_height }));
    }
}

#[test]
fn a_size_that_is_none_is_bad_params() {
    let server = Server::take();
    if !server.keeps(server.has_method("resize"), "verb resize") {
        return;
    }
    let mut talk = server.talk();
    for (width, height) in [(json!(0), json!(600)), (json!(800), json!(0)), (json!(u32::MAX), json!(600))] {
        talk.refused("resize", json!({ "width": width, "height": height }), "bad_params");
    }
    for wrong in [
        json!({}),
        json!({ "width": 800 }),
        json!({ "width": "800", "height": 600 }),
        json!({ "width": -8, "height": 600 }),
    ] {
        talk.refused("resize", wrong, "bad_params");
    }
    talk.is_served();
}

#[test]
fn counters_have_all_their_keys_and_only_grow() {
    let server = Server::take();
    if !server.keeps(server.has_method("stats"), "verb stats") {
        return;
    }
    let mut talk = server.talk();
    let _ = super::guest::Guest::at_prompt(&mut talk);
    let first = talk.call_shaped("stats", json!({}), STATS);
    let second = talk.call_shaped("stats", json!({}), STATS);
    for key in ["bytes_in", "messages_received", "marks_received"] {
        assert!(first["display"][key].as_u64() <= second["display"][key].as_u64(), "{key}: {first} {second}");
    }
    assert!(second["display"]["bytes_in"].as_u64() > Some(0), "a screen was drawn: {second}");
    assert!(second["display"]["messages_received"].as_u64() > Some(0), "a screen was drawn: {second}");
}
