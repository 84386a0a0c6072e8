//! Each channel against a server played by hand, in memory and invented time.

mod any_bytes;

use std::time::{Duration, Instant};

use super::inputs::Motion;
use super::{
    BaseEvent, ChannelError, Compression, CursorChannel, DisplayChannel, DisplayEvent, DisplayOptions, Hold,
    InputsChannel, InputsEvent, KeyCode, KeyCodeError, Machine, MainChannel, MainEvent, Monitor,
    PlaybackChannel, SoundCount,
};
use crate::spice::limits::Limits;
use crate::spice::session::MovedTo;
use crate::spice::surface::DrawError;
use crate::spice::wire::base::client::{Ack, AckSync, MigrateFlushMark, Pong};
use crate::spice::wire::base::{
    List, Migrate, Notify, Ping, SetAck, Severity, WaitForChannel, WaitForChannels,
};
use crate::spice::wire::bytes::{Counted, Pointer, Rest};
use crate::spice::wire::display::client::{Init, PreferredCompression};
use crate::spice::wire::display::{
    GlDraw, Head, Mark, MonitorsConfig, Reset, StreamActivateReport, StreamClip, StreamCreate, StreamData,
    StreamDestroy, StreamDestroyAll, SurfaceCreate, SurfaceDestroy,
};
use crate::spice::wire::draw::{DisplayBase, DrawCopy};
use crate::spice::wire::header::{Frame, HeaderForm, mini_frame};
use crate::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use crate::spice::wire::inputs::client::{
    KeyDown, KeyUp, MouseMotion, MousePosition, MousePress, MouseRelease,
};
use crate::spice::wire::link::{Capabilities, ChannelId, ChannelType};
use crate::spice::wire::main::client::{AttachChannels, MigrateConnectError, MouseModeRequest};
use crate::spice::wire::types::{Clip, Point16, QMask, Rect, RopDescriptor};
use crate::spice::wire::{Message, cursor, inputs, main, playback};

/// A client's machine and the server's side of the wire.
struct Pair<M> {
    client: M,
    now: Instant,
}

impl<M: Machine> Pair<M> {
    fn new(client: M) -> Self {
        Self { client, now: Instant::now() }
    }

    fn try_send<'m>(&mut self, message: &impl Message<'m>) -> Result<(), ChannelError> {
        self.now += Duration::from_millis(1);
        let stream = mini_frame(message);
        let (frame, rest) = Frame::split(HeaderForm::Mini, &stream, u32::MAX).unwrap().unwrap();
        assert!(rest.is_empty());
        self.client.handle_message(self.now, frame)
    }

    fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.try_send(message).unwrap();
    }

    /// What the client has sent, as type and body.
    fn received(&mut self) -> Vec<(u16, Vec<u8>)> {
        let frames = std::iter::from_fn(|| self.client.poll_transmit());
        let split = |bytes: Vec<u8>| {
            let (frame, rest) = Frame::split(HeaderForm::Mini, &bytes, u32::MAX).unwrap().unwrap();
            assert!(rest.is_empty(), "one frame at a time");
            (frame.kind, frame.body.to_vec())
        };
        frames.map(split).collect()
    }

    fn events(&mut self) -> Vec<M::Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}

fn sent<'m, M: Message<'m>>(message: &M) -> (u16, Vec<u8>) {
    (M::KIND, message.to_body())
}

fn options(compression: Option<Compression>, has_image_cache: bool) -> DisplayOptions {
    DisplayOptions { channel_id: 0, compression, has_image_cache, limits: Limits::default() }
}

fn display() -> Pair<DisplayChannel> {
    let mut pair = Pair::new(DisplayChannel::new(options(None, true), &Capabilities::default()));
    pair.received();
    pair
}

