use std::collections::BTreeSet;

use proptest::prelude::*;

use super::names::{GLOBALS, LIBRARIES};
use super::{Finding, Rule, Severity, lint, parser};
use crate::reference::reference;
use crate::script::Script;
use crate::script::sandbox::{Sandbox, StopFlag};

fn look(source: &str) -> Vec<Finding> {
    lint(&Script { path: "a.lua".into(), source: source.into() })
}

/// `line:column rule: message` of each finding.
fn said(source: &str) -> Vec<String> {
    let say = |finding: Finding| {
        let place = finding.spot.map(|spot| format!("{}:{}+{}", spot.line, spot.column, spot.length));
        format!("{} {}: {}", place.unwrap_or_default(), finding.rule.name(), finding.message)
    };
    look(source).into_iter().map(say).collect()
}

/// The findings in a scenario's function.
fn said_inside(body: &str) -> Vec<String> {
    said(&format!("scenario('it', function(t)\n{body}\nend)"))
}

#[track_caller]
fn is_clean(source: &str) {
    assert_eq!(said(source), Vec::<String>::new(), "{source}");
    assert!(mlua::Lua::new().load(without_first_line_of_system(source)).into_function().is_ok(), "{source}");
}

fn without_first_line_of_system(source: &str) -> &str {
    match source.starts_with('#') {
        true => source.split_once('\n').map_or("", |(_, rest)| rest),
        false => source,
    }
}

#[test]
fn mistakes_are_found_where_they_are() {
    let cases = [
        (
            "t.keyboard:pres('a') t:sleep(1)",
            "2:12+4 unknown-member: `t.keyboard` has no `pres`, did you mean `press`?",
        ),
        ("t:stpe('x', f)", "2:3+4 unknown-member: `t` has no `stpe`, did you mean `step`?"),
        ("t.keybord:press('a')", "2:3+7 unknown-member: `t` has no `keybord`, did you mean `keyboard`?"),
        (
            "t.lanes.a.digest:waitfor(any)",
            "2:18+7 unknown-member: `t.lanes.a.digest` has no `waitfor`, did you mean `wait_for`?",
        ),
        (
            "local k <const> = t.keyboard\nlocal function f() return k:prss('x') end",
            "3:29+4 unknown-member: `k` has no `prss`, did you mean `press`?",
        ),
        (
            "expect(1).within(2):equal(3)",
            "2:21+5 unknown-member: `expect(…).within(…)` has no `equal`, did you mean `equals`?",
        ),
        ("t:keyboard():press('a')", "2:3+8 unknown-member: `t.keyboard` is no method, and is not called"),
        (
            "t.serial:wait_for('x', { timeuot = 3 })",
            "2:26+7 unknown-option: serial:wait_for: unknown option `timeuot`, did you mean `timeout`?",
        ),
        (
            "t:step('x', { ['timeuot'] = 3 }, function() end)",
            "2:16+9 unknown-option: t:step: unknown option `timeuot`, did you mean `timeout`?",
        ),
        (
            "t:always('x', { seriel = never('y') })",
            "2:17+6 unknown-option: t:always: unknown option `seriel`, did you mean `serial`?",
        ),
        (
            "t.mouse:click { button = 'lefft' } t:eventually(f)",
            "2:26+7 unknown-choice: mouse:click: there is no \"lefft\", did you mean \"left\"?",
        ),
        (
            "t.lane.wait_for_shutdown()",
            "2:1+24 dot-call: `t.lane.wait_for_shutdown` is called without its object",
        ),
        (
            "t.digest:wait_for(at_leest(3))",
            "2:19+8 unknown-global: there is no global `at_leest`, did you mean `at_least`?",
        ),
        (
            "keyboard:press('a')",
            "2:1+8 unknown-global: there is no global `keyboard`, did you mean `t.keyboard`?",
        ),
        ("x()", "2:1+1 unknown-global: there is no global `x`"),
        ("os.exit()", "2:1+2 unknown-global: there is no global `os`"),
        ("t:log(sereal)", "2:7+6 nil-global: nothing sets the global `sereal`, so that it is `nil` here"),
        ("t:log(string.trim('x'))", "2:14+4 unknown-member: `string` has no `trim`"),
        (
            "t:step('in', function(inner) inner:sleeep(1) end)",
            "2:36+6 unknown-member: `inner` has no `sleeep`, did you mean `sleep`?",
        ),
        (
            "local function login(keyboard) keyboard:tpye('x') end\nlogin(t.keyboard)",
            "2:41+4 unknown-member: `keyboard` has no `tpye`, did you mean `type`?",
        ),
        (
            "if true then return t:sleeep(1) end",
            "2:23+6 unknown-member: `t` has no `sleeep`, did you mean `sleep`?",
        ),
        (
            "goto done local x = 1 ::done:: t:sleeep(1)",
            "2:34+6 unknown-member: `t` has no `sleeep`, did you mean `sleep`?",
        ),
        ("local n = 7 // t:sleeep(2)", "2:18+6 unknown-member: `t` has no `sleeep`, did you mean `sleep`?"),
    ];
    for (body, wanted) in cases {
        let found = said_inside(body);
        assert!(found.iter().any(|finding| finding == wanted), "{body}: {found:#?}");
        let missed = |finding: &&String| {
            *finding != wanted && !finding.contains(" nil-global: nothing sets the global `f`")
        };
        assert_eq!(found.iter().filter(missed).count(), 0, "{body}: {found:#?}");
    }
}

