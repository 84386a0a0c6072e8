//! What of told digests gets into the journal: which records are new, when a machine began anew, and what was there before.

use std::sync::Arc;

use backstaff::console::Console;
use backstaff::console::control::ControlConsole;
use backstaff::control::client::ClientOptions;
use backstaff::journal::{Body, Cursor, Journal, Source};
use backstaff::oracle::watch::{self, Digests};
use serde_json::{Value, json};

use super::played::{Manners, PATIENCE, Played, digest};
use crate::digest::screen::Screen;

/// A server, and the journal of who listens to it.
struct Lab {
    server: Played,
    journal: Journal,
    cursor: Cursor,
    _console: Arc<ControlConsole>,
}

/// What the journal says of a digest.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    frame: u32,
    framebuffer: String,
    new: usize,
    restarted: bool,
}

impl Lab {
    async fn new(screen: Screen) -> Self {
        let server = Played::with_screen(Manners::default(), screen);
        let options = ClientOptions { client_name: "test".to_owned(), deadline: PATIENCE, answer: PATIENCE };
        let (console, events) = ControlConsole::connect(&server.path, options).await.unwrap();
        let journal = Journal::new();
        let shared = Arc::clone(&console) as Arc<dyn Console>;
        drop(watch::spawn(shared, events, journal.clone(), Digests::Told, None));
        Self { server, journal, cursor: Cursor::default(), _console: console }
    }

    async fn told(&mut self, frame: u32, records: &[Value]) -> Noted {
        self.server.tell(&digest(frame, json!(records)));
        self.next().await
    }

    async fn next(&mut self) -> Noted {
        let is_digest = |event: &backstaff::journal::Event| matches!(event.body, Body::DigestUpdated { .. });
        let next = self.journal.next_match(Source::Digest, &mut self.cursor, is_digest);
        let event = tokio::time::timeout(PATIENCE, next).await.expect("a digest is noted");
        let Body::DigestUpdated { digest, framebuffer, new_records, missed, restarted } = &event.body else {
            unreachable!()
        };
        assert!(missed.is_empty(), "nobody can know: {missed:?}");
        Noted {
            frame: digest.frame_counter,
            framebuffer: framebuffer.clone(),
            new: *new_records,
            restarted: *restarted,
        }
    }

    fn doubts(&self) -> usize {
        let events = self.journal.after(Source::Screen, Cursor::default());
        let is_doubt = |text: &str| text.contains("others may have come and gone unseen");
        events
            .iter()
            .filter(|event| matches!(&event.body, Body::ConsoleNotice { text } if is_doubt(text)))
            .count()
    }
}

fn line(row: u32) -> Value {
    json!({"line_rendered": {"row": row, "timestamp_ms": u64::from(row) * 200}})
}

fn unknown(frame: u32, new: usize, restarted: bool) -> Noted {
    Noted { frame, framebuffer: "unknown".to_owned(), new, restarted }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_told_once_and_a_gap_leaves_a_doubt() {
    let mut lab = Lab::new(Screen::new(32, 16)).await;
    assert_eq!(lab.told(3, &[line(1), line(2)]).await, unknown(3, 2, false));
    assert_eq!(lab.told(4, &[line(2), line(3)]).await, unknown(4, 1, false));
    assert_eq!(lab.told(9, &[line(2), line(3)]).await, unknown(9, 0, false));
    assert_eq!(lab.doubts(), 0);
    assert_eq!(lab.told(12, &[line(6), line(7)]).await, unknown(12, 2, false));
    assert_eq!(lab.doubts(), 1);
    // The records of a digest come after it; with the next one, all are there.
    assert_eq!(lab.told(13, &[line(6), line(7)]).await, unknown(13, 0, false));
    let records = lab.journal.after(Source::Digest, Cursor::default());
    let rows = records.iter().filter(|event| matches!(event.body, Body::DigestRecord { .. })).count();
    assert_eq!(rows, 5, "1, 2, 3, 6 and 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_does_not_rise_or_a_reset_is_a_new_beginning() {
    let mut lab = Lab::new(Screen::new(32, 16)).await;
    assert_eq!(lab.told(30, &[line(1), line(2)]).await, unknown(30, 2, false));
    assert_eq!(lab.told(2, &[line(1), line(2)]).await, unknown(2, 2, true));
    assert_eq!(lab.told(3, &[line(1), line(2)]).await, unknown(3, 0, false));
    // One that QMP was asked for shows also where the counter has risen beyond.
    lab.journal.append(Source::Lane, Body::PutBack { snapshot: None, hashes: None });
    assert_eq!(lab.told(40, &[line(1), line(2)]).await, unknown(40, 2, true));
    assert_eq!(lab.doubts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_that_was_there_before_is_read_from_the_screen_and_not_told_again() {
    let record = visual_digest::Record::LineRendered { row: 1, timestamp_ms: 200 };
    let mut screen = Screen::new(640, 480);
    screen.refresh(50, &[record]);
    let mut lab = Lab::new(screen).await;
    let first = Noted { frame: 50, framebuffer: "matches".to_owned(), new: 1, restarted: false };
    assert_eq!(lab.next().await, first);
    // The server was still reading these when it sent the picture.
    lab.server.tell(&digest(49, json!([])));
    lab.server.tell(&digest(50, json!([line(1)])));
    assert_eq!(lab.told(51, &[line(1), line(2)]).await, unknown(51, 1, false));
    assert_eq!(lab.told(50, &[line(1)]).await, unknown(50, 1, true));
}
