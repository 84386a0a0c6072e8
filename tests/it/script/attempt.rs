//! What an attempt promises, on a machine that the test plays.

use std::time::Duration;

use backstaff::lane::handle::EndClass;
use backstaff::script::{FailureKind, Outcome};
use visual_digest::{Phase, Record};

use super::machine::{TestMachine, failure};

#[tokio::test]
async fn a_script_that_reads_straight_down_passes() {
    let machine = TestMachine::new();
    machine.serial("Hello from the guest");
    let outcome = machine
        .run(
            r#"
            t:step("greeting", function()
              local line = t.serial:wait_for("Hello from (\\w+) guest")
              expect(line.captures):equals { "the" }
              t.keyboard:press("enter")
            end)
            expect(t.params.user):equals("root")
            "#,
        )
        .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert_eq!(*machine.keys.lock().unwrap(), ["+1c", "-1c"]);
}

#[tokio::test]
async fn a_wait_that_expires_says_what_it_saw_and_the_nearest_miss() {
    let machine = TestMachine::new();
    machine.record(Record::LineRendered { row: 3, timestamp_ms: 10 }, 4);
    machine
        .record(Record::SceneTransition { from: Phase::Awaiting, to: Phase::Booting, timestamp_ms: 10 }, 4);
    let outcome = machine
        .run(r#"t.digest:wait_for({ scene_transition = { from = "awaiting", to = "parked" } }, { timeout = 0.05 })"#)
        .await;
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.place.as_ref().unwrap().to_string(), "case.lua:2");
    assert!(failure.message.contains("1 line_rendered, 1 scene_transition"), "{}", failure.message);
    assert!(
        failure.message.contains(r#"scene_transition.to: wanted "parked", got "booting""#),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn two_waits_in_a_row_want_their_events_in_that_order() {
    let machine = TestMachine::new();
    machine.serial("second");
    machine.serial("first");
    let outcome =
        machine.run(r#"t.serial:wait_for("first") t.serial:wait_for("second", { timeout = 0.05 })"#).await;
    assert_eq!(failure(outcome).kind, FailureKind::Timeout);
}

#[tokio::test]
async fn a_wait_with_a_limit_of_its_own_can_be_caught_and_named() {
    let machine = TestMachine::new();
    let outcome = machine
        .run(
            r#"
            local ok, err = pcall(function() t.serial:wait_for("never", { timeout = 0.02 }) end)
            expect(ok):equals(false)
            expect(err.kind):equals("timeout")
            expect(tostring(err)):matches(pattern("serial:wait_for: no match"))
            "#,
        )
        .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn no_pcall_swallows_the_deadline_of_a_step_or_scenario() {
    for script in [
        r#"pcall(function() t:step("s", { timeout = 0.05 }, function() t.serial:wait_for("never") end) end)"#,
        r#"pcall(function() t:step("s", { timeout = 0.05 }, function() t:sleep(30) end) end)"#,
        r#"t:step("s", { timeout = 0.05 }, function() while true do pcall(t.sleep, t, 0.01) end end)"#,
        r#"t:step("s", { timeout = 0.05 }, function() while true do pcall(error, "x") end end)"#,
        r#"pcall(function() coroutine.wrap(function() t:sleep(30) end)() end)"#,
        r#"while true do end"#,
    ] {
        let machine = TestMachine::new();
        let outcome = machine.run_with("timeout = 0.3", &format!("{script}\nt:log('went on')")).await;
        assert_eq!(failure(outcome).kind, FailureKind::Timeout, "{script}");
        let went_on = machine.journal.all_after(Default::default()).iter().any(|e| e.body.name() == "log");
        assert!(!went_on, "{script}");
    }
}

#[tokio::test]
async fn a_missed_expectation_fails_the_scenario_even_when_caught() {
    let machine = TestMachine::new();
    let outcome = machine.run("pcall(function() expect(1):equals(2) end)").await;
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Expectation);
    assert!(failure.message.contains("wanted 2, got 1"), "{}", failure.message);
}

#[tokio::test]
async fn nothing_equals_nothing_and_only_that() {
    let outcome =
        TestMachine::new().run("expect(nil):equals(nil)\nexpect({ a = 1 }):equals { a = 1, b = nil }").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    for (script, wanted) in [
        ("expect(false):equals(nil)", "wanted nothing, got false"),
        ("expect(nil):equals(1)", "wanted 1, got nil"),
    ] {
        let failure = failure(TestMachine::new().run(script).await);
        assert!(failure.message.contains(wanted), "{}", failure.message);
    }
}

#[tokio::test]
async fn check_goes_on_and_counts() {
    let machine = TestMachine::new();
    let outcome = machine.run("t:check(1):equals(2)\nt:check('a'):equals('b')\nt:log('went on')").await;
    let Outcome::Failed(failure, misses) = outcome else { panic!("it passed") };
    assert_eq!((misses, failure.place.unwrap().line), (2, 2));
}

#[tokio::test]
async fn an_error_of_the_script_comes_with_line_and_traceback() {
    let machine = TestMachine::new();
    let outcome = machine.run("local function inner() local x = nil; return x.y end\ninner()").await;
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Script);
    assert_eq!(failure.place.as_ref().unwrap().to_string(), "case.lua:2");
    assert!(failure.message.contains("attempt to index a nil value (local 'x')"), "{}", failure.message);
    let traceback = failure.traceback.unwrap();
    assert!(traceback.contains("case.lua:3"), "{traceback}");
    assert!(!traceback.contains("mlua") && !traceback.contains("prelude"), "{traceback}");
}

#[tokio::test]
async fn unknown_options_and_keys_name_the_near_miss() {
    let cases = [
        ("t.serial:wait_for('x', { timout = 1 })", "unknown option `timout`, did you mean `timeout`?"),
        ("t.keyboard:press('entre')", "unknown key `entre`, did you mean `enter`?"),
        ("t.keyboard:type('é')", "U+00E9 'é'"),
        (
            "t:step('x', { timeout = 'long' }, function() end)",
            "wants a number of seconds, got the string \"long\"",
        ),
        ("t:sleep(-1)", "wants seconds"),
        ("t.serial:wait_for('(')", "is not a pattern"),
        ("t.digest:wait_for()", "wants a matcher, got nil"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!(failure.kind, FailureKind::Usage, "{script}: {failure}");
        assert!(failure.message.contains(wanted), "{script}: {failure}");
        assert_eq!(failure.place.as_ref().map(|place| place.line), Some(2), "{script}: {failure}");
    }
}

#[tokio::test]
async fn a_wait_ends_when_its_machine_does() {
    let machine = TestMachine::new();
    machine.end(EndClass::GuestShutdown, "the guest powered off");
    let failure = failure(machine.run("t.serial:wait_for('never')").await);
    assert_eq!(failure.kind, FailureKind::MachineEnded);
    let machine = TestMachine::new();
    machine.end(EndClass::Host, "QEMU was killed by signal 9");
    let failure = self::failure(machine.run("pcall(function() t.serial:wait_for('never') end)").await);
    assert_eq!(failure.kind, FailureKind::LaneLost);
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
}

#[tokio::test]
async fn a_console_that_somebody_closed_is_an_end_only_where_one_is_waited_for() {
    let machine = TestMachine::new();
    machine.end(EndClass::Closed, "the console was closed by the other side");
    let outcome = machine.run("t.lane:wait_for_shutdown()").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let failure = failure(machine.run("t:step('looking', function()\nt.digest:wait_for(any) end)").await);
    assert_eq!((failure.kind, failure.steps.join("/")), (FailureKind::LaneLost, "looking".to_owned()));
    assert_eq!(failure.place.as_ref().map(|place| place.line), Some(3));
    assert!(failure.message.contains("closed by the other side"), "{}", failure.message);
}

#[tokio::test]
async fn a_shutdown_that_is_waited_for_is_a_success() {
    let machine = TestMachine::new();
    machine.serial("last words");
    machine.end(EndClass::GuestShutdown, "the guest powered off");
    let outcome = machine.run("t.lane:wait_for_shutdown() t.serial:wait_for('last words')").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn tasks_run_beside_each_other_and_their_failures_count() {
    let machine = TestMachine::new();
    let outcome = machine
        .run(
            r#"
            local order = {}
            local task = t:spawn(function() t:sleep(0.05) order[#order + 1] = "slow" return 7 end)
            order[#order + 1] = "main"
            expect(task:join()):equals(7)
            expect(order):equals { "main", "slow" }
            local results = t:all { function() t:sleep(0.02) return "a" end, function() return "b" end }
            expect(results):equals { "a", "b" }
            local which, value = t:race { function() t:sleep(60) end, function() t:sleep(0.01) return "won" end }
            expect(which):equals(2)
            expect(value):equals("won")
            "#,
        )
        .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let outcome = machine.run("t:spawn(function() error('in the task') end) t:sleep(0.02)").await;
    assert!(failure(outcome).message.contains("in the task"));
}

#[tokio::test]
async fn eventually_tries_again_and_shows_its_last_try() {
    let machine = TestMachine::new();
    let outcome = machine
        .run("local n = 0\nt:eventually(function() n = n + 1 expect(n):equals(3) return true end, { interval = 0.01 })")
        .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let outcome = machine
        .run("t:eventually(function() expect(1):equals(2) return true end, { timeout = 0.05, interval = 0.01 })")
        .await;
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains("wanted 2, got 1"), "{}", failure.message);
}

#[tokio::test]
async fn skip_carries_its_reason() {
    let failure =
        failure(TestMachine::new().run("pcall(function() t:skip('no network here') end) t:sleep(9)").await);
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Skip, "no network here"));
}

#[tokio::test]
async fn cancelling_stops_a_waiting_script() {
    let machine = TestMachine::new();
    let cancel = machine.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        cancel.cancel();
    });
    assert_eq!(failure(machine.run("t:sleep(600)").await).kind, FailureKind::Cancelled);
}

#[tokio::test]
async fn memory_beyond_the_cap_is_an_error_of_the_script() {
    let failure = failure(TestMachine::new().run("local s = 'x' while true do s = s .. s end").await);
    assert!(failure.message.contains("64 MiB"), "{failure}");
}

#[tokio::test]
async fn coroutines_of_the_script_may_wait() {
    let machine = TestMachine::new();
    let outcome = machine
        .run(
            r#"
            local gen = coroutine.wrap(function()
              for i = 1, 3 do t:sleep(0.005) coroutine.yield(i) end
            end)
            local sum = 0
            for _ = 1, 3 do sum = sum + gen() end
            expect(sum):equals(6)
            "#,
        )
        .await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn lists_are_judged_with_the_place_of_the_difference() {
    let cases = [
        (
            "expect({ { n = 1 }, { n = 3 }, { n = 2 } }):never_decreases('n')",
            "`n` is 3 at item 2 and 2 at item 3",
        ),
        ("expect({ { n = 1 }, { n = 1 } }):increases('n')", "`n` is 1 at item 1 and 1 at item 2"),
        ("expect({ { a = 1 } }):increases('n')", "none of 1 items has a number `n`"),
        (
            "expect({ { k = 'a' }, { k = 'b' } }):has_in_order { { k = 'b' }, { k = 'a' } }",
            "item 2 is missing",
        ),
        ("expect({ 1, 2 }):contains(3)", "none of 2 items matches"),
        (
            "expect({ agrees = false, findings = { { standing = 'disagrees', text = 'why' } } }):agrees()",
            "disagrees: why",
        ),
        ("expect(nil):equals(1)", "got nil"),
        ("expect({ a = 1, b = 2 }):equals { a = 1 }", "b: wanted nothing, got 2"),
        ("expect({ a = { b = 1 } }):equals { a = { b = 2 } }", "a.b: wanted 2, got 1"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!(failure.kind, FailureKind::Expectation, "{script}: {failure}");
        assert!(failure.message.contains(wanted), "{script}: {failure}");
    }
}

#[tokio::test]
async fn values_without_an_end_are_refused() {
    for script in ["expect(loop):equals(1)", "t.digest:wait_for(loop)"] {
        let script = format!("local loop = {{}} loop.a = loop loop.b = loop {script}");
        assert_eq!(failure(TestMachine::new().run(&script).await).kind, FailureKind::Usage, "{script}");
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_said() {
    let machine = TestMachine::new();
    let outcome = machine.run("local s = ('x'):rep(1 << 20) for _ = 1, 40 do t:log(s) end").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let logs =
        machine.journal.all_after(Default::default()).iter().filter(|e| e.body.name() == "log").count();
    assert!((10..20).contains(&logs), "{logs}");
}
