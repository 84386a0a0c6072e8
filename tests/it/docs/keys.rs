//! `docs/profile-keys.md` has every key of a profile and of `backstaff.toml`, with its default, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backstaff::lane::Profile;
use backstaff::lane::profile::{ProfileError, ProfileErrorKind};
use regex_lite::Regex;

use super::data::project_fault;
use super::page::Page;

/// Sections of a kind of profile, with what a section takes to be one.
const SECTIONS: [(&str, &str, &str); 24] = [
    ("qemu", "", ""),
    ("qemu", "[machine]", ""),
    ("qemu", "[firmware]", ""),
    ("qemu", "[boot]", ""),
    ("qemu", "[[disk]]", "path = \"a.img\"\n"),
    ("qemu", "[[network]]", ""),
    ("qemu", "[display]", ""),
    ("qemu", "[spice]", ""),
    ("qemu", "[serial]", ""),
    ("qemu", "[input]", ""),
    ("qemu", "[agent]", ""),
    ("qemu", "[audio]", ""),
    ("qemu", "[reset]", ""),
    ("qemu", "[oracle]", ""),
    ("qemu", "[qmp]", ""),
    ("qemu", "[warm]", ""),
    ("qemu", "[[gate]]", "kind = \"spice-surface\"\n"),
    ("attach", "", ""),
    ("attach", "[attach]", ""),
    ("attach", "[qmp]", ""),
    ("sim", "", ""),
    ("sim", "[sim]", ""),
    ("sim", "[[fault]]", ""),
    ("sim", "[[gate]]", "kind = \"spice-surface\"\n"),
];

#[test]
fn the_page_has_every_key_that_the_parser_knows_and_no_other() {
    let page = Rows::read();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut sections = BTreeSet::new();
    for (kind, section, needed) in SECTIONS {
        let keys = known_keys(kind, section, needed);
        if !section.is_empty() {
            known.entry(section.to_owned()).or_default().extend(keys);
            continue;
        }
        // Tables have sections of their own.
        let (tables, plain): (Vec<String>, Vec<String>) =
            keys.into_iter().partition(|key| is_table(kind, key));
        sections.extend(tables);
        known.entry("the top".to_owned()).or_default().extend(plain);
    }
    let probed = SECTIONS.iter().map(|(_, section, _)| section.trim_matches(['[', ']']).to_owned());
    let probed: BTreeSet<String> = probed.filter(|name| !name.is_empty()).collect();
    assert_eq!(sections, probed, "the parser knows other sections than this test");
    known.insert("backstaff.toml".to_owned(), project_keys());
    let described: BTreeMap<String, BTreeSet<String>> =
        page.sections.iter().map(|(name, rows)| (name.clone(), rows.keys().cloned().collect())).collect();
    for (section, keys) in &known {
        assert_eq!(described.get(section), Some(keys), "keys of {section}: the page, then the parser");
    }
    assert_eq!(described.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
}

#[test]
fn the_defaults_and_examples_of_the_page_are_taken() {
    let page = Rows::read();
    let mut checked = 0;
    for (section, rows) in &page.sections {
        for (key, row) in rows {
            let values = Regex::new(r"`([^`]+)`").unwrap();
            let values: Vec<String> =
                values.captures_iter(&row.default).map(|found| found[1].to_owned()).collect();
            for value in values {
                if value.parse::<toml::Table>().is_err()
                    && format!("x = {value}").parse::<toml::Table>().is_err()
                {
                    continue;
                }
                checked += 1;
                let line = format!("{key} = {value}\n");
                let fault = match section.as_str() {
                    "backstaff.toml" => project_fault(&line),
                    "the top" => {
                        parse(&format!("kind = \"qemu\"\n{line}")).err().map(|error| error.to_string())
                    }
                    section => fault_in(section, key, &line),
                };
                assert_eq!(fault, None, "{section} {line}");
            }
        }
    }
    assert!(checked > 20, "only {checked} defaults were found");
}

/// What the parser says against a default, in the kinds that know the section.
fn fault_in(section: &str, key: &str, line: &str) -> Option<String> {
    let kinds = SECTIONS.iter().filter(|(_, known, _)| *known == section);
    let mut last = None;
    for (kind, _, needed) in kinds {
        let beside = match (section, key) {
            ("[[gate]]", "quiet_for") => "kind = \"quiet\"\n",
            ("[[gate]]", "kind") | ("[[disk]]", "path") => "",
            ("[[fault]]", _) => "drop_key = 1\n",
            _ => needed,
        };
        match parse(&format!("kind = \"{kind}\"\n{section}\n{beside}{line}")) {
            Ok(_) => return None,
            Err(error) => last = Some(error.to_string()),
        }
    }
    last
}

/// Whether the key at the top of a profile is a table or a list of them.
fn is_table(kind: &str, key: &str) -> bool {
    let parsed = parse(&format!("kind = \"{kind}\"\n[{key}]\nno_such_key = 1\n"));
    let listed = parse(&format!("kind = \"{kind}\"\n[[{key}]]\nno_such_key = 1\n"));
    [parsed, listed].into_iter().any(|result| match result.unwrap_err().kind {
        ProfileErrorKind::UnknownKey { key, .. } => key == "no_such_key",
        _ => false,
    })
}

/// What the parser says it knows in a section.
fn known_keys(kind: &str, section: &str, needed: &str) -> BTreeSet<String> {
    let text = match section {
        "" => format!("kind = \"{kind}\"\nno_such_key = 1\n"),
        section => format!("kind = \"{kind}\"\n{section}\n{needed}no_such_key = 1\n"),
    };
    match parse(&text).unwrap_err().kind {
        ProfileErrorKind::UnknownKey { key, known, .. } if key == "no_such_key" => {
            known.into_iter().collect()
        }
        other => panic!("{kind} {section}: {other}"),
    }
}

fn parse(text: &str) -> Result<Profile, ProfileError> {
    Profile::parse("example", text, Path::new("/project/lanes/example.toml"), Path::new("/project"))
}

fn project_keys() -> BTreeSet<String> {
    let fault = project_fault("no_such_key = 1\n").unwrap();
    let (_, known) = fault.split_once("expected one of").unwrap_or_else(|| panic!("{fault}"));
    Regex::new("`([^`]+)`").unwrap().captures_iter(known).map(|found| found[1].to_owned()).collect()
}

/// The tables of the page, by the section in the heading above them.
struct Rows {
    sections: BTreeMap<String, BTreeMap<String, Row>>,
}

struct Row {
    default: String,
}

impl Rows {
    fn read() -> Self {
        let page = Page::read("docs/profile-keys.md");
        let mut sections: BTreeMap<String, BTreeMap<String, Row>> = BTreeMap::new();
        let mut heading = String::new();
        for line in page.text.lines() {
            if let Some(title) = line.strip_prefix('#') {
                heading =
                    title.trim_start_matches('#').trim().replace('`', "").replace("At the top", "the top");
            }
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let key = cells[0].strip_prefix('`').and_then(|key| key.strip_suffix('`'));
            let (Some(key), true) = (key, line.starts_with('|')) else { continue };
            assert_eq!(cells.len(), 5, "{line}: wanted key, type, unit, default, meaning");
            assert!(
                cells.iter().enumerate().all(|(at, cell)| at == 2 || !cell.is_empty()),
                "{line}: an empty cell"
            );
            let row = Row { default: cells[3].to_owned() };
            let before = sections.entry(heading.clone()).or_default().insert(key.to_owned(), row);
            assert!(before.is_none(), "{heading} {key} is there twice");
        }
        Self { sections }
    }
}
