//! Many simulated lanes in one process, a session each, all typing: is anything lost, and how long does a key take?

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backstaff::console::{Console, ConsoleListener, Scancode};
use backstaff::journal::{Body, Cursor, Journal, Source};
use backstaff::lane::sim::SimOptions;
use backstaff::lane::{Profile, SimLane};
use tokio_util::sync::CancellationToken;
use visual_digest::Record;

/// How much is typed.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) lanes: usize,
    /// In each lane, at most [`Load::MOST_KEYS`]. Every sixtieth is Enter.
    pub(crate) keys: usize,
    /// From one key to the next in the same lane.
    pub(crate) period: Duration,
}

impl Load {
    /// The guest forgives two wrong answers. The third ends it.
    pub(crate) const MOST_KEYS: usize = 179;

    /// The key at this place, the first is 0.
    fn key(index: usize) -> u16 {
        if index % 60 == 59 { ENTER } else { A }
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// From each key that was queued to the digest that tells of it, in any order.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) typed: usize,
    /// Keys that no digest tells of.
    pub(crate) lost_keys: usize,
    /// Digests that were seen.
    pub(crate) digests: usize,
    /// Digests that were painted and not seen.
    pub(crate) lost_digests: u32,
    /// What the process grew by, divided by lanes.
    pub(crate) bytes_per_lane: u64,
    /// Of the server's and the client's copy of one lane's screen.
    pub(crate) bytes_of_surfaces: u64,
}

/// Brings all lanes up, leads their guests to the question that takes any answer, and types.
pub(crate) async fn type_into_all(load: Load) -> Outcome {
    assert!(load.keys <= Load::MOST_KEYS, "{} keys", load.keys);
    // What one lane leaves behind is not what each of them costs.
    let warm_up = Typist::up(1.0, None).await;
    warm_up.to_the_question().await;
    warm_up.lane.down().await;
    let before = resident_bytes();
    let mut typists = Vec::new();
    for _ in 0..load.lanes {
        typists.push(Typist::up(1.0, None).await);
    }
    futures_util::future::join_all(typists.iter().map(Typist::to_the_question)).await;
    let began = Instant::now() + load.period;
    let typing = typists.iter().enumerate().map(|(index, typist)| {
        // People do not type in step.
        let offset = load.period * u32::try_from(index).unwrap() / u32::try_from(load.lanes).unwrap();
        typist.type_keys(began + offset, load)
    });
    let typed: Vec<Typed> = futures_util::future::join_all(typing).await;
    let grown = resident_bytes().saturating_sub(before);
    let lanes = u64::try_from(load.lanes).unwrap();
    let mut outcome = Outcome { bytes_per_lane: grown / lanes, ..Outcome::default() };
    for (typist, typed) in typists.into_iter().zip(typed) {
        typist.judge(typed, &mut outcome).await;
    }
    outcome
}

/// Types into one lane whose console somebody listens to.
pub(crate) async fn type_into_one(load: Load, listener: &Arc<dyn ConsoleListener>) -> Outcome {
    let typist = Typist::up(1.0, Some(listener)).await;
    typist.to_the_question().await;
    let typed = typist.type_keys(Instant::now() + load.period, load).await;
    let mut outcome = Outcome::default();
    typist.judge(typed, &mut outcome).await;
    outcome
}

/// When keys were queued in one lane, and of how many before them its digests told.
struct Typed {
    pressed: Vec<Instant>,
    known: usize,
}

/// A lane, and what it is asked.
struct Typist {
    lane: SimLane,
    console: Arc<dyn Console>,
    journal: Journal,
    _folder: tempfile::TempDir,
}

impl Typist {
    async fn up(time_scale: f64, listener: Option<&Arc<dyn ConsoleListener>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = "[[gate]]\nkind = \"digest\"\ntimeout = 120\n";
        let text = format!("kind = \"sim\"\n[sim]\ntime_scale = {time_scale:?}\n{gate}");
        let file = folder.path().join("sim.toml");
        let profile = match Profile::parse("sim", &text, &file, Path::new("/")).unwrap() {
            Profile::Sim(profile) => *profile,
            other => panic!("{other:?}"),
        };
        let journal = Journal::new();
        let options = SimOptions {
            profile: &profile,
            folder: folder.path(),
            is_joinable: false,
            recorder: None,
            listener,
        };
        let lane = SimLane::up(options, &journal, &CancellationToken::new()).await.unwrap();
        let console = lane.handle().console.unwrap();
        Self { lane, console, journal, _folder: folder }
    }

