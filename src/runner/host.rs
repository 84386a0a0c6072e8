//! The host of a run: what it has for lanes, and whether it let this process go on.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::journal::{Body, Cursor, Event, Journal, Source};

/// What lanes may take together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    /// MiB.
    pub(super) memory_mib: u64,
    /// Processors.
    pub(super) cpus: f64,
}

impl Room {
    /// What this host has for lanes now: its processors, and nine tenths of the memory that nobody uses, or of what this
    /// process is allowed.
    pub(super) fn of_host() -> Self {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let allowed = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
        let used = std::fs::read_to_string("/sys/fs/cgroup/memory.current").unwrap_or_default();
        let free = [available_kib(&meminfo).map(|kib| kib / 1_024), left_mib(&allowed, &used)];
        let memory_mib = free.into_iter().flatten().min().unwrap_or(MEMORY_MIB) * 9 / 10;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { memory_mib, cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)) }
    }
}

fn available_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn left_mib(allowed: &str, used: &str) -> Option<u64> {
    // `max` where nothing is forbidden.
    let (allowed, used): (u64, u64) = (allowed.trim().parse().ok()?, used.trim().parse().ok()?);
    Some(allowed.saturating_sub(used) >> 20)
}

/// Notices when this process gets no processor, by sleeping and looking how late it wakes.
#[derive(Debug)]
pub(super) struct StallWatch {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stalls: Mutex<Vec<Stall>>,
    /// Of attempts that run.
    journals: Mutex<Vec<(u64, Journal)>>,
}

/// A stretch of time in which nothing of this process ran, as far as one thread can tell.
#[derive(Debug, Clone, Copy)]
struct Stall {
    from: Instant,
    to: Instant,
}

impl StallWatch {
    pub(super) fn start() -> Self {
        let state = Arc::<State>::default();
        let watched = Arc::downgrade(&state);
        let thread = std::thread::Builder::new().name("stalls".to_owned()).spawn(move || watch(&watched));
        if let Err(error) = thread {
            tracing::warn!(%error, "no watch for stalls of this host");
        }
        Self { state }
    }

    /// Has stalls noted in `journal` until the returned value is dropped.
    pub(super) fn observe(&self, journal: &Journal) -> Observed {
        let mut journals = lock(&self.state.journals);
        let number = journals.last().map_or(0, |(last, _)| last + 1);
        journals.push((number, journal.clone()));
        Observed { state: Arc::clone(&self.state), journal: journal.clone(), number, since: Instant::now() }
    }
}

fn watch(state: &Weak<State>) {
    let mut before = Instant::now();
    loop {
        std::thread::sleep(BEAT);
        let now = Instant::now();
        let Some(state) = state.upgrade() else { return };
        let late = now.saturating_duration_since(before + BEAT);
        if late >= STALL {
            lock(&state.stalls).push(Stall { from: before, to: now });
            let stalled_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            for (_, journal) in &*lock(&state.journals) {
                journal.append(Source::Runner, Body::HostStalled { stalled_ms });
            }
        }
        before = now;
    }
}

/// An attempt that runs.
pub(super) struct Observed {
    state: Arc<State>,
    journal: Journal,
    number: u64,
    since: Instant,
}

impl Observed {
    /// What should be known of the host when judging this attempt: stalls in which its machine made no progress either.
    pub(super) fn notes(&self) -> Vec<String> {
        let stalls: Vec<Stall> =
            lock(&self.state.stalls).iter().filter(|it| it.to > self.since).copied().collect();
        if stalls.is_empty() {
            return Vec::new();
        }
        let events = self.journal.all_after(Cursor::default());
        let began = self.journal.began();
        let progressed = |stall: &Stall| {
            let inside = |event: &Event| {
                let at = began + event.at();
                // What had piled up is read right after it.
                at > stall.from + BEAT && at + BEAT < stall.to
            };
            events.iter().any(|event| is_progress(event.source) && inside(event))
        };
        let (count, total) = stalls
            .iter()
            .filter(|stall| !progressed(stall))
            .fold((0, Duration::ZERO), |(count, total), stall| (count + 1, total + (stall.to - stall.from)));
        if count == 0 {
            return Vec::new();
        }
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let seconds = total.as_secs_f64();
        vec![format!(
            "this host stalled {times} for {seconds:.1} s together: backstaff got no processor, and the machine made no \
             progress"
        )]
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        lock(&self.state.journals).retain(|(number, _)| *number != self.number);
    }
}

fn is_progress(source: Source) -> bool {
    matches!(source, Source::Qmp | Source::Serial | Source::Screen | Source::Digest)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the system does not say what it has.
const MEMORY_MIB: u64 = 2_048;
const BEAT: Duration = Duration::from_millis(50);
/// Later than any busy host makes a thread that hardly does anything.
const STALL: Duration = Duration::from_millis(1_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_is_left_and_allowed() {
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   2048000 kB\n"), Some(2_048_000));
        assert_eq!(available_kib("MemTotal: 9 kB\n"), None);
        assert_eq!(left_mib("max\n", "5\n"), None);
        assert_eq!(left_mib("1073741824\n", "536870912\n"), Some(512));
        assert_eq!(left_mib("5\n", "536870912\n"), Some(0));
        assert!(Room::of_host().cpus >= 1.0);
    }

    #[test]
    fn a_stall_is_noted_unless_the_machine_went_on() {
        let watch = StallWatch { state: Arc::default() };
        let journal = Journal::new();
        let observed = watch.observe(&journal);
        assert!(observed.notes().is_empty());
        let now = Instant::now();
        lock(&watch.state.stalls).push(Stall { from: now + STALL, to: now + STALL * 3 });
        let [note] = &observed.notes()[..] else { panic!("one note") };
        assert!(note.starts_with("this host stalled once for 2.0 s together"), "{note}");
        let before = now.checked_sub(STALL).unwrap();
        lock(&watch.state.stalls).clear();
        lock(&watch.state.stalls).push(Stall { from: before, to: now + STALL });
        journal.append(Source::Serial, Body::SerialLine { text: "alive".to_owned() });
        assert!(observed.notes().is_empty());
        drop(observed);
        assert!(lock(&watch.state.journals).is_empty());
    }
}
