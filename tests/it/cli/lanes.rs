//! `backstaff lane list`: every profile, what it is good for here, and what is wrong with it; nothing is touched.

use super::lab::{Finished, Lab};

/// Runs in a folder without machines, where QEMU is not to be found, and checks that nothing at all was made.
fn listed(lab: &Lab, arguments: &[&str]) -> Finished {
    let arguments = [&["lane", "list"], arguments].concat();
    lab.command(&arguments).env("PATH", "/nowhere").may_make("nothing").run().within(30)
}

const JOINED: &str = "kind = \"attach\"\n[attach]\nspice = \"localhost:5930\"\n";

fn lab() -> Lab {
    Lab::bare()
        .file("backstaff.toml", "lane = \"east\"\n")
        .file("lanes/east.toml", "extends = \"joined\"\n")
        .file("lanes/joined.toml", JOINED)
        .file("lanes/nowhere.toml", "kind = \"attach\"\n")
        .file("lanes/slip.toml", "kind = \"qemu\"\n\n[machine]\nacel = \"tcg\"\n")
        .file("scenarios/lanes/joined.toml", JOINED)
        .file("more/odd.toml", "kind = \"qemu\"\n[machine]\nsockets = 2\n")
        .file("Cargo.toml", "[package]\n")
}

#[test]
fn every_profile_is_listed_with_what_is_wrong() {
    let finished = listed(&lab(), &["--lane-dir", "more"]).exits_with(0);
    insta::assert_snapshot!(finished.text(), @r"
    * east     attach  validated  lanes/east.toml
      joined   attach  validated  scenarios/lanes/joined.toml
      joined   attach  validated  lanes/joined.toml
        not used: scenarios/lanes/joined.toml comes first
      nowhere  attach  draft      lanes/nowhere.toml
        no address: `spice`, `vv` or `control_socket` under `[attach]`, or
        BACKSTAFF_SPICE, BACKSTAFF_VV or BACKSTAFF_CONTROL_SOCKET
      odd      -       broken     more/odd.toml
        more/odd.toml:3:1: unknown key `sockets`
        hint: known here: type, accel, memory_mib, cpus, cpu
      slip     -       broken     lanes/slip.toml
        lanes/slip.toml:4:1: unknown key `acel`, did you mean `accel`?
    * the lane for runs that name none
    ");
}

#[test]
fn json_says_the_same_to_programs() {
    let lab = lab();
    let finished = listed(&lab, &["--json"]).exits_with(0);
    let list: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(list["format"], "backstaff-lanes");
    assert_eq!(list["version"], 1);
    assert_eq!(list["default_lane"], "east");
    let lanes = list["lanes"].as_array().unwrap();
    let row = |name: &str| lanes.iter().find(|lane| lane["name"] == name).unwrap();
    let names: Vec<_> = lanes.iter().map(|lane| lane["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["east", "joined", "joined", "nowhere", "slip"]);
    assert_eq!((&row("east")["default"], &row("joined")["default"]), (&true.into(), &false.into()));
    assert_eq!(row("east")["state"], "validated");
    assert_eq!(row("east")["profile_hash"], row("joined")["profile_hash"], "it only extends");
    assert_eq!(row("nowhere")["state"], "draft");
    assert!(row("nowhere")["unresolved"][0].as_str().unwrap().contains("BACKSTAFF_SPICE"));
    assert_eq!((&row("slip")["state"], &row("slip")["kind"]), (&"broken".into(), &serde_json::Value::Null));
    let place = format!("{}:4:1: ", lab.path("lanes/slip.toml").display());
    assert!(row("slip")["message"].as_str().unwrap().starts_with(&place), "{}", finished.stdout);
    let shadowed: Vec<_> = lanes.iter().filter(|lane| !lane["shadowed_by"].is_null()).collect();
    assert_eq!(shadowed.len(), 1, "{}", finished.stdout);
}

#[test]
fn the_environment_says_which_lane_is_the_default_and_where_machines_are() {
    let lab = lab();
    let list = |name: &str, value: &str| {
        let command = lab.command(&["lane", "list"]).env("PATH", "/nowhere").env(name, value);
        command.may_make("nothing").run().exits_with(0).stdout
    };
    assert!(list("BACKSTAFF_LANE", "nowhere").contains("* nowhere  attach  draft"));
    assert!(list("BACKSTAFF_LANE", "west").contains("\"west\", is not there"));
    assert!(list("BACKSTAFF_SPICE", "localhost:1").contains("  nowhere  attach  validated"));
}

#[test]
fn without_qemu_a_machine_is_a_draft_and_with_it_validated() {
    let lab = Lab::bare().file("lanes/tcg.toml", "kind = \"qemu\"\n[firmware]\nbios = \"f.fd\"\n");
    let text = listed(&lab, &[]).exits_with(0).text();
    insta::assert_snapshot!(text, @r#"
      tcg  qemu    draft      lanes/tcg.toml
        no executable qemu-system-x86_64 in PATH "/nowhere"
        firmware "[lab]/lanes/f.fd" cannot be read: No such file or
        directory (os error 2)
    the lane for runs that name none, "sim", is built in
    "#);
    let Some(lab) = Lab::with_rom("a list of machines") else { return };
    let finished = lab.command(&["lane", "list"]).may_make("nothing").run().exits_with(0).within(60);
    insta::assert_snapshot!(finished.text(), @r"
    * rom  qemu    validated  lanes/rom.toml
    * the lane for runs that name none
    ");
}

#[test]
fn no_profiles_are_no_error_and_a_wrong_project_is() {
    insta::assert_snapshot!(listed(&Lab::bare(), &[]).exits_with(0).text(), @r#"
    there are no profiles
    the lane for runs that name none, "sim", is built in
    "#);
    let lab = Lab::bare().file("backstaff.toml", "lain = \"east\"\n");
    let text = listed(&lab, &[]).exits_with(3).text();
    assert!(text.contains("backstaff.toml") && text.contains("line 1"), "{text}");
}
