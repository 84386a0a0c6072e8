//! Several displays in one session: they share a GLZ window, and wait for each other.

use std::time::{Duration, Instant};

use backstaff::spice::codec::glz_encode::Encoder;
use backstaff::spice::recorder::{Recorder, RecorderOptions};
use backstaff::spice::recording::Reader;
use backstaff::spice::replay::{Player, play_settling};
use backstaff::spice::wire::base::{WaitForChannel, WaitForChannels};
use backstaff::spice::wire::bytes::{Counted, Pointer};
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::draw::{DisplayBase, DrawCopy};
use backstaff::spice::wire::image::{Image, ImageData, ImageDescriptor};
use backstaff::spice::wire::types::{Clip, QMask, RopDescriptor};
use backstaff::spice::{ChannelId, ChannelType, Rect, Session, SessionEvent, SessionOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::pretender::{Connection, DISPLAY, Pretender};

const SECOND: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 1 };
const CREATE: SurfaceCreate = SurfaceCreate { surface_id: 0, width: 16, height: 4, format: 32, flags: 1 };
/// Enough for a client that would draw to have drawn.
const A_WHILE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

struct TwoDisplays {
    session: Session,
    events: UnboundedReceiver<SessionEvent>,
    _main: Connection,
    first: Connection,
    second: Connection,
}

async fn two_displays(change: impl FnOnce(&mut SessionOptions)) -> TwoDisplays {
    let pretender = Pretender::new();
    let mut options = pretender.options();
    change(&mut options);
    let serve = async {
        let main = pretender.open_main(&[DISPLAY, SECOND]).await;
        let (mut one, mut other) = (pretender.open().await, pretender.open().await);
        // Both name the same window (the id is behind the image cache's).
        let (init, other_init) = (one.receive().await, other.receive().await);
        assert_eq!((init.0, other_init.0), (101, 101), "INIT");
        assert_eq!(init.1[9], other_init.1[9], "the id of the GLZ dictionary");
        assert_ne!(init.1[0], other_init.1[0], "the id of the image cache");
        if one.mess.channel == DISPLAY { (main, one, other) } else { (main, other, one) }
    };
    let (connected, (main, mut first, mut second)) = tokio::join!(Session::connect(options), serve);
    let (session, events) = connected.expect("connects");
    first.send(&CREATE).await;
    second.send(&CREATE).await;
    TwoDisplays { session, events, _main: main, first, second }
}

impl TwoDisplays {
    /// Waits until a display was drawn on, and returns its pixels.
    async fn drawn(&mut self, display: ChannelId) -> Vec<u8> {
        let drawn = async {
            loop {
                match self.events.recv().await.expect("the session goes on") {
                    SessionEvent::Drawn { channel_id, .. } if channel_id == display.id => return,
                    SessionEvent::ChannelClosed { channel, reason } => panic!("{channel}: {reason:?}"),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, drawn).await.expect("it is drawn");
        self.pixels(display)
    }

    fn pixels(&self, display: ChannelId) -> Vec<u8> {
        self.session.with_surface(display.id, 0, |surface| surface.pixels().to_vec()).unwrap_or_default()
    }
}

fn draw(stream: &[u8]) -> DrawCopy<'_> {
    let area = Rect::new(0, 0, 16, 4);
    let data = ImageData::GlzRgb(Counted(stream));
    let descriptor = ImageDescriptor { id: 1, kind: data.kind().0, flags: 0, width: 16, height: 4 };
    DrawCopy {
        base: DisplayBase { surface_id: 0, bounds: area, clip: Clip::None },
        src_bitmap: Pointer(Image { descriptor, data }),
        src_area: area,
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: 0,
        mask: QMask::NONE,
    }
}

/// Two streams of the same pixels, of which the second refers to the first; and the pixels.
fn image_and_reference() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let pixels: Vec<u8> = (0..16 * 4_u8).flat_map(|at| [at.wrapping_mul(37), at, !at, 0]).collect();
    let mut encoder = Encoder::new(1 << 20);
    let first = encoder.encode(&pixels, 16, 4).expect("fits the window");
    let second = encoder.encode(&pixels, 16, 4).expect("fits the window");
    assert!(second.len() < 60, "hardly more than a reference: {} bytes", second.len());
    (first, second, pixels)
}

