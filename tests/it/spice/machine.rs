//! What a real machine draws must be on our surface, pixel for pixel.

use std::time::Duration;

use backstaff::spice::{Endpoint, Session, SessionEvent, SessionOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::qemu::{self, Qemu, Screen};

fn screen_of(session: &Session) -> Option<Screen> {
    let primary = session.primary()?;
    session.with_surface(primary.channel_id, primary.surface_id, |surface| {
        assert!(surface.pixels().chunks_exact(4).all(|pixel| pixel[3] == 0), "fourth bytes are 0");
        let rgb = surface.pixels().chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
        Screen { width: surface.width(), height: surface.height(), rgb }
    })
}

/// Waits until nothing has been drawn for a while, and something with colours has been before.
async fn settled(session: &Session, events: &mut UnboundedReceiver<SessionEvent>) {
    const QUIET: Duration = Duration::from_millis(1500);
    loop {
        match timeout(QUIET, events.recv()).await {
            Ok(Some(SessionEvent::Closed { reason })) => panic!("session closed: {reason}"),
            Ok(Some(event @ SessionEvent::ChannelClosed { .. })) => panic!("{event:?}"),
            Ok(Some(_)) => {}
            Ok(None) => panic!("no more events"),
            Err(_) => {
                let colours = screen_of(session).map_or(0, |screen| {
                    screen.rgb.as_chunks::<3>().0.iter().collect::<std::collections::HashSet<_>>().len()
                });
                if colours > 2 {
                    return;
                }
            }
        }
    }
}

async fn assert_same_screen(
    qemu: &mut Qemu,
    session: &Session,
    events: &mut UnboundedReceiver<SessionEvent>,
) {
    timeout(Duration::from_secs(90), settled(session, events)).await.expect("the screen settles");
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

#[tokio::test(flavor = "multi_thread")]
async fn raw_images_over_unix_are_what_screendump_shows() {
    if qemu::is_missing() {
        return;
    }
    for vga in ["std", "qxl"] {
        let mut qemu = Qemu::boot(vga, "unix=on,addr=@S,disable-ticketing=on,image-compression=off", &[]);
        let options = SessionOptions::new(Endpoint::Unix(qemu.spice_socket()));
        let (session, mut events) = Session::connect(options).await.expect("connects");
        session.key_down(0x3b).expect("queued");
        session.key_up(0x3b).expect("queued");
        session.inputs_flushed().await.expect("written");
        assert_same_screen(&mut qemu, &session, &mut events).await;
        session.shutdown().await;
    }
}
