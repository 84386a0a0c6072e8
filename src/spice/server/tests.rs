//! The server and our own client, over sockets; and clients that behave otherwise.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::spice::wire::link::{Capabilities, LinkMess};
use crate::spice::{
    CloseReason, Compression, LinkError, Session as Client, SessionError, SessionEvent, SessionOptions,
};

/// Nothing here takes long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Lab {
    folder: tempfile::TempDir,
    handle: ServerHandle,
    events: mpsc::Receiver<ServerEvent>,
}

impl Lab {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = ServerOptions::new(Endpoint::Unix(folder.path().join("spice")));
        change(&mut options);
        let (handle, events) = serve(options).await.unwrap();
        Self { folder, handle, events }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spice")
    }

    fn options(&self) -> SessionOptions {
        SessionOptions::new(Endpoint::Unix(self.path()))
    }

    async fn connect(&self) -> (Client, mpsc::UnboundedReceiver<SessionEvent>) {
        timeout(PATIENCE, Client::connect(self.options())).await.expect("in time").expect("connects")
    }

    /// The next event that `wanted` takes.
    async fn until<T>(&mut self, wanted: impl Fn(ServerEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the server goes on")) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the event comes")
    }

    /// A client that says only what it is told to.
    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }
}

/// Pixels that say where they are.
fn pattern(width: u32, height: u32) -> Vec<u8> {
    let pixel = |at: u32| [at.to_le_bytes()[0], at.to_le_bytes()[1], at.to_le_bytes()[2], 0];
    (0..width * height).flat_map(|at| pixel(at.wrapping_mul(2_654_435_761))).collect()
}

