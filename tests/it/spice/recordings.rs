//! Recordings of real sessions, redrawn without a machine; and how they are made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backstaff::spice::recording::Reader;
use backstaff::spice::replay::{Player, play_settling};
use backstaff::spice::{
    ChannelType, Compression, Recorder, RecorderOptions, Session, SessionEvent, SessionOptions,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::machine::{BOOT, PASSWORD, Transport, boot_with, screen_of, settled};
use super::qemu::{self, Qemu, Screen};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings")
}

fn index() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder().join("screens.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn play(path: &Path) -> Player {
    let file = std::fs::read(path).unwrap();
    let mut reader = Reader::open(file.as_slice()).unwrap();
    let mut player = Player::new(Instant::now());
    let played = play_settling(&mut player, &mut reader, Duration::from_secs(1), |_, _| {});
    played.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(reader.is_ended(), "{}", path.display());
    player
}

/// What the index says of a recording: its last screen, and images by type.
fn described(player: &Player) -> Value {
    let (_, screen) = player.screens().next().expect("a screen");
    let mut images = BTreeMap::new();
    for (channel, summary) in player.summary() {
        assert!(summary.errors.is_empty(), "{channel}: {:?}", summary.errors);
        assert!(summary.counters.unsupported.is_empty(), "{channel}: {:?}", summary.counters.unsupported);
        assert_eq!((summary.unread, summary.withheld), (0, 0), "{channel}");
        if channel.channel_type == ChannelType::DISPLAY {
            images.extend(summary.counters.images);
        }
    }
    json!({
        "width": screen.width(),
        "height": screen.height(),
        "sha256": format!("{:x}", Sha256::digest(screen.pixels())),
        "images": images,
    })
}

#[test]
fn every_recording_ends_with_the_screen_that_was_seen_when_it_was_made() {
    let index = index();
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rec"));
    assert_eq!(files.len(), index.len(), "every recording is in the index, and nothing else is");
    for (name, wanted) in &index {
        let got = described(&play(&folder().join(format!("{name}.rec"))));
        assert_eq!(&got, wanted, "{name}");
    }
}

