//! What a real machine draws must be on our surface, pixel for pixel.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use backstaff::spice::wire::link::LinkCode;
use backstaff::spice::{
    ChannelType, CloseReason, Compression, Endpoint, LinkError, Session, SessionError, SessionEvent,
    SessionOptions,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::qemu::{self, Qemu, Screen};

pub(super) fn screen_of(session: &Session) -> Option<Screen> {
    let primary = session.primary()?;
    session.with_surface(primary.channel_id, primary.surface_id, |surface| {
        assert!(surface.pixels().chunks_exact(4).all(|pixel| pixel[3] == 0), "fourth bytes are 0");
        let rgb = surface.pixels().chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
        Screen { width: surface.width(), height: surface.height(), rgb }
    })
}

/// A boot under emulation on a busy machine.
pub(super) const BOOT: Duration = Duration::from_secs(120);

async fn next(events: &mut UnboundedReceiver<SessionEvent>) -> SessionEvent {
    timeout(BOOT, events.recv()).await.expect("something happens").expect("the session goes on")
}

/// Waits until nothing has been drawn for a while, and something with colours has been before.
pub(super) async fn settled(session: &Session, events: &mut UnboundedReceiver<SessionEvent>) {
    const QUIET: Duration = Duration::from_millis(1500);
    loop {
        if let Ok(event) = timeout(QUIET, next(events)).await {
            let is_over = matches!(event, SessionEvent::Closed { .. } | SessionEvent::ChannelClosed { .. });
            assert!(!is_over, "{event:?}");
            continue;
        }
        let colours = |screen: Screen| screen.rgb.as_chunks::<3>().0.iter().collect::<HashSet<_>>().len();
        if screen_of(session).map_or(0, colours) > 2 {
            return;
        }
    }
}

async fn assert_same_screen(
    qemu: &mut Qemu,
    session: &Session,
    events: &mut UnboundedReceiver<SessionEvent>,
) {
    timeout(BOOT, settled(session, events)).await.expect("the screen settles");
    qemu.execute(r#"{"execute":"stop"}"#);
    let wanted = qemu.screendump();
    let got = qemu::patiently(|| screen_of(session).filter(|got| *got == wanted));
    if got.is_none() {
        let got = screen_of(session).expect("a primary surface");
        assert_eq!((got.width, got.height), (wanted.width, wanted.height));
        let pairs = got.rgb.chunks_exact(3).zip(wanted.rgb.chunks_exact(3));
        let different: Vec<_> = pairs.enumerate().filter(|(_, (got, wanted))| got != wanted).collect();
        panic!("{} pixels differ, first {:?}", different.len(), different.first());
    }
}

pub(super) const PASSWORD: &str = "letmein";

#[derive(Clone, Copy)]
pub(super) enum Transport {
    Unix,
    TcpWithTicket,
}

/// A machine and how to reach it.
pub(super) fn boot(vga: &str, transport: Transport, image_compression: &str) -> (Qemu, SessionOptions) {
    boot_with(vga, transport, image_compression, &[])
}

/// The same with further arguments.
pub(super) fn boot_with(
    vga: &str,
    transport: Transport,
    image_compression: &str,
    extra: &[String],
) -> (Qemu, SessionOptions) {
    let jpeg = if image_compression.contains("jpeg-wan") { "" } else { ",jpeg-wan-compression=never" };
    let images = format!("image-compression={image_compression}{jpeg}");
    match transport {
        Transport::Unix => {
            let qemu = Qemu::boot(vga, &format!("unix=on,addr=@S,disable-ticketing=on,{images}"), extra);
            let options = SessionOptions::new(Endpoint::Unix(qemu.spice_socket()));
            (qemu, options)
        }
        Transport::TcpWithTicket => {
            let (host, port) = qemu::own_address();
            let secret = format!("secret,id=ticket,data={PASSWORD}");
            let spice = format!("port={port},addr={host},password-secret=ticket,{images}");
            let extra = [&["-object".to_owned(), secret], extra].concat();
            let qemu = Qemu::boot(vga, &spice, &extra);
            let mut options = SessionOptions::new(Endpoint::Tcp { host, port });
            options.password = Some(PASSWORD.to_owned().into());
            (qemu, options)
        }
    }
}

/// Watches a boot from its beginning and returns the image types that came.
async fn image_types_of_a_boot(
    vga: &str,
    transport: Transport,
    image_compression: &str,
) -> BTreeSet<&'static str> {
    // The server's own choice stands.
    image_types_as_wished(vga, transport, image_compression, None).await
}

/// The same with a wish of the client's.
async fn image_types_as_wished(
    vga: &str,
    transport: Transport,
    image_compression: &str,
    wish: Option<Compression>,
) -> BTreeSet<&'static str> {
    let (mut qemu, mut options) = boot(vga, transport, image_compression);
    options.compression = wish;
    let (session, mut events) = Session::connect(options).await.expect("connects");
    assert_same_screen(&mut qemu, &session, &mut events).await;
    session.shutdown().await;
    image_types(&session)
}

