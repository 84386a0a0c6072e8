//! What authors get wrong every day is answered with the line, their own words and the near miss.

use std::time::{Duration, Instant};

use backstaff::lane::handle::EndClass;
use backstaff::script::{FailureKind, LoadError, Outcome, Script, load};

use super::machine::{TestMachine, failure};

#[tokio::test]
async fn a_misspelled_member_names_the_near_miss() {
    let cases = [
        ("t.keyboad:press('a')", "t: there is no `keyboad`, did you mean `keyboard`?"),
        ("t:stp('x', function() end)", "t: there is no `stp`, did you mean `step`?"),
        ("t.serial:waitfor('x')", "serial: there is no `waitfor`, did you mean `wait_for`?"),
        ("t.keyboard:pres('a')", "keyboard: there is no `pres`, did you mean `press`?"),
        ("t.digest:histry()", "digest: there is no `histry`, did you mean `history`?"),
        ("t.screen:screnshot()", "screen: there is no `screnshot`, did you mean `screenshot`?"),
        ("t.lane:nme()", "lane: there is no `nme`, did you mean `name`?"),
        ("expect(1):equal(1)", "expect: there is no `equal`, did you mean `equals`?"),
        ("t:spawn(function() end):jon()", "task: there is no `jon`, did you mean `join`?"),
        ("expect(1):withn(1)", "expect: there is no `withn`, did you mean `within`?"),
        ("expect(t.serial).within(1):equal(1)", "within: there is no `equal`, did you mean `equals`?"),
        ("t:alwys()", "t: there is no `alwys`, did you mean `always`?"),
        ("t:deffer()", "t: there is no `deffer`, did you mean `defer`?"),
        ("t:warm('x')", "t: there is no `warm`, did you mean `warn`?"),
        ("t:always('x', function() return true end):stp()", "check: there is no `stp`, did you mean `stop`?"),
        ("t.lanes.a:pause()", "t.lanes: there is no `a`, this scenario has one lane"),
        ("t.serial = nil", "t: `serial` cannot be set"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
    let failure = failure(TestMachine::new().run("t.lane:explode()").await);
    assert_eq!(
        failure.hint.as_deref(),
        Some(
            "lane has name, folder, capabilities, pause, resume, is_paused, reset, powerdown, snapshot, restore, qmp, \
             inject, clear_faults, wait_for_shutdown, keyboard, mouse, digest, serial, screen, agent"
        )
    );
}

#[tokio::test]
async fn a_layout_says_which_keys_characters_are() {
    let machine = TestMachine::new();
    let body = "expect(t.keyboard:layout()):equals('us')
        t.keyboard:press('z', { hold = 0 })
        expect(t.keyboard:layout('de')):equals('de')
        t.keyboard:press('z', { hold = 0 })
        t.keyboard:type('@', { char_delay = 0 })";
    assert!(matches!(machine.run(body).await, Outcome::Passed));
    let keys = machine.keys.lock().unwrap().join(" ");
    assert_eq!(keys, "+2c -2c +15 -15 +e038 +10 -10 -e038");
    let failure = failure(machine.run("t.keyboard:layout('ed')").await);
    assert_eq!(failure.message, "keyboard:layout: unknown layout `ed`, did you mean `de`?");
    assert_eq!(failure.hint.as_deref(), Some("layouts are us, uk, de"));
}

#[tokio::test]
async fn a_mouse_does_what_it_is_told_and_lets_go() {
    let machine = TestMachine::new();
    let body = "local mouse, quick = t.mouse, { hold = 0, button = 'right', count = 2 }
        mouse:move(3, 4)
        mouse:click(quick)
        mouse:move_by(-5, 0)
        mouse:down() mouse:up()
        mouse:drag(0, 0, 4, 2, { steps = 2, pause = 0 })
        mouse:scroll(1) mouse:scroll(-2) mouse:scroll(0)";
    assert!(matches!(machine.run(body).await, Outcome::Passed));
    let wanted = "3,4 +right -right +right -right -5,+0 +left -left 0,0 +left 2,1 4,2 -left \
                  +wheel_down -wheel_down +wheel_up -wheel_up +wheel_up -wheel_up";
    assert_eq!(machine.keys.lock().unwrap().join(" "), wanted);
    let cases = [
        ("t.mouse:move(8, 0)", "mouse:move: (8, 0) does not lie on the screen of 8x8"),
        ("t.mouse:drag(0, 0, 7, 9)", "mouse:drag: (7, 9) does not lie on the screen of 8x8"),
        ("t.mouse:down('lfet')", "mouse:down: unknown button `lfet`, did you mean `left`?"),
        (
            "t.mouse:click { count = 0 }",
            "mouse:click: option `count` wants a whole number between 1 and 100, got the number 0",
        ),
        ("t.mouse:click { buton = 'left' }", "mouse:click: unknown option `buton`, did you mean `button`?"),
        ("t.mouse:scroll(101)", "mouse:scroll: 101 notches, wanted -100 to 100"),
        ("t.mouse:jump()", "mouse: there is no `jump`, did you mean `up`?"),
    ];
    for (script, wanted) in cases {
        let failure = failure(machine.run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
    }
}

#[tokio::test]
async fn a_lane_without_a_monitor_says_what_the_scenario_needs() {
    let cases = [
        ("pause()", "qmp"),
        ("resume()", "qmp"),
        ("is_paused()", "qmp"),
        ("reset()", "qmp"),
        ("powerdown()", "qmp"),
        ("qmp('query-status')", "qmp"),
        ("snapshot('a')", "snapshot"),
        ("restore('a')", "snapshot"),
    ];
    for (call, capability) in cases {
        let failure = failure(TestMachine::new().run(&format!("t.lane:{call}")).await);
        let (name, _) = call.split_once('(').unwrap();
        let wanted = format!("lane:{name}: lane \"test\" has no {capability}");
        assert_eq!((failure.kind, failure.message), (FailureKind::Usage, wanted));
        let wanted =
            format!("add \"{capability}\" to the scenario's `needs`, so that it is skipped on such a lane");
        assert_eq!((failure.hint, failure.place.unwrap().line), (Some(wanted), 2), "{call}");
    }
}

#[tokio::test]
async fn arguments_of_a_qmp_command_are_a_table_with_names() {
    let cases = [
        ("t.lane:qmp()", "lane:qmp: argument 1 wants a string, got nil"),
        ("t.lane:qmp('stop', 3)", "lane:qmp: arguments are a table with names, got the number 3"),
        ("t.lane:qmp('stop', any)", "lane:qmp: arguments are a table with names, got a userdata"),
        (
            "t.lane:qmp('stop', { 'a' })",
            "lane:qmp: arguments are a table with names, got the number 1 as a key",
        ),
        (
            "t.lane:qmp('stop', { a = 'b', [3] = 'c' })",
            "lane:qmp: arguments are a table with names, got the number 3 as a key",
        ),
        ("t.lane:qmp('stop', { a = print })", "lane:qmp: a function is not a plain value"),
        (
            "local a = {} a.a = a t.lane:qmp('stop', a)",
            "lane:qmp: a value nests deeper than 64 tables, or holds itself",
        ),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
}

#[tokio::test]
async fn the_members_that_are_listed_are_those_that_are_documented() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let meta = std::fs::read_to_string(root.join("lua/meta/backstaff.lua")).unwrap();
    let methods = regex_lite::Regex::new(r"(?m)^function (\w+):(\w+)\(").unwrap();
    let objects = [
        ("Test", "t"),
        ("Task", "t:spawn(function() end)"),
        ("Keyboard", "t.keyboard"),
        ("Digest", "t.digest"),
        ("Serial", "t.serial"),
        ("Screen", "t.screen"),
        ("Lane", "t.lane"),
        ("Expect", "expect(1)"),
        ("Within", "expect(t.serial).within(1)"),
        ("Always", "t:always('x', function() return true end)"),
    ];
    for (class, object) in objects {
        let failure = failure(TestMachine::new().run(&format!("local x = ({object}).zzzzzzzzz")).await);
        let hint = failure.hint.unwrap();
        let (_, listed) = hint.split_once(" has ").unwrap();
        let listed: Vec<&str> = listed.split(", ").collect();
        let of_class = methods.captures_iter(&meta).filter(|method| &method[1] == class);
        let documented: Vec<String> = of_class.map(|method| method[2].to_owned()).collect();
        assert!(!documented.is_empty(), "{class}");
        for method in &documented {
            assert!(listed.contains(&method.as_str()), "{class}:{method} is not among {listed:?}");
        }
        for name in listed {
            let script = format!("expect(({object}).{name} ~= nil):equals(true)");
            let outcome = TestMachine::new().run(&script).await;
            assert!(matches!(outcome, Outcome::Passed), "{class}.{name}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_global_that_is_not_there_hints_at_what_was_meant() {
    let cases = [
        ("at_lest(3)", "did you mean `at_least`?"),
        ("serial:wait_for('x')", "did you mean `t.serial`?"),
        ("io.open('x')", "scenarios have no `io`: no files, no processes, no other code"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!(failure.hint.as_deref(), Some(wanted), "{script}");
    }
}

#[tokio::test]
async fn a_wrong_argument_is_told_in_the_words_of_lua_with_its_line() {
    let cases = [
        ("t:sleep('soon')", "t:sleep: argument 1 wants a number, got a string"),
        ("t:skip()", "t:skip: argument 1 wants a string, got nil"),
        ("t:step(nil, function() end)", "t:step: argument 1 wants a string, got nil"),
        ("t:all(7)", "t:all: argument 1 wants a list, got a number"),
        ("t:eventually(1)", "t:eventually: argument 1 wants a function, got a number"),
        ("t.serial.wait_for('x')", "serial:wait_for: called without its object"),
        ("t.skip('x')", "t:skip: called without its object"),
    ];
    for (script, wanted) in cases {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, wanted), "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
    let failure = failure(TestMachine::new().run("t.serial.wait_for('x')").await);
    assert_eq!(failure.hint.as_deref(), Some("methods are called with a colon: `serial:wait_for(…)`"));
}

#[tokio::test]
async fn an_error_value_is_shown_and_has_a_line() {
    for (script, wanted) in
        [("error({ code = 3 })", "error value: { code = 3 }"), ("error()", "error value: nil")]
    {
        let failure = failure(TestMachine::new().run(script).await);
        assert_eq!((&*failure.message, failure.place.unwrap().line), (wanted, 2), "{script}");
    }
}

#[tokio::test]
async fn a_deadline_that_finds_the_script_computing_says_where() {
    let outcome = TestMachine::new()
        .run_with("timeout = 0.1", "local function spin()\nwhile true do end\nend\nspin()")
        .await;
    let traceback = failure(outcome).traceback.unwrap();
    assert!(traceback.contains("case.lua:3") && traceback.contains("case.lua:5"), "{traceback}");
}

#[tokio::test]
async fn a_sleep_that_does_not_fit_ends_at_the_deadline_at_its_own_line() {
    let began = Instant::now();
    let failure = failure(TestMachine::new().run_with("timeout = 0.2", "\n\npcall(t.sleep, t, 600)").await);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.place.unwrap().line, 4);
    assert!(failure.message.starts_with("t:sleep: 600 s do not fit into the 0."), "{}", failure.message);
}

#[tokio::test]
async fn running_out_of_memory_names_the_scenario_and_what_to_look_for() {
    let failure = failure(TestMachine::new().run("local function f() return 1 + f() end f()").await);
    assert_eq!(failure.place.unwrap().line, 1);
    assert!(failure.hint.unwrap().contains("calls itself"));
}

#[tokio::test]
async fn a_wait_for_a_line_that_fails_shows_the_prompt_that_stands_there() {
    use backstaff::journal::{Body, Source};
    let machine = TestMachine::new();
    machine.serial("booted");
    machine.journal.append(Source::Serial, Body::SerialPrompt { text: "login: ".to_owned() });
    let failure = failure(machine.run("t.serial:wait_for('never', { timeout = 0.05 })").await);
    let seen = "1 line since the last match:\n  booted\nand a line that has not ended yet:\n  login: ";
    assert!(failure.message.ends_with(seen), "{}", failure.message);
}

#[tokio::test]
async fn a_script_that_does_not_look_cannot_pass_on_a_machine_that_was_taken_away() {
    for body in ["t:sleep(0.01)", "pcall(function() t.serial:wait_for('x') end)"] {
        let machine = TestMachine::new();
        machine.end(EndClass::Host, "QEMU was killed by signal 9");
        let failure = failure(machine.run(body).await);
        assert_eq!(failure.kind, FailureKind::LaneLost, "{body}: {failure}");
        assert!(failure.message.contains("QEMU was killed by signal 9"), "{failure}");
    }
    // A guest that ended by itself is nobody's fault.
    let machine = TestMachine::new();
    machine.end(EndClass::GuestShutdown, "the guest powered off");
    let outcome = machine.run("t:sleep(0.01)").await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[test]
fn a_byte_order_mark_and_a_shebang_are_not_errors_and_move_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.lua");
    std::fs::write(&path, "\u{FEFF}#!/usr/bin/env backstaff\nscenario('a', function() end)\n").unwrap();
    let scenarios = load(&Script::read(&path).unwrap()).unwrap();
    assert_eq!((scenarios.len(), scenarios[0].place.line), (1, 2));
}

#[test]
fn what_is_not_text_and_what_has_no_name_does_not_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.lua");
    std::fs::write(&path, b"-- caf\xe9\n").unwrap();
    let LoadError::Read { source, .. } = Script::read(&path).unwrap_err() else { panic!("it was read") };
    assert_eq!(source.to_string(), "not UTF-8 text from byte 6 on");
    let script = Script { path, source: "scenario(' ', function() end)".into() };
    assert!(load(&script).unwrap_err().to_string().ends_with("a.lua:1: scenario: the name is empty"));
}

#[test]
fn a_top_level_without_an_end_is_given_up_with_its_line_also_inside_a_single_call() {
    let cases = [
        ("\nwhile true do end", 2),
        // Lua's own matching cannot be interrupted; there is no stack to ask then.
        ("\nstring.find(('a'):rep(300000), '.-.-.-.-b')", 1),
    ];
    for (source, line) in cases {
        let began = Instant::now();
        let LoadError::Script(failure) =
            load(&Script { path: "a.lua".into(), source: source.into() }).unwrap_err()
        else {
            panic!("it was not read at all");
        };
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(failure.message, "the script's top level ran for 5 s without an end");
        assert_eq!(failure.place.unwrap().line, line, "{source}");
    }
}
