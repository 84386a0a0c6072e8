//! Checks beside the steps.

use std::time::{Duration, Instant};

use backstaff::journal::{Body, Source};
use backstaff::lane::handle::EndClass;
use backstaff::script::{FailureKind, Outcome};
use visual_digest::Record;

use super::machine::{TestMachine, failure};

/// Runs a scenario which waits for long, and has `say` said soon after it began.
async fn said_while_it_waits(machine: &TestMachine, check: &str, say: impl FnOnce()) -> Outcome {
    let body = format!(
        "{check}\nt:log('begun')\npcall(function() t.serial:wait_for('never', {{ timeout = 15 }}) end)\nt:log('went on')"
    );
    let began = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        say();
    };
    let (outcome, ()) = tokio::join!(machine.run(&body), began);
    assert!(machine.noted("log").len() == 1, "no pcall keeps a check that does not hold");
    outcome
}

#[tokio::test]
async fn a_panic_on_the_serial_port_fails_the_scenario_at_once_with_the_line() {
    for rule in
        ["never('panic')", "never(pattern('panic'))", "never(function(line) return line:find('panic') end)"]
    {
        let machine = TestMachine::new();
        machine.serial("an old panic, from before the check");
        let began = Instant::now();
        let check = format!("t:always('no panic', {{ serial = {rule} }})");
        let outcome = said_while_it_waits(&machine, &check, || {
            machine.serial("all is well");
            machine.serial("Kernel panic - not syncing");
        })
        .await;
        let failure = failure(outcome);
        assert!(began.elapsed() < Duration::from_secs(14), "not at the end of the wait");
        assert_eq!((failure.kind, failure.place.unwrap().line), (FailureKind::Expectation, 2));
        let mut lines = failure.message.lines();
        assert_eq!(lines.next(), Some("t:always: \"no panic\" does not hold"));
        let evidence = lines.next().unwrap();
        assert!(evidence.starts_with("serial: \"Kernel panic - not syncing\" came, which is"), "{evidence}");
        let seq = machine.noted("serial_line")[2]["seq"].clone();
        assert!(lines.next().unwrap().starts_with(&format!("(event {seq} of the journal, ")));
        let states: Vec<_> =
            machine.noted("always").iter().map(|event| event["data"]["state"].clone()).collect();
        assert_eq!(states, ["begun", "violated"]);
    }
}

#[tokio::test]
async fn a_frame_counter_that_falls_is_noticed_and_one_that_rises_is_not() {
    let machine = TestMachine::new();
    machine.digest(900);
    let check = "t:always('frames', { digest = never_decreases('frame_counter') })";
    let outcome = said_while_it_waits(&machine, check, || {
        for counter in [5, 6, 6, 9, 8] {
            machine.digest(counter);
            machine.record(Record::LineRendered { row: 3, timestamp_ms: 10 }, 1);
        }
    })
    .await;
    let message = failure(outcome).message;
    assert!(message.contains("digest: `frame_counter` fell from 9 to 8\n"), "{message}");
    let machine = TestMachine::new();
    let check = "t:always('frames', { digest = increases('frame_counter') })";
    let outcome = said_while_it_waits(&machine, check, || {
        [5, 6, 6].into_iter().for_each(|counter| machine.digest(counter))
    })
    .await;
    let message = failure(outcome).message;
    assert!(message.contains("digest: `frame_counter` went from 6 to 6\n"), "{message}");
}

#[tokio::test]
async fn what_qemu_itself_says_is_read_from_its_log() {
    let machine = TestMachine::new();
    let log = machine.folder().join("qemu.log");
    std::fs::write(&log, "KVM internal error of an earlier start\n").unwrap();
    let check = "t:always('kvm', { qemu_log = never('KVM internal error') }, { interval = 0.01 })";
    let outcome = said_while_it_waits(&machine, check, || {
        let mut file = std::fs::File::options().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, b"warning: x\nKVM internal error. Suberror: 1\nextra").unwrap();
    })
    .await;
    let message = failure(outcome).message;
    assert!(message.contains("qemu_log: \"KVM internal error. Suberror: 1\" came"), "{message}");
}

#[tokio::test]
async fn a_plain_matcher_must_match_each_value() {
    let machine = TestMachine::new();
    let check = "t:always('framebuffer', { digest = { frame_counter = at_most(3) }, serial = '^ok' })";
    let outcome = said_while_it_waits(&machine, check, || {
        machine.record(Record::LineRendered { row: 3, timestamp_ms: 10 }, 9);
        machine.serial("ok, then");
        machine.digest(3);
        machine.digest(4);
    })
    .await;
    let message = failure(outcome).message;
    assert!(message.contains("(frame_counter: wanted at most 3, got 4)"), "{message}");
}

#[tokio::test]
async fn a_function_is_asked_again_and_again_until_it_says_no() {
    for (answer, wanted) in [
        ("return asked < 4", "the function returned nothing true"),
        ("if asked == 4 then error('boom') end return true", "case.lua:3: boom"),
        (
            "expect(asked):matches(at_most(3)) return true",
            "case.lua:3: expected that it matches at most 3\nwanted at most 3, got 4",
        ),
    ] {
        let machine = TestMachine::new();
        let check = format!(
            "local asked = 0\nt:always('f', function() asked = asked + 1 {answer} end, {{ interval = 0.01 }})"
        );
        let failure = failure(said_while_it_waits(&machine, &check, || {}).await);
        assert_eq!(failure.message, format!("t:always: \"f\" does not hold\n{wanted}"));
        assert_eq!((failure.kind, failure.place.unwrap().line), (FailureKind::Expectation, 3));
        assert!(
            machine.noted("expectation").is_empty(),
            "what is asked again and again is not noted each time"
        );
    }
}

