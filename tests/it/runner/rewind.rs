//! The scenario that goes back, as it lies in the repository.

use std::path::Path;

use crate::cli::lab::Lab;

#[test]
fn one_boot_serves_two_ways() {
    let Some(lab) = Lab::with_guest("the scenario that goes back") else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/rewind.lua");
    let lab = lab.file("rewind.lua", &std::fs::read_to_string(file).unwrap());
    let _ = lab.run(&["run", "rewind.lua"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
}
