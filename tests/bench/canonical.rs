//! The canonical scenario, ten times in a row, by the program itself: does it pass every time, and how much of its time
//! is the machine's?

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backstaff::journal::{Body, Event, ndjson};

use crate::measure::Report;

const RUNS: usize = 10;
const GOAL: f64 = 1.3;
/// What guest and script take whatever the host does: 21 pauses of 200 ms between the lines of the boot script, 600 ms
/// and a line after the paste, 23 characters at 20 ms. Keys are held while the guest goes on, so they add nothing.
const SCRIPTED: Duration = Duration::from_millis(21 * 200 + 600 + 200 + 23 * 20);

pub(crate) fn run(report: &mut Report) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("logs").join(format!("canonical-{}", std::process::id()));
    report.note(&format!("logs: {}", folder.display()));
    report.note("  run  verdict  accel      total   planned      boot     story  teardown     ratio");
    let (mut passed, mut ratios) = (0, Vec::new());
    for number in 1..=report.samples(RUNS) {
        let run = Run::of(&folder.join(number.to_string()));
        let ratio = run.total.as_secs_f64() / (run.boot + SCRIPTED).as_secs_f64();
        let Run { total, planned, boot, story, verdict, accelerator } = &run;
        let teardown = total.saturating_sub(*planned + *boot + *story);
        let seconds =
            [total, planned, boot, story, &teardown].map(|time| format!("{:7.2} s", time.as_secs_f64()));
        report
            .note(&format!("  {number:>3}  {verdict:<8} {accelerator:<6}{} {ratio:>9.2}", seconds.join(" ")));
        passed += usize::from(run.verdict == "passed");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (median, worst) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    let met = if worst <= GOAL { "met" } else { "MISSED" };
    report.note(&format!(
        "{passed} of {} passed; total / (boot + {:.2} s scripted): median {median:.2}, worst {worst:.2}; goal ≤ {GOAL}: {met}",
        ratios.len(),
        SCRIPTED.as_secs_f64(),
    ));
}

/// Where one run's time went.
struct Run {
    /// The whole process.
    total: Duration,
    /// Until the lane was started.
    planned: Duration,
    /// From there until it was ready.
    boot: Duration,
    /// From there until the machine had ended.
    story: Duration,
    verdict: String,
    accelerator: String,
}

impl Run {
    fn of(artifacts: &Path) -> Self {
        let began = Instant::now();
        Command::new(env!("CARGO_BIN_EXE_backstaff"))
            .args([
                "run",
                "scenarios/canonical.lua",
                "--lane",
                "sextant",
                "--quiet",
                "--warm=off",
                "--artifacts",
            ])
            .arg(artifacts)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        let total = began.elapsed();
        let events = ndjson::load(&journal_below(artifacts).unwrap()).unwrap();
        let first = |wanted: &dyn Fn(&Body) -> bool| {
            events.iter().find(|event| wanted(&event.body)).map_or(Duration::ZERO, Event::at)
        };
        let state =
            |name: &str| first(&|body| matches!(body, Body::LaneState { state, .. } if state == name));
        let (starting, ready) = (state("starting"), state("ready"));
        let ended = first(&|body| matches!(body, Body::LaneEnded { .. }));
        let verdict = events.iter().find_map(|event| match &event.body {
            Body::AttemptEnded { verdict, .. } => Some(verdict.clone()),
            _ => None,
        });
        let accelerator = events.iter().find_map(|event| match &event.body {
            Body::Acceleration { resolved, .. } => Some(resolved.clone()),
            _ => None,
        });
        Self {
            total,
            planned: starting,
            boot: ready.saturating_sub(starting),
            story: ended.saturating_sub(ready),
            verdict: verdict.unwrap_or_else(|| "none".to_owned()),
            accelerator: accelerator.unwrap_or_default(),
        }
    }
}

fn journal_below(folder: &Path) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries.iter().find_map(|entry| match entry.file_name()?.to_str()? {
        "journal.ndjson" => Some(entry.clone()),
        _ if entry.is_dir() => journal_below(entry),
        _ => None,
    })
}
