//! Runs on the simulated lane, where nothing is installed: `PATH` is empty in all of them.

use std::path::Path;
use std::time::Duration;

use backstaff::console::Screenshot;
use backstaff::console::spice::SpiceConsole;
use backstaff::spice::{Endpoint, SessionOptions};
use rustix::process::Signal;

use crate::cli::lab::{Finished, Lab};

/// The guest's time goes so fast that its longest wait is over in a moment.
const FAST: &str = "kind = \"sim\"\n[sim]\ntime_scale = 50\n";

fn read(name: &str) -> String {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    std::fs::read_to_string(scenarios.join(name)).unwrap()
}

fn run(lab: &Lab, arguments: &[&str]) -> Finished {
    lab.command(&[&["run"], arguments].concat()).env("PATH", "").run()
}

#[test]
fn the_scenarios_that_come_with_it_pass_on_the_built_in_lane_without_qemu_and_without_a_profile() {
    let lab = Lab::bare().file("canonical.lua", &read("canonical.lua")).file("smoke.lua", &read("smoke.lua"));
    let _ = run(&lab, &["canonical.lua", "smoke.lua"]).exits_with(0).says(&[
        "2 scenarios on lane sim",
        "PASS  boots, accepts the paste and parks",
        "PASS  says hello and shows a digest",
        "2 passed, 0 failed, 0 skipped",
    ]);
    let attempt = lab.run_folder().join("01-boots-accepts-the-paste-and-parks/attempt-1");
    let plan = std::fs::read_to_string(attempt.join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["kind"], &plan["state"]), (&"sim".into(), &"validated".into()));
    let serial = std::fs::read_to_string(attempt.join("serial.log")).unwrap();
    assert!(
        serial.starts_with("Hello from Uncalibrated Sextant\r\navailable GOP modes: 640x480 "),
        "{serial}"
    );
    let records = serial.lines().filter(|line| line.contains("type=")).count();
    assert_eq!(records, 59 + 1, "the canonical run's events and the summary");
    let journal = std::fs::read_to_string(attempt.join("journal.ndjson")).unwrap();
    assert!(!journal.contains("\"framebuffer\":\"differs\""), "the digests fit their screens");
    let is_end = |line: &str| line.contains("lane_ended") && line.contains("the guest powered off");
    assert!(journal.lines().any(is_end), "{journal}");
}

