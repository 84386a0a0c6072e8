//! Data on the pages: profiles, project files, JSON, and what CI reads.

use std::path::Path;

use backstaff::lane::Profile;
use backstaff::lane::profile::ProfileSource;
use backstaff::runner::project::Project;
use regex_lite::Regex;
use yaml_rust2::{Yaml, YamlLoader};

use super::page::{pages, root};

#[test]
fn every_profile_and_project_file_loads() {
    let (mut profiles, mut projects) = (0, 0);
    for block in pages().into_iter().flat_map(|page| page.blocks).filter(|block| block.language == "toml") {
        let table: toml::Table =
            block.text.parse().unwrap_or_else(|error| panic!("{}: {error}", block.place));
        if !table.contains_key("kind") && !table.contains_key("extends") {
            projects += 1;
            assert_eq!(project_fault(&block.text), None, "{}", block.place);
            continue;
        }
        profiles += 1;
        let base = table.get("extends").map(|name| {
            let file = root().join(format!("scenarios/lanes/{}.toml", name.as_str().unwrap()));
            (std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", block.place)), file)
        });
        let file = root().join("scenarios/lanes/example.toml");
        let own = ProfileSource { text: &block.text, file: &file, root: root() };
        let base = base.as_ref().map(|(text, file)| ProfileSource { text, file, root: root() });
        let sources: Vec<ProfileSource<'_>> = std::iter::once(own).chain(base).collect();
        Profile::parse_chain("example", &sources, &|_| None)
            .unwrap_or_else(|error| panic!("{}: {error}", block.place));
    }
    assert!(profiles > 5 && projects > 0, "{profiles} profiles and {projects} project files were found");
}

/// What is wrong with the text of a `backstaff.toml`.
pub(super) fn project_fault(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("backstaff.toml"), text).unwrap();
    Project::find(Path::new("."), &[], folder.path()).err().map(|error| error.to_string())
}

#[test]
fn every_document_in_json_is_one() {
    let mut checked = 0;
    for block in pages().into_iter().flat_map(|page| page.blocks).filter(|block| block.language == "json") {
        let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert!(
            is_json(&block.text) || block.text.lines().all(is_json),
            "{}: neither a document nor lines of them",
            block.place
        );
        checked += 1;
    }
    assert!(checked > 3, "only {checked} documents were found");
}

#[test]
fn what_is_for_ci_is_yaml_and_runs_nobody_elses_code_with_secrets() {
    let mut checked = 0;
    for block in pages().into_iter().flat_map(|page| page.blocks).filter(|block| block.language == "yaml") {
        let documents =
            YamlLoader::load_from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.place));
        assert_eq!(documents.len(), 1, "{}", block.place);
        assert!(documents[0].as_hash().is_some_and(|map| !map.is_empty()), "{}: no mapping", block.place);
        // That event runs with the secrets of the repository, whoever wrote what is checked out.
        assert!(!block.text.contains("pull_request_target"), "{}", block.place);
        assert!(!shell_in_yaml(&block.text).is_empty(), "{}: it calls no shell", block.place);
        checked += 1;
    }
    assert!(checked >= 2, "only {checked} were found");
}

/// The shell scripts in what CI reads: `run` of GitHub's steps, `script` and its like of GitLab's jobs.
pub(super) fn shell_in_yaml(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for document in YamlLoader::load_from_str(text).unwrap_or_default() {
        collect(&document, false, &mut found);
    }
    found
}

fn collect(node: &Yaml, is_shell: bool, found: &mut Vec<String>) {
    let names = Regex::new("^(run|script|before_script|after_script)$").unwrap();
    match node {
        Yaml::String(text) if is_shell => found.push(text.clone()),
        Yaml::Array(items) => items.iter().for_each(|item| collect(item, is_shell, found)),
        Yaml::Hash(map) => {
            for (key, value) in map {
                collect(value, key.as_str().is_some_and(|key| names.is_match(key)), found);
            }
        }
        _ => {}
    }
}
