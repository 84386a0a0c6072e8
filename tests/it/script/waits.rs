//! What a wait leaves in the journal, and `within`.

use std::time::{Duration, Instant};

use backstaff::lane::handle::EndClass;
use backstaff::lane::speed::SpeedProbe;
use backstaff::script::{FailureKind, Lanes, Outcome, Script, load};

use super::machine::{TestMachine, failure};

/// The calls that waited, with how it ended.
fn waits(machine: &TestMachine) -> Vec<(String, String)> {
    let began = machine.noted("wait_began");
    let ended = machine.noted("wait_ended");
    assert_eq!(began.len(), ended.len(), "every wait that began has ended");
    let outcome = |wait: &serde_json::Value| {
        let end = ended.iter().find(|end| end["data"]["wait"] == *wait).unwrap();
        end["data"]["outcome"].as_str().unwrap().to_owned()
    };
    began
        .iter()
        .map(|one| (one["data"]["call"].as_str().unwrap().to_owned(), outcome(&one["data"]["wait"])))
        .collect()
}

#[tokio::test]
async fn everything_that_waits_with_a_deadline_is_noted_with_its_end() {
    let machine = TestMachine::new();
    machine.serial("one");
    machine.digest(1);
    let body = r#"
        t.serial:wait_for("one")
        t.digest:wait_for(any)
        pcall(function() t.serial:wait_for("two", { timeout = 0.01 }) end)
        pcall(function() t.screen:wait_for_stable { timeout = 0.01 } end)
        pcall(function() t.lane:wait_for_shutdown { timeout = 0.01 } end)
        pcall(function() t.keyboard:wait_for_leds { caps = true, timeout = 0.01 } end)
        pcall(function() t.serial:drain { timeout = 0.01 } end)
        t:eventually(function() return true end)
        pcall(function() t:eventually(function() return false end, { timeout = 0.01 }) end)
        expect(function() return 1 end).within(1):equals(1)
        t:check(function() return 1 end).within(0.01):equals(2)
        t:race { function() t.serial:wait_for("three") end, function() end }
        t.keyboard:set_leds { caps = true }
        t.keyboard:wait_for_leds { caps = true }
    "#;
    failure(machine.run(body).await);
    let of = |call: &str, outcome: &str| (call.to_owned(), outcome.to_owned());
    let wanted = [
        of("serial:wait_for", "matched"),
        of("digest:wait_for", "matched"),
        of("serial:wait_for", "timeout"),
        of("screen:wait_for_stable", "timeout"),
        of("lane:wait_for_shutdown", "timeout"),
        of("keyboard:wait_for_leds", "timeout"),
        of("serial:drain", "timeout"),
        of("t:eventually", "matched"),
        of("t:eventually", "timeout"),
        of("expect.within", "matched"),
        of("expect.within", "timeout"),
        of("serial:wait_for", "cancelled"),
        of("keyboard:wait_for_leds", "matched"),
    ];
    assert_eq!(waits(&machine), wanted);
}

#[tokio::test]
async fn a_stable_screen_and_a_power_off_end_their_waits_as_matched() {
    let machine = TestMachine::new();
    machine.journal.append(
        backstaff::journal::Source::Screen,
        backstaff::journal::Body::SurfaceDrawn { surface_id: 0, draws: 1, area: [0, 0, 1, 1] },
    );
    let ending = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.end(EndClass::GuestShutdown, "the guest powered off");
    };
    let body = "t.screen:wait_for_stable { quiet = 0.01 } t:log('x') t.lane:wait_for_shutdown()";
    let (outcome, ()) = tokio::join!(machine.run(body), ending);
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert!(waits(&machine).iter().all(|(_, outcome)| outcome == "matched"), "{:?}", waits(&machine));
}

