//! What a file can declare: lanes, cases, and what is left out for the moment.

use backstaff::script::{Case, LoadError, Outcome, Scenario, Script, load};
use serde_json::json;

use super::machine::TestMachine;

fn declared(source: &str) -> Vec<Scenario> {
    let script = Script { path: "case.lua".into(), source: source.into() };
    load(&script).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn refused(source: &str) -> String {
    let script = Script { path: "case.lua".into(), source: source.into() };
    match load(&script) {
        Err(LoadError::Script(failure)) => {
            assert!(failure.place.is_some(), "{source}: {failure}");
            failure.to_string()
        }
        other => panic!("{source}: {other:?}"),
    }
}

fn cases(source: &str) -> Vec<Case> {
    declared(source).into_iter().map(|scenario| scenario.case.unwrap()).collect()
}

#[test]
fn a_list_of_cases_keeps_its_order_and_names_what_has_no_name() {
    let list = "{ { name = 'z', user = 'root', deep = { 1, { a = true } } }, { port = 22, user = 'guest' } }";
    for source in [
        format!("scenario('a', {{ params = {list} }}, function() end)"),
        format!("scenario('a', function() end).cases {list}"),
        format!("scenario('a', function() end):cases {list}"),
    ] {
        let cases = cases(&source);
        assert_eq!((&*cases[0].name, &*cases[1].name), ("z", "port=22, user=guest"), "{source}");
        assert_eq!(json!(cases[0].params), json!({ "user": "root", "deep": [1, { "a": true }] }));
        assert_eq!(json!(cases[1].params), json!({ "port": 22, "user": "guest" }));
    }
}

#[test]
fn named_cases_come_in_the_order_of_their_names() {
    let found = cases("scenario('a', function() end).cases { b = { name = 'x' }, a = {}, c = {} }");
    assert_eq!(found.iter().map(|case| &*case.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(json!(found[1].params), json!({ "name": "x" }), "among names, `name` is a parameter");
}

#[test]
fn cases_stand_where_their_scenario_does() {
    let found = declared(
        "scenario('a', function() end)\nscenario('b', function() end).cases { { x = 1 }, { x = 2 } }\nscenario('c', function() end)",
    );
    let names: Vec<_> = found.iter().map(|one| (&*one.name, one.index, one.place.line)).collect();
    assert_eq!(names, [("a", 0, 1), ("b", 1, 2), ("b", 1, 2), ("c", 2, 3)]);
}

#[tokio::test]
async fn a_case_runs_its_own_scenario_and_the_command_line_wins_over_it() {
    let source = "scenario('a', function(t) t:log('wrong') end)
        scenario('b', function(t)
          expect(t.params):equals { user = 'root', port = 22, list = { 1, 2 } }
        end).cases { { user = 'guest', port = 22, list = { 1, 2 } } }";
    let script = Script { path: "case.lua".into(), source: source.into() };
    let scenario = load(&script).unwrap().remove(1);
    let outcome = TestMachine::new().run_scenario(script, scenario).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[test]
fn lanes_have_names_of_the_scenario() {
    let scenario = declared("scenario('a', { lane = 'qemu' }, function() end)").remove(0);
    assert_eq!((scenario.lane.as_deref(), scenario.lanes.len()), (Some("qemu"), 0));
    let scenario =
        declared("scenario('a', { lanes = { a = 'sim', _b2 = 'sim' } }, function() end)").remove(0);
    assert_eq!(json!(scenario.lanes), json!({ "a": "sim", "_b2": "sim" }));
    assert_eq!(scenario.lane, None);
}

#[test]
fn only_is_an_option_and_a_call() {
    let found = declared(
        "scenario('a', function() end)
        scenario.only('b', function() end).cases { { x = 1 }, { x = 2 } }
        scenario('c', { only = true }, function() end)
        scenario.only('d', { tags = { 'x' } }, function() end)",
    );
    let only: Vec<bool> = found.iter().map(|one| one.is_only).collect();
    assert_eq!(only, [false, true, true, true, true]);
}

#[test]
fn a_wrong_declaration_names_what_was_meant() {
    let many: String = (0..17).map(|number| format!("l{number} = 'x', ")).collect();
    let cases = [
        (
            "scenario('a', { laness = {} }, function() end)",
            "scenario: unknown option `laness`, did you mean `lanes`?",
        ),
        (
            "scenario('a', { parms = {} }, function() end)",
            "scenario: unknown option `parms`, did you mean `params`?",
        ),
        (
            "scenario('a', { onyl = true }, function() end)",
            "scenario: unknown option `onyl`, did you mean `only`?",
        ),
        ("scenario('a', { lane = ' ' }, function() end)", "scenario: option `lane` is empty"),
        (
            "scenario('a', { lane = 1 }, function() end)",
            "scenario: option `lane` wants a string, got the number 1",
        ),
        (
            "scenario('a', { lane = 'x', lanes = { a = 'y' } }, function() end)",
            "scenario: `lane` and `lanes` exclude each other",
        ),
        ("scenario('a', { lanes = {} }, function() end)", "scenario: 0 lanes, wanted 1 to 16"),
        (
            &format!("scenario('a', {{ lanes = {{ {many} }} }}, function() end)"),
            "scenario: 17 lanes, wanted 1 to 16",
        ),
        (
            "scenario('a', { lanes = { 'x' } }, function() end)",
            "scenario: option `lanes` wants a table such as `{ a = \"NAME\", b = \"NAME\" }`, got the number 1 as a key",
        ),
        (
            "scenario('a', { lanes = { ['a b'] = 'x' } }, function() end)",
            "scenario: option `lanes`: \"a b\" is not a name",
        ),
        (
            "scenario('a', { lanes = { a = 3 } }, function() end)",
            "scenario: option `lanes`: `a` is the name of a profile, got the number 3",
        ),
        (
            "scenario('a', { only = 1 }, function() end)",
            "scenario: option `only` wants true or false, got the number 1",
        ),
        (
            "scenario('a', { params = {} }, function() end)",
            "scenario: option `params`: there is no case in the table",
        ),
        ("scenario('a', function() end).cases {}", "scenario(…).cases: there is no case in the table"),
        (
            "scenario('a', function() end).cases(3)",
            "scenario(…).cases: wants a table of cases, got the number 3",
        ),
        (
            "scenario('a', function() end):cases()",
            "scenario(…).cases: wants a table of cases, got a userdata",
        ),
        (
            "scenario('a', function() end).cases { 'x' }",
            "scenario(…).cases: case 1: wants a table of parameters, got the string \"x\"",
        ),
        (
            "scenario('a', function() end).cases { { 1 } }",
            "scenario(…).cases: case 1: wants a table of parameters, got a list",
        ),
        (
            "scenario('a', function() end).cases { {} }",
            "scenario(…).cases: case 1 has neither a name nor a value",
        ),
        (
            "scenario('a', function() end).cases { { name = 3 } }",
            "scenario(…).cases: case 1: `name` is a string, got 3",
        ),
        (
            "scenario('a', function() end).cases { { x = print } }",
            "scenario(…).cases: case 1: a function is not a plain value",
        ),
        (
            "scenario('a', function() end).cases { { x = 1 }, b = {} }",
            "scenario(…).cases: wants either a list of cases or named ones, got both",
        ),
        (
            "scenario('a', function() end).cases { { x = 1 }, { x = 1 } }",
            "scenario(…).cases: cases 1 and 2 are both named \"x=1\"",
        ),
        (
            "scenario('a', { params = { { x = 1 } } }, function() end).cases { { x = 2 } }",
            "scenario(…).cases: this scenario has its cases already",
        ),
        ("scenario('a', function() end).csaes {}", "scenario(…): there is no `csaes`, did you mean `cases`?"),
        ("scenario.olny('a', function() end)", "scenario: there is no `olny`, did you mean `only`?"),
        ("scenario.only = 3", "scenario: `only` cannot be set"),
        ("scenario('a', {}, 3)", "scenario: wants (name, [options], function), got the number 3"),
        ("scenario('a', 3, function() end)", "scenario: options are a table, got the number 3"),
    ];
    for (source, wanted) in cases {
        assert_eq!(refused(source), format!("case.lua:1: {wanted}"));
    }
}

#[tokio::test]
async fn nothing_is_declared_while_a_scenario_runs() {
    let source = "local declared
        declared = scenario('it', { timeout = 20 }, function(t)
          for _, late in ipairs { function() scenario('b', function() end) end,
            function() scenario.only('b', function() end) end, function() declared.cases { { x = 1 } } end } do
            local ok, err = pcall(late)
            expect(ok):equals(false)
            expect(err.message):equals('scenario: scenarios are declared at the top level of a file')
          end
        end)";
    let outcome = TestMachine::new().run_file(source).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}
