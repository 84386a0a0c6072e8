//! `backstaff init`: the folder it makes runs, and what is there already stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::lab::{Finished, Lab, files};

/// Runs `backstaff init`, which may make whatever it wants.
fn init(lab: &Lab, arguments: &[&str]) -> Finished {
    lab.command(&[&["init"], arguments].concat()).may_make("").run()
}

/// Every file below a folder with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files(folder).into_iter().filter(|(_, metadata)| metadata.is_file());
    files.map(|(path, _)| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn the_new_folder_runs_at_once() {
    let lab = Lab::bare();
    let made = init(&lab, &[]).exits_with(0);
    insta::assert_snapshot!(made.text(), @r"
    wrote    backstaff.toml                   the project: its lane
    wrote    scenarios/first.lua              an example to change
    wrote    lanes/machine.toml               a machine of your own
    wrote    .backstaff/types/backstaff.lua   what editors know of the API
    wrote    .luarc.json                      for the Lua language server
    wrote    .emmyrc.json                     for EmmyLua
    wrote    .gitignore                       what runs make stays out of git
    wrote    .github/workflows/backstaff.yml  a workflow

    8 files written

    next:
      backstaff run                run the scenarios, here on the simulated lane
      backstaff trace html         make a page of what happened
      $EDITOR scenarios/first.lua  change it; your editor knows the names
      backstaff check              find mistakes without running anything
      backstaff lane plan machine  see what a machine of your own lacks
    ");
    let _ = lab.run(&["run"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
    let _ = lab.run(&["check"]).exits_with(0);
    let _ = lab.run(&["list"]).exits_with(0).says(&["boots when enter is pressed  sim, #smoke"]);
    let _ = lab.run(&["lane", "list"]).exits_with(0).says(&["machine  qemu    draft"]);
}

#[test]
fn a_second_time_changes_nothing_and_says_so() {
    let lab = Lab::bare();
    let _ = init(&lab, &["some where", "--ci", "gitlab"]).exits_with(0).says(&["cd -- 'some where'"]);
    let before = contents(&lab.path("some where"));
    assert!(before.keys().any(|path| path.ends_with(".gitlab-ci.yml")), "{:?}", before.keys());
    let again = init(&lab, &["some where", "--ci", "gitlab"]).exits_with(0);
    insta::assert_snapshot!(again.text(), @"nothing to do: all 8 files are there as they should be");
    assert_eq!(contents(&lab.path("some where")), before);
    let _ = lab.command(&["run"]).within("some where").may_make("some where/logs").run().exits_with(0);
}

#[test]
fn what_is_there_is_kept_and_named() {
    let lab = Lab::bare()
        .file(".gitignore", "/target/\n")
        .file(".luarc.json", "{}\n")
        .file("scenarios/mine.lua", "scenario('mine', function() end)\n")
        .file("lanes/east.toml", "kind = \"sim\"\n");
    let before = contents(&lab.path(""));
    let made = init(&lab, &["--ci", "none"]).exits_with(0).text();
    for wanted in [
        "kept     .gitignore                      there before; add the line `logs/`",
        "kept     .luarc.json                     there before; add \".backstaff/types\" to its workspace library",
        "left out scenarios/first.lua             there are scenarios",
        "left out lanes/machine.toml              there are lanes",
        "wrote    backstaff.toml ",
        "3 files written",
    ] {
        assert!(made.contains(wanted), "{wanted}\n{made}");
    }
    let after = contents(&lab.path(""));
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
    assert!(!lab.path(".github").exists());
    let again = init(&lab, &["--ci", "none"]).exits_with(0).text();
    assert!(again.ends_with("nothing was written: everything is there\n"), "{again}");
    assert_eq!(contents(&lab.path("")), after);
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::bare();
    let said = lab.command(&["init", "new", "--dry-run"]).may_make("nothing").env("COLUMNS", "40").run();
    let text = said.exits_with(0).text();
    assert!(text.starts_with("would write backstaff.toml\nwould write scenarios/first.lua\n"), "{text}");
    assert!(text.ends_with("nothing was written; 8 files would be\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 44), "{text}");
    assert!(!lab.path("new").exists());
}

#[test]
fn what_is_in_the_way_is_named_before_anything_is_written() {
    let lab =
        Lab::bare().file("notes", "").file("full/scenarios", "").file("full/.github/workflows/a.yml", "");
    let refused = |arguments: &[&str]| {
        lab.command(&[&["init"], arguments].concat()).may_make("nothing").run().exits_with(2).text()
    };
    insta::assert_snapshot!(refused(&["notes"]), @r"
    [stderr]
    error: notes: this is no folder
    hint: `backstaff init DIR` makes DIR, or adds to a folder that is there
    ");
    insta::assert_snapshot!(refused(&["full"]), @r"
    [stderr]
    error: full/scenarios: this is no folder, and scenarios/first.lua goes there
    hint: nothing was written; rename it, or name another DIR
    ");
    let text = refused(&["notes/below"]);
    assert!(text.contains("write notes/below/backstaff.toml: Not a directory"), "{text}");
    assert!(text.contains("nothing was written"), "{text}");
    std::os::unix::fs::symlink("nowhere", lab.path("full/loose")).unwrap();
    assert!(refused(&["full/loose"]).contains("full/loose: this is no folder"));
}

#[test]
fn a_folder_that_may_not_be_written_to_says_what_was_written() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::bare();
    let Some(refused) = lab.command_as_nobody("init", &["init"]) else { return };
    let text = refused.may_make("nothing").run().exits_with(2).text();
    assert!(text.contains("write ./backstaff.toml: Permission denied"), "{text}");
    assert!(text.contains("nothing was written; `backstaff init` again adds what is missing"), "{text}");
}

#[test]
fn below_the_root_of_a_checkout_the_workflow_knows_its_folder() {
    let lab = Lab::bare().file("checkout/.git/HEAD", "ref: refs/heads/main\n");
    let made = init(&lab, &["checkout/console tests"]).exits_with(0).text();
    assert!(made.contains("at the root of the repository only; move it there"), "{made}");
    let workflow =
        std::fs::read_to_string(lab.path("checkout/console tests/.github/workflows/backstaff.yml")).unwrap();
    assert!(workflow.contains("working-directory: \"console tests\"\n"), "{workflow}");
    assert!(workflow.contains("path: \"console tests/logs/\"\n"), "{workflow}");
    assert!(!workflow.contains("@FOLDER@") && !workflow.contains("@LOGS@"), "{workflow}");
    let at_root = init(&lab, &["checkout"]).exits_with(0).text();
    assert!(!at_root.contains("move it there"), "{at_root}");
}