#[test]
fn what_a_file_says_at_its_top_is_looked_through_too() {
    assert_eq!(
        said(
            "scenario('a', { needs = { 'keybord' }, tmeout = 3 }, function() end)\nscenario('a', function() end)"
        ),
        [
            "1:27+9 unknown-choice: scenario: there is no \"keybord\", did you mean \"keyboard\"?",
            "1:40+6 unknown-option: scenario: unknown option `tmeout`, did you mean `timeout`?",
            "2:10+3 duplicate-name: a scenario named \"a\" is declared already in line 1",
        ]
    );
    assert_eq!(
        said("scenario.onyl('a', function() end)\nscenario('b', function() end).csaes {}"),
        [
            "1:10+4 unknown-member: `scenario` has no `onyl`, did you mean `only`?",
            "2:31+5 unknown-member: `scenario(…)` has no `csaes`, did you mean `cases`?",
        ]
    );
    let named = "local function story(t) t:sleeep(1) end\nscenario('a', story)\nscenario('b', {}, story)";
    assert_eq!(said(named), ["1:27+6 unknown-member: `t` has no `sleeep`, did you mean `sleep`?"]);
}

#[test]
fn scripts_as_people_write_them_are_clean() {
    let scripts = [
        "#!/usr/bin/env backstaff\nscenario('a', function(t) t:sleep(1) end)",
        "scenario('a', function(t)\r\n  t:sleep(1)\r\nend)\r\n",
        "local M = {}\nfunction M.login(keyboard, user) keyboard:type(user) keyboard:anything() end\nreturn M",
        "function helper(x) return x:whatever() end\nscenario('a', function(t) helper(t.params) other = 1 print(other) end)",
        "local unpack = table.unpack or unpack\nlocal pow = math.pow and math.pow(2, 3) or 2 ^ 3\nprint(unpack, pow)",
        "if jit then print(jit.version) end\nif not bit then bit = {} end\nprint(type(foo), foo == nil and 1)",
        "function string.trim(s) return s end\nprint(string.trim('x'))",
        "setmetatable(_G, { __index = function() return 1 end })\nprint(anything.at.all())",
        "scenario('a', function(t)\n  local keyboard = t.keyboard\n  keyboard = { pres = function() end }\n  keyboard:pres()\nend)",
        "scenario('a', function(t)\n  do local t = { stpe = print } t:stpe() end\n  for t in pairs({}) do t:x() end\nend)",
        "scenario('a', function(t)\n  local ok, err = pcall(t.serial.wait_for, t.serial, 'x', { timeout = 1 })\n  print(ok, err.kind)\nend)",
        "scenario('a', function(t)\n  for name, lane in pairs(t.lanes) do lane.keyboard:press(name) lane.anything() end\nend)",
        "local cases = { { user = 'root' }, { user = 'guest' } }\nfor _, case in ipairs(cases) do\n  scenario('a ' .. case.user, function(t) t:log(case.user) end)\nend",
        "for i = 1, 2 do scenario('same', function() end) end",
        "scenario('a', { lanes = { a = 'x', b = 'y' }, params = { { any = 1 } } }, function(t)\n  t.lanes.a.keyboard:press('x') t.lanes['b'].serial:wait_for('x')\nend)",
        "scenario('a', function(t)\n  local options = { tmeout = 1 }\n  t.serial:wait_for('x', options)\n  t.serial:wait_for('x', { [t.params.key] = 1 })\n  t:step('x', setmetatable({}, {}), function() end)\nend)",
        "scenario('a', function(t)\n  local line = t.serial:wait_for('x').text:upper():lower()\n  t:log((('x'):rep(3)), line, #line, -1, ~1, 7 // 2)\nend)",
        "scenario('a', function(t)\n  local steps = { one = function() t:sleep(1) end, [2] = function() end }\n  for _, step in pairs(steps) do t:step('x', step) end\nend)",
        "scenario('a', function(t)\n  goto over\n  t.keyboard:press('a')\n  ::over::\nend)",
        "local s = [==[ t:stpe() ]] ]==] -- t:stpe()\n--[[ t:stpe()\n]]\nprint(s, \"t:stpe() \\\" \\z\n   x\")",
        "scenario('a', function(t)\n  local waiting <close> = setmetatable({}, { __close = function() end })\n  t.lane:inject { stall = 'display', flip_pixel = { 1, 2 } }\nend)",
        "scenario('a', function(...)\n  local t = ...\n  t:anything { goes = 1 }\nend)",
        "scenario('a', function(t)\n  t.agent:clipboard { selection = 'primary' }\n  t.keyboard:layout(t.params.layout or 'nonsense')\nend)",
        "local _ENV = { anything = print }\nanything.goes(string.trim)",
        "---@meta x\nlocal Keyboard = {}\nfunction Keyboard:press() end\nscenario = nil\nundefined_thing()",
        "scenario.only('a', { tags = { 'x' } }, function(t) t:step('x', nil, function(s) s:sleep(1) end) end)",
    ];
    for script in scripts {
        is_clean(script);
    }
}

