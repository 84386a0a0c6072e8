//! What editors and readers are told about the Lua API is what there is: `lua/meta/` and `docs/lua.md` against the
//! sources, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backstaff::script::Outcome;
use regex_lite::Regex;

use super::machine::TestMachine;

/// Names of one class, or of the globals.
type Names = BTreeSet<String>;

#[test]
fn the_meta_file_names_what_is_bound_and_nothing_else() {
    let (bound, meta) = (Bound::in_sources(), Meta::load());
    assert_same("globals", &bound.globals, &meta.globals);
    let classes = |names: &BTreeMap<String, Names>| names.keys().cloned().collect::<Names>();
    assert_same("classes", &classes(&bound.members), &classes(&meta.members));
    for (class, members) in &bound.members {
        assert_same(class, members, &meta.members[class]);
    }
}

#[test]
fn the_meta_file_names_every_option_of_every_call() {
    let (bound, meta) = (Bound::in_sources(), Meta::load());
    let calls = |options: &BTreeMap<String, Names>| options.keys().cloned().collect::<Names>();
    assert_same("calls with options", &calls(&bound.options), &calls(&meta.options));
    for (call, options) in &bound.options {
        assert_same(call, options, &meta.options[call]);
    }
}

#[test]
fn the_reference_names_everything_the_meta_file_does() {
    let (meta, reference) = (Meta::load(), read("docs/lua.md"));
    let code: Names =
        Regex::new(r"`[^`\n]+`").unwrap().find_iter(&reference).map(|m| m.as_str().into()).collect();
    let is_named = |name: &str| {
        let word = Regex::new(&format!(r"(^|\W){name}(\W|$)")).unwrap();
        code.iter().any(|code| word.is_match(code))
    };
    let members = meta.members.values().chain(meta.options.values()).flatten();
    let missing: Names = members.chain(&meta.globals).filter(|name| !is_named(name)).cloned().collect();
    assert!(missing.is_empty(), "docs/lua.md does not name {missing:?}");
}