#[test]
fn an_ack_follows_every_twentieth_message() {
    let mut pair = display();
    pair.send(&SetAck { generation: 1, window: 20 });
    assert_eq!(pair.received(), [sent(&AckSync { generation: 1 })], "the answer is not a count");
    for message in 1..=100 {
        // Pings and lists are one message each, like everything else.
        match message % 3 {
            0 => pair.send(&Ping { id: 0, timestamp: 0, data: Rest(&[]) }),
            1 => pair.send(&List { messages: vec![(Mark::KIND, &[]), (Mark::KIND, &[])] }),
            _ => pair.send(&Mark {}),
        }
        let acks = pair.received().into_iter().filter(|message| *message == sent(&Ack {})).count();
        assert_eq!(acks, usize::from(message % 20 == 0), "after message {message}");
    }
}

#[test]
fn a_new_window_starts_counting_anew_and_none_ends_it() {
    let mut pair = display();
    pair.send(&SetAck { generation: 1, window: 3 });
    pair.send(&Mark {});
    pair.send(&Mark {});
    pair.send(&SetAck { generation: 2, window: 2 });
    pair.send(&Mark {});
    assert_eq!(pair.received(), [sent(&AckSync { generation: 1 }), sent(&AckSync { generation: 2 })]);
    pair.send(&Mark {});
    assert_eq!(pair.received(), [sent(&Ack {})]);
    pair.send(&SetAck { generation: 3, window: 0 });
    (0..50).for_each(|_| pair.send(&Mark {}));
    assert_eq!(pair.received(), [sent(&AckSync { generation: 3 })]);
}

#[test]
fn a_ping_of_any_size_is_answered_with_twelve_bytes() {
    let mut pair = Pair::new(MainChannel::new());
    for size in [0, 4, 256_000] {
        pair.send(&Ping { id: 7, timestamp: 8, data: Rest(&vec![0; size]) });
        let answer = pair.received();
        assert_eq!(answer, [sent(&Pong { id: 7, timestamp: 8 })]);
        assert_eq!(answer[0].1.len(), 12);
    }
}

#[test]
fn init_is_the_first_and_only_greeting_of_a_display() {
    let mut pair =
        Pair::new(DisplayChannel::new(options(Some(Compression::Lz), true), &Capabilities::default()));
    let limits = Limits::default();
    let init = Init {
        pixmap_cache_id: 1,
        pixmap_cache_size: limits.image_cache_pixels.into(),
        glz_dictionary_id: 1,
        glz_dictionary_window_size: i32::try_from(limits.glz_window_pixels).unwrap(),
    };
    assert_eq!(
        pair.received(),
        [sent(&init)],
        "a server without the capability is not asked for compression"
    );
    pair.send(&SetAck { generation: 1, window: 20 });
    pair.send(&StreamDestroyAll {});
    pair.send(&SurfaceCreate { surface_id: 0, width: 8, height: 8, format: 32, flags: 1 });
    pair.send(&Mark {});
    assert_eq!(pair.received(), [sent(&AckSync { generation: 1 })]);
}

#[test]
fn the_wish_for_compression_comes_before_init() {
    let able = DisplayChannel::capabilities();
    for (compression, number) in [
        (Compression::Off, 1),
        (Compression::AutoGlz, 2),
        (Compression::AutoLz, 3),
        (Compression::Quic, 4),
        (Compression::Glz, 5),
        (Compression::Lz, 6),
        (Compression::Lz4, 7),
    ] {
        let mut pair = Pair::new(DisplayChannel::new(options(Some(compression), false), &able));
        let init = Init {
            pixmap_cache_id: 1,
            pixmap_cache_size: 0,
            glz_dictionary_id: 1,
            glz_dictionary_window_size: 0,
        };
        let wish = PreferredCompression { image_compression: number };
        assert_eq!(pair.received(), [sent(&wish), sent(&init)]);
    }
    let mut pair = Pair::new(DisplayChannel::new(options(None, false), &able));
    assert_eq!(pair.received().len(), 1, "no wish, no word");
}

#[test]
fn a_window_that_would_abort_qemu_is_never_asked_for() {
    let limits = Limits { glz_window_pixels: u32::MAX, ..Limits::default() };
    let options = DisplayOptions { limits, ..options(None, true) };
    let mut pair = Pair::new(DisplayChannel::new(options, &Capabilities::default()));
    let (_, body) = pair.received().remove(0);
    let init = Init::from_body(&body).unwrap();
    assert_eq!(init.glz_dictionary_window_size, Init::GLZ_WINDOW_LIMIT);
}

