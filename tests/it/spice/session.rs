//! An open session against a server that says what the test wants.

use std::time::Duration;

use backstaff::spice::wire::bytes::Pointer;
use backstaff::spice::wire::display::{Mark, SurfaceCreate};
use backstaff::spice::wire::draw::{DisplayBase, DrawCopy};
use backstaff::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use backstaff::spice::wire::types::{Clip, QMask, RopDescriptor};
use backstaff::spice::{CloseReason, Rect, Session, SessionError, SessionEvent};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::pretender::{Connection, DISPLAY, INPUTS, Pretender};

struct Console {
    session: Session,
    events: UnboundedReceiver<SessionEvent>,
    main: Connection,
    display: Connection,
    inputs: Connection,
}

async fn console() -> Console {
    let pretender = Pretender::new();
    let (connected, (main, display, inputs)) =
        tokio::join!(Session::connect(pretender.options()), pretender.open_console());
    let (session, events) = connected.expect("connects");
    Console { session, events, main, display, inputs }
}

/// Reads events up to one that `wanted` takes.
async fn until<T>(
    events: &mut UnboundedReceiver<SessionEvent>,
    wanted: impl Fn(SessionEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(events.recv().await.expect("the session goes on")) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(10), found).await.expect("the event comes")
}

const CREATE: SurfaceCreate = SurfaceCreate { surface_id: 0, width: 16, height: 2, format: 32, flags: 1 };

/// One white pixel.
fn dot(x: i32) -> DrawCopy<'static> {
    let (format, flags, palette) = (8, Bitmap::TOP_DOWN, PaletteSource::None);
    let bitmap = Bitmap { format, flags, width: 1, height: 1, stride: 4, palette, data: &[0xff; 4] };
    let descriptor = ImageDescriptor { id: 0, kind: 0, flags: 0, width: 1, height: 1 };
    DrawCopy {
        base: DisplayBase { surface_id: 0, bounds: Rect::new(x, 0, 1, 1), clip: Clip::None },
        src_bitmap: Pointer(Image { descriptor, data: ImageData::Bitmap(bitmap) }),
        src_area: Rect::new(0, 0, 1, 1),
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: 0,
        mask: QMask::NONE,
    }
}

#[tokio::test]
async fn keys_arrive_in_order_and_flushing_waits_for_them() {
    let mut console = console().await;
    let session = console.session.clone();
    for code in [0x2a, 0x1e, 0xe04d] {
        session.key_down(code).expect("queued");
        session.key_up(code).expect("queued");
    }
    timeout(Duration::from_secs(10), session.inputs_flushed()).await.expect("in time").expect("written");
    for (kind, code) in [(101, 0x2a), (102, 0xaa), (101, 0x1e), (102, 0x9e), (101, 0x4de0), (102, 0xcde0)] {
        assert_eq!(console.inputs.receive().await, (kind, u32::to_le_bytes(code).to_vec()));
    }
    assert!(matches!(session.key_down(0xff00), Err(SessionError::KeyCode(_))));
}

#[tokio::test]
async fn drawn_pixels_are_on_the_surface_when_they_are_reported() {
    let mut console = console().await;
    assert_eq!(console.session.primary(), None, "no screen yet is a normal state");
    console.display.send(&CREATE).await;
    console.display.send(&Mark {}).await;
    console.display.send(&dot(3)).await;
    let drawn = |event| match event {
        SessionEvent::Drawn { channel_id: 0, surface_id: 0, rect, .. } => Some(rect),
        _ => None,
    };
    assert_eq!(until(&mut console.events, drawn).await, Rect::new(3, 0, 1, 1));
    let primary = console.session.primary().expect("a screen");
    assert_eq!((primary.channel_id, primary.surface_id, primary.width, primary.height), (0, 0, 16, 2));
    let pixel = |surface: &backstaff::spice::Surface| surface.pixels()[12..16].to_vec();
    assert_eq!(console.session.with_surface(0, 0, pixel), Some(vec![0xff, 0xff, 0xff, 0]));
    assert_eq!(console.session.with_surface(0, 7, pixel), None);
    assert_eq!(console.session.with_surface(1, 0, pixel), None);
}