#[test]
fn every_codec_that_a_qemu_server_offers_is_in_the_recordings() {
    let index = index();
    let of = |name: &str| index[name]["images"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (name, wanted) in [
        ("firmware-std-off", "BITMAP"),
        ("firmware-std-lz", "LZ_RGB"),
        ("firmware-qxl-glz", "GLZ_RGB"),
        ("firmware-qxl-quic", "QUIC"),
        ("guest-std-lz4", "LZ4"),
        ("guest-std-jpeg", "JPEG"),
        ("guest-qxl-zlib_glz", "ZLIB_GLZ_RGB"),
    ] {
        assert!(of(name).iter().any(|kind| kind == wanted), "{name}: {:?}", of(name));
    }
}

#[test]
fn no_recording_holds_the_ticket_it_was_made_with() {
    for name in index().keys() {
        let file = std::fs::read(folder().join(format!("{name}.rec"))).unwrap();
        let mut reader = Reader::open(file.as_slice()).unwrap();
        while let Some(entry) = reader.next_entry().unwrap() {
            if let backstaff::spice::recording::Fact::Message { frame, .. } = entry.fact {
                let has_ticket = frame.body.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
                assert!(!has_ticket, "{name}");
            }
        }
    }
}

/// A recording to be made.
struct Take {
    name: String,
    vga: &'static str,
    /// QEMU's `image-compression`, with what follows it.
    compression: &'static str,
    wish: Option<Compression>,
    is_lossy: bool,
    /// The reference guest instead of the firmware alone.
    has_guest: bool,
}

fn takes() -> Vec<Take> {
    const WAN: &str = "jpeg-wan-compression=never,zlib-glz-wan-compression=always";
    let plain = |vga, compression| {
        let name = format!("firmware-{vga}-{compression}");
        Take { name, vga, compression, wish: None, is_lossy: false, has_guest: false }
    };
    let guest = |vga, mode: &str, compression| {
        let name = format!("guest-{vga}-{mode}");
        Take { name, vga, compression, wish: None, is_lossy: false, has_guest: true }
    };
    let mut takes = Vec::new();
    for vga in ["std", "qxl"] {
        for compression in ["off", "auto_lz", "auto_glz", "lz", "glz", "quic"] {
            takes.push(plain(vga, compression));
        }
        takes.extend(["off", "lz", "glz", "quic"].map(|mode| guest(vga, mode, mode)));
        takes.push(Take { wish: Some(Compression::Lz4), ..guest(vga, "lz4", "off") });
        let zlib_glz: &'static str = Box::leak(format!("glz,{WAN}").into_boxed_str());
        takes.push(guest(vga, "zlib_glz", zlib_glz));
        takes.push(Take { is_lossy: true, ..guest(vga, "jpeg", "quic,jpeg-wan-compression=always") });
    }
    takes
}

/// `cargo test --test it spice::recordings::are_made_anew -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes fixtures/recordings, boots machines for some minutes"]
async fn are_made_anew() {
    assert!(!qemu::is_missing(), "recordings are made with QEMU");
    std::fs::create_dir_all(folder()).unwrap();
    let mut index = BTreeMap::new();
    for take in takes() {
        let path = folder().join(format!("{}.rec", take.name));
        record(&take, &path).await;
        let described = described(&play(&path));
        eprintln!("{}: {} bytes, {described}", take.name, std::fs::metadata(&path).unwrap().len());
        index.insert(take.name, described);
    }
    let (name, path) = ("canonical-qxl-off", folder().join("canonical-qxl-off.rec"));
    crate::lane::screendump::record_the_story("qxl", &path).await;
    index.insert(name.to_owned(), described(&play(&path)));
    let text = serde_json::to_string_pretty(&index).unwrap() + "\n";
    std::fs::write(folder().join("screens.json"), text).unwrap();
}

async fn record(take: &Take, path: &Path) {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/guest/sextant.efi");
    let extra = match take.has_guest {
        true => vec!["-kernel".to_owned(), kernel.display().to_string()],
        false => Vec::new(),
    };
    let (mut qemu, mut options) = boot_with(take.vga, Transport::TcpWithTicket, take.compression, &extra);
    options.compression = take.wish;
    let recorder = Recorder::create(path, RecorderOptions::default()).unwrap();
    options.recorder = Some(recorder.clone());
    let (session, mut events) = connect(options).await;
    match take.has_guest {
        true => timeout(BOOT, guest_is_up(&session, &mut events)).await.expect("the guest comes up"),
        false => timeout(BOOT, settled(&session, &mut events)).await.expect("the screen settles"),
    }
    let wanted = stopped(&mut qemu);
    let is_wanted = |got: &Screen| match take.is_lossy {
        true => mean_difference(got, &wanted) < 3,
        false => *got == wanted,
    };
    let got = qemu::patiently(|| screen_of(&session).filter(is_wanted));
    assert!(got.is_some(), "{}: our screen is not what screendump shows", take.name);
    session.shutdown().await;
    recorder.finish().unwrap();
}

async fn connect(options: SessionOptions) -> (Session, UnboundedReceiver<SessionEvent>) {
    Session::connect(options).await.expect("connects")
}

/// Its first screens, with the digest that changes all the time.
async fn guest_is_up(session: &Session, events: &mut UnboundedReceiver<SessionEvent>) {
    let is_up = || session.primary().is_some_and(|primary| (primary.width, primary.height) == (1024, 768));
    let mut draws = 0;
    while draws < 60 {
        let event = events.recv().await.expect("the session goes on");
        if is_up() && matches!(event, SessionEvent::Drawn { .. }) {
            draws += 1;
        }
    }
}

fn stopped(qemu: &mut Qemu) -> Screen {
    qemu.execute(r#"{"execute":"stop"}"#);
    qemu.screendump()
}

fn mean_difference(got: &Screen, wanted: &Screen) -> u64 {
    if got.rgb.len() != wanted.rgb.len() {
        return u64::MAX;
    }
    let differences = got.rgb.iter().zip(&wanted.rgb).map(|(got, wanted)| u64::from(got.abs_diff(*wanted)));
    differences.sum::<u64>() / u64::try_from(got.rgb.len()).unwrap().max(1)
}
