//! Scenarios start from machines that were saved when they were ready; whatever is wrong with a saved machine costs a
//! boot and is noted, and never fails anything.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::cli::lab::Lab;

/// What the journal says about where the machine came from, in order: outcome and why.
fn warm(journal: &str) -> Vec<(String, String)> {
    journal
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["event"] == "warm")
        .map(|event| {
            let text = |key: &str| event["data"][key].as_str().unwrap_or_default().to_owned();
            (text("outcome"), text("why"))
        })
        .collect()
}

pub(super) fn outcomes(journal: &str) -> Vec<String> {
    warm(journal).into_iter().map(|(outcome, _)| outcome).collect()
}

#[test]
fn a_restored_guest_is_as_the_booted_one_was() {
    let Some(lab) = Lab::with_guest("a restored guest") else { return };
    let lab = lab.scenario(
        "needs = { 'digest', 'keyboard', 'serial' }",
        "t.serial:wait_for('Hello from Uncalibrated Sextant')
         t.digest:wait_for { frame_counter = at_most(20) }
         t.keyboard:press('enter')
         t.digest:wait_for { scene_transition = { from = 'awaiting', to = 'booting' } }
         t.keyboard:press('q')",
    );
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["saved"]);
    let _ = lab.run(&["run", "a.lua"]).exits_with(0).says(&["lane is ready, restored"]);
    let journal = lab.newest_journal();
    assert_eq!(outcomes(&journal), ["restored"]);
    assert!(!journal.contains("\"gate\":\"digest\""), "the gates of a boot are not waited for");
    let _ = lab.run(&["run", "a.lua", "--warm", "verify"]).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), ["restored", "verified"]);
}

#[test]
fn a_scenario_and_a_run_can_ask_for_a_boot() {
    let Some(lab) = Lab::with_rom("a scenario that asks for a boot") else { return };
    let lab = lab.scenario("", "t.serial:wait_for('one line')");
    let _ = lab.run(&["run", "a.lua", "--warm=off"]).exits_with(0);
    assert!(!lab.path("logs/warm").exists());
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    assert!(lab.saved_machine().join("memory").is_file());
    let lab = lab.scenario("warm = false", "t.serial:wait_for('one line')");
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    assert_eq!(outcomes(&lab.newest_journal()), [""; 0]);
    let lab = lab.scenario("warm = 'no'", "");
    let _ = lab.run(&["run", "a.lua"]).exits_with(3).says(&["`warm`", "true or false"]);
}

#[test]
fn what_is_damaged_foreign_or_stale_costs_a_boot_and_is_saved_anew() {
    let Some(lab) = Lab::with_rom("a damaged saved machine") else { return };
    // So that there is a serial log to damage.
    let gate = "\n[[gate]]\nkind = \"serial-line\"\npattern = \"one line\"\ntimeout = 20\n";
    let lane = fs::read_to_string(lab.path("lanes/rom.toml")).unwrap() + gate;
    let lab = lab.file("lanes/rom.toml", &lane);
    let lab = lab.scenario("", "t.serial:wait_for('one line')");
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Damage<'_>); 7] = [
        ("checksum", &|saved| flip(&saved.join("memory"))),
        ("bytes, wanted", &|saved| {
            fs::File::options().write(true).open(saved.join("memory")).unwrap().set_len(1_000).unwrap();
        }),
        ("No such file", &|saved| fs::remove_file(saved.join("memory")).unwrap()),
        ("No such file", &|saved| fs::remove_file(saved.join("state.json")).unwrap()),
        ("no description of a saved machine", &|saved| fs::write(saved.join("state.json"), "{").unwrap()),
        ("backstaff-warm version 999", &|saved| {
            let state = fs::read_to_string(saved.join("state.json")).unwrap();
            fs::write(saved.join("state.json"), state.replace("\"version\": 1", "\"version\": 999")).unwrap();
        }),
        ("checksum", &|saved| flip(&saved.join("serial.log"))),
    ];
    for (why, damage) in cases {
        damage(&lab.saved_machine());
        let _ = lab.run(&["run", "a.lua"]).exits_with(0);
        let noted = warm(&lab.newest_journal());
        assert_eq!(noted[0].0, "booted", "{why}: {noted:?}");
        assert!(noted[0].1.contains(why), "{why}: {noted:?}");
        assert_eq!(noted[1].0, "saved", "{why}: {noted:?}");
        let _ = lab.run(&["run", "a.lua"]).exits_with(0);
        assert_eq!(outcomes(&lab.newest_journal()), ["restored"], "{why}");
    }
}

/// QEMU itself finds fault with it, or the machine does not go on.
#[test]
fn a_machine_that_cannot_be_loaded_costs_a_boot() {
    let Some(lab) = Lab::with_rom("a saved machine that cannot be loaded") else { return };
    let lab = lab.scenario("", "t.serial:wait_for('one line')\nexpect(#t.serial:lines()):equals(1)");
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    let saved = lab.saved_machine();
    // A whole file, as the description has it, of which QEMU can make nothing.
    let path = saved.join("memory");
    let garbage = vec![b'x'; 4_096];
    fs::write(&path, &garbage).unwrap();
    let mut state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(saved.join("state.json")).unwrap()).unwrap();
    for file in state["files"].as_array_mut().unwrap() {
        if file["name"] == "memory" {
            file["bytes"] = 4_096.into();
            file["crc32c"] = visual_digest::crc32c::checksum(&garbage).into();
        }
    }
    fs::write(saved.join("state.json"), state.to_string()).unwrap();
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    let noted = warm(&lab.newest_journal());
    assert_eq!(noted[0].0, "booted", "{noted:?}");
    assert!(noted[0].1.contains("loading the saved machine"), "{noted:?}");
}

#[test]
fn the_oldest_saved_machines_go_when_there_is_no_room() {
    let Some(lab) = Lab::with_rom("saved machines without room") else { return };
    let other = std::fs::read_to_string(lab.path("lanes/rom.toml")).unwrap().replace("= 16", "= 17");
    let lab = lab.file("lanes/other.toml", &other);
    let lab = lab.scenario("", "").file("backstaff.toml", "lane = \"rom\"\nwarm_limit_mib = 0\n");
    for lane in ["rom", "other", "rom"] {
        let _ = lab.run(&["run", "a.lua", "--lane", lane]).exits_with(0);
        assert_eq!(outcomes(&lab.newest_journal()), ["saved"], "{lane}");
        let state = std::fs::read_to_string(lab.saved_machine().join("state.json")).unwrap();
        assert!(state.contains(&format!("\"profile\": \"{lane}\"")), "the newest is kept: {state}");
    }
    let lab = lab.file("backstaff.toml", "lane = \"rom\"\n");
    let _ = lab.run(&["run", "a.lua", "--lane", "other"]).exits_with(0);
    for lane in ["rom", "other"] {
        let _ = lab.run(&["run", "a.lua", "--lane", lane]).exits_with(0);
        assert_eq!(outcomes(&lab.newest_journal()), ["restored"], "{lane}");
    }
}

#[test]
fn an_interrupted_first_run_leaves_no_half_saved_machine() {
    let Some(lab) = Lab::with_rom("an interrupted save") else { return };
    let lab = lab.scenario("timeout = 60", "t:log('here')\nt.serial:wait_for('never')");
    let running = lab.command(&["run", "a.lua"]).start();
    running.wait_for("here");
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130);
    let names: Vec<_> =
        fs::read_dir(lab.path("logs/warm")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
}
