//! Scenarios with several machines at once.

use backstaff::journal::{Body, ndjson};

use crate::cli::lab::Lab;

#[test]
fn two_simulated_machines_are_driven_by_one_scenario() {
    let body = "
scenario('two', { lanes = { left = 'sim', right = 'sim' }, needs = { 'digest', 'keyboard' } }, function(t)
  t.lanes.left.digest:wait_for(any)
  t.lanes.right.keyboard:press('a')
  t.lanes.right.digest:wait_for { keypress = any }
end)";
    let lab = Lab::bare().file("a.lua", body);
    let _ = lab.run(&["run", "a.lua"]).exits_with(0).says(&["PASS  two", "1 passed, 0 failed, 0 skipped"]);
    let attempt = lab.attempt();
    for lane in ["left", "right"] {
        assert!(
            attempt.join(lane).join("serial.log").is_file() && attempt.join(lane).join("plan.json").is_file()
        );
    }
    let events = ndjson::load(&attempt.join("journal.ndjson")).unwrap();
    let of = |lane: &str| events.iter().filter(|event| event.lane.as_deref() == Some(lane)).count();
    assert!(of("left") > 0 && of("right") > 0);
    let keys = events.iter().filter(|event| matches!(event.body, Body::KeySent { .. }));
    assert!(keys.clone().count() > 0 && keys.clone().all(|event| event.lane.as_deref() == Some("right")));
}

#[test]
fn real_and_simulated_machines_go_together() {
    let Some(lab) = Lab::with_rom("several machines") else { return };
    let body = "
scenario('both', { lanes = { real = 'rom', played = 'sim' } }, function(t)
  t.lanes.real.serial:wait_for('rom: one line')
  t.lanes.played.digest:wait_for(any)
end)
scenario('needs', { lanes = { real = 'rom', played = 'sim' }, needs = { 'snapshot' } }, function(t) end)
scenario('lost', { lanes = { played = 'sim', gone = 'broken' } }, function(t) end)";
    let broken = "kind = \"sim\"\n\n[[gate]]\nkind = \"serial-line\"\npattern = \"never\"\ntimeout = 1\n";
    let lab = lab.file("a.lua", body).file("lanes/broken.toml", broken);
    let finished = lab.run(&["run", "a.lua"]).exits_with(16);
    let wanted = ["PASS  both", "SKIP  needs", "lane \"sim\" is simulated and has no snapshot", "LANE  lost"];
    let _ = finished.says(&wanted).says(&["1 passed, 1 failed, 1 skipped"]);
}