#[tokio::test]
async fn a_wait_tells_how_crowded_the_host_was_and_how_fast_the_machine() {
    let machine = TestMachine::new();
    let handle = {
        let mut handle = machine.handle();
        handle.speed = Some(SpeedProbe::of_this_process());
        handle
    };
    let source = "scenario('it', function(t)
        t:check(function() local x = 0 for i = 1, 200000 do x = x + i end return x end).within(0.6):equals(1)
    end)";
    let script = Script { path: "case.lua".into(), source: source.into() };
    let scenario = load(&script).unwrap().remove(0);
    // Threads of other tests that end meanwhile take along what they had, and then nothing can be told.
    let is_told = std::path::Path::new("/proc/self/schedstat").exists();
    let deadline = Instant::now() + Duration::from_secs(60);
    let end = loop {
        failure(machine.run_on(Lanes::One(handle.clone()), script.clone(), scenario.clone()).await);
        let end = machine.noted("wait_ended").pop().unwrap();
        if !is_told || !end["data"]["lane_speed"].is_null() || Instant::now() > deadline {
            break end;
        }
    };
    let data = &end["data"];
    if std::path::Path::new("/proc/loadavg").exists() {
        assert!(data["host_load"].as_f64().unwrap() >= 0.0, "{end}");
    }
    // Not every kernel keeps these statistics.
    if is_told {
        let speed = data["lane_speed"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&speed), "{end}");
    } else {
        assert!(data["lane_speed"].is_null(), "{end}");
    }
}

#[tokio::test]
async fn within_asks_again_until_it_holds() {
    let machine = TestMachine::new();
    let body = r#"
        local asked = 0
        local function count() asked = asked + 1 if asked < 3 then error("not yet") end return asked end
        expect(expect(count).within(10):equals(4)):is_true()
        asked = 0
        expect(expect(count):within(10):matches(at_least(3))):is_true()
        expect(function() return { { x = 1 }, { x = 2 } } end).within(1):increases("x")
        expect(function() return { { x = 1 }, { x = 1 } } end).within(1):never_decreases("x")
        expect(function() return true end).within(0):is_true()
        expect(function() return { agrees = true } end).within(1):agrees()
        t:log("begun")
        expect(t.serial).within(10):contains(pattern("ready"))
        expect(t.serial).within(10):has_in_order { "one", "ready" }
        expect(t.digest).within(10):matches { frame_counter = 7 }
    "#;
    let soon = async {
        while machine.noted("log").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        machine.serial("one");
        machine.serial("ready");
        machine.digest(7);
    };
    let (outcome, ()) = tokio::join!(machine.run(body), soon);
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert!(machine.noted("expectation").iter().all(|one| one["data"]["passed"] == true));
}

#[tokio::test]
async fn within_that_does_not_come_true_is_a_miss_with_the_last_difference() {
    let machine = TestMachine::new();
    let Outcome::Failed(failure, 1) = machine.run("expect(t.serial).within(0.1):equals { 'x' }").await else {
        panic!("it passed")
    };
    assert_eq!((failure.kind, failure.place.clone().unwrap().line), (FailureKind::Expectation, 2));
    assert!(
        failure.message.starts_with("expected that it equals { \"x\" }\nnot within 0.1 s\n"),
        "{failure}"
    );

    let Outcome::Failed(failure, count) =
        machine.run("t:check(function() return 1 end).within(0.05):equals(2)\nt:log('went on')").await
    else {
        panic!("it passed")
    };
    assert_eq!((failure.kind, count), (FailureKind::Expectation, 1));
    assert_eq!(machine.noted("log").len(), 1, "a check goes on");

    let body = "t:step('s', { timeout = 0.1 }, function() pcall(function() expect(t.serial).within(9):equals(1) end) t:log('x') end)";
    let other = TestMachine::new();
    assert!(matches!(other.run(body).await, Outcome::Failed(..)));
    assert!(other.noted("log").is_empty(), "the step's deadline cannot be caught");
}

#[tokio::test]
async fn within_ends_with_its_machine_and_refuses_what_cannot_change() {
    let machine = TestMachine::new();
    machine.end(EndClass::GuestShutdown, "the guest powered off");
    machine.serial("last words");
    let outcome = machine.run("expect(t.serial).within(10):contains('last words')").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let found = failure(machine.run("expect(t.serial).within(10):contains('more')").await);
    assert_eq!(found.kind, FailureKind::MachineEnded);
    let cases = [
        ("expect(3).within(1):equals(3)", "expect: `within` wants something to ask again, got the number 3"),
        (
            "expect(t.screen).within(1):equals(3)",
            "expect: `within` wants something to ask again, got a userdata",
        ),
        ("expect(print).within('x')", "expect: `within` wants seconds from 0 to 1e9, got the string \"x\""),
        ("expect(print).within()", "expect: `within` wants seconds from 0 to 1e9, got nil"),
        ("expect(function() return print end).within(1):equals(1)", "expect: cannot judge a function"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
}
