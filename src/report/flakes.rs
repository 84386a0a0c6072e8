//! What many runs say together: which waits come near their deadlines, which scenarios do not always pass.
//!
//! [`Gathered`] takes one run after the other and keeps a few numbers of each wait; [`Flakes`] is what they come to.
//! `docs/flakes.md` explains the formulas.

mod data;
mod html;
mod table;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

pub use data::{csv_scenarios, csv_waits, json};
pub use html::html;
pub use table::table;

use super::evidence::{Evidence, WaitNote, millis};
use super::story::{Class, Entry, Outcome, Story};
use crate::journal::run::timings::without_repetition;
use crate::journal::run::{RunRecord, Verdict};

/// Takes runs in any order.
#[derive(Debug, Default)]
pub struct Gathered {
    runs: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    waits: HashMap<WaitKey, Vec<Observation>>,
    scenarios: BTreeMap<String, Tally>,
    unreadable: Vec<String>,
}

/// What makes two waits the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct WaitKey {
    /// The script's path and the scenario's name.
    pub scenario: String,
    /// The names of its steps, outermost first.
    pub step: String,
    /// The call.
    pub call: String,
    /// What was waited for.
    pub wanted: String,
    /// Line of the call.
    pub line: u32,
}

/// One wait, once. There may be millions.
#[derive(Debug, Clone, Copy)]
struct Observation {
    /// Milliseconds since 1970.
    at: i64,
    used_ms: f32,
    deadline_ms: f32,
    load: Option<f32>,
    speed: Option<f32>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Matched,
    TimedOut,
    /// It timed out in a test that passed at another attempt.
    TooShort,
}

#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    flaky: u64,
    failed: u64,
    kinds: BTreeMap<String, u64>,
}

impl Gathered {
    /// Adds a run and reads the journals of its attempts, one at a time.
    pub fn take(&mut self, run: &RunRecord) {
        self.runs += 1;
        self.first = Some(self.first.map_or(run.began_at, |first| first.min(run.began_at)));
        self.last = Some(self.last.map_or(run.began_at, |last| last.max(run.began_at)));
        for entry in &Story::of(run).entries {
            self.take_verdict(entry);
            self.take_waits(entry);
        }
    }

    fn take_verdict(&mut self, entry: &Entry<'_>) {
        let class = entry.outcome.class();
        if class == Class::Skipped {
            return;
        }
        let tally = self.scenarios.entry(without_repetition(&entry.id).to_owned()).or_default();
        tally.runs += 1;
        tally.flaky += u64::from(entry.outcome == Outcome::Verdict(Verdict::Flaky));
        tally.failed += u64::from(class != Class::Passed);
        let mut count = |kind: &str| *tally.kinds.entry(kind.to_owned()).or_default() += 1;
        for attempt in entry.attempts() {
            match attempt.ended.as_ref().map(|ended| ended.verdict) {
                Some(Verdict::Passed | Verdict::Skipped | Verdict::Cancelled) => {}
                Some(verdict) => count(verdict.name()),
                None => count(Outcome::NotFinished.name()),
            }
        }
        if entry.outcome == Outcome::NotLoaded {
            count(entry.outcome.name());
        }
    }

    fn take_waits(&mut self, entry: &Entry<'_>) {
        let Some(note) = entry.note() else { return };
        let has_passed = entry.outcome.class() == Class::Passed;
        for attempt in entry.attempts() {
            let evidence = match Evidence::load(&attempt.folder) {
                Ok(evidence) => evidence,
                Err(error) => {
                    self.unreadable.push(format!("{}: {error}", attempt.folder.display()));
                    continue;
                }
            };
            for wait in evidence.waits {
                let Some(observation) = Observation::of(&wait, has_passed) else { continue };
                let key = WaitKey {
                    scenario: format!("{}::{}", note.file, note.name),
                    step: wait.step.join(" › "),
                    call: wait.call,
                    wanted: wait.wanted,
                    line: wait.line,
                };
                self.waits.entry(key).or_default().push(observation);
            }
        }
    }

    /// Something else that could not be read.
    pub fn could_not_read(&mut self, what: String) {
        self.unreadable.push(what);
    }

