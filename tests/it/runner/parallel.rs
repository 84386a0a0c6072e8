//! Many attempts at once, tried again, repeated; and what is known of them when the program is killed in the middle.

use std::path::Path;

use backstaff::journal::run::{RunRecord, TestRecord, load};
use backstaff::journal::{Body, ndjson};
use backstaff::runner::Verdict;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::lab::{Lab, skipped};

/// Scenarios that say `here` and go on for a while.
fn sleepers(count: usize, options: &str, seconds: f64) -> String {
    (1..=count)
        .map(|number| {
            format!(
                "scenario('s{number}', {{ {options} }}, function(t) t:log('here') t:sleep({seconds}) end)\n"
            )
        })
        .collect()
}

/// From when to when each test ran.
fn spans(run: &RunRecord) -> Vec<(Timestamp, Timestamp)> {
    let span = |test: &TestRecord| {
        let events = ndjson::load(&test.attempts[0].folder.join("journal.ndjson")).unwrap();
        (events[0].wall, events[events.len() - 1].wall)
    };
    run.tests.iter().map(span).collect()
}

fn most_at_once(spans: &[(Timestamp, Timestamp)]) -> usize {
    let at = |moment: Timestamp| spans.iter().filter(|(from, to)| *from <= moment && moment < *to).count();
    spans.iter().map(|(from, _)| at(*from)).max().unwrap_or(0)
}

#[test]
fn as_many_run_at_once_as_were_asked_for() {
    let lab = Lab::bare().file("a.lua", &sleepers(6, "needs = { 'digest' }", 1.0));
    let finished = lab.run(&["run", "a.lua", "--jobs", "3"]).exits_with(0);
    let _ = finished.says(&["6 scenarios on lane sim, up to 3 at once", "6 passed, 0 failed, 0 skipped"]);
    let run = load(&lab.run_folder()).unwrap();
    assert_eq!(most_at_once(&spans(&run)), 3);
    assert!(run.tests.iter().all(|test| test.verdict == Some(Verdict::Passed)));
}

#[test]
fn without_a_number_the_host_says_how_many() {
    let lab = Lab::bare().file("a.lua", &sleepers(4, "lane = 'none'", 0.5));
    let mut command = lab.command(&["run", "a.lua"]).into_command();
    let output = command.env_remove("BACKSTAFF_JOBS").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let run = load(&lab.run_folder()).unwrap();
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(usize::try_from(run.began.jobs).unwrap(), processors.min(4));
    assert!(most_at_once(&spans(&run)) <= processors.min(4));
}

#[test]
fn real_machines_run_beside_each_other() {
    let Some(lab) = Lab::with_rom("machines beside each other") else { return };
    let body = "function(t) t.serial:wait_for('rom: one line') t:sleep(1) end";
    let lab =
        lab.file("a.lua", &format!("scenario('a', {body})\nscenario('b', {body})\nscenario('c', {body})\n"));
    let finished = lab.run(&["run", "a.lua", "--jobs", "2"]).exits_with(0);
    let _ = finished.says(&["up to 2 at once", "3 passed, 0 failed, 0 skipped"]);
    assert_eq!(most_at_once(&spans(&load(&lab.run_folder()).unwrap())), 2);
}

#[test]
fn a_test_that_passes_when_it_is_tried_again_is_flaky() {
    let Some(lab) = Lab::with_rom("a flaky test") else { return };
    let lab = lab.scenario("", "t:log('here')\nt:sleep(2)");
    for (arguments, code, said) in [
        (&["run", "a.lua", "--retries", "2"][..], 0, "1 flaky: passed, but not at the first attempt\n"),
        (&["run", "a.lua", "--retries", "2", "--fail-on-flaky"], 5, "which fails this run"),
    ] {
        let running = lab.command(arguments).start();
        running.wait_for("here");
        kill_process(running.qemu(), Signal::KILL).unwrap();
        let finished = running.finish().exits_with(code);
        let wanted = ["LANE  it", "attempt 1, trying again", "FLAKY it", "2 attempts", said];
        let _ = finished.says(&wanted).says(&["1 passed, 0 failed, 0 skipped"]);
    }
    let run = load(&lab.run_folders()[0]).unwrap();
    let [test] = &run.tests[..] else { panic!("one test") };
    assert_eq!(test.verdict, Some(Verdict::Flaky));
    let verdicts: Vec<Verdict> =
        test.attempts.iter().map(|attempt| attempt.ended.as_ref().unwrap().verdict).collect();
    assert_eq!(verdicts, [Verdict::LaneFailed, Verdict::Passed]);
    assert!(test.attempts.iter().all(|attempt| attempt.folder.join("journal.ndjson").is_file()));
}

