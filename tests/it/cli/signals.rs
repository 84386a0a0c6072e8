//! Interrupted, terminated, killed: a run that ends early takes its machine with it and keeps what it knows.

use std::time::Duration;

use backstaff::journal::{Body, ndjson};
use rustix::process::{Signal, kill_process};

use super::lab::Lab;

/// A scenario that says `here` and then waits for what never comes.
const WAITS: &str = "t:step('waiting', function()\nt:log('here')\nt.serial:wait_for('never')\nend)";

#[test]
fn an_interrupt_takes_the_lane_down_and_summarizes() {
    let Some(lab) = Lab::with_rom("an interrupt") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let running = lab.command(&["run", "a.lua"]).start();
        running.wait_for("here");
        running.signal(signal);
        let finished = running.finish().exits_with(code).within(20);
        let wanted = ["STOP  it", "the run was cancelled", "1 not finished: the run was interrupted", "logs"];
        let finished = finished.says(&wanted).says(&["0 passed, 0 failed, 1 skipped"]);
        assert!(
            finished.stderr.contains("taking the lane down, once more to leave at once"),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn what_was_not_run_before_an_interrupt_is_counted() {
    let Some(lab) = Lab::with_rom("an interrupt with scenarios to go") else { return };
    let lab = lab.scenario("timeout = 60", WAITS).file("b.lua", "scenario('b', function() end)");
    let running = lab.command(&["run", "."]).start();
    running.wait_for("here");
    running.signal(Signal::INT);
    running.finish().exits_with(130).says(&["2 not finished: the run was interrupted"]);
}

#[test]
fn a_second_interrupt_leaves_at_once_with_a_machine_that_does_not_answer() {
    let Some(lab) = Lab::with_rom("a second interrupt") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    // A stopped process answers nothing, so the first interrupt alone takes seconds.
    kill_process(running.qemu(), Signal::STOP).unwrap();
    running.signal(Signal::INT);
    running.wait_for("once more to leave at once");
    let interrupted = std::time::Instant::now();
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130);
    assert!(interrupted.elapsed() < Duration::from_secs(2), "{:?}", interrupted.elapsed());
}

#[test]
fn a_machine_that_does_not_answer_is_taken_down_by_force() {
    let Some(lab) = Lab::with_rom("a machine that does not answer") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    kill_process(running.qemu(), Signal::STOP).unwrap();
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130).within(40);
    let events = ndjson::load(&lab.attempt().join("journal.ndjson")).unwrap();
    let rung = events.iter().find_map(|event| match &event.body {
        Body::Teardown { rung, .. } => Some(&**rung),
        _ => None,
    });
    assert_eq!(rung, Some("kill"));
}

#[test]
fn killed_it_takes_the_machine_along_and_the_journal_holds_what_happened_so_far() {
    let Some(lab) = Lab::with_rom("killed half way") else { return };
    let lab = lab.scenario("timeout = 60", WAITS);
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    running.signal(Signal::KILL);
    // That no QEMU outlives it by more than a second is looked at for every run.
    let _ = running.finish().dies_of(Signal::KILL);
    let events = ndjson::load(&lab.attempt().join("journal.ndjson")).unwrap();
    let has = |wanted: fn(&Body) -> bool| events.iter().any(|event| wanted(&event.body));
    assert!(has(|body| matches!(body, Body::AttemptBegan { scenario, .. } if scenario == "it")));
    assert!(has(|body| matches!(body, Body::SerialLine { text } if text == "rom: one line")));
    assert!(has(|body| matches!(body, Body::LaneState { state, .. } if state == "ready")));
    assert!(has(|body| matches!(body, Body::StepBegan { path, .. } if path == &["waiting"])));
    assert!(!has(|body| matches!(body, Body::AttemptEnded { .. })));
}

#[test]
fn an_interrupt_while_the_machine_comes_up_leaves_nothing_either() {
    let Some(lab) = Lab::with_rom("an interrupt while coming up") else { return };
    // A gate that is never reached.
    let gate = "\n[[gate]]\nkind = \"serial-line\"\npattern = \"never\"\ntimeout = 60\n";
    let lane = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + gate;
    let lab = lab.file("lanes/rom.toml", &lane).scenario("", "");
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("RUN");
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130).within(20).says(&["STOP  it", "1 not finished"]);
}