    /// What it all comes to: waits with the least slack first, scenarios that are flaky most often first.
    pub fn finish(self) -> Flakes {
        let mut waits: Vec<Wait> = self.waits.into_iter().map(|(key, seen)| Wait::of(key, seen)).collect();
        waits.sort_by(|left, right| {
            let by_slack = left.slack_p99.total_cmp(&right.slack_p99);
            by_slack.then(right.timeouts.cmp(&left.timeouts)).then_with(|| left.key.cmp(&right.key))
        });
        let mut scenarios: Vec<Scenario> =
            self.scenarios.into_iter().map(|(id, tally)| Scenario::of(id, tally)).collect();
        scenarios.sort_by(|left, right| {
            let by_flaky = right.flake_rate.total_cmp(&left.flake_rate);
            by_flaky
                .then(right.failure_rate.total_cmp(&left.failure_rate))
                .then_with(|| left.id.cmp(&right.id))
        });
        let Self { runs, first, last, unreadable, .. } =
            Self { waits: HashMap::new(), scenarios: BTreeMap::new(), ..self };
        Flakes { runs, first, last, waits, scenarios, unreadable }
    }
}

/// What many runs come to.
#[derive(Debug, Serialize)]
pub struct Flakes {
    /// How many runs.
    pub runs: usize,
    /// When the oldest began.
    pub first: Option<Timestamp>,
    /// When the newest began.
    pub last: Option<Timestamp>,
    /// Every wait that ended by a match or its deadline.
    pub waits: Vec<Wait>,
    /// Every test, its repetitions together.
    pub scenarios: Vec<Scenario>,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// One wait over all runs.
#[derive(Debug, Serialize)]
pub struct Wait {
    /// Which.
    #[serde(flatten)]
    pub key: WaitKey,
    /// How often it ended by a match or its deadline.
    pub count: usize,
    /// How often by its deadline.
    pub timeouts: usize,
    /// How often by its deadline in a test that passed at another attempt.
    pub too_short: usize,
    /// Its deadline, the median.
    pub deadline_ms: f64,
    /// What it used, the median; one that timed out used all of it.
    pub used_p50_ms: f64,
    /// What all but one in a hundred used at most.
    pub used_p99_ms: f64,
    /// What was left of its time, as a part of it, the median.
    pub slack_p50: f64,
    /// What was left for all but one in a hundred at least.
    pub slack_p99: f64,
    /// How much longer its newer half takes than its older half, as a part of that.
    pub trend: Option<f64>,
    /// A deadline that would do.
    pub suggested_s: Option<u64>,
    /// The host's load, the median.
    pub host_load: Option<f64>,
    /// The lane's speed, the median.
    pub lane_speed: Option<f64>,
    /// How much more a crowded host makes it use.
    pub crowded: Option<Crowded>,
    /// Whether it uses more the higher the load is, from -1 to 1: a rank correlation.
    pub load_correlation: Option<f64>,
    /// What it used over time, the oldest first, at most [`MAX_POINTS`] medians of neighbours.
    #[serde(skip)]
    pub points_ms: Vec<f64>,
}

/// A wait on hosts where more wanted to run than there were processors, and on others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Crowded {
    /// How often the host was crowded.
    pub count: usize,
    /// The median on crowded hosts.
    pub crowded_p50_ms: f64,
    /// The median on others.
    pub calm_p50_ms: f64,
}

/// One test over all runs.
#[derive(Debug, Serialize)]
pub struct Scenario {
    /// Its id without the repetition.
    pub id: String,
    /// How often it came to a verdict, or should have.
    pub runs: u64,
    /// How often it passed, but not at the first attempt.
    pub flaky: u64,
    /// How often it did not pass.
    pub failed: u64,
    /// `flaky` as a part of `runs`.
    pub flake_rate: f64,
    /// `failed` as a part of `runs`.
    pub failure_rate: f64,
    /// Attempts that did not pass, by their verdicts.
    pub kinds: BTreeMap<String, u64>,
}

impl Observation {
    #[expect(clippy::cast_possible_truncation, reason = "there may be millions, and seven digits are enough")]
    fn of(wait: &WaitNote, has_passed: bool) -> Option<Self> {
        let ended = wait.ended.as_ref()?;
        let end = match ended.outcome.as_str() {
            "matched" => End::Matched,
            "timeout" if has_passed => End::TooShort,
            "timeout" => End::TimedOut,
            _ => return None,
        };
        let deadline_ms = (wait.timeout_s * 1e3) as f32;
        let used_ms = millis(ended.took_ms) as f32;
        let number = |value: Option<f64>| value.filter(|value| value.is_finite()).map(|value| value as f32);
        Some(Self {
            at: wait.began_at.as_millisecond(),
            used_ms: if end == End::Matched { used_ms } else { used_ms.max(deadline_ms) },
            deadline_ms,
            load: number(ended.host_load),
            speed: number(ended.lane_speed),
            end,
        })
    }

