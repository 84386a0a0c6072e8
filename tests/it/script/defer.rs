//! What is done at the end, however a scenario ended; warnings; several misses.

use std::time::Duration;

use backstaff::script::{FailureKind, Outcome};
use serde_json::json;

use super::machine::{TestMachine, failure};

fn said(machine: &TestMachine) -> Vec<String> {
    machine.noted("log").iter().map(|event| event["data"]["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_put_off_is_done_however_the_scenario_ended_the_last_one_first() {
    let ends = [
        ("", None),
        ("error('boom')", Some(FailureKind::Script)),
        ("t:skip('not here')", Some(FailureKind::Skip)),
        ("expect(1):equals(2)", Some(FailureKind::Expectation)),
        ("t:step('s', { timeout = 0.02 }, function() t:sleep(10) end)", Some(FailureKind::Timeout)),
        ("t:step('s', { timeout = 0.02 }, function() while true do end end)", Some(FailureKind::Timeout)),
        ("t:always('a', function() return false end)", Some(FailureKind::Expectation)),
        ("t.serial:prss()", Some(FailureKind::Usage)),
    ];
    for (end, kind) in ends {
        let machine = TestMachine::new();
        let body = format!(
            "t:defer(function() t:log('first') end)
            t:defer(function()
              t:defer(function() t:log('third') end)
              t.keyboard:press('a', {{ hold = 0 }})
              t:sleep(0.001)
              pcall(error, 'x')
              t:log('second')
            end)
            {end}"
        );
        let outcome = machine.run(&body).await;
        match (&outcome, kind) {
            (Outcome::Passed, None) => {}
            (Outcome::Failed(failure, 1), Some(kind)) => assert_eq!(failure.kind, kind, "{end}: {failure}"),
            other => panic!("{end}: {other:?}"),
        }
        assert_eq!(said(&machine), ["second", "third", "first"], "{end}");
        let lines: Vec<_> =
            machine.noted("deferred").iter().map(|event| event["data"]["line"].clone()).collect();
        assert_eq!(lines, [3, 4, 2], "{end}");
    }
}

#[tokio::test]
async fn a_cancelled_scenario_does_what_it_put_off() {
    let machine = TestMachine::new();
    let body = "t:defer(function() t:sleep(0.01) t:log('done') end)\nt:log('begun')\nt:sleep(15)";
    let soon = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(machine.run(body), soon);
    assert_eq!(failure(outcome).kind, FailureKind::Cancelled);
    assert_eq!(said(&machine), ["begun", "done"]);
}

#[tokio::test]
async fn each_has_a_deadline_of_its_own_and_the_next_one_is_done_all_the_same() {
    let machine = TestMachine::new();
    let body = "t:defer(function() t:log('the last') end)
        t:defer(function() while true do pcall(error, 'x') end end, { timeout = 0.05 })
        t:defer(function() pcall(function() t:sleep(10) end) t:log('went on') end, { timeout = 0.05 })";
    let outcome = machine.run(body).await;
    let Outcome::Failed(failure, count) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.kind, count), (FailureKind::Timeout, 2));
    assert!(
        failure.message.contains("left of the deferred function of line 4 (0.1 s)"),
        "{}",
        failure.message
    );
    assert_eq!(failure.place.unwrap().line, 4);
    assert_eq!(said(&machine), ["the last"]);
    let failed: Vec<bool> =
        machine.noted("deferred").iter().map(|one| !one["data"]["error"].is_null()).collect();
    assert_eq!(failed, [true, true, false]);
}

#[tokio::test]
async fn what_goes_wrong_in_it_is_a_further_miss_and_fails_a_scenario_that_had_passed() {
    let cases = [
        ("error('boom')", FailureKind::Script, "boom", 1),
        ("expect(1):equals(2)", FailureKind::Expectation, "expected that it equals 2", 1),
        (
            "t:check(1):equals(2) t:check(1):equals(3)",
            FailureKind::Expectation,
            "expected that it equals 2",
            2,
        ),
        ("t:skip('x')", FailureKind::Usage, "t:skip: a deferred function has nothing to skip", 1),
    ];
    for (late, kind, message, count) in cases {
        let machine = TestMachine::new();
        let body = format!("t:defer(function()\n{late}\nend)");
        let Outcome::Failed(failure, found) = machine.run(&body).await else { panic!("{late}") };
        assert_eq!((failure.kind, found), (kind, count), "{late}");
        assert!(failure.message.starts_with(message), "{late}: {failure}");
        assert_eq!(failure.place.clone().unwrap().line, 3, "{late}");
        // The body's own failure is the one to report.
        let body = format!("{body}\nt.serial:wait_for('x', {{ timeout = 0.01 }})");
        let Outcome::Failed(failure, found) = TestMachine::new().run(&body).await else { panic!("{late}") };
        assert_eq!((failure.kind, found), (FailureKind::Timeout, count + 1), "{late}");
    }
}

#[tokio::test]
async fn a_task_does_not_outlive_the_body_into_what_was_put_off() {
    let machine = TestMachine::new();
    let body = "t:spawn(function() while true do t:sleep(0.005) t:log('task') end end)
        t:defer(function() t:log('put off') t:sleep(0.1) end)
        t:sleep(0.02)";
    let outcome = machine.run(body).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert_eq!(said(&machine).last().unwrap(), "put off");
}

#[tokio::test]
async fn a_warning_has_a_line_and_no_verdict() {
    let machine = TestMachine::new();
    let outcome = machine.run("t:warn('slow', 3, nil)").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert_eq!(machine.noted("warning")[0]["data"], json!({ "message": "slow\t3\tnil", "line": 2 }));
}

#[tokio::test]
async fn several_misses_are_all_noted_and_counted_and_the_first_is_reported() {
    let machine = TestMachine::new();
    let body = "expect(t:check(1):equals(2)):equals(false)\nt:check(3):equals(3)\nt:check(4):equals(5)\nt:log('went on')";
    let Outcome::Failed(failure, count) = machine.run(body).await else { panic!("it passed") };
    assert_eq!((failure.kind, failure.place.unwrap().line, count), (FailureKind::Expectation, 2, 2));
    assert_eq!(said(&machine), ["went on"]);
    let passed: Vec<_> =
        machine.noted("expectation").iter().map(|one| one["data"]["passed"].clone()).collect();
    assert_eq!(passed, [false, true, true, false]);
}

#[tokio::test]
async fn a_step_that_is_dropped_has_an_end() {
    let machine = TestMachine::new();
    let body = "t:step('outer', function() t:step('inner', function() t:always('x', function() return false end) t:sleep(10) end) end)";
    failure(machine.run(body).await);
    assert_eq!(machine.noted("step_began").len(), machine.noted("step_ended").len());
}