#[test]
fn a_display_is_established_once_the_server_has_read_init() {
    let mut pair = display();
    pair.send(&SetAck { generation: 1, window: 20 });
    assert!(!pair.client.is_established());
    pair.send(&StreamDestroyAll {});
    assert!(pair.client.is_established());
}

const RECT: Rect = Rect { left: 1, top: 1, right: 3, bottom: 2 };

fn copy(data: &[u8], kind: u8) -> DrawCopy<'_> {
    let palette = PaletteSource::None;
    let data = match kind {
        0 => ImageData::Bitmap(Bitmap { format: 8, flags: 4, width: 2, height: 1, stride: 8, palette, data }),
        _ => ImageData::Quic(Counted(data)),
    };
    let descriptor = ImageDescriptor { id: 1, kind, flags: 0, width: 2, height: 1 };
    DrawCopy {
        base: DisplayBase { surface_id: 0, bounds: RECT, clip: Clip::None },
        src_bitmap: Pointer(Image { descriptor, data }),
        src_area: Rect::new(0, 0, 2, 1),
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: 0,
        mask: QMask::NONE,
    }
}

const CREATE: SurfaceCreate = SurfaceCreate { surface_id: 0, width: 4, height: 4, format: 32, flags: 1 };

#[test]
fn a_draw_is_reported_when_its_pixels_are_there() {
    let mut pair = display();
    pair.send(&CREATE);
    pair.send(&Mark {});
    pair.send(&copy(&[1, 2, 3, 9, 4, 5, 6, 9], 0));
    let at = pair.now;
    let created = DisplayEvent::SurfaceCreated { surface_id: 0, width: 4, height: 4, is_primary: true };
    let drawn = DisplayEvent::Drawn { surface_id: 0, rect: RECT, at };
    assert_eq!(pair.events(), [created, DisplayEvent::Marked, drawn]);
    let (id, surface) = pair.client.primary().unwrap();
    assert_eq!((id, &surface.pixels()[20..28]), (0, &[1, 2, 3, 0, 4, 5, 6, 0][..]));
    let counters = pair.client.counters();
    assert_eq!((counters.messages, counters.draws["DRAW_COPY"], counters.images["BITMAP"]), (3, 1, 1));
}

#[test]
fn a_reset_destroys_and_creates_the_screen() {
    let mut pair = display();
    pair.send(&CREATE);
    let before = pair.client.primary().unwrap().1.generation();
    for _ in 0..2 {
        pair.send(&SurfaceDestroy { surface_id: 0 });
        assert!(pair.client.primary().is_none());
        pair.send(&StreamDestroyAll {});
        pair.send(&CREATE);
    }
    assert_ne!(pair.client.primary().unwrap().1.generation(), before);
    let destroyed = |event: &DisplayEvent| *event == DisplayEvent::SurfaceDestroyed { surface_id: 0 };
    assert_eq!(pair.events().iter().filter(|event| destroyed(event)).count(), 2);
    pair.send(&SurfaceDestroy { surface_id: 9 });
    assert_eq!(pair.events(), [], "unknown surfaces are no news");
}

#[test]
fn the_reset_of_old_servers_blackens_the_screen_and_says_so() {
    let mut pair = display();
    pair.send(&CREATE);
    pair.send(&copy(&[1; 8], 0));
    pair.events();
    pair.send(&Reset {});
    let (_, screen) = pair.client.primary().unwrap();
    assert!(screen.pixels().iter().all(|byte| *byte == 0));
    let rect = Rect::new(0, 0, 4, 4);
    assert_eq!(pair.events(), [DisplayEvent::Drawn { surface_id: 0, rect, at: pair.now }]);
}

#[test]
fn what_is_left_out_is_told_apart_up_to_a_point() {
    let mut pair = display();
    for kind in 1000..2000 {
        let frame = Frame { kind, sub_list: 0, body: &[] };
        pair.client.handle_message(pair.now, frame).unwrap();
    }
    let unsupported = &pair.client.counters().unsupported;
    assert_eq!((unsupported.len(), unsupported["others"]), (257, 744));
    assert_eq!(pair.events().len(), 257);
}