    fn slack(&self) -> f64 {
        match self.end {
            End::Matched if self.deadline_ms > 0.0 => {
                f64::from(1.0 - self.used_ms / self.deadline_ms).clamp(0.0, 1.0)
            }
            _ => 0.0,
        }
    }
}

impl Wait {
    fn of(key: WaitKey, mut seen: Vec<Observation>) -> Self {
        seen.sort_by_key(|it| it.at);
        let used: Vec<f64> = seen.iter().map(|it| f64::from(it.used_ms)).collect();
        let count_of = |end: End| seen.iter().filter(|it| it.end == end).count();
        let too_short = count_of(End::TooShort);
        let of_host = |value: fn(&Observation) -> Option<f32>| {
            let values: Vec<f64> = seen.iter().filter_map(value).map(f64::from).collect();
            (!values.is_empty()).then(|| rounded(percentile(values, 50)))
        };
        let slack = |part| rounded(percentile(seen.iter().map(Observation::slack).collect(), part));
        Self {
            count: seen.len(),
            timeouts: too_short + count_of(End::TimedOut),
            too_short,
            deadline_ms: percentile(seen.iter().map(|it| f64::from(it.deadline_ms)).collect(), 50),
            used_p50_ms: percentile(used.clone(), 50),
            used_p99_ms: percentile(used.clone(), 99),
            slack_p50: slack(50),
            slack_p99: slack(1),
            trend: trend(&used),
            suggested_s: suggested(&seen),
            host_load: of_host(|it| it.load),
            lane_speed: of_host(|it| it.speed),
            crowded: crowded(&seen),
            load_correlation: load_correlation(&seen),
            points_ms: points(&used),
            key,
        }
    }
}

impl Scenario {
    fn of(id: String, tally: Tally) -> Self {
        let Tally { runs, flaky, failed, kinds } = tally;
        let rate = |count: u64| rounded(millis(count) / millis(runs.max(1)));
        Self { id, runs, flaky, failed, flake_rate: rate(flaky), failure_rate: rate(failed), kinds }
    }
}

/// The value that so many of a hundred do not exceed: one of them, not one between two.
fn percentile(mut values: Vec<f64>, part: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * part).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// How much more the newer half uses than the older, by their medians.
fn trend(used: &[f64]) -> Option<f64> {
    if used.len() < MIN_FOR_TREND {
        return None;
    }
    let (older, newer) = used.split_at(used.len() / 2);
    let (older, newer) = (percentile(older.to_vec(), 50), percentile(newer.to_vec(), 50));
    // A millisecond more than nothing is no trend.
    Some(rounded(newer.max(1.0) / older.max(1.0) - 1.0))
}

/// Three times what all but one match in a hundred used, and twice the deadline that was seen to be too short; rounded up
/// to what a person would write.
fn suggested(seen: &[Observation]) -> Option<u64> {
    let matched: Vec<f64> =
        seen.iter().filter(|it| it.end == End::Matched).map(|it| f64::from(it.used_ms)).collect();
    let too_short = seen.iter().filter(|it| it.end == End::TooShort).map(|it| f64::from(it.deadline_ms));
    let too_short = too_short.fold(0.0, f64::max);
    if matched.len() < MIN_FOR_SUGGESTION && too_short == 0.0 {
        return None;
    }
    let wanted_ms = (percentile(matched, 99) * MARGIN).max(too_short * 2.0);
    let nice = NICE_S.into_iter().find(|nice| millis(*nice) * 1e3 >= wanted_ms);
    nice.or_else(|| (1..=1_000).map(|hours| hours * 3_600).find(|nice| millis(*nice) * 1e3 >= wanted_ms))
}

fn crowded(seen: &[Observation]) -> Option<Crowded> {
    let used_where = |is_crowded: bool| -> Vec<f64> {
        let here = seen.iter().filter(|it| it.load.is_some_and(|load| (load > 1.0) == is_crowded));
        here.map(|it| f64::from(it.used_ms)).collect()
    };
    let (crowded, calm) = (used_where(true), used_where(false));
    (crowded.len() >= MIN_FOR_CROWDED && calm.len() >= MIN_FOR_CROWDED).then(|| Crowded {
        count: crowded.len(),
        crowded_p50_ms: percentile(crowded, 50),
        calm_p50_ms: percentile(calm, 50),
    })
}

