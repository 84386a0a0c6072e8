//! Scenarios with several machines.

use std::time::Duration;

use backstaff::lane::handle::{EndClass, LaneHandle};
use backstaff::script::{FailureKind, Lanes, Outcome, Script, load};

use super::machine::{TestMachine, failure};

#[tokio::test]
async fn each_machine_has_its_own_words_cursors_and_keys() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    a.serial("one of a");
    b.serial("one of b");
    a.serial("two of a");
    let body = r#"
        local a, b = t.lanes.a, t.lanes.b
        expect(a.serial:lines()):equals { "one of a", "two of a" }
        expect(b.serial:lines()):equals { "one of b" }
        expect(a.serial:wait_for("two").text):equals("two of a")
        expect(b.serial:wait_for("one").text):equals("one of b")
        a.keyboard:layout("de")
        a.keyboard:press("z", { hold = 0 })
        b.keyboard:press("z", { hold = 0 })
        local roles = {}
        for role, lane in pairs(t.lanes) do roles[role] = lane:name() end
        expect(roles):equals { a = "test", b = "test" }
    "#;
    let outcome = all.run_lanes(&[("a", &a), ("b", &b)], body).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert_eq!(*a.keys.lock().unwrap(), ["+15", "-15"]);
    assert_eq!(*b.keys.lock().unwrap(), ["+2c", "-2c"]);
    let keys: Vec<_> = all.noted("key_sent").iter().map(|event| event["lane"].clone()).collect();
    assert_eq!(keys, ["a", "b"]);
    let waits: Vec<_> = all.noted("wait_began").iter().map(|event| event["data"]["call"].clone()).collect();
    assert_eq!(waits, ["lanes.a.serial:wait_for", "lanes.b.serial:wait_for"]);
}

#[tokio::test]
async fn a_wait_ends_with_its_own_machine_only() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    a.end(EndClass::GuestShutdown, "the guest powered off");
    b.serial("still here");
    let body = r#"
        t.lanes.a:wait_for_shutdown()
        t.lanes.b.serial:wait_for("still here")
        local ok, err = pcall(function() t.lanes.b.serial:wait_for("never", { timeout = 0.02 }) end)
        expect(err.kind):equals("timeout")
        t.lanes.a.serial:wait_for("x")
    "#;
    let failure = failure(all.run_lanes(&[("a", &a), ("b", &b)], body).await);
    assert_eq!(failure.kind, FailureKind::MachineEnded);
    let wanted = "lanes.a.serial:wait_for: the machine ended while waiting for text matching \"x\"";
    assert!(failure.message.starts_with(wanted), "{}", failure.message);
}

