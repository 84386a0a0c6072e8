//! `backstaff man`: the pages are there, complete, and in order.

use std::process::{Command, Stdio};

use backstaff::reference::reference;
use backstaff::runner::project::KEYS;

use super::lab::{Finished, Lab, skipped};

fn man(lab: &Lab, dir: &str) -> Finished {
    lab.command(&["man", dir]).may_make("").run()
}

fn page(lab: &Lab, name: &str) -> String {
    let page = std::fs::read_to_string(lab.path("pages").join(name));
    // As people read it, without the escapes of roff.
    page.unwrap_or_else(|error| panic!("{name}: {error}"))
        .replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\&", "")
}

#[test]
fn every_command_key_and_name_has_its_place() {
    let lab = Lab::bare();
    let _ = man(&lab, "pages")
        .exits_with(0)
        .says(&["pages written to pages\nread them with: man -l pages/backstaff.1\n"]);
    let program = page(&lab, "backstaff.1");
    let help = lab.run(&["--help"]).exits_with(0).stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help" && line_begins(commands, name)).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(program.contains(&format!("backstaff-{name}(1)")), "{name}");
        let own = page(&lab, &format!("backstaff-{name}.1"));
        assert!(own.contains(".SH SYNOPSIS") && own.contains(".SH \"SEE ALSO\""), "{name}: {own}");
    }
    let run = page(&lab, "backstaff-run.1");
    assert!(
        run.contains("--until-failure") && run.contains("BACKSTAFF_LANE") && run.contains(".SH EXAMPLES"),
        "{run}"
    );
    assert!(page(&lab, "backstaff-lane-plan.1").contains(".SH \"EXIT STATUS\""));
    let project = page(&lab, "backstaff.toml.5");
    for key in KEYS {
        assert!(project.contains(&format!("\\fB{}\\fR", key.name)), "{}: {project}", key.name);
    }
    let lua = page(&lab, "backstaff-lua.7");
    let reference = reference();
    for class in &reference.classes {
        for method in &class.methods {
            assert!(lua.contains(&method.signature), "{}", method.signature);
        }
    }
    assert!(reference.functions.iter().all(|function| lua.contains(&function.signature)));
}

/// Whether a command of this name begins a line, rather than a word of a description that goes on there.
fn line_begins(commands: &str, name: &str) -> bool {
    commands.lines().any(|line| line.starts_with(&format!("  {name} ")) || line == format!("  {name}"))
}

#[test]
fn formatters_find_nothing_wrong() {
    let lab = Lab::bare();
    let _ = man(&lab, "pages").exits_with(0);
    if Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skipped("manual pages", "no groff");
    }
    let mut pages = 0;
    for entry in std::fs::read_dir(lab.path("pages")).unwrap() {
        let path = entry.unwrap().path();
        for device in ["ascii", "utf8", "ps"] {
            let run =
                Command::new("groff").args(["-man", "-ww", "-z", "-T", device]).arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success() && said.is_empty(), "{}: {said}", path.display());
        }
        pages += 1;
    }
    assert!(pages > 20, "{pages} pages");
}

#[test]
fn what_is_somebody_elses_is_never_overwritten() {
    let lab = Lab::bare().file("pages/backstaff-run.1", ".TH MINE 1\n").file("notes", "");
    let refused = |dir: &str| lab.command(&["man", dir]).may_make("nothing").run().exits_with(2).text();
    insta::assert_snapshot!(refused("pages"), @r"
    [stderr]
    error: pages/backstaff-run.1: this is no page of ours
    hint: nothing was written; remove it, or name another DIR
    ");
    assert!(refused("notes").contains("notes: this is no folder"));
    std::fs::remove_file(lab.path("pages/backstaff-run.1")).unwrap();
    let _ = man(&lab, "pages").exits_with(0);
    // Our own are written again.
    std::fs::write(lab.path("pages/backstaff.1"), page(&lab, "backstaff.1") + "more\n").unwrap();
    let _ = man(&lab, "pages").exits_with(0);
    assert!(!page(&lab, "backstaff.1").ends_with("more\n"));
}