#[test]
fn what_is_left_out_is_reported_once_and_counted_always() {
    let mut pair = display();
    pair.send(&CREATE);
    pair.events();
    for _ in 0..3 {
        pair.send(&GlDraw { x: 0, y: 0, w: 1, h: 1 });
    }
    let unsupported = DisplayEvent::Base(BaseEvent::Unsupported { what: "GL_DRAW".to_owned() });
    assert_eq!(pair.events(), [unsupported]);
    assert_eq!(pair.client.counters().unsupported["GL_DRAW"], 3);
}

fn head(monitor_id: u32, surface_id: u32, x: u32, width: u32) -> Head {
    Head { monitor_id, surface_id, width, height: 4, x, y: 0, flags: 0 }
}

#[test]
fn monitors_are_parts_of_surfaces_and_the_screen_is_one_where_none_is_named() {
    let mut pair = display();
    assert_eq!(pair.client.monitors(), []);
    pair.send(&CREATE);
    let whole = Monitor { id: 0, surface_id: 0, rect: Rect::new(0, 0, 4, 4) };
    assert_eq!(pair.client.monitors(), [whole]);
    pair.events();
    // The third lies outside of the surface, the fourth on one that does not exist.
    let heads = vec![head(1, 0, 0, 3), head(2, 0, 3, u32::MAX), head(3, 0, 9, 1), head(4, 7, 0, 1)];
    let config = MonitorsConfig { max_allowed: 4, heads };
    let expected = [
        Monitor { id: 1, surface_id: 0, rect: Rect::new(0, 0, 3, 4) },
        Monitor { id: 2, surface_id: 0, rect: Rect::new(3, 0, 1, 4) },
    ];
    pair.send(&config);
    pair.send(&config);
    assert_eq!(pair.events(), [DisplayEvent::Monitors(expected.to_vec())], "said once");
    assert_eq!(pair.client.monitors(), expected);
    pair.send(&SurfaceDestroy { surface_id: 0 });
    assert_eq!(pair.client.monitors(), []);
    pair.send(&CREATE);
    assert_eq!(pair.client.monitors(), expected, "the server does not repeat it");
    let many = MonitorsConfig { max_allowed: 4, heads: vec![head(1, 0, 0, 1); 257] };
    assert!(matches!(pair.try_send(&many), Err(ChannelError::Draw { name: "MONITORS_CONFIG", .. })));
}

fn stream(codec_type: u8) -> StreamCreate<'static> {
    StreamCreate {
        surface_id: 0,
        id: 5,
        flags: 1,
        codec_type,
        stamp: 0,
        stream_width: 2,
        stream_height: 1,
        src_width: 2,
        src_height: 1,
        dest: RECT,
        clip: Clip::None,
    }
}

#[test]
fn streams_of_other_codecs_and_broken_frames_end_the_channel_by_name() {
    let mut pair = display();
    pair.send(&CREATE);
    let error = pair.try_send(&stream(2)).unwrap_err();
    assert!(matches!(&error, ChannelError::Draw { name: "STREAM_CREATE", source, .. }
        if matches!(**source, DrawError::StreamCodec { id: 5, codec: "VP8" })));
    pair.send(&stream(1));
    let frame = StreamData { id: 5, multi_media_time: 1, data: Counted(&[0xff]) };
    let error = pair.try_send(&frame).unwrap_err();
    assert!(matches!(&error, ChannelError::Draw { name: "STREAM_DATA", source, .. }
        if matches!(**source, DrawError::Stream { id: 5, .. })));
}

