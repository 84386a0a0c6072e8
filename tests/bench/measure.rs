//! Samples, what they amount to, and the table they are printed in.
#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Times in nanoseconds, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, took: Duration, calls: u32) {
        self.0.push(took.as_secs_f64() * 1e9 / f64::from(calls));
    }

    /// The smallest sample that is not below `percent` of all.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut samples = Self::default();
        durations.into_iter().for_each(|took| samples.push(took, 1));
        samples
    }
}

/// What a line should reach.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) percentile: usize,
    pub(crate) limit: Duration,
}

impl Goal {
    pub(crate) fn median(limit: Duration) -> Option<Self> {
        Some(Self { percentile: 50, limit })
    }

    pub(crate) fn p99(limit: Duration) -> Option<Self> {
        Some(Self { percentile: 99, limit })
    }
}

/// Where lines go.
pub(crate) struct Report {
    is_bench: bool,
}

impl Report {
    pub(crate) fn new(is_bench: bool) -> Self {
        Self { is_bench }
    }

    /// How many samples to take of something that should be sampled `wanted` times.
    pub(crate) fn samples(&self, wanted: usize) -> usize {
        if self.is_bench { wanted } else { wanted.min(10) }
    }

    /// Times `operation`, `batch` calls to a sample.
    pub(crate) fn time<R>(&self, samples: usize, batch: u32, mut operation: impl FnMut() -> R) -> Samples {
        let samples = self.samples(samples);
        let mut times = Samples::default();
        for index in 0..samples + samples / 10 {
            let began = Instant::now();
            for _ in 0..batch {
                black_box(operation());
            }
            let took = began.elapsed();
            // The first tenth warms up.
            if index >= samples / 10 {
                times.push(took, batch);
            }
        }
        times
    }

    pub(crate) fn section(&self, name: &str) {
        println!("\n{name:<52} {:>7} {:>10} {:>10} {:>10}  goal", "samples", "median", "p99", "max");
    }

    pub(crate) fn row(&self, name: &str, samples: &Samples, goal: Option<Goal>) {
        let [median, p99, max] = [50, 99, 100].map(|percent| human(samples.percentile(percent)));
        let goal = goal.map_or_else(String::new, |goal| {
            let limit = goal.limit.as_secs_f64() * 1e9;
            let met = if samples.percentile(goal.percentile) <= limit { "met" } else { "MISSED" };
            let which = if goal.percentile == 50 { "median" } else { "p99" };
            format!("  {which} ≤ {}: {met}", human(limit))
        });
        println!("{name:<52} {:>7} {median:>10} {p99:>10} {max:>10}{goal}", samples.len());
    }

    /// A row for something that handles `bytes` at once.
    pub(crate) fn throughput(&self, name: &str, samples: &Samples, bytes: usize) {
        self.row(name, samples, None);
        #[expect(clippy::cast_precision_loss, reason = "images are far below 2^53 bytes")]
        let rate = bytes as f64 / samples.percentile(50) * 1e3;
        println!("{:<52} {:>7} {:>10}", "", "", format!("{rate:.0} MB/s"));
    }

    /// The same with the MB/s there should be.
    pub(crate) fn throughput_of(&self, name: &str, samples: &Samples, bytes: usize, goal: Option<u32>) {
        let goal = goal.and_then(|goal| {
            let limit = u64::try_from(bytes).unwrap_or(u64::MAX).checked_mul(1_000)? / u64::from(goal);
            Goal::median(Duration::from_nanos(limit))
        });
        self.row(name, samples, goal);
        #[expect(clippy::cast_precision_loss, reason = "recordings are far below 2^53 bytes")]
        let rate = bytes as f64 / samples.percentile(50) * 1e3;
        println!("{:<52} {:>7} {:>10}", "", "", format!("{rate:.0} MB/s"));
    }

    /// A line for people.
    pub(crate) fn note(&self, text: &str) {
        println!("{text}");
    }
}

fn human(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}
