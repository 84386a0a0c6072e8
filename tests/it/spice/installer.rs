//! The graphical installer of Debian as a guest: a Linux with a driver of its own for each card but QXL, an X server and
//! GTK, which draw more and other things than firmware does: gradients, pictures, smooth text in forty scripts.
//!
//! Under emulation its menu of languages takes some hundred seconds to appear, so each card's machine boots once. What
//! it cannot change while it runs, whether images are compressed once more, takes a second machine that goes on where
//! the first one stopped.
//!
//! With std VGA and virtio the kernel sets modes, of 32 bits. It has no driver for QXL, which shows the 16 bits of a VESA mode.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::matrix::{DOWN, MODES, Mode, Place, SLOW_MODES, UP};
use super::qemu::{self, Screen};

#[tokio::test(flavor = "multi_thread")]
async fn qxl_is_what_screendump_shows_of_an_installer() {
    compare_at_installer("qxl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn std_vga_is_what_screendump_shows_of_an_installer() {
    compare_at_installer("std").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtio_vga_is_what_screendump_shows_of_an_installer() {
    compare_at_installer("virtio").await;
}

#[expect(clippy::print_stderr, reason = "the count is what the test is about")]
async fn compare_at_installer(vga: &str) {
    if qemu::is_missing() {
        return;
    }
    let Some(kernel) = kernel() else {
        return eprintln!("SKIPPED {vga} at Debian's installer: install {PACKAGE}");
    };
    let begin = Instant::now();
    let mut kinds = BTreeSet::new();
    let mut first = boot(vga, "never", &kernel, &MODES);
    first.wait_until("the installer's menu", PATIENCE, is_menu).await;
    let booted = begin.elapsed();
    first.compare("installer", &KEYS, is_menu).await;

    let incoming = ["-incoming".to_owned(), "unix:wire".to_owned()];
    let mut second = boot(vga, "always", &[kernel.as_slice(), &incoming].concat(), &SLOW_MODES);
    migrate(&mut first, &second).await;
    let mut count = first.finish(&mut kinds);
    second.compare("installer that moved", &KEYS, is_menu).await;
    count += second.finish(&mut kinds);

    let kinds: Vec<&str> = kinds.into_iter().collect();
    eprintln!(
        "{vga}: {count} screens of the installer are equal to screendump ({}); it booted in {} s, all took {} s",
        kinds.join(", "),
        booted.as_secs(),
        begin.elapsed().as_secs()
    );
    // Nine modes, the screen as it was and after a key.
    assert_eq!(count, 9 * 2);
}

/// Arguments that boot the installer, where it is installed.
fn kernel() -> Option<Vec<String>> {
    let folder = PathBuf::from("/usr/lib/debian-installer/images/12/amd64/gtk/debian-installer/amd64");
    let (kernel, initrd) = (folder.join("linux"), folder.join("initrd.gz"));
    if !kernel.is_file() || !initrd.is_file() {
        return None;
    }
    let text = |path: &Path| path.display().to_string();
    // 800x600 with 16 bits, as its own boot menu has it; without a mode, and without a driver, it asks in text.
    // On a busy host its check of the timer fails, and with it the boot.
    let words = "vga=788 no_timer_check panic=-1 --- quiet".to_owned();
    Some(vec![
        "-kernel".to_owned(),
        text(&kernel),
        "-initrd".to_owned(),
        text(&initrd),
        "-append".to_owned(),
        words,
    ])
}

fn boot(vga: &str, slow: &str, kernel: &[String], modes: &'static [Mode]) -> Place {
    // With less memory it asks in text. The other firmware would need 20 seconds more to load it.
    let board = ["-m", "1024", "-bios", "bios-256k.bin", "-no-reboot"].map(str::to_owned);
    let mut place = Place::boot(vga, slow, &[&board, kernel].concat(), modes);
    place.rest = Duration::from_secs(1);
    place
}

/// Lets `to`, which waits for it, go on where `from` is.
async fn migrate(from: &mut Place, to: &Place) {
    let deadline = Instant::now() + PATIENCE;
    let uri = format!("unix:{}", to.qemu.folder().join("wire").display());
    from.qemu.execute(r#"{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":4000000000}}"#);
    from.qemu.execute(&serde_json::json!({ "execute": "migrate", "arguments": { "uri": uri } }).to_string());
    loop {
        let answer = from.qemu.execute(r#"{"execute":"query-migrate"}"#);
        if answer.contains(r#""status": "completed""#) {
            return;
        }
        assert!(!answer.contains(r#""status": "failed""#), "{answer}");
        assert!(Instant::now() < deadline, "it goes on and on: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One language is chosen: below the banner, to the right of all languages, is one bar in the installer's colour.
fn is_menu(screen: &Screen) -> bool {
    let width = screen.width as usize;
    let is_chosen = |[red, green, blue]: &[u8; 3]| *green.min(blue) > red.saturating_add(40);
    let below = screen.rgb.as_chunks::<3>().0.iter().skip(80 * width);
    let column: Vec<bool> = below.skip(width * 3 / 4).step_by(width).map(is_chosen).collect();
    // Smooth text has a few such pixels, too.
    column.split(|is_chosen| !is_chosen).filter(|run| run.len() >= 15).count() == 1
}

/// Down, Page Down, Up, Page Up: two rows, then the whole list.
const KEYS: [&[u16]; 4] = [&[DOWN], &[0xE051], &[UP], &[0xE049]];
const PACKAGE: &str = "debian-installer-12-netboot-amd64";
/// For what takes two minutes while others build.
const PATIENCE: Duration = Duration::from_secs(1200);
