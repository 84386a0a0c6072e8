//! What a failed scenario tells a stranger.

use crate::cli::lab::{Finished, Lab};

#[test]
fn a_wrong_transition_shows_the_nearest_miss_and_the_screen() {
    let Some(lab) = Lab::with_guest("a wrong transition") else { return };
    let body = r#"  t:step("booting", function()
    t.digest:wait_for(any)
    t.keyboard:press("enter")
    t.digest:wait_for({ scene_transition = { from = "awaiting", to = "parked" } }, { timeout = 4 })
  end)"#;
    let lab = lab.scenario("timeout = 60", body);
    let finished = lab.run(&["run", "a.lua"]).exits_with(1).says(&[
        "a.lua:5: digest:wait_for: no match for ",
        "scene_transition",
        "parked",
        "within 4.0 s",
        "seen since the last match: ",
        " digest",
        "nearest miss: ",
        "awaiting",
        ">    5 |",
        "in step \"booting\"",
        "screen: ",
        "0 passed, 1 failed, 0 skipped",
    ]);
    let png = std::fs::File::open(lab.path(&screenshot(&finished))).unwrap();
    let picture = png::Decoder::new(std::io::BufReader::new(png)).read_info().unwrap();
    assert_eq!((picture.info().width, picture.info().height), (1024, 768));
}

/// The path after `screen: `, relative to where the program ran.
fn screenshot(finished: &Finished) -> String {
    let line = finished.stdout.lines().find_map(|line| line.trim().strip_prefix("screen: "));
    line.expect("a failure names its picture").to_owned()
}

#[test]
fn a_wait_that_expires_with_its_step_names_what_was_waited_for_and_what_came() {
    let Some(lab) = Lab::with_rom("a wait that expires") else { return };
    let body = r#"  t:step("log in", { timeout = 1 }, function()
    t.serial:wait_for("Password: $")
  end)"#;
    let lab = lab.scenario("", body);
    let finished = lab.run(&["run", "a.lua"]).exits_with(1).within(20);
    assert!(lab.path(&screenshot(&finished)).exists());
    insta::assert_snapshot!(finished.text(), @r#"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:1)
          [at]  lane is ready
          [at]  log in ✗ [took]
    FAIL  it [took]
          a.lua:3: serial:wait_for: no match for text matching "Password: $" within the [n] s left of the step "log in" (1.0 s)
            1 line since the last match:
              rom: one line
            and a line that has not ended yet:
              rom: login: 
                 1 | scenario("it", {  }, function(t)
                 2 |   t:step("log in", { timeout = 1 }, function()
            >    3 |     t.serial:wait_for("Password: $")
          in step "log in"
          screen: logs/[run]/01-it/attempt-1/screenshots/01-timeout.png
          logs: logs/[run]/01-it/attempt-1
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    "#);
}

#[test]
fn an_error_of_the_script_has_its_line_and_the_way_there() {
    let Some(lab) = Lab::with_rom("an error of the script") else { return };
    let script = "local function helper(t)\n  local user\n  user()\nend\n\n\
                  scenario(\"it\", function(t)\n  helper(t)\nend)\n";
    let finished = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1);
    insta::assert_snapshot!(finished.text(), @r"
    1 scenario on lane rom (logs/[run])
    RUN   it (a.lua:6)
          [at]  lane is ready
    ERROR it [took]
          a.lua:3: attempt to call a nil value (local 'user')
                 1 | local function helper(t)
                 2 |   local user
            >    3 |   user()
          stack traceback:
            a.lua:3: in upvalue 'helper'
            a.lua:7: in function <a.lua:6>
          screen: logs/[run]/01-it/attempt-1/screenshots/01-failure.png
          logs: logs/[run]/01-it/attempt-1
    [took], everything is in logs/[run]
    0 passed, 1 failed, 0 skipped
    ");
}

#[test]
fn misspelled_options_and_methods_name_what_was_meant() {
    let Some(lab) = Lab::with_rom("misspelled names") else { return };
    let script = r#"
scenario("an option", function(t) t.serial:wait_for("x", { timout = 1 }) end)
scenario("a method", function(t) t.serial:wait_fr("x") end)
scenario("a key", function(t) t.keyboard:press("entr") end)
scenario("a function", function(t) at_lest(3) end)
scenario("a dot", function(t) t.serial.wait_for("x") end)
"#;
    let _ = lab.file("a.lua", script).run(&["run", "a.lua"]).exits_with(1).says(&[
        "a.lua:2: serial:wait_for: unknown option `timout`, did you mean `timeout`?",
        "a.lua:3: serial: there is no `wait_fr`, did you mean `wait_for`?",
        "a.lua:4: keyboard:press: unknown key `entr`, did you mean `enter`?",
        "a.lua:5: attempt to call a nil value (global 'at_lest')",
        "hint: did you mean `at_least`?",
        "a.lua:6: serial:wait_for: called without its object",
        "hint: methods are called with a colon: `serial:wait_for(…)`",
        "0 passed, 5 failed, 0 skipped",
    ]);
}

#[test]
fn expectations_that_do_not_hold_are_counted_and_the_first_is_shown() {
    let Some(lab) = Lab::with_rom("expectations") else { return };
    let body = "t:check(1):equals(2)\nt:check(t.params.user):equals('root')\nexpect({ 'a' }):contains('b')";
    let finished = lab.scenario("", body).run(&["run", "a.lua", "--param", "user=toor"]);
    let _ = finished.exits_with(1).says(&[
        "a.lua:2: expected that it equals 2",
        "wanted 2, got 1",
        "and 2 further expectations that did not hold",
    ]);
}