#[tokio::test]
async fn with_several_lanes_one_has_to_be_named() {
    let all = TestMachine::new();
    let (east, west) = (all.of_lane("east"), all.of_lane("west"));
    let machines = [("east", &east), ("west", &west)];
    let cases = [
        (
            "t.keyboard:press('a')",
            "t: `keyboard` of which lane? This scenario has 2 lanes with names",
            "name the lane, as in `t.lanes.east.keyboard`; the lanes are east, west",
        ),
        (
            "t.lane:pause()",
            "t: `lane` of which lane? This scenario has 2 lanes with names",
            "name the lane, as in `t.lanes.east`; the lanes are east, west",
        ),
        ("t.lanes.weast.keyboard:press('a')", "t.lanes: there is no `weast`, did you mean `east`?", ""),
        ("t.lanes.b:pause()", "t.lanes: there is no `b`", "the lanes are east, west"),
        ("t.lanes.east.keybord:press('a')", "lane: there is no `keybord`, did you mean `keyboard`?", ""),
        ("t.lanes.north = 1", "t.lanes: lanes are those of the scenario's options", ""),
        (
            "t:reconcile(t.lanes.east.digest, t.lanes.west.serial)",
            "t:reconcile: the digest is of lane `east`, the serial port of `west`",
            "the two are about one machine",
        ),
        (
            "t.lanes.west:pause()",
            "lanes.west:pause: lane \"test\" has no qmp",
            "add \"qmp\" to the scenario's `needs`, so that it is skipped on such a lane",
        ),
    ];
    for (script, wanted, hint) in cases {
        let failure = failure(all.run_lanes(&machines, script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.hint.as_deref().unwrap_or_default(), hint, "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
}

#[tokio::test]
async fn a_reconciliation_takes_the_digest_and_the_drain_it_is_given() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    a.digest(1);
    a.serial("type=refresh_stats count=1 total_ms=1 mean_us=1 max_us=1 p99_us=1");
    let body = r#"
        local told = t:reconcile(t.lanes.b.serial, t.lanes.b.digest)
        expect(told.findings[1].text):equals("no digest was seen")
        told = t:reconcile(t.lanes.a.digest, t.lanes.a.serial)
        expect(#told.findings):equals(3)
    "#;
    let outcome = all.run_lanes(&[("a", &a), ("b", &b)], body).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let cases = [
        ("t:reconcile()", "nothing"),
        ("t:reconcile(t.digest)", "a digest alone"),
        ("t:reconcile(t.serial)", "a serial port alone"),
        ("t:reconcile(t.serial, t.serial)", "one of them twice"),
        ("t:reconcile(t.digest, 3)", "the number 3"),
        ("t:reconcile(t.digest, t.screen)", "a userdata"),
    ];
    for (script, got) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        let wanted = format!("t:reconcile: wants a digest and a serial port, got {got}");
        assert_eq!((failure.kind, failure.message), (FailureKind::Usage, wanted), "{script}");
    }
}

#[tokio::test]
async fn a_failure_keeps_the_screens_of_all_machines() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    let failure = failure(all.run_lanes(&[("a", &a), ("b", &b)], "error('boom')").await);
    assert!(failure.screenshot.is_some());
    let mut shots: Vec<String> = std::fs::read_dir(all.folder().join("screenshots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap()[3..].to_owned())
        .collect();
    shots.sort();
    assert_eq!(shots, ["a-failure.png", "b-failure.png"]);
}

#[tokio::test]
async fn a_machine_that_the_host_took_away_is_named() {
    let all = TestMachine::new();
    let (a, b) = (all.of_lane("a"), all.of_lane("b"));
    b.end(EndClass::Host, "QEMU was killed by signal 9");
    let failure = failure(all.run_lanes(&[("a", &a), ("b", &b)], "t:log('done')").await);
    assert_eq!(failure.kind, FailureKind::LaneLost);
    assert!(failure.message.starts_with("the machine of lane `b` was gone"), "{}", failure.message);
}

#[tokio::test]
async fn a_scenario_that_needs_no_machine_has_none_and_is_told_so() {
    let machine = TestMachine::new();
    let play = async |body: &str| {
        let source = format!("scenario('it', function(t)\n{body}\nend)");
        let script = Script { path: "case.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        machine.run_on(Lanes::One(LaneHandle::none("none")), script, scenario).await
    };
    let outcome = play("t:step('sum', function() expect(1 + 1):equals(2) end) t:sleep(0.001)").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    assert!(machine.noted("screenshot").is_empty());
    let cases = [
        ("t.keyboard:press('a')", "keyboard:press: lane \"none\" has no keyboard"),
        ("t.serial:wait_for('a')", "serial:wait_for: lane \"none\" has no serial"),
        ("t.screen:screenshot()", "screen:screenshot: lane \"none\" has no screen"),
        ("t:always('x', { serial = never('a') })", "t:always: lane \"none\" has no serial"),
        ("t:always('x', { qemu_log = never('a') })", "t:always: lane \"none\" has no log of QEMU's"),
    ];
    for (body, wanted) in cases {
        let began = std::time::Instant::now();
        let failure = failure(play(body).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
