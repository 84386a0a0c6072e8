//! A console over a control socket: keys that arrive as they should on every server, pictures that are of now, and events
//! whatever a server lacks.

use std::time::Duration;

use backstaff::console::control::ControlConsole;
use backstaff::console::{Console, ConsoleEvent, Scancode, Screenshot};
use backstaff::control::client::ClientOptions;
use backstaff::control::protocol::EventKind;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

use super::played::{Manners, PATIENCE, Played, digest, drawn};
use crate::digest::screen::Screen;

type Events = mpsc::UnboundedReceiver<ConsoleEvent>;

const OLDEST: &[&str] = &["latency", "agent_connected", "paste_completed", "paste_failed", "dropped"];

async fn connect(server: &Played) -> (Arc<ControlConsole>, Events) {
    let options = ClientOptions { client_name: "test".to_owned(), deadline: PATIENCE, answer: PATIENCE };
    ControlConsole::connect(&server.path, options).await.unwrap()
}

/// Waits for an event that is wanted, and returns what it says.
async fn next<T>(events: &mut Events, wanted: impl Fn(&ConsoleEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.recv().await.expect("the console goes on");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("what was wanted comes")
}

fn notice(event: &ConsoleEvent) -> Option<String> {
    match event {
        ConsoleEvent::Notice { text } => Some(text.clone()),
        _ => None,
    }
}

fn created(event: &ConsoleEvent) -> Option<(u32, u32)> {
    match event {
        ConsoleEvent::SurfaceCreated { primary: true, width, height, .. } => Some((*width, *height)),
        _ => None,
    }
}

fn is_drawn(event: &ConsoleEvent) -> Option<()> {
    matches!(event, ConsoleEvent::Drawn { primary: true, .. }).then_some(())
}

fn coloured(width: u32, height: u32, colour: [u8; 3]) -> Screen {
    let mut screen = Screen::new(width, height);
    screen.fill(0, 0, width, height, colour);
    screen
}

async fn first_pixel(console: &ControlConsole) -> [u8; 4] {
    console.refreshed().await;
    Screenshot::take(console).unwrap().pixels[..4].try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_arrive_once_and_in_order_also_where_releases_lack_the_break_bit() {
    for forgets_break in [false, true] {
        let server = Played::new(Manners { forgets_break, ..Manners::default() });
        let (console, _events) = connect(&server).await;
        for code in [0x23, 0x12, 0x26, 0x26, 0x18, 0xe04b] {
            console.key_down(Scancode(code)).unwrap();
            console.key_up(Scancode(code)).unwrap();
        }
        console.flushed().await;
        assert_eq!(server.typed(), "hello");
        let wire = server.wire();
        assert_eq!(wire[..4], [0x23, 0xa3, 0x12, 0x92]);
        assert_eq!(wire[10..], [0x4be0, 0xcbe0], "cursor left");
        assert!(server.requests("send_key").iter().all(|request| request["params"]["state"] != "press"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_garbles_extended_keys_gets_none() {
    let server = Played::new(Manners { version: "1.1", ..Manners::default() });
    let (console, mut events) = connect(&server).await;
    let error = console.key_down(Scancode(0xe04b)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "extended keys want a server of protocol 1.2 or later, this one speaks 1.1"
    );
    console.key_down(Scancode(0x1e)).unwrap();
    console.flushed().await;
    assert_eq!(server.wire(), [0x1e]);
    let is_warning = |event: &ConsoleEvent| notice(event).filter(|text| text.contains("garbles"));
    next(&mut events, is_warning).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_told_twice() {
    let server = Played::new(Manners { refuses: "send_key", ..Manners::default() });
    let (console, mut events) = connect(&server).await;
    console.key_down(Scancode(0x1e)).unwrap();
    console.flushed().await;
    let error = console.key_up(Scancode(0x1e)).unwrap_err();
    assert!(
        error.to_string().contains("refused an earlier key: send_key: the input queue is full"),
        "{error}"
    );
    console.key_up(Scancode(0x1e)).unwrap();
    let is_about_key =
        |event: &ConsoleEvent| notice(event).filter(|text| text.contains("a key was not sent"));
    next(&mut events, is_about_key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_is_what_the_machine_shows_now() {
    let server = Played::with_screen(Manners { empty: 3, ..Manners::default() }, coloured(32, 16, [1, 2, 3]));
    let (console, mut events) = connect(&server).await;
    assert!(!console.with_screen(&mut |_| {}), "there is no surface yet");
    assert_eq!(next(&mut events, created).await, (32, 16));
    assert_eq!(first_pixel(&console).await, [3, 2, 1, 0]);
    assert_eq!(console.heads().len(), 1);

    server.show(coloured(32, 16, [4, 5, 6]));
    server.tell(&drawn());
    next(&mut events, is_drawn).await;
    let before = server.requests("screenshot").len();
    let all = tokio::join!(first_pixel(&console), first_pixel(&console), first_pixel(&console));
    assert_eq!(all, ([6, 5, 4, 0], [6, 5, 4, 0], [6, 5, 4, 0]));
    assert_eq!(server.requests("screenshot").len(), before + 1, "one for all who ask at once");

    server.show(coloured(64, 48, [7, 8, 9]));
    server.tell(&drawn());
    next(&mut events, is_drawn).await;
    assert_eq!(first_pixel(&console).await, [9, 8, 7, 0]);
    let destroyed =
        |event: &ConsoleEvent| matches!(event, ConsoleEvent::SurfaceDestroyed { .. }).then_some(());
    next(&mut events, destroyed).await;
    assert_eq!(next(&mut events, created).await, (64, 48));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_mode_is_seen_though_nobody_wants_a_picture() {
    let server = Played::new(Manners::default());
    let (_console, mut events) = connect(&server).await;
    assert_eq!(next(&mut events, created).await, (32, 16));
    server.show(Screen::new(48, 32));
    assert_eq!(next(&mut events, created).await, (48, 32));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_does_not_come_leaves_the_old_one() {
    let server = Played::new(Manners { refuses: "screenshot", ..Manners::default() });
    let (console, mut events) = connect(&server).await;
    next(&mut events, created).await;
    console.refreshed().await;
    assert!(!console.with_screen(&mut |_| {}));
    let is_about =
        |event: &ConsoleEvent| notice(event).filter(|text| text.contains("no picture of the screen"));
    next(&mut events, is_about).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_no_draws_is_compared_now_and_then() {
    let server = Played::new(Manners { version: "1.0", events: OLDEST, ..Manners::default() });
    let (console, mut events) = connect(&server).await;
    let is_honest =
        |event: &ConsoleEvent| notice(event).filter(|text| text.contains("does not tell of draws"));
    next(&mut events, is_honest).await;
    assert!(!console.tells(EventKind::DigestUpdated));
    next(&mut events, created).await;
    next(&mut events, is_drawn).await;
    server.show(coloured(32, 16, [9, 9, 9]));
    next(&mut events, is_drawn).await;
    // What does not change is not told, though it is looked at again and again.
    let looks = server.requests("screenshot").len();
    server.wait(|server| server.requests("screenshot").len() >= looks + 2);
    while let Ok(event) = events.try_recv() {
        assert!(is_drawn(&event).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_come_without_hashes_and_without_what_nobody_knows() {
    let server = Played::new(Manners::default());
    let (_console, mut events) = connect(&server).await;
    next(&mut events, created).await;
    server.tell(&json!({"event": "weather", "data": {}}));
    server.tell(&digest(
        5,
        json!([
            {"line_rendered": {"row": 5, "timestamp_ms": 10_200}},
            {"solar_flare": {"timestamp_ms": 10_200}},
            {"keypress": {"scancode": 0, "timestamp_ms": 76_600, "unicode": "\r"}},
        ]),
    ));
    let told = |event: &ConsoleEvent| match event {
        ConsoleEvent::Digest(digest) => Some(digest.clone()),
        _ => None,
    };
    let seen = next(&mut events, told).await;
    assert_eq!((seen.frame_counter, seen.framebuffer_hash, seen.channel_hashes), (5, 7, None));
    let names: Vec<&str> = seen.raw_records.iter().map(|record| record.name()).collect();
    assert_eq!(names, ["line_rendered", "keypress"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_events_and_the_end_are_told() {
    let server = Played::new(Manners::default());
    let (console, mut events) = connect(&server).await;
    next(&mut events, created).await;
    server.tell(&json!({"event": "dropped", "data": {"count": 12}}));
    let is_lost = |event: &ConsoleEvent| notice(event).filter(|text| text.contains("lost 12 events"));
    next(&mut events, is_lost).await;
    server.hang_up();
    let reason = next(&mut events, |event| match event {
        ConsoleEvent::Closed { reason } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "closed by the server");
    let nothing = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(nothing.is_none(), "nothing follows: {nothing:?}");
    let error = console.key_down(Scancode(0x1e)).unwrap_err();
    assert_eq!(error.to_string(), "the console is closed: closed by the server");
    tokio::time::timeout(Duration::from_secs(10), console.flushed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_dropped_leaves_the_server_to_others() {
    let server = Played::new(Manners::default());
    let (console, events) = connect(&server).await;
    drop((console, events));
    let (again, _events) = connect(&server).await;
    again.key_down(Scancode(0x1e)).unwrap();
    again.flushed().await;
    again.close().await;
    assert_eq!(server.wire(), [0x1e]);
}