#[tokio::test]
async fn an_image_waits_for_the_one_it_refers_to_on_another_display() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.recording");
    let recorder = Recorder::create(&file, RecorderOptions::default()).unwrap();
    let mut displays = two_displays(|options| options.recorder = Some(recorder.clone())).await;
    let (image, reference, pixels) = image_and_reference();
    displays.second.send(&draw(&reference)).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(displays.pixels(SECOND).iter().all(|byte| *byte == 0), "there is nothing to draw yet");
    displays.first.send(&draw(&image)).await;
    assert_eq!(displays.drawn(SECOND).await, pixels);
    assert_eq!(displays.pixels(DISPLAY), pixels);
    let stats = displays.session.stats();
    let images = stats.channels.iter().map(|channel| channel.counters.images.get("GLZ_RGB").copied());
    assert_eq!(images.flatten().collect::<Vec<_>>(), [1, 1], "each is counted once");
    displays.session.shutdown().await;
    recorder.finish().unwrap();

    // The recording shows the same, with the two in the order in which they came.
    let mut player = Player::new(Instant::now());
    let mut reader = Reader::open(std::fs::File::open(&file).unwrap()).unwrap();
    play_settling(&mut player, &mut reader, Duration::ZERO, |_, _| {}).unwrap();
    let screens: Vec<(u8, Vec<u8>)> =
        player.screens().map(|(id, surface)| (id, surface.pixels().to_vec())).collect();
    assert_eq!(screens, [(0, pixels.clone()), (1, pixels)]);
    let summary = player.summary();
    assert!(summary.values().all(|channel| channel.errors.is_empty()), "{summary:?}");
}

#[tokio::test]
async fn an_image_that_never_comes_ends_the_display_that_waits_for_it() {
    let mut displays = two_displays(|_| {}).await;
    let (_, reference, _) = image_and_reference();
    displays.second.send(&draw(&reference)).await;
    let closed = async {
        loop {
            match displays.events.recv().await.expect("the session goes on") {
                SessionEvent::ChannelClosed { channel, reason } => return (channel, reason),
                SessionEvent::Closed { reason } => panic!("{reason}"),
                _ => {}
            }
        }
    };
    let (channel, reason) = timeout(PATIENCE, closed).await.expect("it is given up");
    assert_eq!(channel, SECOND);
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("DRAW_COPY") && reason.contains("image"), "{reason}");
}

#[tokio::test]
async fn a_display_waits_for_another_where_the_server_wants_it_and_only_then() {
    let mut displays = two_displays(|_| {}).await;
    let (image, _, pixels) = image_and_reference();
    // CREATE is the first message, so the draw is the second.
    let wait = |channel: ChannelId, message_serial| WaitForChannel {
        channel_type: channel.channel_type.0,
        channel_id: channel.id,
        message_serial,
    };
    let unknown = ChannelId { channel_type: ChannelType::DISPLAY, id: 9 };
    let wait_list = vec![wait(SECOND, 99), wait(unknown, 1), wait(DISPLAY, 2)];
    displays.second.send(&WaitForChannels { wait_list }).await;
    displays.second.send(&draw(&image)).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(displays.pixels(SECOND).iter().all(|byte| *byte == 0), "the first display is not there yet");
    displays.first.send(&backstaff::spice::wire::display::Mark {}).await;
    assert_eq!(displays.drawn(SECOND).await, pixels);
    let stats = displays.session.stats();
    assert!(stats.channels.iter().all(|channel| channel.counters.unsupported.is_empty()), "{stats:?}");
}

#[tokio::test]
async fn a_wait_that_is_not_met_ends_and_is_told() {
    let mut displays = two_displays(|_| {}).await;
    let (image, _, pixels) = image_and_reference();
    let entry = WaitForChannel { channel_type: 2, channel_id: 0, message_serial: 1000 };
    displays.second.send(&WaitForChannels { wait_list: vec![entry] }).await;
    displays.second.send(&draw(&image)).await;
    assert_eq!(displays.drawn(SECOND).await, pixels);
    let stats = displays.session.stats();
    let left_out = stats.channels.iter().flat_map(|channel| channel.counters.unsupported.keys());
    assert_eq!(left_out.collect::<Vec<_>>(), ["WAIT_FOR_CHANNELS for what does not come"]);
}