#[tokio::test]
async fn a_function_is_asked_once_before_anything_else_happens() {
    let machine = TestMachine::new();
    let outcome = machine.run("pcall(t.always, t, 'f', function() return false end)\nt:log('went on')").await;
    assert_eq!(failure(outcome).message, "t:always: \"f\" does not hold\nthe function returned nothing true");
    assert!(machine.noted("log").is_empty());
}

#[tokio::test]
async fn what_comes_right_before_the_end_still_counts_and_what_is_stopped_does_not() {
    let machine = TestMachine::new();
    // The scenario ends in the same moment: nobody but the last look can see it.
    let says = "t:always('keys', { serial = never(function(line) return line == 'bad' end) })\nt.serial:wait_for('bad')";
    let soon = async {
        while machine.noted("wait_began").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.serial("bad");
    };
    let (outcome, ()) = tokio::join!(machine.run(says), soon);
    assert_eq!(failure(outcome).kind, FailureKind::Expectation);

    let machine = TestMachine::new();
    let body = "local check = t:always('no panic', { serial = never('panic') })
        check:stop() check:stop()
        t:log('stopped')
        t.serial:wait_for('panic')";
    let soon = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.serial("panic");
    };
    let (outcome, ()) = tokio::join!(machine.run(body), soon);
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn a_check_that_was_never_asked_says_so_and_changes_no_verdict() {
    let machine = TestMachine::new();
    let outcome = machine.run("t:always('frames', { digest = increases('frame_counter') })").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let warnings = machine.noted("warning");
    assert_eq!(
        warnings[0]["data"]["message"],
        "t:always: \"frames\" was never asked: nothing came of digest (`frame_counter` increases)"
    );
    assert_eq!(warnings[0]["data"]["line"], 2);
    assert_eq!(machine.noted("always").last().unwrap()["data"]["state"], "over");
}

#[tokio::test]
async fn a_function_that_asks_a_machine_which_is_gone_is_asked_no_more() {
    let machine = TestMachine::new();
    machine.end(EndClass::GuestShutdown, "the guest powered off");
    let body = "t:always('f', function() t.serial:wait_for('x') end)\nt:log('went on')";
    let outcome = machine.run(body).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert_eq!(machine.noted("log").len(), 1);
}

#[tokio::test]
async fn a_machine_that_began_anew_may_count_from_the_beginning() {
    let machine = TestMachine::new();
    let events = machine.journal.clone();
    let body = "t:always('events', { qmp = never { name = 'WATCHDOG' } })\nt:log('begun')\nt.serial:wait_for('never')";
    let soon = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let event = |name: &str| Body::QmpEvent { name: name.to_owned(), data: serde_json::json!({}) };
        events.append(Source::Qmp, event("RESUME"));
        events.append(Source::Qmp, event("WATCHDOG"));
    };
    let (outcome, ()) = tokio::join!(machine.run(body), soon);
    let message = failure(outcome).message;
    assert!(message.contains("qmp: { data = {  }, name = \"WATCHDOG\" } came"), "{message}");
}

#[tokio::test]
async fn all_lanes_are_watched_or_the_one_that_is_named() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    let soon = async |machine: &TestMachine| {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.serial("panic");
        machine.serial("on");
    };
    let body = "t:always('x', { serial = never('panic') }) t:log('begun') t.lanes.b.serial:wait_for('on')";
    let machines = [("a", &a), ("b", &b)];
    let (outcome, ()) = tokio::join!(all.run_lanes(&machines, body), soon(&b));
    let message = failure(outcome).message;
    assert!(message.contains("\nlanes.b.serial: \"panic\" came"), "{message}");

    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    let machines = [("a", &a), ("b", &b)];
    let body = "t:always('x', { serial = never('panic') }, { lane = 'a' }) t:log('begun') t.lanes.b.serial:wait_for('on')";
    let (outcome, ()) = tokio::join!(all.run_lanes(&machines, body), soon(&b));
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_check_names_what_was_meant() {
    let cases = [
        ("t:always('x', 3)", "t:always: wants a function or a table of streams, got the number 3"),
        ("t:always('x', {})", "t:always: the table names no stream"),
        (
            "t:always('x', { seriel = never('x') })",
            "t:always: there is no stream `seriel`, did you mean `serial`?",
        ),
        ("t:always('x', { never('x') })", "t:always: streams are named, got the number 1"),
        ("t:always('x', { serial = increases('x') })", "t:always: lines of text have no `x` to be in order"),
        ("t:always('x', { serial = never() })", "t:always: `never` wants a matcher, got nil"),
        (
            "t:always('x', function() end, { intervall = 1 })",
            "t:always: unknown option `intervall`, did you mean `interval`?",
        ),
        ("t:always('x', { serial = never('x') }, { lane = 'a' })", "t:always: there is no lane `a`"),
        (
            "t:always('x', function() end, { lane = 'a' })",
            "t:always: option `lane` goes with a table of streams, not with a function",
        ),
        ("t.serial:wait_for(never('x'))", "a matcher is wanted, got a userdata"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
}
