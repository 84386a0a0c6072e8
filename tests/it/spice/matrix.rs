//! What a machine draws must be on our surface pixel for pixel: at the firmware's shell, in its setup menu and at the
//! reference guest, with every kind of graphics card and every lossless compression that the server knows.
//!
//! One machine serves many sessions one after the other, each with another wish; each sees the whole screen in one
//! piece first, and then what a key changes. The machine runs on meanwhile, so the two must become equal soon, or never.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use backstaff::spice::{Compression, Endpoint, Session, SessionOptions};

use super::machine::{BOOT, image_types, screen_of};
use super::qemu::{self, Qemu, Screen};

/// A wish, and the kinds of images of which at least one must come of it.
pub(super) type Mode = (Compression, &'static [&'static str]);

/// Of a server that compresses for a fast network.
pub(super) const MODES: [Mode; 7] = [
    (Compression::Off, &["BITMAP"]),
    (Compression::Lz, &["LZ_RGB"]),
    (Compression::Glz, &["GLZ_RGB"]),
    (Compression::Quic, &["QUIC"]),
    (Compression::AutoLz, &["LZ_RGB", "QUIC"]),
    (Compression::AutoGlz, &["GLZ_RGB", "QUIC"]),
    (Compression::Lz4, &["LZ4"]),
];
/// Of one that compresses once more for a slow one.
pub(super) const SLOW_MODES: [Mode; 2] =
    [(Compression::Glz, &["ZLIB_GLZ_RGB"]), (Compression::AutoGlz, &["ZLIB_GLZ_RGB", "QUIC"])];