#[test]
fn tests_are_repeated_so_often_or_until_one_fails() {
    let lab = Lab::bare()
        .file("a.lua", "scenario('a', { lane = 'none' }, function(t) end)")
        .file("b.lua", "scenario('b', { lane = 'none' }, function(t) expect(1):equals(2) end)");
    let _ = lab.run(&["run", "a.lua", "--repeat", "3"]).exits_with(0).says(&["PASS  a #3", "3 passed"]);
    let many = lab.run(&["run", "a.lua", "--repeat", "4", "--until-failure"]).exits_with(0);
    let _ = many.says(&["PASS  a #4", "4 passed, 0 failed, 0 skipped"]);
    let until = lab.run(&["run", ".", "--until-failure"]).exits_with(1);
    let _ = until.says(&["PASS  a #1", "FAIL  b #1", "1 passed, 1 failed, 0 skipped"]);
}

#[test]
fn only_what_failed_last_time_runs_again() {
    let lab = Lab::bare()
        .file("a.lua", "scenario('a', { lane = 'none' }, function(t) end)")
        .file("b.lua", "scenario('b', { lane = 'none' }, function(t) expect(1):equals(2) end)");
    let _ =
        lab.run(&["run", ".", "--failed"]).exits_with(2).says(&["--failed: there is no earlier run in logs"]);
    let _ = lab.run(&["run", "."]).exits_with(1);
    let _ = lab.run(&["run", ".", "--failed"]).exits_with(1).says(&["0 passed, 1 failed, 0 skipped"]);
    let lab = lab.file("b.lua", "scenario('b', { lane = 'none' }, function(t) end)");
    let _ = lab.run(&["run", ".", "--failed"]).exits_with(0).says(&["PASS  b", "1 passed, 0 failed"]);
    let _ = lab.run(&["run", ".", "--failed"]).exits_with(4).says(&["--failed: everything passed in logs/"]);
}

#[test]
fn slow_tests_are_marked() {
    let lab = Lab::bare().file("a.lua", &sleepers(1, "lane = 'none'", 1.0));
    let finished = lab.run(&["run", "a.lua", "--slow", "0.2"]).exits_with(0);
    let _ = finished.says(&["SLOW  s1", "after 0 s", "PASS  s1", ", slow"]);
    assert!(load(&lab.run_folder()).unwrap().tests[0].is_slow);
}

#[test]
fn fail_fast_lets_what_runs_end_and_begins_nothing_more() {
    let failing = "scenario('fails', { lane = 'none' }, function(t) t:log('here') expect(1):equals(2) end)\n";
    let lab = Lab::bare().file("a.lua", &format!("{failing}{}", sleepers(4, "lane = 'none'", 1.0)));
    let finished = lab.run(&["run", "a.lua", "--fail-fast", "--jobs", "2"]).exits_with(1);
    let _ = finished.says(&["FAIL  fails", "PASS  s1", "not finished: the run stops at the first failure"]);
    let run = load(&lab.run_folder()).unwrap();
    assert_eq!(run.ended_by.as_deref(), Some("fail_fast"));
    assert!(run.tests.iter().all(|test| test.verdict.is_some()), "all have one: {:?}", run.tests);
    assert!(
        run.tests.iter().any(|test| test.verdict == Some(Verdict::Cancelled) && test.attempts.is_empty())
    );
}

