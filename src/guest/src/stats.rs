//! How long refreshes take, for the last line of the drain.

use core::fmt;

const SAMPLES: usize = 256;

/// Durations of refreshes, in ticks.
pub(crate) struct RefreshStats {
    /// 0 when the calibration failed.
    ticks_per_ms: u64,
    count: u64,
    total: u64,
    longest: u64,
    /// The last [`SAMPLES`] durations, in no particular order.
    samples: [u64; SAMPLES],
}

impl RefreshStats {
    pub(crate) fn new(ticks_per_ms: u64) -> Self {
        Self { ticks_per_ms, count: 0, total: 0, longest: 0, samples: [0; SAMPLES] }
    }

    pub(crate) fn push(&mut self, ticks: u64) {
        let slot = self.count % SAMPLES as u64;
        self.samples[usize::try_from(slot).expect("less than SAMPLES")] = ticks;
        self.count += 1;
        self.total = self.total.saturating_add(ticks);
        self.longest = self.longest.max(ticks);
    }

    fn p99(&self) -> u64 {
        let mut sorted = self.samples;
        let count = usize::try_from(self.count).unwrap_or(SAMPLES).min(SAMPLES);
        let newest = &mut sorted[..count];
        newest.sort_unstable();
        newest.get((count * 99 / 100).saturating_sub(1)).copied().unwrap_or(0)
    }

    fn to_us(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000).checked_div(self.ticks_per_ms).unwrap_or(0)
    }
}

/// The summary line, without line end. All numbers are 0 when the calibration failed.
impl fmt::Display for RefreshStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = if self.ticks_per_ms == 0 { 0 } else { self.count };
        let total_ms = self.total.checked_div(self.ticks_per_ms).unwrap_or(0);
        let per_refresh = self.ticks_per_ms.saturating_mul(count);
        let mean_us = self.total.saturating_mul(1000).checked_div(per_refresh).unwrap_or(0);
        let (max_us, p99_us) = (self.to_us(self.longest), self.to_us(self.p99()));
        write!(
            f,
            "type=refresh_stats count={count} total_ms={total_ms} mean_us={mean_us} max_us={max_us} p99_us={p99_us}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(ticks_per_ms: u64, samples: impl IntoIterator<Item = u64>) -> String {
        let mut stats = RefreshStats::new(ticks_per_ms);
        samples.into_iter().for_each(|ticks| stats.push(ticks));
        stats.to_string()
    }

    #[test]
    fn numbers_are_cut_not_rounded() {
        assert_eq!(
            stats(1000, [1_500, 2_999, 10]),
            "type=refresh_stats count=3 total_ms=4 mean_us=1503 max_us=2999 p99_us=1500"
        );
    }

    #[test]
    fn one_sample_is_its_own_p99() {
        assert_eq!(
            stats(2, [8]),
            "type=refresh_stats count=1 total_ms=4 mean_us=4000 max_us=4000 p99_us=4000"
        );
    }

    #[test]
    fn p99_looks_at_the_last_256_and_max_at_all() {
        let line = stats(1, [9_999].into_iter().chain(1..=256));
        assert_eq!(
            line,
            "type=refresh_stats count=257 total_ms=42895 mean_us=166906 max_us=9999000 p99_us=253000"
        );
    }

    #[test]
    fn a_failed_calibration_gives_zeros() {
        assert_eq!(stats(0, [5, 6]), "type=refresh_stats count=0 total_ms=0 mean_us=0 max_us=0 p99_us=0");
    }
}
