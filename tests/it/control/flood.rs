//! Far more events than a client reads, while somebody types: is everything accounted for, and who notices?

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backstaff::console::ConsoleListener;
use backstaff::console::served::ServedConsole;
use backstaff::control::protocol::{Event, EventKind, ServerLine};
use backstaff::control::server::{ControlServer, Hub, ServerOptions};
use tokio_util::sync::CancellationToken;

use super::typing::{Load, resident_bytes, type_into_one};

/// What happens.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// What is typed meanwhile, in one simulated lane.
    pub(crate) load: Load,
    /// How many events there are, spread over the time in which is typed.
    pub(crate) events: u64,
    /// Whether a client subscribed to them, which reads a few lines at a time.
    pub(crate) has_client: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    /// From each key that was queued to the digest that tells of it.
    pub(crate) latencies: Vec<Duration>,
    /// Keys and digests of the session that were lost.
    pub(crate) lost: usize,
    /// Events that were told to the hub.
    pub(crate) produced: u64,
    /// Those that the client read.
    pub(crate) delivered: u64,
    /// Those that it was told to have missed.
    pub(crate) dropped: u64,
    /// In how many lines it was told so.
    pub(crate) notes: u64,
    /// From when a tenth of the events was told to when all were.
    pub(crate) grown_kib: i64,
}

/// Serves a simulated lane's console, types, and lets events flow.
pub(crate) async fn let_it_flow(flood: Flood) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let served = ServedConsole::new();
    let stop = CancellationToken::new();
    let options = ServerOptions { clients: 2, ..ServerOptions::new("flood") };
    let server = ControlServer::bind(&path).unwrap();
    let (desk, hub) = (Arc::new(served.clone()), served.hub());
    let serving = tokio::spawn(server.serve(desk, hub.clone(), options, stop.clone()));

    let is_over = Arc::new(AtomicBool::new(false));
    let client = flood.has_client.then(|| {
        let (is_over, produced) = (Arc::clone(&is_over), flood.events);
        let (ready, subscribed) = std::sync::mpsc::channel();
        let reader = tokio::task::spawn_blocking(move || read_slowly(&path, &is_over, produced, &ready));
        (reader, subscribed)
    });
    let client = match client {
        Some((reader, subscribed)) => {
            tokio::task::spawn_blocking(move || subscribed.recv().unwrap()).await.unwrap();
            Some(reader)
        }
        None => None,
    };
    let listener: Arc<dyn ConsoleListener> = Arc::new(served);
    let time = flood.load.period * u32::try_from(flood.load.keys).unwrap();
    let producer = tokio::task::spawn_blocking(move || produce(&hub, flood.events, time));
    let typed = type_into_one(flood.load, &listener).await;
    let grown_kib = producer.await.unwrap();
    is_over.store(true, Ordering::Release);
    let (delivered, dropped, notes) = match client {
        Some(reader) => reader.await.unwrap(),
        None => (0, 0, 0),
    };
    stop.cancel();
    serving.await.unwrap().unwrap();
    let lost = typed.lost_keys + usize::try_from(typed.lost_digests).unwrap();
    Outcome { latencies: typed.latencies, lost, produced: flood.events, delivered, dropped, notes, grown_kib }
}

/// Tells of clipboards, which the simulated guest has none of. Returns by how many KiB the process grew.
fn produce(hub: &Hub, events: u64, time: Duration) -> i64 {
    let began = Instant::now();
    let mut before = 0;
    for number in 0..events {
        hub.publish(EventKind::ClipboardChanged, 1, || Event::ClipboardChanged { bytes: number });
        if number == events / 10 {
            before = resident_bytes();
        }
        if number % BURST == 0 {
            let share = f64::from(u32::try_from(number).unwrap()) / f64::from(u32::try_from(events).unwrap());
            std::thread::sleep((began + time.mul_f64(share)).saturating_duration_since(Instant::now()));
        }
    }
    (i64::try_from(resident_bytes()).unwrap() - i64::try_from(before).unwrap()) / 1024
}

/// Reads some lines now and then, and the rest at once when it is over. Returns how many events it read, how many it
/// was told to have missed, and how often it was told.
fn read_slowly(
    path: &PathBuf,
    is_over: &AtomicBool,
    produced: u64,
    ready: &std::sync::mpsc::Sender<()>,
) -> (u64, u64, u64) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let requests = [
        r#"{"id":1,"method":"hello","params":{"client_name":"slow","protocol_version":"1.5"}}"#,
        r#"{"id":2,"method":"subscribe","params":{"events":["clipboard_changed"]}}"#,
    ];
    requests.iter().for_each(|request| writeln!(stream, "{request}").unwrap());
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    for _ in requests {
        line.clear();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("\"ok\":true"), "{line}");
    }
    ready.send(()).unwrap();
    let (mut delivered, mut dropped, mut notes) = (0, 0, 0);
    let mut last = None;
    while delivered + dropped < produced {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "closed after {delivered} + {dropped}");
        match ServerLine::parse(line.trim_end().as_bytes()).unwrap() {
            ServerLine::Event(Event::ClipboardChanged { bytes }) => {
                assert!(last.is_none_or(|last| last < bytes), "{bytes} after {last:?}");
                last = Some(bytes);
                delivered += 1;
            }
            ServerLine::Event(Event::Dropped { count }) => {
                dropped += u64::from(count);
                notes += 1;
            }
            other => panic!("{other:?}"),
        }
        if delivered % 64 == 0 && !is_over.load(Ordering::Acquire) {
            std::thread::sleep(PAUSE);
        }
    }
    (delivered, dropped, notes)
}

/// Events told in a row.
const BURST: u64 = 500;
/// Between a few lines and the next.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hardly_reads_costs_nobody_anything_and_is_told_what_it_missed() {
    let load = Load { lanes: 1, keys: 40, period: Duration::from_millis(50) };
    let outcome = let_it_flow(Flood { load, events: 400_000, has_client: true }).await;
    assert_eq!(outcome.delivered + outcome.dropped, outcome.produced);
    assert!(outcome.dropped > outcome.produced / 2, "{} of {}", outcome.dropped, outcome.produced);
    assert!(outcome.notes > 1, "told in {} lines", outcome.notes);
    assert_eq!((outcome.lost, outcome.latencies.len()), (0, 40));
    assert!(outcome.grown_kib < 16 * 1024, "grown by {} KiB", outcome.grown_kib);
}