/// Spearman's rank correlation of what was used with the load.
fn load_correlation(seen: &[Observation]) -> Option<f64> {
    let pairs = seen.iter().filter_map(|it| Some((f64::from(it.used_ms), f64::from(it.load?))));
    let (used, loads): (Vec<f64>, Vec<f64>) = pairs.unzip();
    if used.len() < MIN_FOR_TREND {
        return None;
    }
    let (used, loads) = (ranks(&used), ranks(&loads));
    let middle = used.iter().sum::<f64>() / millis(used.len() as u64);
    let covariance: f64 = used.iter().zip(&loads).map(|(u, l)| (u - middle) * (l - middle)).sum();
    let variance = |ranks: &[f64]| ranks.iter().map(|rank| (rank - middle).powi(2)).sum::<f64>();
    let scale = (variance(&used) * variance(&loads)).sqrt();
    (scale > 0.0).then(|| rounded(covariance / scale))
}

/// Places in the order of values; equal values share the middle of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|index| values[**index] == values[order[from]]).count();
        let middle = millis((2 * from + same - 1) as u64) / 2.0;
        order[from..from + same].iter().for_each(|index| ranks[*index] = middle);
        from += same;
    }
    ranks
}

/// At most [`MAX_POINTS`] medians of neighbours.
fn points(used: &[f64]) -> Vec<f64> {
    let width = used.len().div_ceil(MAX_POINTS).max(1);
    used.chunks(width).map(|chunk| percentile(chunk.to_vec(), 50)).collect()
}

/// Deadlines that people write, in seconds.
const NICE_S: [u64; 22] =
    [1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1_200, 1_800, 2_700];
const MARGIN: f64 = 3.0;
const MIN_FOR_SUGGESTION: usize = 5;
const MIN_FOR_TREND: usize = 8;
const MIN_FOR_CROWDED: usize = 3;
/// Of a wait over time.
pub const MAX_POINTS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: i64, used_ms: f32, load: Option<f32>, end: End) -> Observation {
        Observation { at, used_ms, deadline_ms: 10_000.0, load, speed: None, end }
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 50), 100.0);
        assert_eq!(percentile(values.clone(), 99), 198.0);
        assert_eq!(percentile(values, 1), 2.0);
        assert_eq!(percentile(vec![7.0], 99), 7.0);
        assert_eq!(percentile(Vec::new(), 50), 0.0);
    }

    #[test]
    fn a_suggestion_has_margin_and_never_repeats_a_deadline_that_was_too_short() {
        let matched = |used_ms| vec![seen(0, used_ms, None, End::Matched); 5];
        assert_eq!(suggested(&matched(1_100.0)), Some(5));
        assert_eq!(suggested(&matched(1.0)), Some(1));
        assert_eq!(suggested(&matched(1e6)), Some(3_600));
        assert_eq!(suggested(&matched(1_100.0)[..4]), None);
        let mut both = matched(1_100.0);
        both.push(seen(0, 10_000.0, None, End::TooShort));
        assert_eq!(suggested(&both), Some(20));
        // A promise that does not hold says nothing about its deadline.
        both[5].end = End::TimedOut;
        assert_eq!(suggested(&both), Some(5));
    }

    #[test]
    fn a_wait_knows_its_slack_its_trend_and_its_host() {
        let mut all: Vec<Observation> =
            (0..10).map(|at| seen(at, 1_000.0, Some(0.5), End::Matched)).collect();
        all.extend((10..20).map(|at| seen(at, 2_000.0, Some(2.0), End::Matched)));
        // In any order.
        all.reverse();
        let wait = Wait::of(
            WaitKey {
                scenario: String::new(),
                step: String::new(),
                call: String::new(),
                wanted: String::new(),
                line: 1,
            },
            all,
        );
        assert_eq!((wait.slack_p50, wait.slack_p99), (0.8, 0.8));
        assert_eq!((wait.used_p50_ms, wait.used_p99_ms, wait.trend), (1_000.0, 2_000.0, Some(1.0)));
        let crowded = Crowded { count: 10, crowded_p50_ms: 2_000.0, calm_p50_ms: 1_000.0 };
        assert_eq!((wait.crowded, wait.load_correlation), (Some(crowded), Some(1.0)));
        assert_eq!(wait.points_ms.len(), 20);
        assert_eq!((wait.points_ms[0], wait.suggested_s), (1_000.0, Some(8)));
    }

    #[test]
    fn ranks_share_their_places_and_correlate_from_minus_one_to_one() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
        let against: Vec<_> =
            (0..8_u8).map(|at| seen(0, f32::from(at), Some(f32::from(8 - at)), End::Matched)).collect();
        assert_eq!(load_correlation(&against), Some(-1.0));
        let flat = vec![seen(0, 1.0, Some(1.0), End::Matched); 8];
        assert_eq!(load_correlation(&flat), None);
    }
}
