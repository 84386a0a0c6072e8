use proptest::prelude::*;

use super::{Entry, Function, Reference, reference};

/// Whether the comment must say what the argument is: the options do that themselves, the overloads of `scenario` cannot.
fn is_described(function: &Function, param: &str) -> bool {
    param != "options" && function.name != "scenario"
}

#[test]
fn every_bound_name_has_an_example_and_everything_a_type() {
    let reference = reference();
    let mut lacking = Vec::new();
    let methods = reference.classes.iter().flat_map(|class| &class.methods);
    for function in methods.chain(&reference.functions) {
        let lacks = |what: &str| format!("{}: no {what}", function.spoken);
        if function.example.is_none() {
            lacking.push(lacks("example"));
        }
        if function.doc.is_empty() {
            lacking.push(lacks("documentation"));
        }
        lacking.extend(
            function
                .params
                .iter()
                .filter(|param| {
                    param.kind.is_empty() || param.doc.is_empty() && is_described(function, &param.name)
                })
                .map(|param| lacks(&param.name)),
        );
    }
    lacking.extend(reference.values.iter().filter(|v| v.example.is_none()).map(|v| v.name.clone()));
    for class in &reference.classes {
        let is_bound = class.is_handle || class.name == "backstaff.Error";
        for field in &class.fields {
            if field.kind.is_empty() || is_bound && (field.example.is_none() || field.doc.is_empty()) {
                lacking.push(format!("{}.{}: no type, example or text", class.name, field.name));
            }
        }
    }
    assert!(lacking.is_empty(), "lua/meta: {lacking:#?}");
}

#[test]
fn every_option_says_its_default_and_every_number_its_unit() {
    let reference = reference();
    let mut lacking = Vec::new();
    for class in reference.classes.iter().filter(|class| class.is_options) {
        for field in &class.fields {
            let name = format!("{}.{}", class.name, field.name);
            if field.is_optional && !field.doc.contains("Default: ") {
                lacking.push(format!("{name}: no default"));
            }
            if field.kind == "number" && !field.doc.contains("econds") {
                lacking.push(format!("{name}: no unit"));
            }
        }
    }
    assert!(lacking.is_empty(), "lua/meta: {lacking:#?}");
}

