//! Runs on a simulated lane on which things go wrong on purpose: each ends, in time, in the verdict of its kind.

use crate::cli::lab::{Finished, Lab};

/// The guest's time goes so fast that its longest wait is over in a moment.
const FAST: &str = "kind = \"sim\"\n[sim]\ntime_scale = 50\n";
/// Presses the key that makes the guest go on.
const GO: &str = "t.keyboard:press('enter')\n";
/// Fails within two seconds unless the guest went on.
const GOES: &str = "t.digest:wait_for({ scene_transition = any }, { timeout = 2 })\n";
/// The same with time enough for a host that is busy.
const GOES_IN_TIME: &str = "t.digest:wait_for({ line_rendered = { row = 21 } }, { timeout = 60 })\n";

fn lab() -> Lab {
    Lab::bare().file("lanes/fast.toml", FAST).file("backstaff.toml", "lane = \"fast\"\n")
}

fn run(lab: &Lab) -> Finished {
    lab.command(&["run", "a.lua"]).env("PATH", "").run().within(100)
}

/// Declares one scenario after the other, by name and body.
fn scenarios(lab: Lab, bodies: &[(&str, &str)]) -> Lab {
    let needs = "needs = { 'keyboard', 'digest', 'serial', 'faults' }";
    let declare = |(name, body): &(&str, &str)| {
        format!("scenario('{name}', {{ {needs} }}, function(t)\nt.digest:wait_for(any)\n{body}\nend)\n")
    };
    lab.file("a.lua", &bodies.iter().map(declare).collect::<String>())
}

fn journal(lab: &Lab, scenario: &str) -> String {
    std::fs::read_to_string(lab.run_folder().join(scenario).join("attempt-1/journal.ndjson")).unwrap()
}

#[test]
fn what_does_not_reach_the_guest_or_its_watcher_fails_the_wait_for_it() {
    let inject = |fault: &str| format!("t.lane:inject {{ {fault} }}\n{GO}{GOES}");
    let bodies = [
        ("dropped", inject("drop_key = 1")),
        ("inputs stalled", inject("stall = 'inputs'")),
        ("display stalled", format!("t.lane:inject {{ stall = 'display' }}\nt:sleep(0.2)\n{GO}{GOES}")),
        ("throttled", inject("throttle = 100, channel = 'display'")),
        ("delayed", inject("delay = 30, channel = 'display'")),
        ("doubled", format!("t.lane:inject {{ duplicate_key = 1 }}\n{GO}{GOES_IN_TIME}expect(1):equals(2)")),
    ];
    let bodies = bodies.each_ref().map(|(name, body)| (*name, body.as_str()));
    let lab = scenarios(lab(), &bodies);
    let _ = run(&lab).exits_with(1).says(&[
        "FAIL  dropped",
        "no match for",
        "hint: faults were injected: drop_key = 1",
        "FAIL  inputs stalled",
        "hint: faults were injected: stall = \"inputs\"",
        "FAIL  display stalled",
        "FAIL  throttled",
        "hint: faults were injected: throttle = 100, channel = \"display\"",
        "FAIL  delayed",
        "FAIL  doubled",
        "0 passed, 6 failed, 0 skipped",
    ]);
    let dropped = journal(&lab, "01-dropped");
    let has = |state: &str| {
        let fault =
            format!("\"event\":\"fault\",\"data\":{{\"fault\":\"drop_key = 1\",\"state\":\"{state}\"");
        dropped.lines().any(|line| line.contains("\"source\":\"lane\"") && line.contains(&fault))
    };
    assert!(has("injected") && has("struck") && dropped.contains("\"detail\":\"key 0x1c\""), "{dropped}");
}

