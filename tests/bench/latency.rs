//! From the arrival of a digest's last draw to the waiting line of Lua going on.
//!
//! The chain is the real one: console event, watcher, symbol reader, framebuffer hash, journal, the wait in the
//! scenario's own thread. Only the console is not a machine's: its pixels are painted here before the event is sent,
//! as a SPICE client has painted them when it says that something was drawn. The script says that it went on by a key,
//! so the time includes one call from Lua.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use backstaff::console::{Area, Console, ConsoleEvent};
use backstaff::journal::Journal;
use backstaff::oracle::watch;
use backstaff::script::Outcome;
use visual_digest::{
    ChannelHashes, MODULE_SIZE, REGION_SIZE, Record, encode, framebuffer_hash, region_origin,
};

use crate::measure::{Goal, Report, Samples};
use crate::screen::Screen;
use crate::stage::{Play, Press, StageConsole, runtime};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 800;
const GOAL: Duration = Duration::from_millis(5);

pub(crate) fn run(report: &mut Report) {
    let goal = Goal::p99(GOAL);
    report.row("draw to script, digest in one draw", &measure(report, REGION_SIZE), goal);
    report.row("last of 45 draws to script", &measure(report, MODULE_SIZE), goal);
}

/// Measures with a symbol that is drawn in bands of `band` rows.
fn measure(report: &Report, band: u32) -> Samples {
    let runtime = runtime();
    let journal = Journal::new();
    let (console, presses) = StageConsole::new(Screen::new(WIDTH, HEIGHT));
    let console = Arc::new(console);
    let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
    let watcher = {
        let _inside = runtime.enter();
        watch::spawn(
            Arc::clone(&console) as Arc<dyn Console>,
            receiver,
            journal.clone(),
            watch::Digests::OnScreen,
            None,
        )
    };
    let play = Play::new(
        "t.keyboard:down('a')
        while true do
          t.digest:wait_for { line_rendered = { row = any } }
          t.keyboard:down('a')
        end",
    );
    let script = runtime.spawn(play.run(Arc::clone(&console) as Arc<dyn Console>, journal));
    presses.recv_timeout(PATIENCE).unwrap();

    let samples = report.samples(2000);
    let mut times = Samples::default();
    let (mut painter, mut hashes) = (Screen::new(WIDTH, HEIGHT), ChannelHashes::default());
    let warm_up = samples / 10;
    for index in 0..samples + warm_up {
        let frame_counter = u32::try_from(index).unwrap() + 1;
        let record = Record::LineRendered { row: 7, timestamp_ms: 2350 };
        hashes.extend(&record);
        painter.paint(&encode(frame_counter, &hashes, [record].iter(), framebuffer_hash(painter.frame())));
        let took = draw(&console, &painter, band, &events, &presses);
        if index >= warm_up {
            times.push(took, 1);
        }
        // A machine draws tens of times a second, not without a pause: every thread has gone to sleep by then.
        std::thread::sleep(PAUSE);
    }
    play.cancel.cancel();
    assert!(matches!(runtime.block_on(script).unwrap(), Outcome::Failed(..)), "it was cancelled");
    drop(events);
    runtime.block_on(watcher).unwrap();
    times
}

/// Moves the painter's symbol to the console band by band, and returns how long after the last the script went on.
fn draw(
    console: &StageConsole,
    painter: &Screen,
    band: u32,
    events: &tokio::sync::mpsc::UnboundedSender<ConsoleEvent>,
    presses: &mpsc::Receiver<Press>,
) -> Duration {
    let (left, region_top) = region_origin(WIDTH, HEIGHT);
    let bottom = region_top + REGION_SIZE;
    let mut at = Instant::now();
    let mut top = region_top;
    while top < bottom {
        let end = bottom.min(top + band);
        let rows = (top * WIDTH * 4) as usize..(end * WIDTH * 4) as usize;
        console.screen.lock().unwrap().pixels[rows.clone()].copy_from_slice(&painter.pixels[rows]);
        at = Instant::now();
        let area = Area { left, top, right: left + REGION_SIZE, bottom: end };
        events
            .send(ConsoleEvent::Drawn {
                channel_id: 0,
                surface_id: 0,
                primary: true,
                area,
                draws: 1,
                at,
                batch: 0,
            })
            .unwrap();
        top = end;
    }
    presses.recv_timeout(PATIENCE).unwrap().at.saturating_duration_since(at)
}

const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);