/// Waits until the client's screen is this.
async fn shows(client: &Client, width: u32, height: u32, pixels: &[u8]) {
    let shown = async {
        loop {
            let is_so =
                client.primary().filter(|it| (it.width, it.height) == (width, height)).and_then(|it| {
                    client.with_surface(it.channel_id, it.surface_id, |surface| surface.pixels() == pixels)
                });
            if is_so == Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the client sees what is shown");
}

#[tokio::test]
async fn every_client_sees_the_screen_and_what_becomes_of_it() {
    let lab = Lab::new().await;
    let (first, _events) = lab.connect().await;
    assert_eq!(first.primary(), None);
    lab.handle.set_screen(300, 700).unwrap();
    let mut wanted = pattern(300, 700);
    lab.handle.draw(0, 0, 300, &wanted).unwrap();
    let (second, _events) = lab.connect().await;
    for client in [&first, &second] {
        shows(client, 300, 700, &wanted).await;
    }
    {
        let _picture = lab.handle.picture();
        lab.handle.draw(299, 699, 1, &[1, 2, 3, 0]).unwrap();
        lab.handle.draw(0, 0, 2, &[9, 9, 9, 0, 8, 8, 8, 0]).unwrap();
    }
    wanted[..8].copy_from_slice(&[9, 9, 9, 0, 8, 8, 8, 0]);
    let end = wanted.len();
    wanted[end - 4..].copy_from_slice(&[1, 2, 3, 0]);
    for client in [&first, &second] {
        shows(client, 300, 700, &wanted).await;
    }
    lab.handle.set_screen(16, 16).unwrap();
    for client in [&first, &second] {
        shows(client, 16, 16, &[0; 16 * 16 * 4]).await;
    }
    assert_eq!(lab.handle.sessions(), 2);
}

/// How many images of each kind a client was sent, once there is one of each of those that are wanted.
async fn images(client: &Client, wanted: &[&str]) -> BTreeMap<&'static str, u64> {
    let counted = async {
        loop {
            let stats = client.stats();
            let counts = stats.channels.iter().flat_map(|channel| channel.counters.images.clone());
            let counts: BTreeMap<&'static str, u64> = counts.collect();
            if wanted.iter().all(|kind| counts.contains_key(kind)) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("images of these kinds come")
}

fn opaque(pixels: &[u8]) -> Vec<u8> {
    pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0]).collect()
}

#[tokio::test]
async fn every_encoding_shows_the_pixels_that_were_drawn() {
    for (encoding, wish, kind) in [
        (Encoding::Lz, Compression::Lz, "LZ_RGB"),
        (Encoding::Glz, Compression::Glz, "GLZ_RGB"),
        (Encoding::Quic, Compression::Quic, "QUIC"),
        (Encoding::Lz4, Compression::Lz4, "LZ4"),
    ] {
        for by_wish in [true, false] {
            let lab =
                Lab::with(|options| options.encoding = if by_wish { Encoding::Raw } else { encoding }).await;
            let mut options = lab.options();
            options.compression = by_wish.then_some(wish);
            let (client, _events) = Client::connect(options).await.unwrap();
            lab.handle.set_screen(320, 240).unwrap();
            let mut drawn = vec![0; 320 * 240 * 4];
            drawn[4_000..8_000].fill(150);
            drawn[100_000..200_000].copy_from_slice(&pattern(320, 240)[..100_000]);
            lab.handle.draw(0, 0, 320, &drawn).unwrap();
            shows(&client, 320, 240, &opaque(&drawn)).await;
            for round in 0..60_u8 {
                let at = usize::from(round) * 1_280 + 400;
                drawn[at..at + 400].fill(round);
                lab.handle.draw(100, round.into(), 100, &drawn[at..at + 400]).unwrap();
                tokio::task::yield_now().await;
            }
            shows(&client, 320, 240, &opaque(&drawn)).await;
            lab.handle.draw(0, 0, 1, &[1, 2, 3, 0]).unwrap();
            let counts = images(&client, &[kind, "BITMAP"]).await;
            assert!(counts.keys().all(|other| [kind, "BITMAP", "LZ_RGB"].contains(other)), "{counts:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_keeps_no_images_is_sent_no_glz() {
    let lab = Lab::with(|options| options.encoding = Encoding::Glz).await;
    let mut options = lab.options();
    (options.image_cache, options.compression) = (false, None);
    let (client, _events) = Client::connect(options).await.unwrap();
    lab.handle.set_screen(320, 240).unwrap();
    let drawn = vec![7; 320 * 240 * 4];
    lab.handle.draw(0, 0, 320, &drawn).unwrap();
    shows(&client, 320, 240, &opaque(&drawn)).await;
    let counts = images(&client, &["LZ_RGB"]).await;
    assert!(!counts.contains_key("GLZ_RGB"), "{counts:?}");
}

/// The next event of a client's session that `wanted` takes.
async fn told<T>(
    events: &mut mpsc::UnboundedReceiver<SessionEvent>,
    wanted: impl Fn(SessionEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(events.recv().await.expect("the session goes on")) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the event comes")
}

#[tokio::test]
async fn a_channel_that_is_cut_is_gone_and_without_main_all_are() {
    let mut lab = Lab::new().await;
    let (client, mut events) = lab.connect().await;
    lab.handle.faults().cut(ChannelType::DISPLAY);
    let reason = told(&mut events, |event| match event {
        SessionEvent::ChannelClosed { channel, reason } if channel.channel_type == ChannelType::DISPLAY => {
            Some(reason)
        }
        _ => None,
    });
    assert_eq!(reason.await, None, "the client is told nothing");
    let reason = lab.until(|event| match event {
        ServerEvent::Closed { reason, .. } => reason,
        _ => None,
    });
    assert_eq!(reason.await, "cut on purpose");
    let (_later, mut later_events) = lab.connect().await;
    client.key_down(0x1e).unwrap();
    lab.handle.faults().cut(ChannelType::MAIN);
    for events in [&mut events, &mut later_events] {
        let reason = told(events, |event| match event {
            SessionEvent::Closed { reason } => Some(reason),
            _ => None,
        });
        assert_eq!(reason.await, CloseReason::ServerClosed);
    }
}

#[tokio::test]
async fn a_malformed_message_is_refused_by_the_client_on_every_channel() {
    for (channel, name) in [
        (ChannelType::DISPLAY, "DRAW_COPY"),
        (ChannelType::INPUTS, "KEY_MODIFIERS"),
        (ChannelType::CURSOR, "SET"),
        (ChannelType::MAIN, "MOUSE_MODE"),
    ] {
        let lab = Lab::new().await;
        let (_client, mut events) = lab.connect().await;
        lab.handle.faults().malform(channel);
        let reason = told(&mut events, |event| match event {
            SessionEvent::ChannelClosed { channel: of, reason } if of.channel_type == channel => reason,
            SessionEvent::Closed { reason: CloseReason::Failed(reason) } => Some(reason),
            _ => None,
        });
        let reason = reason.await;
        assert!(reason.contains(name) && reason.contains("needs"), "{channel}: {reason}");
    }
}

#[tokio::test]
async fn a_channel_that_is_held_up_goes_on_when_it_is_let() {
    let lab = Lab::new().await;
    let (client, _events) = lab.connect().await;
    lab.handle.set_screen(64, 64).unwrap();
    shows(&client, 64, 64, &[0; 64 * 64 * 4]).await;
    let faults = lab.handle.faults();
    let stall = faults.put(Some(ChannelType::DISPLAY), ChannelFault::Stall);
    // The channel's task may have had no time to take note.
    tokio::time::sleep(Duration::from_millis(200)).await;
    lab.handle.draw(0, 0, 64, &[9; 64 * 64 * 4]).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    shows(&client, 64, 64, &[0; 64 * 64 * 4]).await;
    faults.lift(stall);
    shows(&client, 64, 64, &opaque(&[9; 64 * 64 * 4])).await;
}

#[tokio::test]
async fn delays_and_throttles_take_their_time_and_lose_nothing() {
    let wanted = pattern(200, 200);
    for fault in
        [ChannelFault::Delay(Duration::from_millis(700)), ChannelFault::Throttle(200_000.try_into().unwrap())]
    {
        let lab = Lab::new().await;
        let (client, _events) = lab.connect().await;
        lab.handle.faults().put(None, fault);
        let began = Instant::now();
        lab.handle.set_screen(200, 200).unwrap();
        lab.handle.draw(0, 0, 200, &wanted).unwrap();
        shows(&client, 200, 200, &wanted).await;
        let took = began.elapsed();
        assert!(took > Duration::from_millis(650), "{fault:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_flipped_pixel_is_what_clients_see() {
    let lab = Lab::new().await;
    lab.handle.set_screen(8, 8).unwrap();
    let (client, _events) = lab.connect().await;
    let faults = lab.handle.faults();
    let flip = faults.flip_pixel(1, 0, 0x00ff_0000, false).unwrap();
    let mut wanted = vec![0; 8 * 8 * 4];
    wanted[6] = 0xff;
    shows(&client, 8, 8, &wanted).await;
    faults.lift(flip);
    shows(&client, 8, 8, &[0; 8 * 8 * 4]).await;
    assert!(faults.flip_pixel(8, 0, 1, false).is_err());
}

#[tokio::test]
async fn keys_arrive_in_order_with_their_session_and_lights_come_back() {
    let mut lab = Lab::new().await;
    let (client, mut events) = lab.connect().await;
    for code in [0x2a, 0x1e, 0xe04d] {
        client.key_down(code).unwrap();
    }
    client.key_up(0x1e).unwrap();
    let mut keys = Vec::new();
    while keys.len() < 4 {
        keys.push(
            lab.until(|event| match event {
                ServerEvent::Input { input: InputEvent::Key { code, is_down }, .. } => Some((code, is_down)),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(keys, [(0x2a, true), (0x1e, true), (0xe04d, true), (0x1e, false)]);
    lab.handle.set_lights(4);
    let lights = async { while !matches!(events.recv().await, Some(SessionEvent::KeyboardModifiers(4))) {} };
    timeout(PATIENCE, lights).await.expect("the lights come");
    drop(client);
    let mut released = Vec::new();
    while released.len() < 2 {
        released.push(
            lab.until(|event| match event {
                ServerEvent::Input { input: InputEvent::Key { code, is_down: false }, .. } => Some(code),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(released, [0x2a, 0xe04d], "nothing stays pressed");
}

#[tokio::test]
async fn only_the_right_password_opens() {
    let lab = Lab::with(|options| options.password = Some(Password::from("open".to_owned()))).await;
    for (password, opens) in [(Some("open"), true), (Some("opem"), false), (None, false)] {
        let mut options = lab.options();
        options.password = password.map(|password| Password::from(password.to_owned()));
        match Client::connect(options).await {
            Ok(_) => assert!(opens, "{password:?}"),
            Err(SessionError::Link { source: LinkError::Refused(code), .. }) => {
                assert!(!opens && code == LinkCode::PERMISSION_DENIED, "{password:?}: {code}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn finishing_shows_everything_first_and_closes_in_order() {
    let lab = Lab::new().await;
    lab.handle.set_screen(640, 480).unwrap();
    let (client, mut events) = lab.connect().await;
    let wanted = pattern(640, 480);
    lab.handle.draw(0, 0, 640, &wanted).unwrap();
    timeout(PATIENCE, lab.handle.finish(Duration::from_secs(10))).await.expect("ends");
    let reason = async {
        loop {
            match events.recv().await.expect("a reason") {
                SessionEvent::Closed { reason } => return reason,
                SessionEvent::ChannelClosed { channel, reason } => panic!("{channel}: {reason:?}"),
                _ => {}
            }
        }
    };
    assert_eq!(timeout(PATIENCE, reason).await.unwrap(), CloseReason::ServerClosed);
    shows(&client, 640, 480, &wanted).await;
    assert!(Client::connect(lab.options()).await.is_err(), "nobody else is let in");
}

#[tokio::test]
async fn the_last_handle_takes_the_server_with_it() {
    let Lab { folder: _folder, handle, mut events } = {
        let lab = Lab::new().await;
        let (client, mut events) = lab.connect().await;
        tokio::spawn(async move {
            while events.recv().await.is_some() {}
            drop(client);
        });
        lab
    };
    drop(handle);
    let ended = async { while events.recv().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("no task is left that could say something");
}

#[tokio::test]
async fn strangers_get_an_answer_or_a_closed_door_and_hurt_nobody() {
    let lab = Lab::with(|options| options.handshake_timeout = Duration::from_millis(300)).await;
    let header = |magic: &[u8; 4], major: u32, size: u32| {
        [&magic[..], &major.to_le_bytes(), &2_u32.to_le_bytes(), &size.to_le_bytes()].concat()
    };
    let mess = |channel_type, id, connection_id| {
        let channel = ChannelId { channel_type: ChannelType(channel_type), id };
        let common = Capabilities::of(&[0, 1, 3]);
        LinkMess { connection_id, channel, common, channel_caps: Capabilities::default() }.encode()
    };
    let cases = [
        (header(b"HTTP", 2, 18), Some(LinkCode::INVALID_MAGIC)),
        (header(b"REDQ", 3, 18), Some(LinkCode::VERSION_MISMATCH)),
        (header(b"REDQ", 2, 5000), Some(LinkCode::INVALID_DATA)),
        (header(b"REDQ", 2, 0), Some(LinkCode::INVALID_DATA)),
        ([header(b"REDQ", 2, 18), vec![0xff; 18]].concat(), Some(LinkCode::INVALID_DATA)),
        (mess(5, 0, 1), Some(LinkCode::CHANNEL_NOT_AVAILABLE)),
        (mess(2, 1, 1), Some(LinkCode::CHANNEL_NOT_AVAILABLE)),
        (mess(1, 0, 0), Some(LinkCode::OK)),
        (vec![0x52], None),
    ];
    for (said, wanted) in cases {
        let mut stream = lab.raw().await;
        stream.write_all(&said).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the door closes");
        assert!(read.is_ok() || !answer.is_empty() || wanted.is_none(), "{said:02x?}: {read:?}");
        let code = answer.get(16..20).map(|code| LinkCode(u32::from_le_bytes(code.try_into().unwrap())));
        assert_eq!(code, wanted, "{said:02x?}");
    }
    assert_eq!(lab.handle.sessions(), 0);
    let _ = lab.connect().await;
}

/// Opens a main channel by hand, up to the link result.
async fn linked(lab: &Lab) -> UnixStream {
    let mut stream = lab.raw().await;
    let (common, channel_caps) = (Capabilities::of(&[3]), Capabilities::default());
    let mess = LinkMess { connection_id: 0, channel: ChannelId::MAIN, common, channel_caps };
    stream.write_all(&mess.encode()).await.unwrap();
    let mut reply = [0; 16 + 178 + 8];
    stream.read_exact(&mut reply).await.unwrap();
    let key = reply[20..182].try_into().unwrap();
    stream.write_all(&crate::spice::ticket::encrypt(None, &key).unwrap()).await.unwrap();
    let mut result = [0xff; 4];
    stream.read_exact(&mut result).await.unwrap();
    assert_eq!(result, [0; 4]);
    stream
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_not_listened_to_for_long() {
    let lab = Lab::new().await;
    let mut stream = linked(&lab).await;
    let attach = [104, 0, 0, 0, 0, 0].repeat(10_000);
    let asking = async {
        loop {
            stream.write_all(&attach).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(3), asking).await.is_err(), "at some time nothing more is taken");
    drop(stream);
    let gone = async {
        while lab.handle.sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await
        }
    };
    timeout(PATIENCE, gone).await.expect("the session is over");
}

#[tokio::test]
async fn a_malformed_message_ends_its_channel_with_the_reason() {
    let mut lab = Lab::new().await;
    for (said, wanted) in [
        (
            &[104, 0, 0xff, 0xff, 0xff, 0xff][..],
            "message 1: message size is 4294967295, limit is 26624 (offset 6)",
        ),
        (&[101, 0, 0, 0, 0, 0][..], "message 1 has the type 101, which is unknown on this channel"),
        (
            &[105, 0, 1, 0, 0, 0, 1][..],
            "message 1 (MOUSE_MODE_REQUEST): field `mode` needs 2 bytes at offset 0, 1 left",
        ),
    ] {
        let mut stream = linked(&lab).await;
        stream.write_all(said).await.unwrap();
        let reason = lab.until(|event| match event {
            ServerEvent::Closed { channel: ChannelId::MAIN, reason, .. } => Some(reason),
            _ => None,
        });
        assert_eq!(reason.await.as_deref(), Some(wanted));
    }
}

#[tokio::test]
async fn there_are_so_many_sessions_and_no_more() {
    let lab = Lab::with(|options| options.most_sessions = 2).await;
    let (first, second) = (lab.connect().await, lab.connect().await);
    assert!(Client::connect(lab.options()).await.is_err());
    first.0.shutdown().await;
    let freed = async {
        while lab.handle.sessions() > 1 {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, freed).await.expect("the place is free again");
    let third = lab.connect().await;
    drop((second, third));
}

#[tokio::test]
async fn a_taken_path_is_an_error_with_the_path() {
    let lab = Lab::new().await;
    let error = serve(ServerOptions::new(Endpoint::Unix(lab.path()))).await.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("listen at {}", lab.path().display()));
}
