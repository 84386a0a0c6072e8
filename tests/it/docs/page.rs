//! The pages and their fenced blocks. A block that no class takes fails a test.

use std::collections::BTreeMap;
use std::path::Path;

/// A page for people.
pub(super) struct Page {
    /// From the repository's root, such as `docs/lua.md`.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Clone)]
pub(super) struct Block {
    /// `docs/lua.md:12`, the line of its fence.
    pub(super) place: String,
    /// The line of its fence, from 1.
    pub(super) line: usize,
    /// What its fence says first; empty where it says nothing.
    pub(super) language: String,
    /// What follows behind commas: `file=a.lua`, `fails`.
    marks: BTreeMap<String, String>,
    /// Without the fences' own indentation.
    pub(super) text: String,
}

impl Block {
    pub(super) fn is(&self, mark: &str) -> bool {
        self.marks.contains_key(mark)
    }

    pub(super) fn mark(&self, mark: &str) -> Option<&str> {
        self.marks.get(mark).map(String::as_str)
    }
}

/// Languages, and the marks that their blocks may have.
const CLASSES: [(&str, &[&str]); 9] = [
    ("lua", &["file", "at", "fails", "qemu", "agent"]),
    ("console", &["run", "exit"]),
    ("sh", &["run", "exit"]),
    ("toml", &["file"]),
    ("yaml", &["file"]),
    ("json", &[]),
    ("python", &[]),
    ("groovy", &[]),
    ("text", &[]),
];

#[test]
fn every_block_is_of_a_class() {
    let mut wrong = Vec::new();
    for block in pages().into_iter().flat_map(|page| page.blocks) {
        let Some((_, marks)) = CLASSES.iter().find(|(language, _)| *language == block.language) else {
            wrong.push(format!("{}: nothing is known of blocks of {:?}", block.place, block.language));
            continue;
        };
        for mark in block.marks.keys().filter(|mark| !marks.contains(&mark.as_str())) {
            wrong.push(format!("{}: {} has no mark {mark:?}, only {marks:?}", block.place, block.language));
        }
        // A test of that page runs it.
        if block.language == "python" && !block.place.starts_with("docs/control-socket.md:") {
            wrong.push(format!("{}: nobody runs this", block.place));
        }
        if block.is("exit") && !block.is("run") {
            wrong.push(format!("{}: `exit` says how a block that is `run` ends", block.place));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All pages of the book, and what stands at the top of the repository.
pub(super) fn pages() -> Vec<Page> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    names.push("README.md".to_owned());
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    names.into_iter().map(Page::read).collect()
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    pub(super) fn read(name: impl Into<String>) -> Self {
        let name = name.into();
        let text =
            std::fs::read_to_string(root().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let blocks = blocks(&name, &text);
        Self { name, text, blocks }
    }
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (line, number) in text.lines().zip(1..) {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, None) => {}
            (None, Some(info)) => {
                let mut words = info.split(',');
                let language = words.next().unwrap_or_default().to_owned();
                let marks = words.map(|word| word.split_once('=').unwrap_or((word, "")));
                let marks = marks.map(|(mark, value)| (mark.to_owned(), value.to_owned())).collect();
                let place = format!("{page}:{number}");
                open = Some((indent, Block { place, line: number, language, marks, text: String::new() }));
            }
            (Some(_), Some("")) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), _) => {
                let blank = line.len() - line.trim_start().len();
                block.text.push_str(&line[blank.min(*indent)..]);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "{page}: a fence is not closed");
    blocks
}

#[test]
fn marks_and_indentation_are_taken_off() {
    let text = "- x\n\n  ```lua,file=a.lua,fails\n  a\n    b\n\n  ```\n\n```\nplain\n```\n";
    let found = blocks("page.md", text);
    assert_eq!(found.len(), 2);
    assert_eq!((&*found[0].place, &*found[0].text), ("page.md:3", "a\n  b\n\n"));
    assert_eq!(
        (found[0].mark("file"), found[0].is("fails"), found[0].is("run")),
        (Some("a.lua"), true, false)
    );
    assert_eq!((&*found[1].language, &*found[1].text), ("", "plain\n"));
}
