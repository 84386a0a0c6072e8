//! What runs and what does not, and what all of it amounts to.

use crate::cli::lab::Lab;

const PASSES: &str = "scenario('passes', { tags = { 'smoke' } }, function(t) end)\n";
const FAILS: &str = "scenario('fails', function(t) expect(1):equals(2) end)\n";
const SKIPS: &str = "scenario('skips', function(t) t:skip('no network here') end)\n";
const BROKEN: &str = "scenario('broken'\n";

#[test]
fn the_runs_deadline_stops_everything() {
    let Some(lab) = Lab::with_rom("the run's deadline") else { return };
    let lab = lab.scenario("timeout = 60", "t.serial:wait_for('never')").file("b.lua", PASSES);
    let finished = lab.run(&["run", ".", "--timeout", "1"]).exits_with(124).within(20);
    let _ = finished.says(&[
        "STOP  it",
        "2 not finished: the run's deadline passed",
        "0 passed, 0 failed, 2 skipped",
    ]);
}

#[test]
fn what_a_lane_is_not_configured_for_is_skipped_with_the_reason() {
    let Some(lab) = Lab::with_rom("a lane without serial") else { return };
    let lane = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + "\n[serial]\nlog = false\n";
    let lab = lab.file("lanes/rom.toml", &lane).scenario("needs = { 'serial' }", "error('never runs')");
    let finished = lab.run(&["run", "a.lua"]).exits_with(77);
    let _ = finished.says(&[
        "SKIP  it",
        "lane \"rom\" is not configured for serial",
        "0 passed, 0 failed, 1 skipped",
    ]);
    // Asked for without having been named as a need, it is the script's mistake.
    let lab = lab.scenario("", "t.serial:wait_for('x')");
    let _ = lab.run(&["run", "a.lua"]).exits_with(1).says(&[
        "serial:wait_for: lane \"rom\" has no serial",
        "hint: add \"serial\" to the scenario's `needs`",
    ]);
}

#[test]
fn a_scenario_may_skip_itself_and_a_skip_beside_a_pass_is_a_pass() {
    let Some(lab) = Lab::with_rom("skips") else { return };
    let lab = lab.file("a.lua", SKIPS).file("b.lua", PASSES);
    let _ = lab.run(&["run", "a.lua"]).exits_with(77).says(&[
        "SKIP  skips",
        "no network here",
        "0 passed, 0 failed, 1 skipped",
    ]);
    let _ = lab.run(&["run", "."]).exits_with(0).says(&["1 passed, 0 failed, 1 skipped"]);
}

#[test]
fn fail_fast_stops_at_the_first_failure_and_not_at_a_skip() {
    let Some(lab) = Lab::with_rom("fail-fast") else { return };
    let lab = lab.file("a.lua", SKIPS).file("b.lua", FAILS).file("c.lua", PASSES);
    let finished = lab.run(&["run", ".", "--fail-fast"]).exits_with(1);
    let finished = finished.says(&["SKIP  skips", "FAIL  fails", "0 passed, 1 failed, 2 skipped"]);
    assert!(!finished.stdout.contains("RUN   passes"), "{}", finished.stdout);
    insta::assert_snapshot!(summary(&finished.text()), @r"
    1 not finished: the run stops at the first failure
    [took], everything is in logs/[run]
    0 passed, 1 failed, 2 skipped
    ");
}

/// What comes after the last scenario.
fn summary(text: &str) -> String {
    text.lines()
        .skip_while(|line| !line.trim_start().starts_with("logs: "))
        .skip(1)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_script_that_does_not_load_weighs_more_than_a_failure_and_stops_nobody() {
    let Some(lab) = Lab::with_rom("a script that does not load") else { return };
    let lab = lab.file("a.lua", BROKEN).file("b.lua", FAILS).file("c.lua", PASSES);
    let finished = lab.run(&["run", "."]).exits_with(3);
    let _ = finished.says(&[
        "ERROR a script does not load",
        "a.lua:",
        "FAIL  fails",
        "PASS  passes",
        "1 script did not load",
        "1 passed, 2 failed, 0 skipped",
    ]);
}

#[test]
fn a_failure_weighs_more_than_a_lost_lane() {
    let Some(lab) = Lab::with_rom("a failure beside a lost lane") else { return };
    let lab = lab.file("0.lua", FAILS).scenario("timeout = 60", "t:log('here')\nt.serial:wait_for('never')");
    let running = lab.command(&["run", "."]).start();
    running.wait_for("here");
    rustix::process::kill_process(running.qemu(), rustix::process::Signal::KILL).unwrap();
    let _ =
        running.finish().exits_with(1).says(&["FAIL  fails", "LANE  it", "0 passed, 2 failed, 0 skipped"]);
}

#[test]
fn text_and_tag_select_and_a_script_named_twice_runs_once() {
    let Some(lab) = Lab::with_rom("selection") else { return };
    let lab = lab.file("a.lua", &format!("{PASSES}{FAILS}{SKIPS}"));
    let _ =
        lab.run(&["run", "a.lua", "--filter", "pass"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
    let _ =
        lab.run(&["run", "a.lua", "--tag", "smoke"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
    let lab = lab.file("a.lua", PASSES);
    let _ = lab.run(&["run", "a.lua", "./a.lua"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
}