#[test]
fn a_scenario_lives_through_faults_that_pass() {
    let lab = scenarios(
        lab(),
        &[
            ("drops one", &format!("t.lane:inject {{ drop_key = 1 }}\n{GO}{GO}{GOES_IN_TIME}")),
            (
                "drops what comes next, not what came before",
                &format!("{GO}t.lane:inject {{ drop_key = 1, count = 9 }}\n{GOES_IN_TIME}"),
            ),
            (
                "drops every third",
                &format!("t.lane:inject {{ drop_key = 3, every = true }}\n{GO}{GOES_IN_TIME}"),
            ),
            ("stalls", &format!("t.lane:inject {{ stall = 'display', seconds = 1 }}\n{GO}{GOES_IN_TIME}")),
            ("types late", &format!("t.lane:inject {{ stall = 'inputs', seconds = 1 }}\n{GO}{GOES_IN_TIME}")),
            ("is slow", &format!("t.lane:inject {{ throttle = 4000000 }}\n{GO}{GOES_IN_TIME}")),
            ("is late", &format!("t.lane:inject {{ delay = 0.2 }}\n{GO}{GOES_IN_TIME}")),
            (
                "is cleared",
                &format!(
                    "t.lane:inject {{ drop_key = 1, count = 100 }}\nt.lane:inject {{ stall = 'display' }}\n\
                     t.lane:inject {{ cut = 'main', after = 3600 }}\nt.lane:clear_faults()\n{GO}{GOES_IN_TIME}"
                ),
            ),
            ("has no pointer", &format!("t.lane:inject {{ cut = 'cursor' }}\n{GO}{GOES_IN_TIME}")),
            ("has a bad pointer", &format!("t.lane:inject {{ malform = 'cursor' }}\n{GO}{GOES_IN_TIME}")),
        ],
    );
    let _ = run(&lab).exits_with(0).says(&["10 passed, 0 failed, 0 skipped"]);
    assert!(journal(&lab, "10-has-a-bad-pointer").contains("channel cursor 0 ended: message "));
}

#[test]
fn a_key_that_comes_twice_is_seen_by_the_guest() {
    let lab = scenarios(
        lab(),
        &[(
            "pastes",
            &format!(
                "{GO}{GOES_IN_TIME}t.keyboard:press('i')\nt.digest:wait_for {{ line_rendered = {{ row = 25 }} }}\n\
                 t.lane:inject {{ duplicate_key = 1 }}\nt.keyboard:paste('sextant{{HELLO_OPERATOR}}')\n\
                 t.keyboard:press('enter')\n\
                 t.digest:wait_for {{ paste_received = {{ len = 24, correct = false }} }}"
            ),
        )],
    );
    // The guest waits for the answer only for a while.
    let lab = lab.file("lanes/fast.toml", &FAST.replace("50", "5"));
    let _ = run(&lab).exits_with(0).says(&["PASS  pastes"]);
}

#[test]
fn a_lane_without_its_console_is_the_lanes_failure() {
    let waits = "t.serial:wait_for('never')";
    let lab = scenarios(
        lab(),
        &[
            ("blind", &format!("t.lane:inject {{ cut = 'display' }}\n{waits}")),
            ("gone", &format!("t.lane:inject {{ cut = 'main', after = 0.1 }}\n{waits}")),
            ("garbled", &format!("t.lane:inject {{ malform = 'display' }}\n{waits}")),
            ("garbled in the middle", &format!("t.lane:inject {{ malform = 'main' }}\n{waits}")),
            ("deaf", "t.lane:inject { cut = 'inputs' }\nt:sleep(1)\nt.keyboard:press('enter')"),
        ],
    );
    let _ = run(&lab).exits_with(16).says(&[
        "LANE  blind",
        "the screen can no longer be seen: display 0: closed by the server (faults injected: cut = \"display\")",
        "LANE  gone",
        "the console is gone: the server closed the session, or another client took it over",
        "(faults injected: cut = \"main\", after = 0.1)",
        "LANE  garbled",
        "the screen can no longer be seen: display 0: message ",
        "(DRAW_COPY)",
        "LANE  garbled in the middle",
        "the console is gone: main channel failed: message ",
        "(MOUSE_MODE)",
        "LANE  deaf",
        "keyboard:press: the console is closed: no inputs channel is open",
        "0 passed, 5 failed, 0 skipped",
    ]);
}