#[test]
fn a_stall_of_the_host_is_noted_on_the_verdict() {
    let lab =
        Lab::bare().scenario("timeout = 60", "t:log('here')\nt.serial:wait_for('never', { timeout = 6 })");
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    // All of this process stands still, its simulated machine as well.
    running.signal(Signal::STOP);
    std::thread::sleep(std::time::Duration::from_secs(3));
    running.signal(Signal::CONT);
    let finished = running.finish().exits_with(1);
    let _ =
        finished.says(&["FAIL  it", "no match for", "note: this host stalled once for", "made no progress"]);
    let run = load(&lab.run_folder()).unwrap();
    let attempt = run.tests[0].attempts[0].ended.as_ref().unwrap();
    assert!(attempt.host_notes[0].starts_with("this host stalled once"), "{:?}", attempt.host_notes);
    let events = ndjson::load(&lab.attempt().join("journal.ndjson")).unwrap();
    assert!(
        events
            .iter()
            .any(|event| matches!(event.body, Body::HostStalled { stalled_ms } if stalled_ms >= 1_000))
    );
}

/// Everything that a run left behind can be read, also where it broke off.
fn read_everything(folder: &Path) -> RunRecord {
    let run = load(folder).unwrap();
    for attempt in run.tests.iter().flat_map(|test| &test.attempts) {
        let journal = attempt.folder.join("journal.ndjson");
        let events = ndjson::load(&journal).unwrap_or_else(|error| panic!("{}: {error}", journal.display()));
        assert!(events.iter().enumerate().all(|(index, event)| event.seq == index as u64 + 1));
    }
    run
}

#[test]
fn killed_in_the_middle_it_has_told_everything_up_to_that_moment() {
    let lab =
        Lab::bare().file("a.lua", &format!("scenario('first', function(t) end)\n{}", sleepers(4, "", 60.0)));
    let running = lab.command(&["run", "a.lua", "--jobs", "3", "-v"]).start();
    running.wait_for("PASS  first");
    running.wait_for("here s3");
    running.signal(Signal::KILL);
    let _ = running.finish().dies_of(Signal::KILL);
    let run = read_everything(&lab.run_folder());
    let of = |name: &str| run.tests.iter().find(|test| test.test.name == name).unwrap();
    assert_eq!(of("first").verdict, Some(Verdict::Passed));
    for name in ["s1", "s2", "s3"] {
        let [attempt] = &of(name).attempts[..] else { panic!("{name} has begun") };
        assert!(attempt.ended.is_none() && of(name).verdict.is_none());
    }
    assert_eq!((of("s4").attempts.len(), run.took_ms), (0, None));
    renders(
        &lab,
        1,
        &["first", "not finished: attempt 1 began and did not end", "1 passed, 3 failed, 1 skipped"],
    );
}

/// `backstaff report` tells the newest run, and `backstaff trace` makes its page.
fn renders(lab: &Lab, code: i32, texts: &[&str]) {
    let folder = lab.run_folders().pop().unwrap();
    let folder = folder.to_str().unwrap();
    let _ = lab.run(&["report", folder, "--junit", "logs/junit.xml"]).exits_with(code).says(&texts[1..]);
    let junit = std::fs::read_to_string(lab.path("logs/junit.xml")).unwrap();
    assert!(junit.contains(texts[0]) && junit.ends_with("</testsuites>\n"), "{junit}");
    let _ = lab.run(&["trace", folder, "html", "--output", "logs/trace.html"]).exits_with(0);
    assert!(std::fs::read_to_string(lab.path("logs/trace.html")).unwrap().contains("</html>"));
}

