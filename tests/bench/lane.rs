//! The same way as in [`latency`](crate::latency), behind a real machine under emulation: from the bytes of a draw on
//! the SPICE socket to the digest's event in the journal, and from there to the script going on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backstaff::console::spice::SpiceConsole;
use backstaff::console::{Area, Console, ConsoleEvent};
use backstaff::journal::{Body, Cursor, Journal, Source};
use backstaff::oracle::watch;
use backstaff::script::Outcome;
use backstaff::spice::{Endpoint, SessionOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use visual_digest::{REGION_SIZE, region_origin};

use crate::measure::{Goal, Report, Samples};
use crate::qemu::{self, Qemu};
use crate::stage::{Play, runtime};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/guest/sextant.efi");
const GOAL: Duration = Duration::from_millis(5);

pub(crate) fn run(report: &mut Report) {
    if qemu::is_missing() {
        report.note("skipped: a machine needs QEMU and OVMF");
        return;
    }
    let seen = runtime().block_on(watch_a_guest(report.samples(200)));
    report.row("draw to digest_updated in the journal", &seen.to_journal, None);
    report.row("digest_updated to the script going on", &seen.to_script, None);
    report.row("draw to script", &seen.whole, Goal::p99(GOAL));
}

#[derive(Default)]
struct Seen {
    to_journal: Samples,
    to_script: Samples,
    whole: Samples,
}

/// Lets the guest blink, and waits for `count` digests.
async fn watch_a_guest(count: usize) -> Seen {
    let guest = ["-kernel", GUEST, "-chardev", "null,id=com1", "-device", "isa-serial,chardev=com1"];
    let spice = "unix=on,addr=@S,disable-ticketing=on,image-compression=off";
    let machine = Qemu::boot("qxl", spice, &guest.map(str::to_owned));
    let options = SessionOptions::new(Endpoint::Unix(machine.spice_socket()));
    let (console, events) = SpiceConsole::connect(options).await.unwrap();
    let draws = Arc::default();
    let events = noted(events, Arc::clone(&draws));
    let journal = Journal::new();
    let watcher = watch::spawn(
        Arc::clone(&console) as Arc<dyn Console>,
        events,
        journal.clone(),
        watch::Digests::OnScreen,
        None,
    );
    let play = Play::new(&format!("for _ = 1, {count} do t.digest:wait_for {{ framebuffer = any }} end"));
    let outcome = play.run(Arc::clone(&console) as Arc<dyn Console>, journal.clone()).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");

    let mut region = None;
    console.with_screen(&mut |frame| {
        let (left, top) = region_origin(frame.width(), frame.height());
        region = Some(Area { left, top, right: left + REGION_SIZE, bottom: top + REGION_SIZE });
    });
    console.close().await;
    watcher.await.unwrap();
    let mut draws = draws.lock().unwrap().clone();
    draws.retain(|(_, area)| region.is_some_and(|region| area.touches(region)));
    seen(&journal, &draws)
}

type Draws = Vec<(Instant, Area)>;

/// Passes events on and notes the draws.
fn noted(
    mut events: UnboundedReceiver<ConsoleEvent>,
    draws: Arc<Mutex<Draws>>,
) -> UnboundedReceiver<ConsoleEvent> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let ConsoleEvent::Drawn { area, at, .. } = event {
                draws.lock().unwrap().push((at, area));
            }
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

fn seen(journal: &Journal, draws: &[(Instant, Area)]) -> Seen {
    let all = journal.all_after(Cursor::default());
    let mut seen = Seen::default();
    for ended in journal.after(Source::Script, Cursor::default()) {
        let Body::WaitEnded { matched: Some(seq), .. } = ended.body else { continue };
        let digest = &all[usize::try_from(seq).unwrap() - 1];
        let in_journal = journal.began() + digest.at();
        // The last draw on the symbol before the digest was noted is the one that completed it.
        let Some((drawn, _)) = draws.iter().rev().find(|(at, _)| *at <= in_journal) else { continue };
        seen.to_journal.push(in_journal - *drawn, 1);
        seen.to_script.push(ended.at() - digest.at(), 1);
        seen.whole.push(journal.began() + ended.at() - *drawn, 1);
    }
    seen
}