#[test]
fn input_that_nothing_waits_for_is_said_once_a_step() {
    let found = |body: &str| -> Vec<String> {
        let all = said_inside(body);
        all.iter().filter_map(|said| Some(said.split_once(" no-wait-after-input")?.0.to_owned())).collect()
    };
    for unseen in [
        ("t.keyboard:press('a')", vec!["2:1+16"]),
        ("t.serial:wait_for('x') t.keyboard:type('a') t:sleep(3)", vec!["2:24+15"]),
        ("t:step('x', function()\nt.keyboard:press('a')\nt.mouse:click()\nend)", vec!["4:1+13"]),
        (
            "t:step('x', function()\nt.keyboard:press('a')\nend)\nt:step('y', function(s)\ns.mouse:click()\nend)",
            vec!["3:1+16", "6:1+13"],
        ),
        ("if t.params.x then t.keyboard:press('a') end t:log('done')", vec!["2:20+16"]),
        ("t.lanes.a.keyboard:press('a')", vec!["2:1+24"]),
    ] {
        assert_eq!(found(unseen.0), unseen.1, "{}", unseen.0);
    }
    for seen in [
        "t.keyboard:press('a') t.digest:wait_for(any)",
        "t.keyboard:press('a') expect(t.serial):matches(any)",
        "t:step('x', function() t.keyboard:press('a') end) t:step('y', function() t.lane:wait_for_shutdown() end)",
        "for i = 1, 3 do t.serial:wait_for('x') t.keyboard:press('a') end",
        "repeat t.keyboard:press('a') until t.serial:lines()[1]",
        "while not t.digest:latest() do t.keyboard:press('a') end",
        "t:always('x', { serial = never('y') }) t.keyboard:press('a')",
        "t:spawn(function() t.serial:wait_for('x') end) t.keyboard:press('a')",
        "t.keyboard:press('a') login(t)",
        "pcall(function() t.keyboard:press('a') end)",
        "local function go() t.keyboard:press('a') end go()",
        "t:defer(function() t.keyboard:up('shift') end) t.keyboard:press('a')",
        "local keyboard = { press = print } keyboard:press('a')",
        "t:log('nothing at all')",
    ] {
        assert_eq!(found(seen), Vec::<String>::new(), "{seen}");
    }
    assert_eq!(said("local k = {}\nfunction k.f(t) t.keyboard:press('a') end"), Vec::<String>::new());
}