#[test]
fn words_on_streams_that_do_not_exist_are_passed_over() {
    let mut pair = display();
    pair.send(&StreamData { id: 1, multi_media_time: 0, data: Counted(&[]) });
    pair.send(&StreamClip { id: 1, clip: Clip::None });
    pair.send(&StreamActivateReport { stream_id: 1, unique_id: 1, max_window_size: 5, timeout_ms: 1000 });
    pair.send(&StreamDestroy { id: 1 });
    let left_out: Vec<_> = pair.client.counters().unsupported.keys().map(String::as_str).collect();
    let expected = [
        "clip of a stream that does not exist",
        "frame of a stream that does not exist",
        "report on a stream that does not exist",
    ];
    assert_eq!(left_out, expected);
    assert_eq!(pair.received(), [], "nothing is said about them");
}

#[test]
fn unknown_messages_are_passed_over() {
    let mut pair = display();
    for kind in [99, 199, 322] {
        let frame = Frame { kind, sub_list: 0, body: &[1, 2, 3] };
        pair.client.handle_message(pair.now, frame).unwrap();
    }
    let names: Vec<_> = pair.client.counters().unsupported.keys().cloned().collect();
    assert_eq!(names, ["message type 199", "message type 322", "message type 99"]);
}

#[test]
fn a_picture_that_cannot_be_shown_ends_the_channel_by_name() {
    let mut pair = display();
    pair.send(&CREATE);
    let error = pair.try_send(&copy(&[0; 8], 1)).unwrap_err();
    assert!(matches!(&error, ChannelError::Draw { serial: 2, name: "DRAW_COPY", source }
        if matches!(**source, DrawError::Image { kind: "QUIC", .. })));
    let frame = Frame { kind: 304, sub_list: 0, body: &[0; 8] };
    let error = pair.client.handle_message(pair.now, frame).unwrap_err();
    assert_eq!(error.to_string(), "message 3 (DRAW_COPY)");
}

#[test]
fn main_attaches_to_its_channels_once_it_is_initialised() {
    let mut pair = Pair::new(MainChannel::new());
    let init = main::Init {
        session_id: 42,
        display_channels_hint: 1,
        supported_mouse_modes: 3,
        current_mouse_mode: 1,
        agent_connected: 0,
        agent_tokens: 10,
        multi_media_time: 0,
        ram_hint: 0,
    };
    pair.send(&init);
    assert_eq!(pair.received(), [sent(&AttachChannels {}), sent(&MouseModeRequest { mode: 2 })]);
    let channels = vec![ChannelId { channel_type: ChannelType::DISPLAY, id: 0 }];
    pair.send(&main::ChannelsList { channels: channels.clone() });
    pair.send(&main::MouseMode { supported: 3, current: 2 });
    assert_eq!(
        pair.events(),
        [
            MainEvent::Init { session_id: 42 },
            MainEvent::MouseMode { is_client_supported: true, is_client: false },
            MainEvent::Channels(channels),
            MainEvent::MouseMode { is_client_supported: true, is_client: true },
        ]
    );
    assert_eq!(pair.received(), [], "without an agent nothing is said to it");
    assert!(matches!(pair.try_send(&init), Err(ChannelError::Unexpected { problem: "twice", .. })));
}

#[test]
fn migrations_are_declined_and_flushes_are_marked() {
    let mut pair = Pair::new(MainChannel::new());
    let target = || main::MigrationTarget { port: 1, sport: 0, host: b"elsewhere", cert_subject: b"" };
    pair.send(&main::MigrateBegin { target: target() });
    pair.send(&main::MigrateBeginSeamless { target: target(), src_mig_version: 1 });
    pair.send(&main::MigrateCancel {});
    pair.send(&main::MigrateEnd {});
    pair.send(&Migrate { flags: 1 });
    pair.send(&Migrate { flags: 2 });
    let no = || sent(&MigrateConnectError {});
    assert_eq!(pair.received(), [no(), no(), sent(&MigrateFlushMark {})]);
    let is_notice = |event: &MainEvent| matches!(event, MainEvent::Base(BaseEvent::Unsupported { .. }));
    assert!(pair.events().iter().all(is_notice), "the session goes on");
}