#[test]
fn terminated_it_takes_all_lanes_down_and_tells_the_rest() {
    let Some(lab) = Lab::with_rom("terminated with several machines") else { return };
    let lab = lab.file("a.lua", &sleepers(3, "", 60.0));
    let running = lab.command(&["run", "a.lua", "--jobs", "2", "-v"]).start();
    running.wait_for("here s1");
    running.wait_for("here s2");
    running.signal(Signal::TERM);
    let finished = running.finish().exits_with(143).within(40);
    let _ = finished.says(&["STOP  s", "STOP  s", "3 not finished: the run was interrupted"]);
    let run = read_everything(&lab.run_folder());
    assert_eq!(run.ended_by.as_deref(), Some("signal 15"));
    assert!(run.tests.iter().all(|test| test.verdict == Some(Verdict::Cancelled)), "{:?}", run.tests);
    renders(&lab, 143, &["s3", "the run was cancelled", "0 passed, 0 failed, 3 skipped"]);
}

#[test]
fn a_lane_that_hangs_in_teardown_is_ended_by_force_beside_the_others() {
    let Some(lab) = Lab::with_rom("a lane that hangs in teardown") else { return };
    let lab = lab.file("a.lua", &sleepers(3, "", 3.0));
    let running = lab.command(&["run", "a.lua", "--jobs", "2", "-v"]).start();
    running.wait_for("here s1");
    running.wait_for("here s2");
    let first = lab.path("logs");
    let qemus = lab.qemus();
    let hangs = qemus.iter().find(|pid| {
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        cwd.starts_with(&first) && cwd.to_string_lossy().contains("-s1/")
    });
    let hangs = Pid::from_raw(*hangs.unwrap_or_else(|| panic!("s1 has none of {qemus:?}"))).unwrap();
    // A stopped process answers neither its monitor nor SIGTERM.
    kill_process(hangs, Signal::STOP).unwrap();
    let finished = running.finish().within(60);
    let _ = finished.says(&["PASS  s", "s3", "skipped"]);
    let run = read_everything(&lab.run_folder());
    let others = run.tests.iter().filter(|test| test.test.name != "s1");
    assert!(others.clone().count() == 2 && others.clone().all(|test| test.verdict == Some(Verdict::Passed)));
    let events = ndjson::load(&run.tests[0].attempts[0].folder.join("journal.ndjson")).unwrap();
    let rung = events.iter().find_map(|event| match &event.body {
        Body::Teardown { rung, .. } => Some(&**rung),
        _ => None,
    });
    assert_eq!(rung, Some("kill"));
}

#[test]
fn a_full_disk_fails_the_run_and_what_was_written_before_can_be_read() {
    let lab = Lab::bare().file("a.lua", &sleepers(40, "", 0.3));
    std::fs::create_dir(lab.path("logs")).unwrap();
    // A file system of its own, that only the program and its children see.
    let script =
        "mount -t tmpfs -o size=256k none logs || exit 99\n\"$@\"\ncode=$?\ncp -r logs/. kept\nexit $code\n";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
    let program = lab.command(&["run", "a.lua", "--jobs", "3"]).into_command();
    command.arg(program.get_program()).args(program.get_args()).current_dir(lab.path(""));
    std::fs::create_dir(lab.path("kept")).unwrap();
    let Ok(output) = command.env_remove("CI").output() else {
        return skipped("a full disk", "no `unshare` to make one");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code().is_none_or(|code| code == 99) || text.is_empty() {
        return skipped("a full disk", &String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(output.status.code(), Some(16), "{text}");
    assert!(text.contains("LANE  s") && text.contains("No space left on device"), "{text}");
    assert!(lab.qemus().is_empty());
    let kept: Vec<_> =
        std::fs::read_dir(lab.path("kept")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [folder] = &kept[..] else { panic!("one run: {kept:?}") };
    let run = load(folder).unwrap();
    assert!(run.tests.iter().any(|test| test.verdict == Some(Verdict::Passed)), "{text}");
    for attempt in run.tests.iter().flat_map(|test| &test.attempts) {
        let journal = attempt.folder.join("journal.ndjson");
        if std::fs::metadata(&journal).is_ok_and(|file| file.len() > 100) {
            ndjson::load(&journal).unwrap_or_else(|error| panic!("{}: {error}", journal.display()));
        }
    }
}