#[tokio::test]
async fn a_running_scenario_finds_every_name() {
    let meta = Meta::load();
    let mut script = String::from(
        "local declared\ndeclared = scenario('it', { timeout = 20 }, function(t)\n\
         local caught = select(2, pcall(function() t.serial:wait_for(1) end))\n\
         local objects = { Test = t, Task = t:spawn(function() end), Keyboard = t.keyboard, Mouse = t.mouse,\n\
           Digest = t.digest, Serial = t.serial, Screen = t.screen, Agent = t.agent, Lane = t.lane, Expect = expect(1), Error = caught, Matcher = any,\n\
           Within = expect(t.serial).within(1), Rule = never(1), Always = t:always('x', function() return true end),\n\
           Scenario = scenario, Declaration = declared }\n",
    );
    for (class, members) in &meta.members {
        script.push_str(&format!("expect(type(objects.{class})):equals('userdata')\n"));
        for member in members {
            script.push_str(&format!("t:check({{ '{class}.{member}', objects.{class}.{member} ~= nil }})"));
            script.push_str(&format!(":equals {{ '{class}.{member}', true }}\n"));
        }
    }
    let names: Vec<String> = meta.globals.iter().map(|name| format!("{name} = true")).collect();
    script.push_str(&format!("local ours = {{ {} }}\n", names.join(", ")));
    script.push_str(
        "local lua = { _G = true, _VERSION = true }\n\
         for name in ('assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select ' ..\n\
           'setmetatable tonumber tostring type xpcall coroutine math string table utf8'):gmatch('%S+') do\n\
           lua[name] = true\n\
         end\n\
         for name in pairs(_G) do t:check({ name, lua[name] or ours[name] or false }):equals { name, true } end\n\
         for name in pairs(ours) do t:check({ name, _G[name] ~= nil }):equals { name, true } end\n",
    );
    script.push_str("end)");
    let outcome = TestMachine::new().run_file(&script).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[test]
fn editors_are_told_where_the_meta_file_is() {
    let settings: serde_json::Value = serde_json::from_str(&read(".luarc.json")).unwrap();
    assert_eq!(settings["runtime.version"], "Lua 5.4");
    assert_eq!(settings["workspace.library"], serde_json::json!(["lua/meta"]));
}

#[track_caller]
fn assert_same(what: &str, bound: &Names, described: &Names) {
    let undescribed: Vec<_> = bound.difference(described).collect();
    let invented: Vec<_> = described.difference(bound).collect();
    assert!(
        undescribed.is_empty() && invented.is_empty(),
        "{what}: bound in src/script but not in lua/meta: {undescribed:?}; the other way round: {invented:?}"
    );
}

/// What `src/script` binds.
#[derive(Default)]
struct Bound {
    globals: Names,
    /// Methods and fields of each class.
    members: BTreeMap<String, Names>,
    /// Option names of each call, such as `digest:wait_for`.
    options: BTreeMap<String, Names>,
}

impl Bound {
    fn in_sources() -> Self {
        let mut bound = Self::default();
        let mut files = 0;
        for entry in std::fs::read_dir(root().join("src/script")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                bound.read(text.split("#[cfg(test)]").next().unwrap_or_default());
                files += 1;
            }
        }
        assert!(files > 5, "src/script has only {files} sources");
        bound
    }

    fn read(&mut self, text: &str) {
        let global = Regex::new(r#"globals(?:\(\))?\s*\.set\(\s*"(\w+)""#).unwrap();
        self.globals.extend(global.captures_iter(text).map(|found| found[1].to_owned()));

        // The type that methods are added to stands before them: `impl UserData for X`, or `UserDataMethods<X>`.
        let owner = Regex::new(r"impl UserData for (\w+)|UserData(?:Methods|Fields)<(\w+)>").unwrap();
        let owners: Vec<(usize, &str)> = owner
            .captures_iter(text)
            .filter_map(|found| Some((found.get(0)?.start(), found.get(1).or(found.get(2))?.as_str())))
            // A helper for any type has a type parameter there.
            .filter(|(_, name)| *name != "Self" && name.len() > 1)
            .collect();
        let owned =
            |at: usize| owners.iter().rev().find(|(start, _)| *start < at).map(|(_, name)| class_of(name));
        for (_, name) in &owners {
            self.members.entry(class_of(name)).or_default();
        }

        let member =
            Regex::new(r#"\.add_(?:async_)?(?:method|field_method_get)(?:_mut)?\(\s*("?\w+"?)"#).unwrap();
        for found in member.captures_iter(text) {
            let at = found.get(0).unwrap().start();
            let class = owned(at).expect("methods are added to a named type");
            self.members.entry(class).or_default().extend(resolve(text, at, &found[1]));
        }

        let options = Regex::new(r#"Options::new\(\s*("?[\w:]+"?),[^&]*&\[([^\]]*)\]"#).unwrap();
        for found in options.captures_iter(text) {
            let at = found.get(0).unwrap().start();
            let names: Names = quoted(&found[2]).into_iter().collect();
            for call in resolve(text, at, &found[1]) {
                self.options.insert(call.trim_start_matches("t:").to_owned(), names.clone());
            }
        }
    }
}

/// The strings an argument stands for: a literal, or a variable of the loop `for (a, b) in [("x", "y"), …]` before it.
fn resolve(text: &str, at: usize, argument: &str) -> Vec<String> {
    if let Some(literal) = argument.strip_prefix('"') {
        return vec![literal.trim_end_matches('"').to_owned()];
    }
    let each = Regex::new(r"for \((\w+), (\w+)\) in \[([^\]]*)\]").unwrap();
    let found =
        each.captures_iter(&text[..at]).last().expect("a name is a literal, or of a loop over literals");
    let place = (1..=2).find(|&place| &found[place] == argument).expect("the loop names the variable");
    quoted(&found[3]).into_iter().skip(place - 1).step_by(2).collect()
}

fn quoted(text: &str) -> Vec<String> {
    Regex::new(r#""([^"]+)""#).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// `KeyboardSkin` is described as `backstaff.Keyboard`.
fn class_of(skin: &str) -> String {
    match skin {
        "Caught" => "Error".to_owned(),
        skin => skin.strip_suffix("Skin").unwrap_or(skin).to_owned(),
    }
}

/// What `lua/meta` describes: classes that are tables with methods, or `Error`, and globals.
#[derive(Default)]
struct Meta {
    globals: Names,
    members: BTreeMap<String, Names>,
    options: BTreeMap<String, Names>,
}

impl Meta {
    fn load() -> Self {
        let text = read("lua/meta/backstaff.lua");
        let mut fields: BTreeMap<&str, Names> = BTreeMap::new();
        let mut meta = Self::default();
        // Of the comment block above a definition: the class it describes, and the class of its options.
        let (mut class, mut options) = ("", None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("---@class backstaff.") {
                class = rest;
                fields.entry(class).or_default();
            } else if let Some(rest) = line.strip_prefix("---@field ") {
                let name = rest.split([' ', '?']).next().unwrap();
                fields.entry(class).or_default().insert(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("---@param options") {
                options = rest.rsplit_once("backstaff.").map(|(_, class)| class);
            } else if let Some(name) = line.strip_prefix("local ").and_then(|rest| rest.strip_suffix(" = {}"))
            {
                assert_eq!(name, class, "the table is named like the class above it");
                meta.members.insert(name.to_owned(), fields[name].clone());
            } else if let Some(rest) = line.strip_prefix("function ") {
                let name = rest.split('(').next().unwrap();
                match name.split_once([':', '.']) {
                    Some((class, method)) => {
                        meta.members.get_mut(class).unwrap().insert(method.to_owned());
                    }
                    None => {
                        meta.globals.insert(name.to_owned());
                    }
                }
                if let Some(options) = options.take().filter(|_| !name.starts_with("Scenario.")) {
                    let call = name.trim_start_matches("Test:").to_lowercase();
                    meta.options.insert(call, fields[options].clone());
                }
            } else if let Some((name, "nil")) = line.split_once(" = ") {
                meta.globals.insert(name.to_owned());
                // What is called is described by its class: `scenario` by `backstaff.Scenario`.
                let options = format!("{}{}Options", name[..1].to_uppercase(), &name[1..]);
                if let Some(options) = fields.get(options.as_str()) {
                    meta.options.insert(name.to_owned(), options.clone());
                }
            }
        }
        // Scripts get these from `pcall`; there is nothing to call on them.
        meta.members.insert("Error".to_owned(), fields["Error"].clone());
        meta
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
