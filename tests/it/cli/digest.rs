//! `backstaff digest` as people and scripts meet it.

use crate::digest::screen::Screen;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use visual_digest::{FOREGROUND, Payload};

const BIN: &[u8] = include_bytes!("../../../fixtures/digest/two_events.bin");
const JSON: &str = include_str!("../../../fixtures/digest/two_events.json");

/// Runs `backstaff digest` with these words, in a folder, and with something to read on standard input.
fn digest(words: &[&str], folder: &Path, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_backstaff"))
        .arg("digest")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // All that is written here fits into a pipe; who does not read it closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// The exit code and both outputs.
fn outcome(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn png(screen: &Screen) -> Vec<u8> {
    let rgb: Vec<u8> =
        screen.pixels.as_chunks::<4>().0.iter().flat_map(|[b, g, r, _]| [*r, *g, *b]).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, screen.width, screen.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&rgb).unwrap();
    bytes
}

fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

#[test]
fn decode_prints_the_digest_of_a_screenshot_wherever_the_symbol_is() {
    for (x, y) in [(604, 388), (33, 57)] {
        let mut screen = Screen::new(800, 600);
        screen.fill(16, 300, 400, 100, FOREGROUND);
        screen.paint_at(&Payload::from_bytes(BIN).unwrap(), x, y);
        // The name says nothing.
        let folder = folder_with("screen.bin", &png(&screen));
        let output = digest(&["decode", "screen.bin"], folder.path(), b"");
        assert_eq!(outcome(&output), (Some(0), JSON, ""), "{x},{y}");
    }
}

#[test]
fn decode_and_encode_are_each_others_inverse_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let decoded = digest(&["decode", "-"], folder.path(), BIN);
    assert_eq!(outcome(&decoded), (Some(0), JSON, ""));
    let encoded = digest(&["encode", "-"], folder.path(), &decoded.stdout);
    assert_eq!((encoded.status.code(), &*encoded.stdout, &*encoded.stderr), (Some(0), BIN, &b""[..]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing else was written");
}

#[test]
fn encode_writes_the_file_it_is_told_and_says_nothing() {
    let folder = folder_with("a.json", JSON.as_bytes());
    for (option, name) in [("--png", "a.png"), ("-o", "a.bin")] {
        let output = digest(&["encode", "a.json", option, name], folder.path(), b"");
        assert_eq!(outcome(&output), (Some(0), "", ""));
        let output = digest(&["decode", name], folder.path(), b"");
        assert_eq!(outcome(&output), (Some(0), JSON, ""));
    }
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), BIN);
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_one_line() {
    let text = Payload::from_bytes(b"https://example.org").unwrap();
    let mut screen = Screen::new(640, 480);
    let black = png(&screen);
    screen.paint(&text);
    let other = png(&screen);
    let cases = [
        (
            &b"not a picture"[..],
            2,
            "error: \"a.png\" is neither a PNG picture nor a payload: it begins with ",
        ),
        (&other[..40], 2, "error: decode the picture \"a.png\": "),
        (&black, 3, "error: no QR symbol in the picture \"a.png\"\n"),
        (
            &other,
            4,
            "error: \"a.png\": the QR symbol on the screen is not a digest: payload too short: 19 bytes",
        ),
    ];
    for (bytes, wanted, says) in cases {
        let folder = folder_with("a.png", bytes);
        let output = digest(&["decode", "a.png"], folder.path(), b"");
        let (code, out, err) = outcome(&output);
        assert_eq!((code, out), (Some(wanted), ""), "{err}");
        assert!(err.starts_with(says), "{err}");
        assert!(err.lines().skip(1).all(|line| line.starts_with("hint: ")), "{err}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = digest(&["decode", "a.png"], folder.path(), b"");
    let (code, out, err) = outcome(&output);
    assert_eq!((code, out), (Some(2), ""));
    assert!(err.starts_with("error: read \"a.png\": No such file"), "{err}");
}

#[test]
fn a_detector_that_gives_up_by_a_panic_is_not_heard() {
    // From these boxes it computes corners beyond all numbers.
    let mut screen = Screen::new(160, 120);
    let boxes = [(46, 36, 4, 1, 1), (60, 48, 3, 3, 0), (80, 85, 2, 1, 0), (143, 21, 2, 4, 0)];
    for (x, y, width, height, shift) in boxes {
        screen.fill(x, y, 7 * width, 7 * height, FOREGROUND);
        screen.fill(x + width, y + height, 5 * width, 5 * height, [0; 3]);
        screen.fill(x + 2 * width - shift, y + 2 * height, 3 * width, 3 * height, FOREGROUND);
    }
    let folder = folder_with("boxes.png", &png(&screen));
    let output = digest(&["decode", "boxes.png"], folder.path(), b"");
    let (code, out, err) = outcome(&output);
    assert_eq!((code, out), (Some(3), ""));
    let hint = err.strip_prefix("error: no QR symbol in the picture \"boxes.png\"\n").unwrap_or(err);
    assert!(hint.starts_with("hint: ") && hint.lines().count() == 1, "{err}");
}

#[test]
fn a_wrong_call_is_usage() {
    let folder = folder_with("a.json", JSON.as_bytes());
    let calls: [&[&str]; 4] = [
        &[],
        &["decode"],
        &["decode", "a.png", "b.png"],
        &["encode", "a.json", "--png", "a.png", "-o", "a.bin"],
    ];
    for words in calls {
        let output = digest(words, folder.path(), b"");
        let (code, out, err) = outcome(&output);
        assert_eq!((code, out), (Some(2), ""), "{words:?}");
        assert!(err.to_lowercase().contains("usage: "), "{words:?}: {err}");
    }
    assert!(!folder.path().join("a.png").exists() && !folder.path().join("a.bin").exists());
}
