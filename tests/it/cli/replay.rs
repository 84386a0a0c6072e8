//! `backstaff run --record` and `backstaff replay`.

use std::path::Path;
use std::time::Duration;

use backstaff::console::Screenshot;
use backstaff::spice::recording::{
    Encoder, Entry, Fact, Reader, SessionFacts, encode_block, encode_file_header,
};
use backstaff::spice::wire::Message as _;
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::header::{Frame, HeaderForm};
use backstaff::spice::wire::link::Capabilities;
use backstaff::spice::{ChannelId, ChannelType};
use serde_json::Value;

use super::lab::Lab;

const FAST: &str = "kind = \"sim\"\n[sim]\ntime_scale = 50\n";
const DISPLAY: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };

fn canonical() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/canonical.lua");
    std::fs::read_to_string(file).unwrap()
}

/// Screens of 8x4, 16x4 and so on at these milliseconds.
fn recording(at: &[u64]) -> Vec<u8> {
    let (mut encoder, mut stream) = (Encoder::default(), Vec::new());
    let mut add = |at: u64, fact: Fact<'_>| {
        encoder.encode(&Entry { at: Duration::from_millis(at), fact }, &mut stream);
    };
    add(0, Fact::Session(SessionFacts { image_cache_pixels: 0, glz_window_pixels: 0 }));
    let (common, channel_caps) = (Capabilities::default(), Capabilities::default());
    add(0, Fact::Opened { channel: DISPLAY, form: HeaderForm::Mini, common, channel_caps });
    for (index, at) in at.iter().enumerate() {
        let width = 8 * (u32::try_from(index).unwrap() + 1);
        let flags = SurfaceCreate::PRIMARY;
        let create = SurfaceCreate { surface_id: 0, width, height: 4, format: 32, flags }.to_body();
        let frame = Frame { kind: SurfaceCreate::KIND, sub_list: 0, body: &create };
        add(*at, Fact::Message { channel: DISPLAY, frame });
    }
    add(9_000, Fact::End);
    let mut file = encode_file_header();
    stream.chunks(20).for_each(|piece| encode_block(piece, flate2::Compression::fast(), &mut file));
    file
}

fn lab_with(file: &[u8]) -> Lab {
    let lab = Lab::bare();
    std::fs::write(lab.path("a.rec"), file).unwrap();
    lab
}