#[test]
fn a_method_is_read_with_everything_about_it() {
    let entries = reference().find("digest:wait_for");
    let [Entry::Function(function)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(function.signature, "digest:wait_for(wanted, [options])");
    assert_eq!(function.options.as_deref(), Some("backstaff.WaitOptions"));
    assert_eq!(function.options_at(), Some(1));
    assert_eq!(function.returns, ["backstaff.DigestFrame|backstaff.DigestRecord"]);
    assert!(function.doc.starts_with("Waits for the next digest"), "{}", function.doc);
    assert!(!function.doc.contains("Example"), "{}", function.doc);
}

#[test]
fn what_may_be_left_out_stands_in_brackets() {
    let signature = |words: &str| match reference().find(words).as_slice() {
        [Entry::Function(function), ..] => function.signature.clone(),
        other => panic!("{words}: {other:?}"),
    };
    assert_eq!(signature("t:step"), "t:step(name, [options], body)");
    assert_eq!(signature("scenario"), "scenario(name, [options], body)");
    assert_eq!(signature("scenario.only"), "scenario.only(name, [options], body)");
    assert_eq!(signature("screen:screenshot"), "screen:screenshot([name], [options])");
    assert_eq!(signature("t:spawn"), "t:spawn(body, ...)");
    assert_eq!(signature("expect(x).within"), "expect(…).within(seconds)");
    assert_eq!(signature("at_least"), "at_least(limit)");
}

#[test]
fn words_lead_to_what_people_mean_by_them() {
    let reference = reference();
    for words in ["t.keyboard", "keyboard", "Keyboard", "backstaff.Keyboard", "t.lanes.a.keyboard"] {
        let entries = reference.find(words);
        assert!(
            matches!(entries.as_slice(), [Entry::Class(class)] if class.name == "backstaff.Keyboard"),
            "{words}: {entries:?}"
        );
    }
    for words in ["t.digest:wait_for", "digest.wait_for", "t.lane.digest:wait_for()"] {
        assert!(matches!(reference.find(words).as_slice(), [Entry::Function(_)]), "{words}");
    }
    let waits: Vec<Entry<'_>> = reference.find("wait_for");
    assert_eq!(waits.len(), 3, "digest, serial, agent: {waits:?}");
    assert!(matches!(reference.find("char_delay").as_slice(), [Entry::Field(_, _), ..]));
    assert!(matches!(reference.find("any").as_slice(), [Entry::Value(_), ..]));
    assert!(matches!(reference.find("print").as_slice(), [Entry::Function(_)]));
    for words in ["", ".", "::", "t.", "nothing at all", "t.nothing", "🦀"] {
        assert!(reference.find(words).is_empty(), "{words:?}");
    }
}

#[test]
fn help_for_an_unknown_name_says_what_was_meant() {
    let near = |words: &str| reference().help(words).unwrap_err().to_string();
    assert_eq!(
        near("digest:wait_fro"),
        "nothing is called `digest:wait_fro`, did you mean `digest:wait_for`?"
    );
    assert_eq!(near("at_leest"), "nothing is called `at_leest`, did you mean `at_least`?");
    assert_eq!(near("t.keybord"), "nothing is called `t.keybord`, did you mean `t.keyboard`?");
    assert_eq!(near("xyzzyxyzzy"), "nothing is called `xyzzyxyzzy`");
}

#[test]
fn help_is_text_that_fits() {
    let text = reference().help_within("keyboard:press", 40).unwrap();
    insta::assert_snapshot!(text, @r#"
    keyboard:press(key, [options])
      Presses a key, or several together,
      and lets go.
        key: Key
            Which, or several with `+`.
      options:
        hold?: number
            Seconds the keys stay down.
            Default: 0.04.
      example: t.keyboard:press("ctrl+alt+delete")
    "#);
    for words in ["t", "t.lane", "scenario", "lane:inject", "screen:stats", "Stats", "expect", "any"] {
        let text = reference().help(words).unwrap();
        assert!(
            text.lines().all(|line| line.chars().count() <= 80 || line.contains('(') || line.contains(':'))
        );
    }
}

#[test]
fn members_are_those_of_what_the_words_lead_to() {
    let names = |words: &str| -> Vec<&str> {
        reference().members_of(words).iter().map(super::Member::name).collect()
    };
    assert!(names("t").contains(&"step") && names("t").contains(&"keyboard"));
    assert_eq!(names("t.serial"), ["wait_for", "lines", "drain"]);
    assert_eq!(names("t.lanes.a.serial"), names("serial"));
    assert_eq!(names("scenario"), ["only"]);
    assert_eq!(names("task"), ["join"]);
    assert_eq!(names("t:spawn(f)"), ["join"]);
    assert!(names("expect(x)").contains(&"equals"));
    assert!(names("expect(x).within(2)").contains(&"equals"));
    assert!(names("t.screen:stats()").contains(&"channels") && names("t.screen:stats()").contains(&"draws"));
    assert!(
        names("nothing").is_empty() && names("t.lanes").is_empty() && names("t.nothing.keyboard").is_empty()
    );
}

#[test]
fn option_keys_are_those_of_the_call() {
    let keys = |words: &str| -> Vec<&str> {
        reference().option_keys(words).iter().map(|field| &*field.name).collect()
    };
    assert_eq!(keys("keyboard:press"), ["hold"]);
    assert_eq!(keys("t.digest:wait_for"), ["timeout"]);
    assert!(keys("scenario").contains(&"needs"));
    assert!(keys("at_least").is_empty() && keys("nothing").is_empty());
}

#[test]
fn odd_files_are_read_as_far_as_they_go() {
    let odd = "---@class\n---@field\n---@param\n---@return\n---@alias\n---|\n---@overload fun(\nlocal = {}\n\
               function () end\n---@class A: A\n---@field x\n\nfunction A:b(c, d\nfunction A:b(c) end\n---@type\nq = nil";
    let read = Reference::read([odd]);
    assert!(read.find("A").is_empty() || read.members_of("A").len() < 9);
    _ = super::page(&read);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "(?s).{0,300}", words in ".{0,30}") {
        let read = Reference::read([&*text]);
        _ = read.help(&words);
        _ = read.members_of(&words);
        _ = super::page(&read);
    }

    #[test]
    fn lines_like_those_of_the_files_are_read_without_a_panic(
        lines in proptest::collection::vec(
            "(---)?(@(class|field|param|return|alias|overload|type) ?)?[a-zA:B.|<>()?, `\"é]{0,12}(  )?[a-z:`]{0,8}|function [A:b(),]{0,9} end|local A = \\{\\}|x = nil",
            0..12,
        ),
        words in "[a-zAB.:()]{0,12}",
    ) {
        let text = lines.join("\n");
        let read = Reference::read([&*text]);
        _ = read.help(&words);
        _ = read.option_keys(&words);
        _ = super::page(&read);
    }
}