#[test]
fn the_profile_that_comes_with_it_is_the_built_in_lane_and_time_can_go_faster() {
    let lab = Lab::bare()
        .file("a.lua", &read("canonical.lua"))
        .file("lanes/sim.toml", &read("lanes/sim.toml"))
        .file("lanes/fast.toml", "extends = \"sim\"\n[sim]\ntime_scale = 10\n");
    let plan =
        |lab: &Lab| lab.command(&["lane", "plan", "sim"]).may_make("nothing").run().exits_with(0).stdout;
    assert_eq!(plan(&lab), plan(&Lab::bare()));
    let began = std::time::Instant::now();
    let _ = run(&lab, &["a.lua", "--lane", "fast"]).exits_with(0);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn what_takes_qemu_is_skipped_with_the_reason() {
    let lab = Lab::bare().file(
        "a.lua",
        "scenario('asks', { needs = { 'qmp' } }, function(t) end)\n\
         scenario('goes back', { needs = { 'snapshot' } }, function(t) end)\n",
    );
    let _ = run(&lab, &["a.lua"]).exits_with(77).says(&[
        "SKIP  asks",
        "lane \"sim\" is simulated and has no qmp: that takes a lane of kind \"qemu\"",
        "SKIP  goes back",
        "has no snapshot",
        "0 passed, 0 failed, 2 skipped",
    ]);
}

/// Every call of a mouse; where there is a monitor, the guest's part in having found the tablet is played by hand.
const MOUSE: &str = r#"
    for _, capability in ipairs(t.lane:capabilities()) do
      if capability == "qmp" then
        for _, mouse in ipairs(t.lane:qmp("query-mice")) do
          if mouse.absolute then
            t.lane:qmp("human-monitor-command", { ["command-line"] = "mouse_set " .. mouse.index })
          end
        end
      end
    end
    t.mouse:move(20, 30)
    t.mouse:click()
    t.mouse:click { button = "right", count = 2 }
    t.mouse:down("middle")
    t.mouse:up("middle")
    -- More than are in flight at once.
    for x = 1, 40 do t.mouse:move(x, 2 * x) end
    t.mouse:drag(10, 10, 60, 80, { steps = 30, pause = 0.005 })
    t.mouse:scroll(3)
    t.mouse:scroll(-1)
    t.mouse:move_by(-3, 4)
    t.keyboard:press("a")
    local ok, failure = pcall(function() t.mouse:move(100000, 0) end)
    expect(ok):equals(false)
    expect(failure.kind):equals("usage")
"#;

/// What the journal of the last run says that was done with the mouse.
fn mouse_of(lab: &Lab) -> Vec<(String, String)> {
    let journal = lab.newest_journal();
    let events = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let word = |event: &serde_json::Value, key: &str| event["data"][key].as_str().unwrap().to_owned();
    let sent = events.filter(|event| event["event"] == "mouse_sent");
    sent.map(|event| (word(&event, "action"), word(&event, "detail"))).collect()
}

#[test]
fn a_mouse_is_used_on_the_simulated_lane_as_under_qemu() {
    let sim = Lab::bare().scenario("needs = { 'mouse', 'keyboard', 'screen' }", MOUSE);
    let _ = run(&sim, &["a.lua"]).exits_with(0);
    let told = mouse_of(&sim);
    let actions: Vec<&str> = told.iter().map(|(action, _)| &**action).collect();
    let moves = ["move"; 40];
    let wanted =
        [&["move", "click", "click", "down", "up"], &moves[..], &["drag", "scroll", "scroll", "move_by"]];
    assert_eq!(actions, wanted.concat());
    assert_eq!(told[45], ("drag".to_owned(), "left 10,10 to 60,80".to_owned()));

    let test = "a_mouse_is_used_on_the_simulated_lane_as_under_qemu";
    let Some(qemu) = Lab::with_rom(test) else { return };
    let tablet = "extends = \"rom\"\n[input]\ntablet = true\n\
                  [qmp]\nallow = [\"query-*\", \"human-monitor-command\"]\n";
    let qemu =
        qemu.file("lanes/tablet.toml", tablet).scenario("needs = { 'mouse', 'keyboard', 'screen' }", MOUSE);
    let _ = qemu.run(&["run", "a.lua", "--lane", "tablet"]).exits_with(0);
    assert_eq!(mouse_of(&qemu), told);
}

#[test]
fn a_guest_that_aborts_resets_its_machine_and_one_that_gives_up_powers_it_off() {
    let lab = Lab::bare().file("lanes/fast.toml", FAST).file(
        "a.lua",
        "local function to_prompt(t)\n\
           t.keyboard:press('enter')\n\
           t.digest:wait_for { line_rendered = { row = 21 } }\n\
         end\n\
         scenario('aborts', { needs = { 'keyboard', 'digest' } }, function(t)\n\
           to_prompt(t)\n\
           t.keyboard:press('a')\n\
           t.lane:wait_for_shutdown()\n\
         end)\n\
         scenario('gives up', { needs = { 'keyboard', 'digest' } }, function(t)\n\
           to_prompt(t)\n\
           t.keyboard:press('i')\n\
           t.lane:wait_for_shutdown()\n\
         end)\n",
    );
    let _ = run(&lab, &["a.lua", "--lane", "fast"]).exits_with(0).within(100).says(&["2 passed"]);
    let journals = lab.run_folder();
    let journal =
        |name: &str| std::fs::read_to_string(journals.join(name).join("attempt-1/journal.ndjson")).unwrap();
    assert!(journal("01-aborts").contains("the guest reset the machine"));
    assert!(journal("02-gives-up").contains("the guest powered off"));
    let serial = std::fs::read_to_string(journals.join("02-gives-up/attempt-1/serial.log")).unwrap();
    assert!(!serial.contains("type="), "no drain on this way: {serial}");
}

#[test]
fn a_machine_that_ends_while_it_is_waited_for_fails_the_scenario() {
    let lab = Lab::bare().file("lanes/fast.toml", FAST).scenario(
        "needs = { 'keyboard', 'digest' }",
        "t.keyboard:press('enter')\n\
         t.digest:wait_for { line_rendered = { row = 21 } }\n\
         t.keyboard:press('a')\n\
         t.serial:wait_for('never')",
    );
    let _ = run(&lab, &["a.lua", "--lane", "fast"])
        .exits_with(1)
        .within(60)
        .says(&["FAIL  it", "the guest reset the machine"]);
}

#[test]
fn an_interrupted_run_takes_the_machine_down() {
    let lab = Lab::bare().scenario("", "t:log('here')\nt:sleep(50)");
    let running = lab.command(&["run", "a.lua"]).env("PATH", "").start();
    running.wait_for("here");
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130).within(40);
    assert!(lab.newest_journal().contains("the lane was taken down"));
}

#[test]
fn a_lane_that_is_held_is_joined_through_its_socket_by_several() {
    let lab = Lab::bare();
    let running = lab.command(&["lane", "up", "sim"]).env("PATH", "").start();
    running.wait_for("lane sim is up (simulated); Ctrl-C takes it down");
    running.wait_for("  folder");
    let socket = lab.run_folder().join("spice.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut consoles = Vec::new();
        for _ in 0..2 {
            let options = SessionOptions::new(Endpoint::Unix(socket.clone()));
            let (console, events) = SpiceConsole::connect(options).await.unwrap();
            let shown = async {
                while Screenshot::take(&*console).is_none_or(|shot| shot.width != 1024) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), shown).await.expect("the guest's screen");
            consoles.push((console, events));
        }
    });
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130).within(60);
}
