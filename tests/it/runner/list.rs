//! `backstaff list`, and which tests filters, marks, cases and parts select.

use std::collections::BTreeSet;

use backstaff::journal::run::load;
use serde_json::{Value, json};

use crate::cli::lab::{Finished, Lab};

const SCRIPT: &str = "
scenario('boots', { lane = 'none', tags = { 'smoke' } }, function(t) end)
scenario('logs in', { tags = { 'smoke', 'slow' }, needs = { 'keyboard' },
  params = { root = { user = 'root' }, guest = { user = 'guest' } } }, function(t) end)
scenario('talks', { lanes = { left = 'sim', right = 'none' } }, function(t) end)
";

fn ids(finished: &Finished) -> Vec<String> {
    finished.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_list_says_what_would_run_and_makes_nothing() {
    let lab = Lab::bare().file("suite/a.lua", SCRIPT);
    insta::assert_snapshot!(lab.run(&["list", "suite"]).exits_with(0).text(), @r"
    suite/a.lua
         2  boots  none, #smoke
         3  logs in [guest]  sim, #smoke, #slow, needs keyboard
         3  logs in [root]  sim, #smoke, #slow, needs keyboard
         5  talks  left=sim,right=none
    4 tests
    ");
    let json = lab.run(&["list", "suite", "--format", "json"]).exits_with(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["format"], &json["version"]), (&"backstaff-list".into(), &1.into()));
    assert_eq!(json["tests"][2]["id"], "suite/a.lua::logs in[root]@sim");
    assert_eq!(json["tests"][2]["params"]["user"], "root");
    assert_eq!(json["tests"][3]["lanes"]["left"], "sim");
    assert!(json["list_digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(!lab.path("logs").exists());
}

#[test]
fn filters_and_exclusions_choose() {
    let lab = Lab::bare().file("a.lua", SCRIPT).file("b/more.lua", "scenario('more', function(t) end)");
    for (arguments, wanted) in [
        (&["--filter", "boots"][..], &["boots"][..]),
        (&["-f", "tag(smoke) and not tag(slow)"], &["boots"]),
        (&["-f", "case(root) or file(more)"], &["logs in[root]", "more"]),
        (&["-f", "lane(none)"], &["boots", "talks"]),
        (&["-f", "capability(keyboard)", "--exclude", "case(root)"], &["logs in[guest]"]),
        (&["-f", "boots", "-f", "more"], &["boots", "more"]),
        (&["--tag", "slow"], &["logs in[guest]", "logs in[root]"]),
        (&["--exclude", "tag(smoke) | talks"], &["more"]),
    ] {
        let all = [&["list", ".", "--format", "ids"], arguments].concat();
        let found = ids(&lab.run(&all).exits_with(0));
        let names = found.iter().map(|id| id.split_once("::").unwrap().1.rsplit_once('@').unwrap().0);
        assert_eq!(names.collect::<Vec<_>>(), wanted, "{arguments:?}");
    }
    insta::assert_snapshot!(lab.run(&["list", ".", "-f", "taq(smoke)"]).exits_with(2).text(), @r"
    [stderr]
    error: invalid value 'taq(smoke)' for '--filter <EXPR>': no question `taq(…)`; did you mean `tag`?
      taq(smoke)
      ^

    For more information, try '--help'.
    ");
    let nothing = lab.run(&["list", ".", "-f", "no such thing"]).exits_with(4);
    let _ = nothing.says(&["nothing was selected: the scripts declare 5 scenarios", "hint: "]);
}

#[test]
fn ignore_files_and_scripts_that_do_not_load_are_respected() {
    let lab = Lab::bare()
        .file("a.lua", "scenario('a', function(t) end)")
        .file("drafts/b.lua", "scenario('b', function(t) end)")
        .file("old.lua", "scenario('old', function(t) end)")
        .file(".ignore", "drafts/\n")
        .file(".backstaffignore", "old.lua\n");
    assert_eq!(ids(&lab.run(&["list", ".", "--format", "ids"]).exits_with(0)), ["a.lua::a@sim"]);
    // What somebody names is not ignored.
    let named = ids(&lab.run(&["list", "a.lua", "old.lua", "drafts", "--format", "ids"]).exits_with(0));
    assert_eq!(named, ["a.lua::a@sim", "old.lua::old@sim", "drafts/b.lua::b@sim"]);
    let lab = lab.file("broken.lua", "scenario('x',\n");
    let listed = lab.run(&["list", "."]).exits_with(3);
    let _ = listed.says(&["a.lua", "1 test", "a script does not load: ", "broken.lua"]);
}

#[test]
fn what_is_marked_runs_alone_and_ci_refuses_it() {
    let lab = Lab::bare().file(
        "a.lua",
        "scenario('a', { lane = 'none' }, function(t) end)\n\
         scenario('b', { lane = 'none', only = true }, function(t) end)\n",
    );
    let _ = lab.run(&["run", "."]).exits_with(0).says(&["marked with `only`", "PASS  b", "1 passed"]);
    let refused = lab.command(&["run", "."]).env("CI", "true").run().exits_with(3);
    let _ =
        refused.says(&["\"b\" is marked to run alone, and CI runs everything", "hint: take the `only` away"]);
}

#[test]
fn parts_are_disjoint_and_complete_and_ci_says_which_one_this_is() {
    let tests: String = (0..20)
        .map(|number| format!("scenario('t{number}', {{ lane = 'none' }}, function(t) end)\n"))
        .collect();
    // The last one was never measured.
    let known = (0..19).map(|number| {
        let took_ms = if number == 3 { 9_000 } else { 10 };
        (format!("a.lua::t{number}@none"), json!({"took_ms": took_ms, "runs": 1}))
    });
    let known: serde_json::Map<String, Value> = known.collect();
    let timings = json!({"format": "backstaff-timings", "version": 1, "tests": known});
    let lab = Lab::bare().file("a.lua", &tests).file("timings.json", &timings.to_string());
    let all: BTreeSet<String> = ids(&lab.run(&["list", "a.lua", "--format", "ids"])).into_iter().collect();
    for extra in [&[][..], &["--timings", "timings.json"]] {
        let mut together = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            let arguments = [&["list", "a.lua", "--format", "ids", "--shard", part], extra].concat();
            together.extend(ids(&lab.run(&arguments).exits_with(0)));
        }
        assert_eq!(together.len(), all.len(), "no test twice");
        assert_eq!(together.into_iter().collect::<BTreeSet<_>>(), all);
    }
    // The one that takes as long as all others is alone.
    let alone = ["1/2", "2/2"].map(|part| {
        ids(&lab.run(&["list", "a.lua", "--format", "ids", "--timings", "timings.json", "--shard", part]))
            .len()
    });
    assert_eq!(alone, [1, 19]);
    let gitlab = lab.command(&["run", "a.lua"]).env("CI_NODE_INDEX", "2").env("CI_NODE_TOTAL", "4");
    let finished = gitlab.run().exits_with(0);
    let _ = finished
        .says(&["part 2 of 4 of a list of 20", "note: part 2 of 4, as CI_NODE_INDEX and CI_NODE_TOTAL say"]);
    let run = load(&lab.run_folder()).unwrap();
    assert_eq!(run.began.shard.map(|shard| (shard.index, shard.total)), Some((2, 4)));
    assert_eq!((run.began.list_tests, run.tests.len()), (20, usize::try_from(run.began.tests).unwrap()));
    let _ =
        lab.run(&["run", "a.lua", "--shard", "5/4"]).exits_with(2).says(&["wants I/N with I from 1 to N"]);
    let _ = lab.run(&["run", "a.lua", "--timings", "a.lua"]).exits_with(2).says(&["a.lua", "hint: "]);
}
