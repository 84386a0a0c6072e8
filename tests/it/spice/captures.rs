//! Recorded traffic, replayed without a machine.

use std::path::Path;
use std::time::Instant;

use backstaff::spice::Limits;
use backstaff::spice::channel::{CursorChannel, DisplayChannel, DisplayOptions, Machine};
use backstaff::spice::wire::header::{Frame, HeaderForm};
use proptest::prelude::{ProptestConfig, any, proptest};
use sha2::{Digest, Sha256};

/// The pixels of OVMF's boot manager.
const SCREEN: &str = "cba40cd4790a5d0c6c7fb9bfeea97e39b4d61d02a428e42b29ff36c7297fb8ec";

fn capture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Feeds messages until the stream or the channel ends.
fn replay(machine: &mut impl Machine, mut stream: &[u8]) -> bool {
    while let Ok(Some((message, rest))) =
        Frame::split(HeaderForm::Mini, stream, Limits::default().message_bytes)
    {
        if machine.handle_message(Instant::now(), message).is_err() {
            return false;
        }
        stream = rest;
    }
    stream.is_empty()
}

fn display() -> DisplayChannel {
    let limits = Limits::default();
    let options = DisplayOptions { channel_id: 0, compression: None, has_image_cache: true, limits };
    DisplayChannel::new(options, &DisplayChannel::capabilities())
}

#[test]
fn recorded_boots_end_with_the_screen_that_screendump_showed() {
    for (name, images) in [
        ("spice-display-std-lz.bin", [("LZ_RGB", 138)].as_slice()),
        ("spice-display-qxl-glz.bin", &[("GLZ_RGB", 198), ("LZ_RGB", 1)]),
    ] {
        let mut display = display();
        assert!(replay(&mut display, &capture(name)), "{name} is understood to its end");
        let (_, screen) = display.primary().expect("a screen");
        assert_eq!((screen.width(), screen.height()), (1280, 800), "{name}");
        assert_eq!(format!("{:x}", Sha256::digest(screen.pixels())), SCREEN, "{name}");
        let counters = display.counters();
        assert_eq!(counters.images.clone().into_iter().collect::<Vec<_>>(), images);
        assert!(counters.unsupported.is_empty(), "{:?}", counters.unsupported);
    }
}

#[test]
fn a_recorded_cursor_channel_is_understood() {
    let mut cursor = CursorChannel::new();
    assert!(replay(&mut cursor, &capture("spice-cursor-qxl.bin")));
    assert!(cursor.counters().unsupported.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_recording_never_panics(at in 0_usize..58_000, value in any::<u8>(), length in 1_usize..8) {
        for name in ["spice-display-std-lz.bin", "spice-display-qxl-glz.bin"] {
            let mut stream = capture(name);
            let end = stream.len().min(at + length);
            if let Some(bytes) = stream.get_mut(at..end) {
                bytes.fill(value);
            }
            let mut display = display();
            replay(&mut display, &stream);
        }
    }
}
