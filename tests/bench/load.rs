//! Sixty-four simulated lanes in this process, a session each, ten keys a second in every one of them.

use std::time::Duration;

use crate::measure::{Report, Samples};
use crate::stage::runtime;
use crate::typing::{Load, type_into_all};

/// Each lane's two copies of its screen are not counted.
const GOAL_BYTES: u64 = 4 << 20;

pub(crate) fn run(report: &mut Report) {
    let load = Load {
        lanes: report.samples(64),
        keys: report.samples(Load::MOST_KEYS),
        period: Duration::from_millis(100),
    };
    let outcome = runtime().block_on(type_into_all(load));
    let mut latencies = Samples::default();
    outcome.latencies.iter().for_each(|latency| latencies.push(*latency, 1));
    report.row("key to its digest in the journal", &latencies, None);
    report.note(&format!(
        "{} lanes, {} keys, {} digests: {} keys and {} digests lost (goal 0)",
        load.lanes, outcome.typed, outcome.digests, outcome.lost_keys, outcome.lost_digests
    ));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let own = outcome.bytes_per_lane.saturating_sub(outcome.bytes_of_surfaces);
    let met = if own <= GOAL_BYTES { "met" } else { "MISSED" };
    report.note(&format!(
        "{:.1} MiB per lane, of which {:.1} are its two surfaces; goal for the rest <= 4 MiB: {met}",
        mib(outcome.bytes_per_lane),
        mib(outcome.bytes_of_surfaces),
    ));
}
