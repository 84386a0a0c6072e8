//! What we paint is a QR symbol to readers that know nothing of us, and all readers agree on its bytes.

use super::screen::Screen;
use proptest::prelude::*;
use visual_digest::{MAX_PAYLOAD, Payload, Record, decode, framebuffer_hash, symbol};

const GOLDENS: [&[u8]; 3] = [
    include_bytes!("../../../fixtures/digest/idle.bin"),
    include_bytes!("../../../fixtures/digest/two_events.bin"),
    include_bytes!("../../../fixtures/digest/budget.bin"),
];

#[test]
fn three_readers_agree_on_the_goldens_in_every_mode() {
    for golden in GOLDENS {
        for (width, height) in [(640, 480), (800, 600), (1024, 768), (1280, 800)] {
            let mut screen = Screen::new(width, height);
            screen.fill(16, 16, 400, 100, [51, 150, 51]);
            screen.paint(&Payload::from_bytes(golden).unwrap());
            assert_eq!(symbol::read(screen.frame()).unwrap().as_bytes(), golden, "{width}x{height}");
            assert_eq!(read_with_rqrr(&screen), [golden], "{width}x{height}");
            assert_eq!(read_with_quircs(&screen), [golden], "{width}x{height}");
        }
    }
}

#[test]
fn the_digest_on_a_screen_vouches_for_the_pixels_around_it() {
    let mut screen = Screen::new(1024, 768);
    screen.fill(200, 500, 800, 100, [51, 150, 51]);
    screen.refresh(7, &[Record::LineRendered { row: 3, timestamp_ms: 2350 }]);
    let digest = decode(symbol::read(screen.frame()).unwrap().as_bytes()).unwrap();
    assert_eq!(digest.frame_counter, 7);
    assert_eq!(digest.framebuffer_hash, framebuffer_hash(screen.frame()));
    screen.fill(0, 0, 1, 1, [1, 0, 0]);
    assert_ne!(digest.framebuffer_hash, framebuffer_hash(screen.frame()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn three_readers_agree_on_any_payload(bytes in proptest::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD)) {
        let mut screen = Screen::new(320, 256);
        screen.paint(&Payload::from_bytes(&bytes).unwrap());
        let read = symbol::read(screen.frame()).unwrap();
        prop_assert_eq!(read.as_bytes(), &bytes[..]);
        prop_assert_eq!(&read_with_rqrr(&screen), &[&bytes[..]]);
        prop_assert_eq!(&read_with_quircs(&screen), &[&bytes[..]]);
    }
}

/// Both readers want dark on bright, so they get the green channel upside down.
fn inverted_green(screen: &Screen) -> Vec<u8> {
    screen.pixels.as_chunks::<4>().0.iter().map(|[_, green, _, _]| 255 - green).collect()
}

fn read_with_rqrr(screen: &Screen) -> Vec<Vec<u8>> {
    let grey = inverted_green(screen);
    let (width, height) = (screen.width as usize, screen.height as usize);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| grey[y * width + x]);
    let grids = image.detect_grids();
    let read = grids.iter().map(|grid| {
        let mut bytes = Vec::new();
        let metadata = grid.decode_to(&mut bytes).expect("a payload");
        assert_eq!((metadata.version.0, metadata.ecc_level), (5, 1), "version 5, level L");
        bytes
    });
    read.collect()
}

fn read_with_quircs(screen: &Screen) -> Vec<Vec<u8>> {
    let grey = inverted_green(screen);
    let mut reader = quircs::Quirc::default();
    let codes = reader.identify(screen.width as usize, screen.height as usize, &grey);
    codes.map(|code| code.expect("a code").decode().expect("a payload").payload).collect()
}
