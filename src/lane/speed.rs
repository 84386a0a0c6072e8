//! How crowded the host is, and how much of the processor a lane gets that it wants: what explains a slow wait.
//!
//! Both are read from `/proc` when somebody asks, at most a few times a second, and are absent where the kernel does not
//! tell.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A process whose processor time tells how a lane fares. A clone is another handle to the same one.
#[derive(Debug, Clone)]
pub struct SpeedProbe(Arc<Recent<CpuTime>>);

/// What the threads of a process had of the processors since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Nanoseconds in which they ran.
    pub run_ns: u64,
    /// Nanoseconds in which they could have run, and waited for a processor.
    pub wait_ns: u64,
}

impl SpeedProbe {
    /// A process of ours, by its id.
    pub fn of(pid: u32) -> Self {
        Self(Arc::new(Recent::new(PathBuf::from(format!("/proc/{pid}/task")))))
    }

    /// This process, in which simulated lanes live. All of them share what it tells.
    pub fn of_this_process() -> Self {
        static THIS: OnceLock<SpeedProbe> = OnceLock::new();
        THIS.get_or_init(|| Self::of(std::process::id())).clone()
    }

    /// What it had up to now.
    pub fn sample(&self) -> Option<CpuTime> {
        self.0.get(read_tasks)
    }
}

impl CpuTime {
    /// Which share of the processor time that was wanted since `earlier` was had, from 0 to 1. None when none was wanted.
    pub fn speed_since(self, earlier: Self) -> Option<f64> {
        // A thread that ended took its numbers along.
        let run = self.run_ns.checked_sub(earlier.run_ns)?;
        let wait = self.wait_ns.checked_sub(earlier.wait_ns)?;
        let wanted = run.checked_add(wait).filter(|wanted| *wanted > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
        Some(run as f64 / wanted as f64)
    }
}

/// How many processes want to run on this host for each of its processors, this one not counted.
pub fn host_load() -> Option<f64> {
    static LOAD: OnceLock<Recent<f64>> = OnceLock::new();
    LOAD.get_or_init(|| Recent::new(PathBuf::from("/proc/loadavg"))).get(read_load)
}

/// What a file said at most [`FRESH`] ago.
#[derive(Debug)]
struct Recent<T> {
    path: PathBuf,
    last: Mutex<Option<(Instant, Option<T>)>>,
}

impl<T: Copy> Recent<T> {
    fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::new(None) }
    }

    fn get(&self, read: fn(&Path) -> Option<T>) -> Option<T> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, value)) if at.elapsed() < FRESH => value,
            _ => {
                let value = read(&self.path);
                *last = Some((Instant::now(), value));
                value
            }
        }
    }
}

/// Sums what `/proc/PID/task/*/schedstat` says: nanoseconds run, nanoseconds waited, and a count.
fn read_tasks(folder: &Path) -> Option<CpuTime> {
    let mut sum = CpuTime::default();
    let mut is_told = false;
    for task in std::fs::read_dir(folder).ok()?.flatten().take(MOST_TASKS) {
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let (Some(Ok(run)), Some(Ok(wait))) = (numbers.next(), numbers.next()) else { continue };
        sum.run_ns = sum.run_ns.saturating_add(run);
        sum.wait_ns = sum.wait_ns.saturating_add(wait);
        is_told = true;
    }
    is_told.then_some(sum)
}

/// `0.42 0.30 0.21 3/812 4711`: three of 812 threads want to run, the one that reads this among them.
fn read_load(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let (running, _) = text.split_ascii_whitespace().nth(3)?.split_once('/')?;
    let others = running.parse::<u32>().ok()?.saturating_sub(1);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Some(f64::from(others) / f64::from(u32::try_from(processors).unwrap_or(u32::MAX)))
}

/// How long an answer is good: a wait of a millisecond needs no look of its own.
const FRESH: Duration = Duration::from_millis(250);
const MOST_TASKS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_a_process_is_summed_over_its_threads() {
        let folder = tempfile::tempdir().unwrap();
        for (task, text) in [("1", "100 50 3\n"), ("2", "200 150 9\n"), ("3", "nonsense")] {
            std::fs::create_dir(folder.path().join(task)).unwrap();
            std::fs::write(folder.path().join(task).join("schedstat"), text).unwrap();
        }
        let sum = read_tasks(folder.path()).unwrap();
        assert_eq!(sum, CpuTime { run_ns: 300, wait_ns: 200 });
        assert_eq!(sum.speed_since(CpuTime::default()), Some(0.6));
        assert_eq!(sum.speed_since(sum), None, "nothing was wanted");
        assert_eq!(sum.speed_since(CpuTime { run_ns: 301, wait_ns: 0 }), None, "a thread has ended");
        assert_eq!(read_tasks(&folder.path().join("none")), None);
    }

    #[test]
    fn the_load_is_that_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("loadavg");
        let processors = std::thread::available_parallelism().unwrap().get();
        std::fs::write(&file, format!("0.42 0.30 0.21 {}/812 4711\n", 1 + 3 * processors)).unwrap();
        assert_eq!(read_load(&file), Some(3.0));
        std::fs::write(&file, "0.42 0.30").unwrap();
        assert_eq!(read_load(&file), None);
    }
}