    /// To where the guest paints a digest for every character.
    async fn to_the_question(&self) {
        for (key, row) in [(ENTER, 21), (I, 25)] {
            self.press(key);
            let is_there =
                |record: &Record| matches!(record, Record::LineRendered { row: seen, .. } if *seen == row);
            self.until(|typist| typist.records().iter().any(|(_, record)| is_there(record))).await;
        }
    }

    async fn type_keys(&self, began: Instant, load: Load) -> Typed {
        let mut pressed = Vec::with_capacity(load.keys);
        // Those that led here.
        let known = self.keys_told().len();
        let mut due = began;
        for index in 0..load.keys {
            tokio::time::sleep_until(due.into()).await;
            due += load.period;
            pressed.push(Instant::now());
            self.press(Load::key(index));
        }
        // Whatever is lost will not come later.
        let deadline = Instant::now() + PATIENCE;
        while self.keys_told().len() < known + load.keys && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Typed { pressed, known }
    }

    async fn judge(self, typed: Typed, outcome: &mut Outcome) {
        let Typed { pressed, known } = typed;
        let told = self.keys_told();
        let told = told.get(known..).unwrap_or_default();
        outcome.typed += pressed.len();
        outcome.lost_keys += pressed.len() - told.len().min(pressed.len());
        for (pressed, told) in pressed.iter().zip(told) {
            outcome.latencies.push((self.journal.began() + *told).saturating_duration_since(*pressed));
        }
        let (seen, lost) = self.digests();
        outcome.digests += seen;
        outcome.lost_digests += lost;
        self.console.with_screen(&mut |frame| {
            outcome.bytes_of_surfaces = 2 * 4 * u64::from(frame.width()) * u64::from(frame.height());
        });
        self.lane.down().await;
    }

    /// Digests that were seen, and those that were painted since the first of them and were not.
    fn digests(&self) -> (usize, u32) {
        let events = self.journal.after(Source::Digest, Cursor::default());
        let counters = events.iter().filter_map(|event| match &event.body {
            Body::DigestUpdated { digest, .. } => Some(digest.frame_counter),
            _ => None,
        });
        let counters: Vec<u32> = counters.collect();
        let steps = counters.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        (counters.len(), steps.map(|step| step.saturating_sub(1)).sum())
    }

    /// When the digest told of each key, the first first.
    fn keys_told(&self) -> Vec<Duration> {
        let records = self.records();
        let keys = records.iter().filter(|(_, record)| matches!(record, Record::Keypress { .. }));
        keys.map(|(at, _)| *at).collect()
    }

    fn records(&self) -> Vec<(Duration, Record)> {
        let events = self.journal.after(Source::Digest, Cursor::default());
        let records = events.iter().filter_map(|event| match &event.body {
            Body::DigestRecord { record, .. } => Some((event.at(), *record)),
            _ => None,
        });
        records.collect()
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "the guest never got there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn press(&self, key: u16) {
        self.console.key_down(Scancode(key)).and_then(|()| self.console.key_up(Scancode(key))).unwrap();
    }
}

/// What this process has in memory.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

const A: u16 = 0x1E;
const ENTER: u16 = 0x1C;
const I: u16 = 0x17;
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_digest_is_lost_in_many_lanes_that_are_typed_into_at_once() {
    let load = Load { lanes: 8, keys: 70, period: Duration::from_millis(100) };
    let outcome = type_into_all(load).await;
    let mib = |bytes: u64| bytes >> 20;
    eprintln!(
        "{} digests, {} MiB per lane, {} of them surfaces",
        outcome.digests,
        mib(outcome.bytes_per_lane),
        mib(outcome.bytes_of_surfaces)
    );
    assert_eq!((outcome.typed, outcome.lost_keys, outcome.latencies.len()), (560, 0, 560));
    assert_eq!(outcome.lost_digests, 0, "of {}", outcome.digests);
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn no_digest_is_lost_when_time_flies_and_keys_come_all_at_once() {
    let typist = Typist::up(50.0, None).await;
    typist.to_the_question().await;
    let known = typist.keys_told().len();
    let answers = [A; 24].into_iter().chain([ENTER]).cycle().take(50);
    answers.for_each(|key| typist.press(key));
    typist.until(|typist| typist.keys_told().len() == known + 50).await;
    let (seen, lost) = typist.digests();
    assert_eq!(lost, 0, "of {}", seen + usize::try_from(lost).unwrap());
    typist.lane.down().await;
}