#[test]
fn a_comment_with_a_reason_allows_what_is_meant() {
    let silent = [
        "-- backstaff: allow(no-wait-after-input) the guest is off by now\nt.keyboard:press('a')",
        "t.keyboard:press('a') -- backstaff: allow(no-wait-after-input) the guest is off by now",
        "-- backstaff: allow(no-wait-after-input) two lines\n-- of reasons\n\nt:step('x', function()\n t.keyboard:press('a')\nend)",
        "t:step('x', function()\n  -- backstaff: allow(no-wait-after-input): inside\n  t.keyboard:press('a')\nend)",
        "t.serial:wait_for('x', {\n  -- backstaff: allow(unknown-option) of the next version\n  tmeout = 3,\n})",
        "--[[ backstaff: allow(unknown-member, unknown-global) of the next version ]]\nt:future(later())",
    ];
    for body in silent {
        assert_eq!(said_inside(body), Vec::<String>::new(), "{body}");
    }
    assert_eq!(
        said_inside("-- backstaff: allow(no-wait-after-input)\nt.keyboard:press('a')"),
        ["2:1+40 wrong-allow: `allow(no-wait-after-input)` does not say why"]
    );
    assert_eq!(
        said_inside("-- backstaff: allow(no-wait-after-input) x\nt:sleep(1)\nt.keyboard:press('a')").len(),
        2,
        "only the statement below is covered"
    );
    assert_eq!(
        said_inside("-- backstaff: allow(nowait-after-input) x\nt:sleep(1)"),
        [
            "2:1+41 wrong-allow: no rule that can be allowed is called `nowait-after-input`, did you mean `no-wait-after-input`?"
        ]
    );
    assert_eq!(
        said_inside("-- backstaff: please\nt:sleep(1)"),
        ["2:1+20 wrong-allow: `backstaff:` in a comment wants `allow(RULE) REASON`"]
    );
    assert_eq!(
        said_inside("t:sleep(1) -- backstaff: allow(unknown-option) x"),
        ["2:12+37 unused-allow: nothing here breaks `unknown-option`, so that there is nothing to allow"]
    );
}

#[test]
fn the_names_of_lua_are_those_of_the_sandbox() {
    let sandbox = Sandbox::new(&StopFlag::default(), || None).unwrap();
    let keys = |code: &str| -> BTreeSet<String> {
        let code =
            format!("local k = {{}} for n in pairs({code}) do k[#k + 1] = n end return table.concat(k, ' ')");
        sandbox.lua.load(code).eval::<String>().unwrap().split(' ').map(str::to_owned).collect()
    };
    let known: BTreeSet<String> = GLOBALS
        .into_iter()
        .filter(|name| *name != "_ENV")
        .chain(LIBRARIES.map(|(library, _)| library))
        .map(str::to_owned)
        .collect();
    assert_eq!(keys("_G"), known);
    for (library, members) in LIBRARIES {
        assert_eq!(keys(library), members.iter().map(|name| (*name).to_owned()).collect(), "{library}");
    }
}