#[test]
fn being_sent_to_another_host_is_reported_in_words_that_are_safe_to_print() {
    let mut pair = Pair::new(MainChannel::new());
    let target =
        main::MigrationTarget { port: 5900, sport: 0xffff, host: b"we\x1bst\0more", cert_subject: b"\0" };
    pair.send(&main::MigrateSwitchHost { target });
    let (host, port) = ("we\\u{1b}st".to_owned(), Some(5900));
    let to = MovedTo { host, port, tls_port: None, host_subject: None };
    assert_eq!(to.to_string(), "we\\u{1b}st, port 5900");
    assert_eq!(pair.events(), [MainEvent::Moved(to)]);
    assert_eq!(pair.received(), []);
    // A host that is not where it is said to be, and one that is not there at all.
    let mut body = vec![0; 20];
    body[4..12].copy_from_slice(&[255, 255, 255, 255, 19, 0, 0, 0]);
    let frame = |body| Frame { kind: 111, sub_list: 0, body };
    let error = pair.client.handle_message(pair.now, frame(&body)).unwrap_err();
    assert!(matches!(error, ChannelError::Decode { name: "MIGRATE_SWITCH_HOST", .. }), "{error:?}");
    assert!(pair.client.handle_message(pair.now, frame(&body[..3])).is_err());
}

#[test]
fn notices_are_safe_to_print() {
    let mut pair = Pair::new(MainChannel::new());
    let message = Counted(b"a\x1b[2J\xff\0b");
    pair.send(&Notify { time_stamp: 0, severity: Severity::WARN, visibility: 0, what: 0, message });
    let text = "a\\u{1b}[2J\u{fffd}".to_owned();
    assert_eq!(pair.events(), [MainEvent::Base(BaseEvent::Notice { severity: Severity::WARN, text })]);
    pair.send(&main::Name { name: Counted(b"my vm\0") });
    assert_eq!(pair.events(), [MainEvent::Name("my vm".to_owned())]);
}

#[test]
fn a_display_says_what_it_waits_for_and_others_do_not_wait() {
    let entry = WaitForChannel { channel_type: 2, channel_id: 1, message_serial: 9 };
    let message = WaitForChannels { wait_list: vec![entry] };
    let mut pair = display();
    pair.send(&message);
    assert_eq!(pair.client.hold(), Some(Hold::Channels(&[entry])));
    // What came with it in a list waits as well.
    let create = CREATE.to_body();
    pair.send(&List { messages: vec![(SurfaceCreate::KIND, &create)] });
    assert!(pair.client.primary().is_none());
    pair.client.resume(pair.now, false).unwrap();
    assert_eq!(pair.client.hold(), None);
    assert!(pair.client.primary().is_some());
    assert!(pair.client.counters().unsupported.is_empty());
    let mut pair = Pair::new(MainChannel::new());
    pair.send(&message);
    assert_eq!(pair.client.hold(), None);
    assert_eq!(pair.client.counters().unsupported["WAIT_FOR_CHANNELS"], 1);
}

#[test]
fn sub_messages_are_handled_in_order_before_their_carrier() {
    let mut pair = display();
    let create = CREATE.to_body();
    // A full header's list behind the body of DESTROY: create the surface, then mark it, then destroy it.
    let mut body = SurfaceDestroy { surface_id: 0 }.to_body();
    let list_at = u32::try_from(body.len()).unwrap();
    let first = list_at + 2 + 8;
    let second = first + 6 + u32::try_from(create.len()).unwrap();
    body.extend(2_u16.to_le_bytes());
    body.extend([first, second].iter().flat_map(|offset| offset.to_le_bytes()));
    body.extend([&314_u16.to_le_bytes()[..], &20_u32.to_le_bytes(), &create].concat());
    body.extend([&102_u16.to_le_bytes()[..], &0_u32.to_le_bytes()].concat());
    pair.client.handle_message(pair.now, Frame { kind: 315, sub_list: list_at, body: &body }).unwrap();
    let events = pair.events();
    assert!(matches!(
        events[..],
        [DisplayEvent::SurfaceCreated { .. }, DisplayEvent::Marked, DisplayEvent::SurfaceDestroyed { .. }]
    ));
}