#[test]
fn a_flipped_pixel_breaks_the_evidence_and_not_the_run() {
    // Only a screen that rests for a second is judged to differ, and at its own pace this one blinks.
    let lab = Lab::bare().file("lanes/slow.toml", &FAST.replace("50", "0.1")).scenario(
        "needs = { 'digest', 'faults' }",
        "t.digest:wait_for { frame_counter = 2 }\n\
         t.lane:inject { flip_pixel = { 20, 20 }, xor = 0x010000 }\n\
         t.digest:wait_for { frame_counter = at_least(3) }\n\
         t:sleep(2.5)",
    );
    let _ = lab.command(&["run", "a.lua", "--lane", "slow"]).env("PATH", "").run().exits_with(0).within(60);
    let journal = lab.newest_journal();
    let (before, after) = journal.split_at(journal.find("flip_pixel = 20, 20, xor = 0x010000").unwrap());
    let differs = "\"framebuffer\":\"differs\"";
    assert!(after.contains(differs) && !before.contains(differs), "{journal}");
}

#[test]
fn a_profile_loses_lines_and_says_so_in_its_plan() {
    let fault =
        "[[fault]]\nlose_line = 1\nmatching = \"^available\"\n[[fault]]\ncut = \"display\"\nafter = 3600\n";
    let lab =
        Lab::bare().file("lanes/lossy.toml", &format!("{FAST}compression = \"glz\"\n{fault}")).scenario(
            "needs = { 'serial' }",
            "t.serial:wait_for('^Hello')\nt.serial:wait_for('^available', { timeout = 1 })",
        );
    let plan =
        lab.command(&["lane", "plan", "lossy", "--json"]).may_make("nothing").run().exits_with(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let faults = ["lose_line = 1, matching = \"^available\"", "cut = \"display\", after = 3600"];
    assert_eq!((&plan["faults"], &plan["compression"]), (&serde_json::json!(faults), &"glz".into()));
    let _ = lab
        .command(&["lane", "plan", "lossy"])
        .may_make("nothing")
        .run()
        .exits_with(0)
        .says(&["cut = \"display\""]);
    let _ = lab.run(&["run", "a.lua", "--lane", "lossy"]).exits_with(1).within(60).says(&[
        "FAIL  it",
        "no match for text matching \"^available\" within 1.0 s",
        "hint: faults were injected: lose_line = 1, matching = \"^available\"; cut = \"display\", after = 3600",
    ]);
    let serial = std::fs::read_to_string(lab.attempt().join("serial.log")).unwrap();
    assert!(serial.starts_with("Hello from") && !serial.contains("available"), "{serial}");
}

#[test]
fn a_lane_that_is_broken_from_the_beginning_does_not_come_up() {
    let gate = "[[gate]]\nkind = \"digest\"\ntimeout = 1\n";
    let lab = Lab::bare()
        .file("lanes/stalled.toml", &format!("{FAST}[[fault]]\nstall = \"display\"\n{gate}"))
        .scenario("", "t:log('here')");
    let _ = lab
        .run(&["run", "a.lua", "--lane", "stalled"])
        .exits_with(16)
        .within(60)
        .says(&["LANE  it", "gate `digest` was not reached"]);
}

#[test]
fn a_fault_in_a_profile_that_can_not_be_names_its_place() {
    for (text, wanted) in [
        ("drop_kye = 1", "lane.toml:5:1: unknown key `drop_kye`, did you mean `drop_key`?"),
        ("cut = \"dsplay\"", "lane.toml:5:7: unknown value `dsplay`, did you mean `display`?"),
        ("after = 1", "lane.toml:4:1: names no fault"),
        ("drop_key = 1\ncut = \"main\"", "lane.toml:6:7: `drop_key` and `cut` are two faults"),
        ("cut = \"main\"\nseconds = 1", "lane.toml:6:11: `seconds` does not go with `cut`"),
        ("drop_key = 0", "lane.toml:5:12: `drop_key` is \"0\", wanted a whole number from 1 to 1000000"),
        (
            "flip_pixel = [1, 20000]",
            "lane.toml:5:14: `flip_pixel` is \"20000\", wanted a whole number from 0 to 16383",
        ),
        ("delay = 100", "lane.toml:5:9: `delay` is \"100\", wanted seconds from 0.001 to 60"),
        (
            "lose_line = 1\nmatching = \"(\"",
            "lane.toml:6:12: `matching` is \"(\", wanted a regular expression",
        ),
    ] {
        let lab = Lab::bare().file("lanes/lane.toml", &format!("{FAST}[[fault]]\n{text}\n"));
        let _ =
            lab.command(&["lane", "plan", "lane"]).may_make("nothing").run().exits_with(3).says(&[wanted]);
    }
    let lab = Lab::bare().file("lanes/lane.toml", "kind = \"qemu\"\n[[fault]]\ncut = \"main\"\n");
    let said = "lane.toml:2:3: `fault` belongs to kind = \"sim\"";
    let _ = lab.command(&["lane", "plan", "lane"]).may_make("nothing").run().exits_with(3).says(&[said]);
}

#[test]
fn a_call_that_injects_nothing_says_what_is_wrong_with_it() {
    let lab = lab().scenario(
        "needs = { 'faults' }",
        r#"local function refused(wanted, fault)
             local ok, err = pcall(function() t.lane:inject(fault) end)
             expect({ ok, err and err.kind }):equals { false, "usage" }
             expect(err.message):equals("lane:inject: " .. wanted)
           end
           refused("unknown option `drop_keys`, did you mean `drop_key`?", { drop_keys = 1 })
           refused("names no fault", {})
           refused("names no fault", nil)
           refused("`drop_key` and `stall` are two faults", { drop_key = 1, stall = "main" })
           refused("`xor` does not go with `cut`", { cut = "main", xor = 1 })
           refused('option `cut` is "dsplay", did you mean "display"?', { cut = "dsplay" })
           refused("option `drop_key` wants a whole number between 1 and 1000000, got the number 0", { drop_key = 0 })
           refused("option `flip_pixel` wants two whole numbers between 0 and 16383, got a table", { flip_pixel = { 1 } })
           refused("1x1 pixels at 5000,0 do not fit on the screen", { flip_pixel = { 5000, 0 } })
           refused('`delay` is "0", wanted seconds from 0.001 to 60', { delay = 0 })"#,
    );
    let _ = run(&lab).exits_with(0).says(&["PASS  it"]);
}

#[test]
fn lanes_that_are_not_simulated_skip_what_needs_faults() {
    let needs = "needs = { 'faults' }";
    let attached = Lab::bare().scenario(needs, "t:log('here')");
    let socket = attached.path("none.sock").display().to_string();
    let attached = attached
        .file("lanes/far.toml", &format!("kind = \"attach\"\n[attach]\nspice = \"spice+unix://{socket}\"\n"));
    let said = "lane \"far\" is not configured for faults: only machines of kind \"sim\" go wrong on purpose";
    let _ = attached.run(&["run", "a.lua", "--lane", "far"]).exits_with(77).says(&["SKIP  it", said]);
    let Some(lab) = Lab::with_rom("a scenario that needs faults") else { return };
    let said = "lane \"rom\" has no faults: that takes a lane of kind \"sim\"";
    let _ =
        lab.scenario(needs, "t:log('here')").run(&["run", "a.lua"]).exits_with(77).says(&["SKIP  it", said]);
}

#[test]
fn in_every_compression_the_screen_is_what_the_guest_vouches_for() {
    for compression in ["lz", "glz", "quic", "lz4"] {
        let profile = format!("kind = \"sim\"\n[sim]\ntime_scale = 10\ncompression = \"{compression}\"\n");
        let body = format!("t.keyboard:press('enter')\n{GOES_IN_TIME}");
        let lab = Lab::bare()
            .file("lanes/packed.toml", &profile)
            .scenario("needs = { 'keyboard', 'digest' }", &body);
        let _ = lab.run(&["run", "a.lua", "--lane", "packed"]).exits_with(0).within(100);
        let journal = lab.newest_journal();
        let says = |word: &str| journal.contains(&format!("\"framebuffer\":\"{word}\""));
        assert!(says("matches") && !says("differs"), "{compression}: {journal}");
    }
}