#[test]
fn the_examples_of_the_reference_have_no_mistakes() {
    let methods = reference().classes.iter().flat_map(|class| &class.methods);
    let fields = reference().classes.iter().flat_map(|class| &class.fields);
    let functions = methods.chain(&reference().functions).filter_map(|function| function.example.as_deref());
    let values = reference().values.iter().chain(fields).filter_map(|value| value.example.as_deref());
    let mut examples = 0;
    for example in functions.chain(values) {
        let source = match example.starts_with("scenario") {
            true => example.to_owned(),
            false => format!("scenario('it', function(t) {example}\nend)"),
        };
        assert!(mlua::Lua::new().load(&source).into_function().is_ok(), "{example}");
        let errors: Vec<Finding> =
            look(&source).into_iter().filter(|f| f.rule.severity() == Severity::Error).collect();
        // What examples take from nowhere stands for the reader's own.
        let own = ["`task`", "`check`", "`caught`", "`shot`"];
        let is_own = |finding: &Finding| {
            finding.rule == Rule::UnknownGlobal && own.iter().any(|name| finding.message.contains(name))
        };
        assert!(errors.iter().all(is_own), "{example}: {errors:#?}");
        examples += 1;
    }
    assert!(examples > 80, "only {examples} examples");
}

#[test]
fn hostile_scripts_are_neither_too_deep_nor_too_many() {
    let nested =
        |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    for source in [
        format!("x = {}", nested("(", ")", 100_000)),
        format!("x = {}", nested("(", ")", 190)),
        format!("x = {}", nested("{", "}", 95)),
        format!("x = {}", nested("function() return ", " end", 95)),
        format!("scenario('it', function(t) {} end)", nested("t:step('x', function() return ", " end)", 60)),
        format!("x = a{}", ".b".repeat(200_000)),
        format!("t{}", ":b()".repeat(100_000)),
        format!("x = 1{}", " + 1".repeat(200_000)),
        format!("{} end", "if a then ".repeat(50_000)),
        "undefined()\n".repeat(50_000),
        "-- backstaff: allow(no-wait-after-input)\n".repeat(20_000),
        "local a = 1\n".repeat(80_000),
        "x = 1\r".repeat(100_000),
        (0..40_000).map(|number| format!("x{number} = y{number}()\n")).collect(),
        format!("{0}1 = 1 {0}2()", "x".repeat(400_000)),
        format!("local function f() {} end", "local a = b()\n".repeat(60_000)),
    ] {
        let found = look(&source);
        assert!(found.len() <= super::MOST_FINDINGS + 1, "{}", found.len());
    }
    let large = "x = 1\n".repeat(2_000_000);
    assert_eq!(look(&large).len(), 1);
    assert_eq!(look(&large)[0].rule, Rule::NotChecked);
    assert_eq!(
        look(&"undefined()\n".repeat(500)).last().unwrap().message,
        "and 400 further findings in this script"
    );
}

#[test]
fn rules_have_names_of_their_own() {
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
}

/// Pieces of scripts, also such that fit nowhere.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "t",
        "t.keyboard",
        "digest",
        "x",
        "scenario",
        "expect",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "function(t)",
        "end",
        "if",
        "then",
        "else",
        "local",
        "=",
        ",",
        ".",
        ":",
        ":press",
        "'a'",
        "1",
        "..",
        "and",
        "not",
        "for",
        "in",
        "do",
        "while",
        "repeat",
        "until",
        "return",
        "goto",
        "::",
        "--",
        "-- backstaff: allow(x)",
        "\n",
        "[[",
        "]]",
        "...",
        ";",
        "<const>",
        "timeout",
        "é",
        "\\",
        "\"",
        "nil",
        "#",
        "break",
        "t:step('x', function()",
        "end)",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic(source in "(?s).{0,200}") {
        look(&source);
    }

    #[test]
    fn no_heap_of_pieces_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        let source = pieces.join(" ");
        look(&source);
        look(&format!("scenario('it', function(t) {source} end)"));
        // What Lua takes is parsed: nothing of it stays unseen.
        if mlua::Lua::new().load(&source).set_mode(mlua::chunk::ChunkMode::Text).into_function().is_ok() {
            prop_assert!(parser::parse(&source).is_ok(), "{source}");
        }
    }
}