#[test]
fn keys_go_out_as_their_set_1_bytes() {
    let mut pair = Pair::new(InputsChannel::new());
    for (code, down, up) in
        [(0x1e, 0x1e, 0x9e), (0xe04d, 0x4de0, 0xcde0), (0x9e, 0x9e, 0x9e), (0xe0cb, 0xcbe0, 0xcbe0)]
    {
        let key = KeyCode::try_from(code).unwrap();
        pair.client.key_down(key);
        pair.client.key_up(key);
        assert_eq!(pair.received(), [sent(&KeyDown { code: down }), sent(&KeyUp { code: up })], "{code:#x}");
    }
    for code in [0, 0xe000, 0xe11d, 0x0100] {
        assert_eq!(KeyCode::try_from(code), Err(KeyCodeError(code)));
    }
}

#[test]
fn lock_lights_are_reported() {
    let mut pair = Pair::new(InputsChannel::new());
    pair.send(&inputs::Init { modifiers: 2 });
    pair.send(&inputs::KeyModifiers { modifiers: 6 });
    pair.send(&inputs::MouseMotionAck {});
    assert_eq!(pair.events(), [InputsEvent::KeyModifiers(2), InputsEvent::KeyModifiers(6)]);
}

#[test]
fn buttons_are_sent_with_all_that_are_held() {
    let mut pair = Pair::new(InputsChannel::new());
    pair.client.mouse_press(1);
    pair.client.mouse_press(3);
    pair.client.mouse_move(Motion::By { dx: 1, dy: -1 }, Instant::now());
    pair.client.mouse_release(1);
    let wanted = [
        sent(&MousePress { button: 1, buttons: 1 }),
        sent(&MousePress { button: 3, buttons: 5 }),
        sent(&MouseMotion { dx: 1, dy: -1, buttons: 5 }),
        sent(&MouseRelease { button: 1, buttons: 4 }),
    ];
    assert_eq!(pair.received(), wanted);
    // None that a mask has no bit for.
    pair.client.mouse_press(200);
    assert_eq!(pair.received(), [sent(&MousePress { button: 200, buttons: 4 })]);
}

#[test]
fn motion_that_a_server_cannot_keep_up_with_becomes_one() {
    let mut pair = Pair::new(InputsChannel::new());
    for _ in 0..12 {
        pair.client.mouse_move(Motion::By { dx: 1, dy: 2 }, Instant::now());
    }
    assert_eq!(pair.received().len(), 8);
    pair.send(&inputs::MouseMotionAck {});
    assert_eq!(pair.received(), [sent(&MouseMotion { dx: 4, dy: 8, buttons: 0 })]);
    for x in 0..7 {
        pair.client.mouse_move(Motion::To { x, y: 0, display_id: 1 }, Instant::now());
    }
    assert_eq!(pair.received().len(), 3);
    // A click is where the last motion went, acknowledged or not.
    pair.client.mouse_press(1);
    let wanted = [
        sent(&MousePosition { x: 6, y: 0, buttons: 0, display_id: 1 }),
        sent(&MousePress { button: 1, buttons: 1 }),
    ];
    assert_eq!(pair.received(), wanted);
}

#[test]
fn absolute_positions_are_asked_for_where_they_can_be_had() {
    let mut pair = Pair::new(MainChannel::new());
    pair.send(&main::MouseMode { supported: 1, current: 1 });
    assert_eq!(pair.received(), []);
    pair.send(&main::MouseMode { supported: 3, current: 1 });
    assert_eq!(pair.received(), [sent(&MouseModeRequest { mode: 2 })]);
    pair.send(&main::MouseMode { supported: 3, current: 2 });
    assert_eq!(pair.received(), []);
}

#[test]
fn the_cursor_is_followed() {
    let mut pair = Pair::new(CursorChannel::new());
    let shape = || cursor::Cursor { flags: cursor::Cursor::NONE, header: None, data: &[] };
    let position = Point16 { x: 3, y: 4 };
    pair.send(&cursor::Init { position, trail_length: 0, trail_frequency: 0, visible: 1, cursor: shape() });
    assert!(pair.client.state().is_visible);
    pair.send(&cursor::Hide {});
    pair.send(&cursor::Move { position: Point16 { x: 5, y: 6 } });
    assert_eq!(
        (pair.client.state().position, pair.client.state().is_visible),
        (Point16 { x: 5, y: 6 }, true)
    );
    pair.send(&cursor::Set { position, visible: 0, cursor: shape() });
    assert_eq!((pair.client.state().position, pair.client.state().is_visible), (position, false));
    pair.send(&cursor::Reset {});
    assert_eq!(pair.client.state().position, Point16::default());
}

