//! Where runs leave things, wherever they are.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backstaff::journal::ndjson;

use crate::cli::lab::{Lab, files, run_folders};

const SMOKE: &str = "t:step('the line', function() t.serial:wait_for('one line') end)\n\
                     t:step('the prompt', function() t.serial:wait_for('login: $') end)";

/// Names of all files below `folder`, sorted, a line each.
fn listing(folder: &Path) -> String {
    let mut names: Vec<String> = files(folder)
        .iter()
        .map(|(path, _)| path.strip_prefix(folder).unwrap().display().to_string())
        .collect();
    names.sort();
    names.join("\n")
}

#[test]
fn a_run_leaves_a_folder_with_everything_and_nothing_else() {
    let Some(lab) = Lab::with_rom("what a run leaves") else { return };
    let lab = lab.scenario("", SMOKE);
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    insta::assert_snapshot!(listing(&lab.run_folder()), @r"
    01-it/attempt-1/journal.ndjson
    01-it/attempt-1/plan.json
    01-it/attempt-1/qemu.log
    01-it/attempt-1/screenshots/01-the-line.png
    01-it/attempt-1/screenshots/02-the-prompt.png
    01-it/attempt-1/serial.log
    run.ndjson
    ");
    let attempt = lab.attempt();
    let read = |name: &str| std::fs::read_to_string(attempt.join(name)).unwrap();
    assert_eq!(read("serial.log"), "rom: one line\r\nrom: login: ");
    let plan: serde_json::Value = serde_json::from_str(&read("plan.json")).unwrap();
    assert_eq!(plan["profile"], "rom");
    assert!(!ndjson::load(&attempt.join("journal.ndjson")).unwrap().is_empty());
}

#[test]
fn the_reference_guest_leaves_a_picture_per_step() {
    let Some(lab) = Lab::with_guest("pictures of the reference guest") else { return };
    let body =
        "t:step('awaiting', function() t.digest:wait_for(any) end)\nt:step('and again', function() end)";
    let lab = lab.scenario("", body);
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    insta::assert_snapshot!(listing(&lab.attempt().join("screenshots")), @r"
    01-awaiting.png
    02-and-again.png
    ");
}

/// The home and the temporary folder lie in the lab, so whatever is made there, or beside the scripts, is noticed.
#[test]
fn the_whole_suite_passes_and_makes_files_below_logs_only() {
    let Some(lab) = Lab::with_guest("the whole suite") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["scenarios", "fixtures/guest"] {
        for (path, _) in files(&root.join(folder)) {
            let copy = lab.path(path.strip_prefix(root).unwrap().to_str().unwrap());
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(path, copy).unwrap();
        }
    }
    let all = lab.run(&["run", "--lane", "sextant"]).exits_with(0).says(&[
        "canonical.lua",
        "rewind.lua",
        " passed, 0 failed, 0 skipped",
    ]);
    let passed = all.stdout.matches("\nPASS ").count();
    assert_eq!(run_folders(&lab.path("logs")).len(), 1);
    assert_eq!(std::fs::read_dir(lab.run_folder()).unwrap().count(), passed + 1, "and `run.ndjson`");
}

#[test]
fn scenarios_share_a_run_and_have_folders_of_their_own() {
    let Some(lab) = Lab::with_rom("folders of scenarios") else { return };
    let script = "scenario('../../etc/passwd', function() end)\nscenario('🚀', function() end)\n\
                  scenario(('very long '):rep(500), function() end)\nscenario('a/b\\nc', function() end)";
    let lab = lab.file("a.lua", script);
    let _ = lab.run(&["run", "a.lua"]).exits_with(0);
    let mut names: Vec<String> = std::fs::read_dir(lab.run_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    insta::assert_snapshot!(names.join("\n"), @r"
    01-etc-passwd
    02-scenario
    03-very-long-very-long-very-long-very-long-very-lon
    04-a-b-c
    run.ndjson
    ");
}

#[test]
fn runs_that_begin_in_the_same_second_do_not_meet() {
    let Some(lab) = Lab::with_rom("two runs side by side") else { return };
    let lab = lab.scenario("", SMOKE);
    let runs = [(); 2].map(|()| lab.command(&["run", "a.lua"]).start());
    for running in &runs {
        running.wait_for("passed, ");
    }
    for running in runs {
        let _ = running.finish().exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
    }
    assert_eq!(lab.run_folders().len(), 2);
}

#[test]
fn folders_may_have_spaces_quotes_and_letters_of_any_language() {
    let Some(lab) = Lab::with_rom("awkward folders") else { return };
    let lab = lab.file(
        "l'été à Kraków, 起動/mes scénarios/a b.lua",
        &format!("scenario('ça', function(t)\n{SMOKE}\nend)"),
    );
    let _ = lab
        .command(&["run", "mes scénarios", "--artifacts", "mes traces"])
        .within("l'été à Kraków, 起動")
        .may_make("l'été à Kraków, 起動/mes traces")
        .run()
        .exits_with(0)
        .says(&["RUN   ça (mes scénarios/a b.lua:1)", "1 passed"]);
    let runs = run_folders(&lab.path("l'été à Kraków, 起動/mes traces"));
    let [run] = &*runs else { panic!("one run wanted, got {runs:?}") };
    assert!(run.join("01-a/attempt-1/screenshots/01-the-line.png").exists(), "{}", listing(run));
}

#[test]
fn artifacts_may_lie_deeper_than_the_path_of_a_socket() {
    let Some(lab) = Lab::with_rom("deep artifacts") else { return };
    let deep = ["a-folder-with-a-long-name"; 8].join("/");
    assert!(deep.len() > 200);
    let _ = lab
        .scenario("", SMOKE)
        .command(&["run", "a.lua", "--artifacts", &deep])
        .may_make("a-folder-with-a-long-name")
        .run()
        .exits_with(0)
        .says(&["1 passed"]);
}

#[test]
fn a_place_that_cannot_be_written_to_is_a_mistake_of_usage() {
    let Some(lab) = Lab::with_rom("a place that cannot be written to") else { return };
    let lab = lab
        .scenario("", "")
        .file("logs", "somebody's notes")
        .file("locked/a.lua", "scenario('a', function() end)");
    let finished = lab.command(&["run", "a.lua"]).may_make("nothing").run().exits_with(2);
    insta::assert_snapshot!(finished.text(), @r"
    [stderr]
    error: create the run's folder in logs: File exists (os error 17)
    hint: `--artifacts DIR` names a folder that may be written to
    ");

    std::fs::set_permissions(lab.path("locked"), std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(lab.path("locked/probe"), "").is_ok() {
        std::fs::remove_file(lab.path("locked/probe")).unwrap();
        return eprintln!("SKIPPED a read-only working directory: permissions do not bind this user");
    }
    let finished = lab.command(&["run", "a.lua"]).within("locked").run().exits_with(2);
    assert!(
        finished.stderr.contains("create the run's folder in logs: Permission denied"),
        "{}",
        finished.stderr
    );
}
