//! What a run says on GitHub: a step summary, and annotations at the lines of scripts.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::story::{Entry, Outcome, Story, details};
use super::text::{clean, cut, first_line, one_line, shorten};
use crate::journal::run::{RunRecord, Verdict};

/// What a step's summary may hold, with what is in it already. GitHub throws away all of one that is larger than 1 MiB.
pub const SUMMARY_BYTES: usize = 768 * 1_024;

/// How many errors of a step GitHub shows.
pub const MAX_ANNOTATIONS: usize = 10;

/// Appends the summary of a run to the file that `GITHUB_STEP_SUMMARY` names, in what room there is.
///
/// # Errors
/// The file cannot be read or written.
pub fn append_summary(file: &Path, run: &RunRecord) -> std::io::Result<()> {
    let story = Story::of(run);
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    let used = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let text = summary(&story, SUMMARY_BYTES.saturating_sub(used));
    if used.saturating_add(text.len()) >= HARD_LIMIT {
        return Ok(());
    }
    file.write_all(text.as_bytes())
}

/// The summary as Markdown, in at most `budget` bytes, or in a line of its own when that is too little. What is left out
/// is counted.
pub fn summary(story: &Story<'_>, budget: usize) -> String {
    let counts = story.counts();
    let headline = format!("\n### backstaff: {}\n", counts.line());
    let mut page = Page { text: headline, budget: budget.saturating_sub(RESERVE) };
    if let Some(why) = story.early_end() {
        page.add(&format!("\n**{}**\n", html(&one_line(&why))));
    }
    let flaky: Vec<_> =
        story.entries.iter().filter(|it| it.outcome == Outcome::Verdict(Verdict::Flaky)).collect();
    let bad = story.bad();
    if !bad.is_empty() || !flaky.is_empty() {
        page.add("\n| | test | what |\n|---|---|---|\n");
    }
    let rows = bad.iter().chain(&flaky).copied().collect::<Vec<_>>();
    let shown = rows.iter().take_while(|entry| page.add(&row(entry))).count();
    let mut told = 0;
    if shown == rows.len() {
        page.add("\n");
        told = bad.iter().take_while(|entry| page.add(&block(entry))).count();
    }
    let mut text = page.text;
    if shown < rows.len() {
        text.push_str(&format!("\n… and {} tests more: no room is left here.\n", rows.len() - shown));
    } else if told < bad.len() {
        text.push_str(&format!("\n… details of {} failures more: no room is left here.\n", bad.len() - told));
    }
    text
}

/// At most [`MAX_ANNOTATIONS`] lines `::error …`, the most telling first. Paths are made relative to `workspace`, the
/// repository's directory, when the run was somewhere in it.
pub fn annotations(story: &Story<'_>, workspace: Option<&Path>) -> String {
    let mut seen = HashSet::new();
    // Lanes that all fail for one reason say so once.
    let bad: Vec<_> = story.bad().into_iter().filter(|it| seen.insert((it.place(), it.message()))).collect();
    let shown = if bad.len() > MAX_ANNOTATIONS { MAX_ANNOTATIONS - 1 } else { bad.len() };
    let mut lines: String =
        bad[..shown].iter().map(|entry| annotation(entry, story.run, workspace)).collect();
    if shown < bad.len() {
        let more = bad.len() - shown;
        lines.push_str(&format!(
            "::error title=backstaff::and {more} failures more; the step's summary has them\n"
        ));
    }
    lines
}

/// Begins a group of lines that is folded away.
pub fn group(title: &str) -> String {
    format!("::group::{}\n", data(&one_line(title)))
}

/// Ends it.
pub const END_GROUP: &str = "::endgroup::\n";

fn annotation(entry: &Entry<'_>, run: &RunRecord, workspace: Option<&Path>) -> String {
    let (file, line) = entry.place();
    let file = from_repository(file, &run.began.working_dir, workspace);
    let mut properties = format!("file={}", property(&one_line(&file)));
    if let Some(line) = line {
        properties.push_str(&format!(",line={line}"));
    }
    let title = format!("{} {}", word(entry.outcome), entry.id);
    properties.push_str(&format!(",title={}", property(&shorten(&one_line(&title), TITLE_BYTES))));
    let text = entry.failure.as_deref().map(details).unwrap_or_default();
    let text = clean(&cut(&text, ANNOTATION_BYTES));
    format!("::error {properties}::{}\n", data(text.trim()))
}

fn from_repository(file: &str, working_dir: &str, workspace: Option<&Path>) -> String {
    let Some(workspace) = workspace else { return file.to_owned() };
    let whole = Path::new(working_dir).join(file.strip_prefix("./").unwrap_or(file));
    whole.strip_prefix(workspace).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}

fn row(entry: &Entry<'_>) -> String {
    let what = match entry.failure.as_deref() {
        Some(failure) => first_line(&failure.message),
        None => format!("passed at attempt {}", entry.attempts().len()),
    };
    let cell = |text: &str, limit: usize| html(&shorten(&one_line(text), limit)).replace('|', "&#124;");
    let name = cell(&entry.id, TITLE_BYTES);
    format!("| {} | <code>{name}</code> | {} |\n", word(entry.outcome), cell(&what, TITLE_BYTES))
}

fn block(entry: &Entry<'_>) -> String {
    let title = html(&shorten(&one_line(&entry.id), TITLE_BYTES));
    let text = entry.failure.as_deref().map(details).unwrap_or_default();
    let text = html(clean(&cut(&text, BLOCK_BYTES)).trim());
    format!("<details><summary><code>{title}</code></summary>\n\n<pre>{text}</pre>\n\n</details>\n")
}

fn word(outcome: Outcome) -> String {
    outcome.name().replace('_', " ")
}

/// What Markdown leaves alone: it may come from a guest.
fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // Emphasis, links, code, mentions.
            '*' | '_' | '`' | '[' | ']' | '~' | '@' | '\\' | '$' | '#' | '!' => {
                safe.push_str(&format!("&#{};", u32::from(char)));
            }
            _ => safe.push(char),
        }
    }
    safe
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text that grows up to a number of bytes.
struct Page {
    text: String,
    budget: usize,
}

impl Page {
    /// Adds all of it or nothing; whether it did.
    fn add(&mut self, text: &str) -> bool {
        let fits = self.text.len() + text.len() <= self.budget;
        if fits {
            self.text.push_str(text);
        }
        fits
    }
}

/// For the line that counts what is left out.
const RESERVE: usize = 200;
/// Where even a line would cost everybody theirs.
const HARD_LIMIT: usize = 1_000_000;
const TITLE_BYTES: usize = 300;
const BLOCK_BYTES: usize = 8_192;
const ANNOTATION_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_markdown_are_escaped() {
        assert_eq!(data("100%\r\n::error::x"), "100%25%0D%0A::error::x");
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(group("a\n::error::b"), "::group::a ::error::b\n");
        assert_eq!(html("<b>*|`"), "&lt;b&gt;&#42;|&#96;");
    }

    #[test]
    fn annotations_name_files_from_the_repository() {
        let from = |file: &str, dir: &str| from_repository(file, dir, Some(Path::new("/r")));
        assert_eq!(from("./a.lua", "/r/tests"), "tests/a.lua");
        assert_eq!(from("a.lua", "/r"), "a.lua");
        assert_eq!(from("/r/b/a.lua", "/elsewhere"), "b/a.lua");
        assert_eq!(from("a.lua", "/elsewhere"), "a.lua");
        assert_eq!(from_repository("a.lua", "/r/tests", None), "a.lua");
    }
}