#[test]
fn what_a_run_recorded_is_redrawn_to_the_screen_it_ended_with() {
    let lab = Lab::bare()
        .file("a.lua", &canonical())
        .file("b.lua", "scenario('hello', function(t) t.digest:wait_for(any) end)\n")
        .file("lanes/fast.toml", FAST);
    let record = ["run", "a.lua", "b.lua", "--lane", "fast", "--record", "logs/rec/boot.rec"];
    let _ = lab.run(&record).exits_with(0).says(&["2 passed, 0 failed, 0 skipped"]);

    let replay = ["replay", "logs/rec/boot.rec", "--screenshots", "logs/screens", "--json"];
    let document: Value = serde_json::from_str(&lab.run(&replay).exits_with(0).stdout).unwrap();
    assert_eq!((&document["format"], &document["ended"]), (&"backstaff-replay".into(), &true.into()));
    let last = document["screens"].as_array().unwrap().last().unwrap();
    let read = |path: &Path| Screenshot::from_png(&std::fs::read(path).unwrap()).unwrap();
    let redrawn = read(&lab.path(last["file"].as_str().unwrap()));
    let attempt = lab.run_folders().remove(0).join("01-boots-accepts-the-paste-and-parks/attempt-1");
    let mut screenshots: Vec<_> =
        std::fs::read_dir(attempt.join("screenshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    screenshots.sort();
    assert!(read(screenshots.last().unwrap()) == redrawn, "the last step's screenshot is the last screen");

    // Only what the server said is in it: no keys, and so no secrets that were typed.
    let file = std::fs::read(lab.path("logs/rec/boot.rec")).unwrap();
    let mut reader = Reader::open(file.as_slice()).unwrap();
    let mut channels = std::collections::BTreeSet::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Fact::Message { channel, frame } = entry.fact {
            channels.insert(channel.to_string());
            assert!(!frame.body.windows(14).any(|bytes| bytes == b"HELLO_OPERATOR"));
        }
    }
    assert!(channels.contains("display 0") && channels.contains("main 0"), "{channels:?}");

    let _ = lab.run(&["replay", "logs/rec/boot-2.rec"]).exits_with(0).says(&["1 session", "display 0"]);
}

#[test]
fn a_recording_that_cannot_be_made_fails_the_lane_and_not_the_scenario() {
    let lab = Lab::bare().scenario("", "").file("lanes/fast.toml", FAST);
    for (file, wanted) in [
        ("a.lua/boot.rec", "make the recording \"a.lua/boot.rec\": File exists"),
        ("/dev/full", "make the recording \"/dev/full\": No space left on device"),
    ] {
        let _ = lab
            .run(&["run", "a.lua", "--lane", "fast", "--record", file])
            .exits_with(16)
            .says(&[wanted, "`--record FILE` names a file that may be written to, on a disk with room"]);
    }
    let agent = ["run", "a.lua", "--lane", "fast", "--record-agent"];
    let text = lab.command(&agent).may_make("nothing").run().exits_with(2).text();
    assert!(text.contains("--record <FILE>"), "{text}");
}

#[test]
fn screens_are_those_that_settled_and_the_last() {
    // The second screen does not stand for half a second.
    let lab = lab_with(&recording(&[1_000, 2_000, 2_499, 3_000]));
    insta::assert_snapshot!(lab.run(&["replay", "a.rec", "--screenshots", "logs"]).exits_with(0).text(), @r"
    a.rec: [took], 1 session, 288 bytes
      display 0    4 messages, 80 bytes
       1.000 s  display 0  8x4  sha256:38723a2e5e8a17aa…  logs/01-display-0-1000ms.png
       2.499 s  display 0  24x4  sha256:a1a4f5721c1c4610…  logs/02-display-0-2499ms.png
       3.000 s  display 0  32x4  sha256:076a27c79e5ace2a…  logs/03-display-0-3000ms.png
    ");
    let screens = |pause: &str| {
        let replay = ["replay", "a.rec", "--json", "--pause", pause];
        let document: Value = serde_json::from_str(&lab.run(&replay).exits_with(0).stdout).unwrap();
        let screens = document["screens"].as_array().unwrap().clone();
        screens.into_iter().map(|screen| screen["at_ms"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(screens("0.4"), [1_000, 2_000, 2_499, 3_000]);
    assert_eq!(screens("0.6"), [1_000, 3_000]);
    assert_eq!(screens("60"), [3_000]);
}

#[test]
fn a_recording_that_is_not_whole_is_replayed_as_far_as_it_goes_and_names_the_place() {
    let whole = recording(&[1_000, 2_000]);
    let cut = lab_with(&whole[..whole.len() - 3]);
    insta::assert_snapshot!(cut.run(&["replay", "a.rec"]).exits_with(3).text(), @r"
    a.rec: [took], 1 session, 165 bytes
      display 0    1 message, 20 bytes
       1.000 s  display 0  8x4  sha256:38723a2e5e8a17aa…
    [stderr]
    error: a.rec: the recording is cut short: the block at offset 132 wants 36 bytes, 33 are there
    hint: what came before is whole; the copy may be incomplete, or the disk was full
    ");
    let mut damaged = whole.clone();
    damaged[90] ^= 1;
    insta::assert_snapshot!(lab_with(&damaged).run(&["replay", "a.rec"]).exits_with(3).text(), @r"
    a.rec: [took], 1 session, 92 bytes
      display 0    0 messages, 0 bytes
    [stderr]
    error: a.rec: the recording is damaged: block at offset 52: its checksum is 94b889b2, wanted 8da3b8f3
    hint: what came before is whole; the copy may be incomplete, or the disk was full
    ");
    let foreign = lab_with(b"\x7fELF and so on");
    insta::assert_snapshot!(foreign.run(&["replay", "a.rec"]).exits_with(3).text(), @r"
    [stderr]
    error: a.rec: not a recording: the file begins with [7f, 45, 4c, 46, 20, 61, 6e, 64], wanted [89, 62, 73, 74, 72, 65, 63, 0a]
    hint: recordings are made with `backstaff run --record FILE`
    ");
    insta::assert_snapshot!(foreign.run(&["replay", "b.rec"]).exits_with(2).text(), @r"
    [stderr]
    error: b.rec: No such file or directory (os error 2)
    ");
}

#[test]
fn a_channel_that_cannot_be_redrawn_is_a_failure_of_its_own() {
    let (mut encoder, mut stream) = (Encoder::default(), Vec::new());
    let mut add = |fact: Fact<'_>| encoder.encode(&Entry { at: Duration::ZERO, fact }, &mut stream);
    let (common, channel_caps) = (Capabilities::default(), Capabilities::default());
    add(Fact::Opened { channel: DISPLAY, form: HeaderForm::Mini, common, channel_caps });
    let frame = Frame { kind: SurfaceCreate::KIND, sub_list: 0, body: &[0; 6] };
    add(Fact::Message { channel: DISPLAY, frame });
    let mut file = encode_file_header();
    encode_block(&stream, flate2::Compression::fast(), &mut file);
    insta::assert_snapshot!(lab_with(&file).run(&["replay", "a.rec"]).exits_with(1).text(), @r"
    a.rec: [took], 0 sessions, 51 bytes
      display 0    1 message, 6 bytes
        message 1 (SURFACE_CREATE): field `width` needs 4 bytes at offset 4, 2 left
    note: it was not ended in order: whoever recorded it was killed
    ");
}
