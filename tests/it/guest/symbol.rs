//! The digest as a reader sees it that knows QR codes and nothing of this guest.

use sextant::{Frame, Guest, Key, Platform, Size};
use visual_digest::{Choice, Record};

/// A screen kept as brightness alone.
struct Photograph {
    modes: Vec<Size>,
    size: Size,
    luma: Vec<u8>,
}

impl Photograph {
    fn set_size(&mut self, size: Size) {
        self.size = size;
        self.luma = vec![0x80; size.width as usize * size.height as usize];
    }

    /// Finds the symbol, which is light on dark, and returns its bytes.
    fn read(&self) -> Vec<u8> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| 255 - self.luma[y * width + x]);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "{} symbols on a screen of {}", grids.len(), self.size);
        let mut bytes = Vec::new();
        let meta = grids[0].decode_to(&mut bytes).expect("the symbol is undamaged");
        assert_eq!((meta.version.0, meta.ecc_level), (5, 1), "version 5, level L");
        bytes
    }
}

impl Platform for Photograph {
    fn size(&self) -> Size {
        self.size
    }

    fn set_mode(&mut self, index: usize) {
        self.set_size(self.modes[index]);
    }

    fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
        for row in 0..piece.height() {
            let pixels = piece.row(row, 0..piece.width()).chunks_exact(4);
            let start = (y + row) as usize * self.size.width as usize + x as usize;
            for (luma, pixel) in self.luma[start..].iter_mut().zip(pixels) {
                *luma = pixel[1];
            }
        }
    }

    fn write_serial(&mut self, _: &str) {}

    fn ticks(&mut self) -> u64 {
        0
    }
}

#[test]
fn a_stranger_finds_and_reads_the_digest_in_every_published_mode() {
    let sizes = [(640, 480), (800, 600), (1024, 768), (1280, 720), (1280, 1024), (1920, 1080)];
    let modes: Vec<_> = sizes.into_iter().map(|(width, height)| Size::new(width, height)).collect();
    let mut screen = Photograph { modes: modes.clone(), size: modes[0], luma: Vec::new() };
    screen.set_size(modes[0]);
    let mut guest = Guest::boot(screen, modes, 0);
    for mode_key in "123456".chars() {
        let _ = guest.poll([Key::character(mode_key)]);
        let digest = visual_digest::decode(&guest.platform().read()).expect("a digest");
        assert_eq!(digest.frame_counter, guest.frame_counter());
        assert_eq!(digest.raw_records.last(), guest.records().last());
    }
    let _ = guest.poll([Key::character('\r')]);
    (0..100).for_each(|_| {
        let _ = guest.poll([]);
    });
    let _ = guest.poll([Key::character('i')]);
    let digest = visual_digest::decode(&guest.platform().read()).expect("a digest");
    assert_eq!(digest.channel_hashes, *guest.channel_hashes());
    let decision = Record::BootloaderDecision { choice: Choice::Ignore, attempt: 1, timestamp_ms: 5400 };
    assert!(guest.records().any(|record| *record == decision), "{:?}", guest.records().collect::<Vec<_>>());
}