#[test]
fn shapes_of_the_cursor_are_kept_and_forgotten() {
    let mut pair = Pair::new(CursorChannel::new());
    let set = |flags, unique, data: &'static [u8]| {
        let header =
            cursor::CursorHeader { unique, kind: 0, width: 1, height: 1, hot_spot_x: 0, hot_spot_y: 0 };
        let cursor = cursor::Cursor { flags, header: Some(header), data };
        cursor::Set { position: Point16::default(), visible: 1, cursor }
    };
    let pixel = |pair: &Pair<CursorChannel>| {
        pair.client.state().shape.as_ref().map(|shape| shape.picture.bytes.clone())
    };
    pair.send(&set(cursor::Cursor::CACHE_ME, 7, &[1, 2, 3, 4]));
    pair.send(&set(0, 8, &[5, 6, 7, 8]));
    assert_eq!(pixel(&pair), Some(vec![5, 6, 7, 8]));
    pair.send(&set(cursor::Cursor::FROM_CACHE, 7, &[]));
    assert_eq!(pixel(&pair), Some(vec![1, 2, 3, 4]));
    pair.send(&cursor::Move { position: Point16 { x: 1, y: 1 } });
    assert_eq!(pixel(&pair), Some(vec![1, 2, 3, 4]), "moving does not change it");
    pair.send(&cursor::InvalOne { id: 7 });
    assert_eq!(pixel(&pair), Some(vec![1, 2, 3, 4]), "what is shown stays");
    pair.send(&set(cursor::Cursor::FROM_CACHE, 7, &[]));
    assert_eq!(pixel(&pair), None);
    assert_eq!(pair.client.counters().unsupported["cursor shape that is not in the cache"], 1);
    let error = pair.try_send(&set(0, 9, &[1])).unwrap_err();
    assert!(matches!(&error, ChannelError::Draw { name: "SET", source, .. }
        if matches!(**source, DrawError::Image { id: 9, kind: "CURSOR", .. })));
    for unique in 0..512 {
        pair.send(&set(cursor::Cursor::CACHE_ME, unique, &[0; 4]));
    }
    assert!(pair.try_send(&set(cursor::Cursor::CACHE_ME, 512, &[0; 4])).is_err());
    pair.send(&cursor::InvalAll {});
    pair.send(&set(cursor::Cursor::CACHE_ME, 512, &[0; 4]));
}

#[test]
fn a_wish_for_lights_is_one_message() {
    let mut pair = Pair::new(InputsChannel::new());
    pair.client.set_modifiers(6);
    assert_eq!(pair.received(), [(103, vec![6, 0])]);
}

#[test]
fn sound_is_counted_by_mode() {
    let mut pair = Pair::new(PlaybackChannel::new());
    pair.send(&playback::Mode { time: 0, mode: playback::mode::RAW, data: Rest(&[]) });
    pair.send(&playback::Start { channels: 2, format: 1, frequency: 48_000, time: 0 });
    pair.send(&playback::Data { time: 1, data: Rest(&[0; 100]) });
    pair.send(&playback::Data { time: 2, data: Rest(&[0; 20]) });
    pair.send(&playback::Mode { time: 3, mode: playback::mode::OPUS, data: Rest(&[]) });
    pair.send(&playback::Data { time: 4, data: Rest(&[0; 7]) });
    pair.send(&playback::Stop {});
    let sounds = &pair.client.counters().sounds;
    let wanted =
        [("OPUS", SoundCount { packets: 1, bytes: 7 }), ("RAW", SoundCount { packets: 2, bytes: 120 })];
    assert_eq!(sounds.clone().into_iter().collect::<Vec<_>>(), wanted);
    assert_eq!(pair.events(), []);
}