#[tokio::test(flavor = "multi_thread")]
async fn qxl_is_what_screendump_shows_everywhere() {
    compare_everywhere("qxl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn std_vga_is_what_screendump_shows_everywhere() {
    compare_everywhere("std").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtio_vga_is_what_screendump_shows_everywhere() {
    compare_everywhere("virtio").await;
}

#[expect(clippy::print_stderr, reason = "the count is what the test is about")]
async fn compare_everywhere(vga: &str) {
    if qemu::is_missing() {
        return;
    }
    let (mut count, mut kinds) = (0, BTreeSet::new());
    for (modes, slow) in [(MODES.as_slice(), "never"), (&SLOW_MODES, "always")] {
        let mut firmware = Place::boot(vga, slow, &[], modes);
        firmware.wait_until("the shell", BOOT, is_shell).await;
        // "ver" says who the shell is, in lines that are large enough to be compressed.
        firmware.compare("shell", &[&[0x2F, 0x12, 0x13, ENTER]], is_shell).await;
        // "exit".
        firmware.type_keys(&[0x12, 0x2D, 0x17, 0x14, ENTER]).await;
        firmware.wait_until("the setup menu", BOOT, is_setup).await;
        firmware.compare("setup menu", &[&[DOWN], &[DOWN], &[UP], &[UP]], is_setup).await;
        count += firmware.finish(&mut kinds);

        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/guest/sextant.efi");
        let kernel = ["-kernel".to_owned(), guest.display().to_string()];
        let mut guest = Place::boot(vga, slow, &kernel, modes);
        guest.wait_until("the reference guest", BOOT, is_guest).await;
        // 1024x768, 640x480, 1280x720, 800x600.
        guest.compare("guest", &[&[0x04], &[0x02], &[0x05], &[0x03]], is_guest).await;
        count += guest.finish(&mut kinds);
    }
    let kinds: Vec<&str> = kinds.into_iter().collect();
    eprintln!("{vga}: {count} screens are equal to screendump ({})", kinds.join(", "));
    // Three places, nine modes, the screen as it was and after a key.
    assert_eq!(count, 3 * 9 * 2);
}

/// Keys until the kind of image that a mode is about has come.
const ATTEMPTS: usize = 5;

/// A machine whose screen holds still until a key is pressed.
pub(super) struct Place {
    pub(super) qemu: Qemu,
    endpoint: Endpoint,
    modes: &'static [Mode],
    /// For so long a screen must not have changed to be one.
    pub(super) rest: Duration,
    presses: usize,
    count: usize,
    kinds: BTreeSet<&'static str>,
}

impl Place {
    pub(super) fn boot(vga: &str, slow: &str, extra: &[String], modes: &'static [Mode]) -> Self {
        // Over a unix socket the server would compress whole surfaces only.
        let (host, port) = qemu::own_address();
        let spice = format!(
            "port={port},addr={host},disable-ticketing=on,jpeg-wan-compression=never,\
             zlib-glz-wan-compression={slow}"
        );
        let qemu = Qemu::boot(vga, &spice, extra);
        let endpoint = Endpoint::Tcp { host, port };
        Self { qemu, endpoint, modes, rest: Duration::ZERO, presses: 0, count: 0, kinds: BTreeSet::new() }
    }

    /// Joins the machine once with each mode; `keys` are pressed in turns, and each changes the screen.
    /// In between it is a while on the way, until `is_there` again.
    pub(super) async fn compare(&mut self, place: &str, keys: &[&[u16]], is_there: fn(&Screen) -> bool) {
        for (compression, wanted) in self.modes {
            let what = format!("{place}, {compression:?}");
            let session = self.join(Some(*compression)).await;
            let mut before = self.equal(&session, &what, is_there).await;
            let mut got = BTreeSet::new();
            // On a busy host a server may find hardly anything worth its better codec the first time.
            for attempt in 0..ATTEMPTS {
                keys[self.presses % keys.len()].iter().for_each(|code| press(&session, *code));
                self.presses += 1;
                before = self.equal(&session, &what, |screen| *screen != before && is_there(screen)).await;
                self.count -= usize::from(attempt > 0);
                got = image_types(&session);
                if wanted.iter().any(|kind| got.contains(kind)) {
                    break;
                }
            }
            session.shutdown().await;
            assert!(wanted.iter().any(|kind| got.contains(kind)), "{what}: wanted {wanted:?}, got {got:?}");
            self.kinds.extend(got);
        }
    }

    /// Waits until our screen and a screendump are equal, and such as wanted, and at rest.
    async fn equal(&mut self, session: &Session, what: &str, is_there: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut last_change) = (None, Instant::now());
        loop {
            let wanted = self.qemu.screendump();
            if last.as_ref() != Some(&wanted) {
                last_change = Instant::now();
            }
            let got = screen_of(session);
            let is_there = is_there(&wanted) && last_change.elapsed() >= self.rest;
            if is_there && got.as_ref() == Some(&wanted) {
                self.count += 1;
                return wanted;
            }
            if Instant::now() > deadline {
                assert!(is_there, "{what}: the machine does not get there");
                panic!("{what}: {}", got.map_or("no screen".to_owned(), |got| difference(&got, &wanted)));
            }
            last = Some(wanted);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        is_there: impl Fn(&Screen) -> bool,
    ) {
        let deadline = Instant::now() + patience;
        // QEMU draws the text screen of VGA for whoever is connected.
        let session = self.join(None).await;
        while !is_there(&self.qemu.screendump()) {
            assert!(Instant::now() < deadline, "{what} never came");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        session.shutdown().await;
    }

    async fn type_keys(&self, codes: &[u16]) {
        let session = self.join(None).await;
        codes.iter().for_each(|code| press(&session, *code));
        session.inputs_flushed().await.expect("keys are sent");
        session.shutdown().await;
    }

    async fn join(&self, compression: Option<Compression>) -> Session {
        let mut options = SessionOptions::new(self.endpoint.clone());
        options.compression = compression;
        Session::connect(options).await.expect("connects").0
    }

    pub(super) fn finish(self, kinds: &mut BTreeSet<&'static str>) -> usize {
        kinds.extend(self.kinds);
        self.count
    }
}

fn press(session: &Session, code: u16) {
    session.key_down(code).and_then(|()| session.key_up(code)).expect("queued");
}

/// The last line is the yellow prompt; the countdown before it is yellow and white.
fn is_shell(screen: &Screen) -> bool {
    let row_bytes = screen.width as usize * 3;
    let is_lit = |row: &[u8]| row.iter().any(|byte| *byte != 0);
    let Some(last) = screen.rgb.chunks_exact(row_bytes).rposition(is_lit) else { return false };
    let line = &screen.rgb[last.saturating_sub(15) * row_bytes..];
    has_colour(line, [255, 255, 0]) && !has_colour(line, [255, 255, 255])
}

/// Blue words on grey.
fn is_setup(screen: &Screen) -> bool {
    has_colour(&screen.rgb, [0, 0, 152]) && has_colour(&screen.rgb, [152, 152, 152])
}

/// A digest is painted.
fn is_guest(screen: &Screen) -> bool {
    let pixels: Vec<u8> = screen.rgb.chunks_exact(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0], 0]).collect();
    let stride = screen.width as usize * 4;
    visual_digest::Frame::new(screen.width, screen.height, stride, &pixels)
        .is_ok_and(|frame| visual_digest::symbol::read(frame).is_ok())
}

fn has_colour(rgb: &[u8], colour: [u8; 3]) -> bool {
    rgb.as_chunks::<3>().0.contains(&colour)
}

fn difference(got: &Screen, wanted: &Screen) -> String {
    if (got.width, got.height) != (wanted.width, wanted.height) {
        return format!("{}x{} in place of {}x{}", got.width, got.height, wanted.width, wanted.height);
    }
    let pairs = got.rgb.chunks_exact(3).zip(wanted.rgb.chunks_exact(3));
    let different: Vec<_> = pairs.enumerate().filter(|(_, (got, wanted))| got != wanted).collect();
    format!("{} pixels differ, first {:?}", different.len(), different.first())
}

const ENTER: u16 = 0x1C;
pub(super) const DOWN: u16 = 0xE050;
pub(super) const UP: u16 = 0xE048;
/// For one screen on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
