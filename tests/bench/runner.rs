//! What the runner itself costs: starting, listing, a thousand scenarios that need no machine, and two hundred that wait
//! on sixteen lanes at once.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backstaff::journal::run::load;

use crate::measure::Report;

pub(crate) fn run(report: &mut Report) {
    let starts = report.samples(50);
    let version = timed(starts, Path::new("."), &["--version"]);
    line(report, "backstaff --version", &version, 0.010);

    let folder = tempfile::tempdir().unwrap();
    let files = report.samples(1_000);
    std::fs::create_dir(folder.path().join("pure")).unwrap();
    for number in 0..files {
        let script = format!(
            "scenario(\"adds {number}\", {{ lane = \"none\", tags = {{ \"pure\" }} }}, function(t)\n  \
             expect({number} + 1):equals({})\nend)\n",
            number + 1
        );
        std::fs::write(folder.path().join(format!("pure/s{number:04}.lua")), script).unwrap();
    }
    let several = report.samples(20) / 2;
    let lists = timed(several, folder.path(), &["list", "pure"]);
    line(report, &format!("list over {files} files"), &lists, 0.200);
    let pure = timed(several, folder.path(), &["run", "pure"]);
    line(report, &format!("{files} scenarios without a lane"), &pure, 1.0);
    waiting(report, folder.path());
}

/// Scenarios that take from one to three seconds, most of it spent waiting, on sixteen lanes.
fn waiting(report: &Report, folder: &Path) {
    const JOBS: u32 = 16;
    let tests = u32::try_from(report.samples(200)).unwrap();
    let is_bench = tests == 200;
    std::fs::create_dir(folder.join("sim")).unwrap();
    let mut script = String::new();
    for number in 0..tests {
        let seconds = if is_bench { 1.0 + f64::from(number * 37 % 100) / 50.0 } else { 0.1 };
        writeln!(
            script,
            "scenario(\"waits {number}\", {{ needs = {{ \"digest\", \"keyboard\" }} }}, function(t)\n  \
             t.digest:wait_for(any)\n  t.keyboard:press(\"a\")\n  t.digest:wait_for {{ keypress = any }}\n  \
             t:sleep({seconds})\nend)"
        )
        .unwrap();
    }
    std::fs::write(folder.join("sim/waits.lua"), script).unwrap();
    let jobs = JOBS.to_string();
    let mut child = program(folder, &["run", "sim", "--quiet", "--jobs", &jobs]).spawn().unwrap();
    let mut resident = Vec::new();
    while child.try_wait().unwrap().is_none() {
        resident.extend(resident_kib(child.id()));
        std::thread::sleep(Duration::from_millis(100));
    }
    let runs = std::fs::read_dir(folder.join("logs")).unwrap().map(|entry| entry.unwrap().path());
    let run = runs.map(|folder| load(&folder).unwrap()).max_by_key(|run| run.began_at).unwrap();
    let passed =
        run.tests.iter().filter(|test| test.verdict == Some(backstaff::runner::Verdict::Passed)).count();
    let ended = run.tests.iter().filter_map(|test| test.attempts.first()?.ended.as_ref());
    let attempts_ms: u64 = ended.map(|attempt| attempt.took_ms).sum();
    let ideal = Duration::from_millis(attempts_ms / u64::from(JOBS));
    let wall = Duration::from_millis(run.took_ms.unwrap_or(0));
    report.note(&format!(
        "{tests} scenarios on {JOBS} simulated lanes: {passed} passed, wall {:.2} s, ideal packing of their {:.1} s {:.2} s, \
         ratio {:.3} (goal 1.15)",
        wall.as_secs_f64(),
        Duration::from_millis(attempts_ms).as_secs_f64(),
        ideal.as_secs_f64(),
        wall.as_secs_f64() / ideal.as_secs_f64().max(f64::MIN_POSITIVE)
    ));
    let quarter = resident.len() / 4;
    if quarter > 0 {
        let most = |part: &[u64]| part.iter().max().copied().unwrap_or(0) / 1_024;
        report.note(&format!(
            "resident memory, most in the second and in the last quarter: {} and {} MiB",
            most(&resident[quarter..quarter * 2]),
            most(&resident[resident.len() - quarter..])
        ));
    }
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstaff"));
    command.args(arguments).current_dir(folder).env_remove("CI").env_remove("BACKSTAFF_JOBS");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn timed(times: usize, folder: &Path, arguments: &[&str]) -> Vec<Duration> {
    let once = || {
        let began = Instant::now();
        let status = program(folder, arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}: {status}");
        began.elapsed()
    };
    (0..times).map(|_| once()).collect()
}

fn line(report: &Report, name: &str, times: &[Duration], goal_seconds: f64) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2].as_secs_f64();
    let most = sorted[sorted.len() - 1].as_secs_f64();
    report.note(&format!(
        "{name}: {} times, median {:.1} ms, longest {:.1} ms (goal {:.0} ms)",
        times.len(),
        median * 1e3,
        most * 1e3,
        goal_seconds * 1e3
    ));
}
