//! What runs say about how long tests take, for [`Timings`].

use std::collections::BTreeMap;

use crate::journal::run::timings::without_repetition;
use crate::journal::run::{RunRecord, Timings, Verdict};

/// Gathers attempts that passed, of one run after the other.
#[derive(Debug, Default)]
pub struct Gathered {
    took_ms: BTreeMap<String, Vec<u64>>,
}

impl Gathered {
    /// Adds those of a run.
    pub fn take(&mut self, run: &RunRecord) {
        for test in &run.tests {
            let ended = test.attempts.iter().filter_map(|attempt| attempt.ended.as_ref());
            let passed: Vec<u64> =
                ended.filter(|ended| ended.verdict == Verdict::Passed).map(|ended| ended.took_ms).collect();
            if !passed.is_empty() {
                self.took_ms.entry(without_repetition(&test.test.id).to_owned()).or_default().extend(passed);
            }
        }
    }

    /// How many tests passed.
    pub fn tests(&self) -> usize {
        self.took_ms.len()
    }

    /// Adds all of it to what is known.
    pub fn add_to(self, timings: &mut Timings) {
        self.took_ms.into_iter().for_each(|(id, took_ms)| timings.add(&id, took_ms));
    }
}