pub(super) fn image_types(session: &Session) -> BTreeSet<&'static str> {
    let stats = session.stats();
    let display = stats.channels.iter().find(|stats| stats.channel.channel_type == ChannelType::DISPLAY);
    let counters = &display.expect("a display channel").counters;
    assert!(counters.unsupported.is_empty(), "{counters:?}");
    counters.images.keys().copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn std_vga_with_raw_images_over_unix_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    assert_eq!(image_types_of_a_boot("std", Transport::Unix, "off").await, BTreeSet::from(["BITMAP"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn qxl_with_raw_images_over_tcp_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    assert_eq!(
        image_types_of_a_boot("qxl", Transport::TcpWithTicket, "off").await,
        BTreeSet::from(["BITMAP"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn std_vga_with_lz_images_over_tcp_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let images = image_types_of_a_boot("std", Transport::TcpWithTicket, "auto_lz").await;
    assert!(images.contains("LZ_RGB"), "{images:?}");
}

/// Over a unix socket servers compress whole surfaces only.
#[tokio::test(flavor = "multi_thread")]
async fn qxl_with_lz_images_over_unix_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let images = image_types_of_a_boot("qxl", Transport::Unix, "auto_lz").await;
    assert_eq!(images, BTreeSet::from(["BITMAP", "LZ_RGB"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn qxl_with_glz_images_over_tcp_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let images = image_types_of_a_boot("qxl", Transport::TcpWithTicket, "auto_glz").await;
    assert!(images.contains("GLZ_RGB"), "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn std_vga_with_quic_images_over_tcp_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let images = image_types_of_a_boot("std", Transport::TcpWithTicket, "quic").await;
    assert!(images.contains("QUIC"), "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn qxl_with_zlib_images_over_tcp_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let options = "glz,zlib-glz-wan-compression=always";
    let images = image_types_of_a_boot("qxl", Transport::TcpWithTicket, options).await;
    assert!(images.contains("ZLIB_GLZ_RGB"), "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_lz4_is_granted_and_the_screen_is_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let wish = Some(Compression::Lz4);
    let images = image_types_as_wished("std", Transport::TcpWithTicket, "off", wish).await;
    assert!(images.contains("LZ4"), "{images:?}");
}

/// JPEG loses a little of each pixel.
#[tokio::test(flavor = "multi_thread")]
async fn std_vga_with_jpeg_images_over_tcp_is_near_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    let options = "quic,jpeg-wan-compression=always";
    let (mut qemu, mut options) = boot("std", Transport::TcpWithTicket, options);
    options.compression = None;
    let (session, mut events) = Session::connect(options).await.expect("connects");
    timeout(BOOT, settled(&session, &mut events)).await.expect("the screen settles");
    qemu.execute(r#"{"execute":"stop"}"#);
    let wanted = qemu.screendump();
    let is_near = |got: &Screen| {
        let differences =
            got.rgb.iter().zip(&wanted.rgb).map(|(got, wanted)| u64::from(got.abs_diff(*wanted)));
        got.rgb.len() == wanted.rgb.len()
            && differences.sum::<u64>() < 3 * u64::try_from(got.rgb.len()).unwrap()
    };
    let got = qemu::patiently(|| screen_of(&session).filter(is_near));
    assert!(got.is_some(), "the mean difference of a sample is 3 or more");
    session.shutdown().await;
    let images = image_types(&session);
    assert!(images.contains("JPEG"), "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_raw_images_is_granted_keys_arrive_and_the_end_is_told() {
    if qemu::is_missing() {
        return;
    }
    const CAPS_LOCK: u16 = 0x3a;
    let (mut qemu, options) = boot("std", Transport::TcpWithTicket, "auto_glz");
    let (session, mut events) = Session::connect(options).await.expect("connects");
    timeout(BOOT, settled(&session, &mut events)).await.expect("the screen settles");
    session.key_down(CAPS_LOCK).expect("queued");
    session.key_up(CAPS_LOCK).expect("queued");
    session.inputs_flushed().await.expect("written");
    let lit = async { while next(&mut events).await != SessionEvent::KeyboardModifiers(4) {} };
    timeout(BOOT, lit).await.expect("the guest lights the caps lock light");
    session.set_keyboard_modifiers(0).expect("queued");
    let out = async { while next(&mut events).await != SessionEvent::KeyboardModifiers(0) {} };
    timeout(BOOT, out).await.expect("the server has the guest put it out");
    assert_same_screen(&mut qemu, &session, &mut events).await;
    let images: Vec<_> =
        session.stats().channels.iter().flat_map(|stats| stats.counters.images.clone()).collect();
    assert!(matches!(images[..], [("BITMAP", _)]), "{images:?}");

    qemu.execute(r#"{"execute":"quit"}"#);
    let reason = loop {
        if let SessionEvent::Closed { reason } = next(&mut events).await {
            break reason;
        }
    };
    assert_eq!(reason, CloseReason::ServerClosed);
    assert!(events.recv().await.is_none(), "nothing follows");
    assert!(session.primary().is_some(), "the last frame stays");
    assert!(matches!(session.key_down(CAPS_LOCK), Err(SessionError::InputsClosed)));
}

/// QEMU dies of display channels that are closed before INIT.
#[tokio::test(flavor = "multi_thread")]
async fn a_connect_given_up_at_any_moment_leaves_the_machine_alive() {
    if qemu::is_missing() {
        return;
    }
    let (mut qemu, options) = boot("qxl", Transport::Unix, "off");
    for milliseconds in (0..40).map(|step| step * 2) {
        let patience = Duration::from_millis(milliseconds);
        if let Ok(connected) = timeout(patience, Session::connect(options.clone())).await {
            connected.expect("connects").0.shutdown().await;
        }
        // A new client throws out the one before, which is another way to upset a server.
        let is_alone = |answer: String| (!answer.contains("connection-id")).then_some(());
        let is_alone = qemu::patiently(|| is_alone(qemu.execute(r#"{"execute":"query-spice"}"#)));
        assert!(is_alone.is_some(), "given up after {patience:?}, still connected");
    }
    let (session, _events) = Session::connect(options).await.expect("still connects");
    session.shutdown().await;
    assert!(qemu.execute(r#"{"execute":"query-status"}"#).contains("running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_refuses_a_wrong_ticket() {
    if qemu::is_missing() {
        return;
    }
    let (_qemu, mut options) = boot("std", Transport::TcpWithTicket, "off");
    options.password = Some("wrong".to_owned().into());
    let error = Session::connect(options).await.expect_err("refused");
    let SessionError::Link { source: LinkError::Refused(code), .. } = &error else { panic!("{error:?}") };
    assert_eq!(*code, LinkCode::PERMISSION_DENIED);
    assert_eq!(error.hint(), Some("the password is wrong, missing on either side, or expired"));
}
