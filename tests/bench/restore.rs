//! Fifty restores in a row, by the program itself, beside boots in the same run: how soon does a scenario's first
//! statement run, and does anything grow?

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backstaff::journal::{Body, Event, ndjson};

use crate::measure::Report;

const RESTORES: usize = 50;
/// The boots that the restores are compared with; the last one is saved.
const BOOTS: usize = 3;
const GOAL: Duration = Duration::from_millis(500);

pub(crate) fn run(report: &mut Report) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("logs").join(format!("restore-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    report.note(&format!("logs: {}", folder.display()));
    let restores = report.samples(RESTORES);
    let script = folder.join("restores.lua");
    std::fs::write(&script, scenarios(restores)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_backstaff"))
        .arg("run")
        .arg(&script)
        .args(["--lane", "sextant", "--lane-dir", "scenarios/lanes", "--quiet", "--jobs", "1", "--artifacts"])
        .arg(&folder)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut held = Vec::new();
    while child.try_wait().unwrap().is_none() {
        // Now and then is enough: what grows fifty times is seen.
        std::thread::sleep(Duration::from_millis(50));
        held.extend(Held::of(child.id()));
    }
    let status = child.wait().unwrap();
    let attempts = attempts(&folder);
    let of = |origin: &str| {
        let mut times: Vec<Duration> =
            attempts.iter().filter(|attempt| attempt.origin == origin).map(|attempt| attempt.first).collect();
        times.sort();
        times
    };
    let (boots, saved, restored) = (of("booted"), of("saved"), of("restored"));
    let passed = attempts.iter().filter(|attempt| attempt.passed).count();
    report.note(&format!("{passed} of {} scenarios passed ({status})", attempts.len()));
    line(report, "booted", &boots);
    line(report, "booted and saved", &saved);
    line(report, "restored", &restored);
    let p95 = percentile(&restored, 95);
    let met = if p95 < GOAL && passed == attempts.len() { "met" } else { "MISSED" };
    report.note(&format!("p95 of restores {:.0} ms, goal < {} ms: {met}", millis(p95), GOAL.as_millis()));
    let files = |attempt: Option<&Attempt>| attempt.map_or(0, |attempt| attempt.files);
    let mut of_restored = attempts.iter().filter(|attempt| attempt.origin == "restored");
    let (first, last) = (of_restored.next(), of_restored.next_back());
    let saved_files = count_files(&folder.join("warm"));
    report.note(&format!(
        "files of the first and the last restored attempt: {} and {}; of the saved machine: {saved_files}",
        files(first),
        files(last)
    ));
    let quarter = held.len() / 4;
    let most = |held: &[Held], what: fn(&Held) -> usize| held.iter().map(what).max().unwrap_or(0);
    for (name, what) in
        [("descriptors", (|held| held.descriptors) as fn(&Held) -> usize), ("children", |held| held.children)]
    {
        let (early, late) =
            (most(&held[quarter..quarter * 2], what), most(&held[held.len() - quarter..], what));
        report.note(&format!("most {name} at once, second and last quarter of the run: {early} and {late}"));
    }
}

fn scenarios(restores: usize) -> String {
    format!(
        "local function first(t) t:log('first') end\n\
         for i = 1, {BOOTS} do scenario('boot ' .. i, {{ warm = false, needs = {{ 'digest' }} }}, first) end\n\
         scenario('save', {{ needs = {{ 'digest' }} }}, first)\n\
         for i = 1, {restores} do scenario('restore ' .. i, {{ needs = {{ 'digest' }} }}, first) end\n"
    )
}

struct Attempt {
    origin: String,
    /// From the beginning of the attempt to the scenario's first statement.
    first: Duration,
    passed: bool,
    files: usize,
}

fn attempts(folder: &Path) -> Vec<Attempt> {
    let mut journals = Vec::new();
    find_journals(folder, &mut journals);
    journals.sort();
    journals.iter().map(|journal| Attempt::of(journal)).collect()
}

impl Attempt {
    fn of(journal: &Path) -> Self {
        let events = ndjson::load(journal).unwrap();
        let origin = events.iter().find_map(|event| match &event.body {
            Body::Warm { outcome, .. } => Some(outcome.clone()),
            _ => None,
        });
        let first = events.iter().find(|event| matches!(event.body, Body::Log { .. })).map(Event::at);
        let passed = events
            .iter()
            .any(|event| matches!(&event.body, Body::AttemptEnded { verdict, .. } if verdict == "passed"));
        Self {
            origin: origin.unwrap_or_else(|| "booted".to_owned()),
            first: first.unwrap_or(Duration::MAX),
            passed,
            files: count_files(journal.parent().unwrap()),
        }
    }
}

/// What the program holds at one moment.
struct Held {
    descriptors: usize,
    children: usize,
}

impl Held {
    fn of(pid: u32) -> Option<Self> {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let children = threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
            .map(|children| children.split_whitespace().count())
            .sum();
        Some(Self { descriptors, children })
    }
}

fn line(report: &Report, name: &str, times: &[Duration]) {
    let Some(max) = times.last() else { return };
    report.note(&format!(
        "{name:<18} {:>3} times: p50 {:>6.0} ms  p95 {:>6.0} ms  max {:>6.0} ms",
        times.len(),
        millis(percentile(times, 50)),
        millis(percentile(times, 95)),
        millis(*max)
    ));
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn find_journals(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            find_journals(&path, found);
        } else if path.ends_with("journal.ndjson") {
            found.push(path);
        }
    }
}

fn count_files(folder: &Path) -> usize {
    let entries =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