#[tokio::test]
async fn draws_that_come_together_are_reported_together() {
    let mut console = console().await;
    let mut burst = backstaff::spice::wire::header::mini_frame(&CREATE);
    for x in [0, 1, 2, 15] {
        burst.extend(backstaff::spice::wire::header::mini_frame(&dot(x)));
    }
    console.display.write(&burst).await;
    let drawn = |event| match event {
        SessionEvent::Drawn { rect, .. } => Some(rect),
        _ => None,
    };
    assert_eq!(until(&mut console.events, drawn).await, Rect::new(0, 0, 3, 1));
    assert_eq!(
        until(&mut console.events, drawn).await,
        Rect::new(15, 0, 1, 1),
        "but not what lies far apart"
    );
}

#[tokio::test]
async fn a_channel_that_dies_alone_leaves_the_session_alive() {
    let mut console = console().await;
    console.display.send(&CREATE).await;
    // A draw that ends in the middle of its box.
    console.display.write(&[&304_u16.to_le_bytes()[..], &8_u32.to_le_bytes(), &[0; 8]].concat()).await;
    let closed = |event| match event {
        SessionEvent::ChannelClosed { channel, reason } => Some((channel, reason)),
        SessionEvent::Closed { reason } => panic!("{reason}"),
        _ => None,
    };
    let (channel, reason) = until(&mut console.events, closed).await;
    assert_eq!(channel, DISPLAY);
    let text = "message 4 (DRAW_COPY): field `bounds` needs 4 bytes at offset 8, 0 left";
    assert_eq!(reason.as_deref(), Some(text));
    console.session.key_down(0x1c).expect("inputs live on");
    assert_eq!(console.inputs.receive().await.0, 101);
    assert!(console.session.primary().is_some(), "the last frame stays");
    drop(console.inputs);
    assert_eq!(until(&mut console.events, closed).await, (INPUTS, None));
    assert!(matches!(console.session.key_down(0x1c), Err(SessionError::InputsClosed)));
    assert!(console.session.inputs_flushed().await.is_err());
}

#[tokio::test]
async fn a_message_too_large_ends_its_channel_before_it_arrives() {
    let mut console = console().await;
    console.display.write(&[&304_u16.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat()).await;
    let reason = until(&mut console.events, |event| match event {
        SessionEvent::ChannelClosed { reason, .. } => Some(reason),
        _ => None,
    });
    let text = "message 3: message size is 4294967295, limit is 67108864 (offset 6)";
    assert_eq!(reason.await.as_deref(), Some(text));
}

#[tokio::test]
async fn the_end_of_a_machine_is_one_event() {
    let mut console = console().await;
    drop((console.inputs, console.display, console.main));
    let reason = until(&mut console.events, |event| match event {
        SessionEvent::Closed { reason } => Some(reason),
        event @ SessionEvent::ChannelClosed { .. } => panic!("{event:?}"),
        _ => None,
    });
    assert_eq!(reason.await, CloseReason::ServerClosed);
    assert_eq!(console.events.recv().await, None);
}

#[tokio::test]
async fn shutdown_closes_everything_and_waits_for_it() {
    let mut console = console().await;
    timeout(Duration::from_secs(10), console.session.shutdown()).await.expect("ends");
    console.display.closed().await;
    console.inputs.closed().await;
    console.main.closed().await;
    let reason = until(&mut console.events, |event| match event {
        SessionEvent::Closed { reason } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, CloseReason::Shutdown);
    console.session.shutdown().await;
}

#[tokio::test]
async fn the_last_handle_takes_the_session_with_it() {
    let console = console().await;
    let other = console.session.clone();
    drop(console.session);
    other.key_down(0x1c).expect("still there");
    drop(other);
    console.display.closed().await;
    console.main.closed().await;
}
