//! A day's worth of events through a control socket whose client hardly reads.

use std::time::Duration;

use crate::flood::{Flood, let_it_flow};
use crate::measure::{Report, Samples};
use crate::stage::runtime;
use crate::typing::Load;

pub(crate) fn run(report: &mut Report) {
    let keys = report.samples(Load::MOST_KEYS);
    let load = Load { lanes: 1, keys, period: PERIOD };
    let events = if keys == Load::MOST_KEYS { 5_000_000 } else { 50_000 };
    for (name, has_client) in [("without a client", false), ("with a slow client", true)] {
        let outcome = runtime().block_on(let_it_flow(Flood { load, events, has_client }));
        let latencies: Samples = outcome.latencies.iter().copied().collect();
        report.row(&format!("key to its digest in the journal, {name}"), &latencies, None);
        if has_client {
            report.note(&format!(
                "{} events: {} delivered + {} dropped, told in {} lines; grown by {:+} KiB from the first tenth to the end",
                outcome.produced,
                outcome.delivered,
                outcome.dropped,
                outcome.notes,
                outcome.grown_kib,
            ));
        }
        assert_eq!(outcome.lost, 0, "keys and digests of the session");
    }
}

/// No multiple of the 50 ms between two of the guest's looks at its keyboard, or all keys would wait equally long.
const PERIOD: Duration = Duration::from_millis(173);
