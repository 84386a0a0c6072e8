//! Links between pages, and the book's list of them.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use regex_lite::Regex;

use super::page::{Page, pages, root};

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut checked, mut broken) = (0, Vec::new());
    for page in pages() {
        for target in link.captures_iter(&without_code(&page)).map(|found| found[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            checked += 1;
            broken.extend(
                fault_of(&page.name, &target).map(|fault| format!("{}: {target} {fault}", page.name)),
            );
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(checked > 100, "only {checked} links were found");
}

/// What is wrong with a link. The book has nothing but its pages, so its links do not leave it.
fn fault_of(page: &str, target: &str) -> Option<String> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(page).parent().unwrap();
    let file = if file.is_empty() { PathBuf::from(page) } else { plain(&folder.join(file)) };
    if page.starts_with("docs/") && !file.starts_with("docs") {
        return Some("leaves the book".to_owned());
    }
    if !root().join(&file).exists() {
        return Some("leads nowhere".to_owned());
    }
    if heading.is_empty() {
        return None;
    }
    let headings = headings(&Page::read(file.display().to_string()));
    (!headings.contains(heading)).then(|| format!("has no such heading, only {headings:?}"))
}

/// Without `..`, by its text.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[test]
fn the_list_of_the_book_has_every_page_once() {
    let list = Page::read("docs/SUMMARY.md");
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut listed: Vec<String> = link.captures_iter(&list.text).map(|found| found[1].to_owned()).collect();
    listed.sort();
    let there = pages().into_iter().filter_map(|page| Some(page.name.strip_prefix("docs/")?.to_owned()));
    let there: Vec<String> = there.filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(listed, there);
}

#[test]
fn a_page_begins_with_its_only_title() {
    for page in pages().into_iter().filter(|page| page.name != "docs/SUMMARY.md") {
        let text = without_code(&page);
        let titles = text.lines().filter(|line| line.starts_with("# ")).count();
        assert!(text.starts_with("# ") && titles == 1, "{}: {titles} titles", page.name);
    }
}

/// Headings as links name them: what is there twice has a number the second time.
fn headings(page: &Page) -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    for title in without_code(page).lines().filter(|line| line.starts_with('#')) {
        let title = title.trim_start_matches('#').trim().replace('`', "");
        // Of a link its text.
        let title = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap().replace_all(&title, "$1").into_owned();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect();
        let mut unique = slug.clone();
        for number in 1.. {
            if slugs.insert(unique.clone()) {
                break;
            }
            unique = format!("{slug}-{number}");
        }
    }
    slugs
}

/// The page without its fenced blocks and what stands between back-ticks in lines of text.
fn without_code(page: &Page) -> String {
    let mut is_code = false;
    let mut out = String::new();
    for line in page.text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if !is_code && !is_fence {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
