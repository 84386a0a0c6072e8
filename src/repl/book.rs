//! What was typed at the prompts of an attempt, and the scenario that it makes. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::lua::{self, quote};
use crate::script::Script;
use crate::script::prompt::Decision;

/// The prompts of one attempt, or of one session.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The attempt's folder, by which it is found again.
    pub(super) folder: PathBuf,
    pub(super) scenario: String,
    pub(super) is_session: bool,
    pub(super) lane: String,
    pub(super) holds: Vec<Hold>,
}

/// One prompt, from its opening to its end.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// The script that stands there, as it was then, and the line.
    pub(super) at: Option<(Script, u32)>,
    /// Names that can be seen there without the prompt's help.
    pub(super) visible: BTreeSet<String>,
    pub(super) entries: Vec<Entry>,
    /// How it ended; none: it is open.
    pub(super) ended: Option<Decision>,
}

/// A piece of Lua that was typed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) source: String,
    pub(super) worked: bool,
    pub(super) took: Duration,
}

impl Entry {
    /// Whether it did something that playing it again needs, rather than only looked.
    pub(super) fn acts(&self) -> bool {
        acts(&self.source)
    }

    pub(super) fn is_saved(&self) -> bool {
        self.worked && self.acts()
    }
}

impl Book {
    /// What is saved of it, in order.
    pub(super) fn saved(&self) -> impl Iterator<Item = &Entry> {
        self.holds.iter().flat_map(|hold| &hold.entries).filter(|entry| entry.is_saved())
    }
}

/// Whether a piece of Lua does more than to look: it calls what is not known to only look, or gives a name a value.
pub(super) fn acts(source: &str) -> bool {
    let used = lua::usage(source);
    let is_look = |call: &String| {
        let name = call.rsplit([':', '.']).next().unwrap_or(call);
        match call.rsplit_once([':', '.']) {
            Some(("string" | "table" | "math" | "utf8" | "coroutine", name)) => {
                name != "insert" && name != "remove"
            }
            Some(_) => LOOKING_METHODS.contains(&name),
            None => LOOKING_FUNCTIONS.contains(&name),
        }
    };
    used.declares || !used.assigned.is_empty() || assigns_member(source) || !used.calls.iter().all(is_look)
}

/// Whether something in a table is given a value: `t.params.user = "root"`.
fn assigns_member(source: &str) -> bool {
    let tokens = lua::tokens(source);
    let mut depth = 0_usize;
    tokens.iter().any(|token| {
        match token.text {
            "(" | "{" | "[" => depth += 1,
            ")" | "}" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        token.kind == lua::Kind::Symbol && token.text == "=" && depth == 0
    })
}

/// The scenario of a session: what worked and did something, in order.
pub(super) fn session_script(name: &str, lane: &str, entries: &[&Entry]) -> String {
    let used: Vec<lua::Use> = entries.iter().map(|entry| lua::usage(&entry.source)).collect();
    let free: BTreeSet<&str> = used.iter().flat_map(|used| used.free.iter().map(String::as_str)).collect();
    let assigned: BTreeSet<&str> =
        used.iter().flat_map(|used| used.assigned.iter().map(String::as_str)).collect();
    let objects: Vec<&str> =
        OBJECTS.into_iter().filter(|name| free.contains(name) && !assigned.contains(name)).collect();
    let mut needs: BTreeSet<&str> = objects.iter().copied().filter(|name| *name != "lane").collect();
    for call in used.iter().flat_map(|used| &used.calls) {
        needs.extend(OBJECTS.iter().filter(|name| **name != "lane" && call.contains(&format!("t.{name}"))));
        let name = call.rsplit([':', '.']).next().unwrap_or(call);
        match name {
            "snapshot" | "restore" => drop(needs.insert("snapshot")),
            "qmp" => drop(needs.insert("qmp")),
            "inject" | "clear_faults" => drop(needs.insert("faults")),
            _ => {}
        }
    }
    let took: Duration = entries.iter().map(|entry| entry.took).sum();
    let mut options = Vec::new();
    if !needs.is_empty() {
        let needs: Vec<String> = needs.iter().map(|need| quote(need)).collect();
        options.push(format!("needs = {{ {} }}", needs.join(", ")));
    }
    // A scenario has two minutes; what took long by hand gets three times that.
    if took > LONG {
        options.push(format!("timeout = {}", took.as_secs().saturating_mul(3).div_ceil(60) * 60));
    }
    let options = if options.is_empty() { String::new() } else { format!("{{ {} }}, ", options.join(", ")) };
    let mut text = format!("-- Saved at the prompt, on lane {lane}.\n");
    text.push_str(&format!("scenario({}, {options}function(t)\n", quote(name)));
    if !objects.is_empty() {
        let values: Vec<String> = objects.iter().map(|name| format!("t.{name}")).collect();
        text.push_str(&format!("  local {} = {}\n\n", objects.join(", "), values.join(", ")));
    }
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (entry, used) in entries.iter().zip(&used) {
        let new: Vec<&String> = used.assigned.iter().filter(|name| !known.contains(*name)).collect();
        text.push_str(&declared(&entry.source, &new, 2));
        known.extend(used.assigned.iter().cloned());
    }
    text.push_str("end)\n");
    text
}

/// The piece, indented, with its new names as locals.
fn declared(source: &str, new: &[&String], indent: usize) -> String {
    let source = source.trim();
    if new.is_empty() {
        return indented(source, indent);
    }
    let joined = new.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let begins = |head: &str| {
        source
            .strip_prefix(head)
            .is_some_and(|rest| rest.trim_start().starts_with('=') && !rest.trim_start().starts_with("=="))
    };
    let is_function = new.len() == 1 && source.starts_with(&format!("function {joined}"));
    match begins(&joined) || is_function {
        // One statement that begins with exactly the new names declares them itself.
        true => indented(&format!("local {source}"), indent),
        false => format!("{}{}", indented(&format!("local {joined}"), indent), indented(source, indent)),
    }
}

/// Each line moved to the right; a text that goes over several lines must stay as it is.
fn indented(source: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let has_long_text = lua::tokens(source)
        .iter()
        .any(|token| matches!(token.kind, lua::Kind::Text | lua::Kind::Comment) && token.text.contains('\n'));
    let mut text = String::new();
    for (index, line) in source.lines().enumerate() {
        if !line.is_empty() && (index == 0 || !has_long_text) {
            text.push_str(&pad);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Why there is nothing to save.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BookError {
    #[error("nothing that was typed here worked and did something")]
    Nothing,
    #[error("the line that is held is in no file")]
    NoFile,
    #[error("the lines fit nowhere before line {line} of {file}")]
    NoPlace { file: String, line: u32 },
}

/// The script of an attempt that was held, with what worked before the lines that were held; and how many pieces that
/// are. `compiles` says whether a text is a script.
pub(super) fn helped_script(
    book: &Book,
    compiles: impl Fn(&str) -> bool,
) -> Result<(String, usize), BookError> {
    let first =
        book.holds.iter().find(|hold| hold.entries.iter().any(Entry::is_saved)).ok_or(BookError::Nothing)?;
    let (script, _) = first.at.as_ref().ok_or(BookError::NoFile)?;
    let mut lines: Vec<String> = script.source.lines().map(str::to_owned).collect();
    let mut count = 0;
    // From the last line to the first, so that the numbers of those before stay right.
    let mut holds: Vec<(u32, Vec<&Hold>)> = Vec::new();
    for hold in &book.holds {
        let Some((held, line)) = &hold.at else { continue };
        if held.path != script.path || !hold.entries.iter().any(Entry::is_saved) {
            continue;
        }
        match holds.iter_mut().find(|(known, _)| known == line) {
            Some((_, same)) => same.push(hold),
            None => holds.push((*line, vec![hold])),
        }
    }
    holds.sort_by_key(|(line, _)| std::cmp::Reverse(*line));
    for (line, holds) in holds {
        let pieces: Vec<String> = holds
            .iter()
            .flat_map(|hold| {
                hold.entries
                    .iter()
                    .filter(|entry| entry.is_saved())
                    .map(|entry| in_scope(&entry.source, &hold.visible))
            })
            .collect();
        count += pieces.len();
        let held = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1).min(lines.len());
        let place = (0..=held).rev().take(MOST_LINES_UP).find_map(|at| {
            let tried = with_inserted(&lines, at, &pieces);
            compiles(&joined(&tried)).then_some(tried)
        });
        let file = script.path.display().to_string();
        lines = place.ok_or(BookError::NoPlace { file, line })?;
    }
    Ok((joined(&lines), count))
}

fn joined(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn with_inserted(lines: &[String], at: usize, pieces: &[String]) -> Vec<String> {
    let next = lines.get(at).or(lines.last());
    let indent = next.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let mut all = lines[..at].to_vec();
    for piece in pieces {
        all.extend(indented(piece.trim(), indent).lines().map(str::to_owned));
    }
    all.extend_from_slice(&lines[at..]);
    all
}

/// With `t.` before the names that only the prompt knows without it.
fn in_scope(source: &str, visible: &BTreeSet<String>) -> String {
    let tokens = lua::tokens(source);
    let own = lua::usage(source);
    let mut text = String::new();
    let mut end = 0;
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| tokens[index].text);
        let after = tokens.get(index + 1).map(|next| next.text);
        let is_key = after == Some("=") && matches!(before, Some("{" | "," | ";"));
        let is_object = token.kind == lua::Kind::Name
            && OBJECTS.contains(&token.text)
            && !visible.contains(token.text)
            && own.free.iter().any(|name| name == token.text)
            && !own.assigned.iter().any(|name| name == token.text)
            && !matches!(before, Some("." | ":"))
            && !is_key;
        if is_object {
            text.push_str(&source[end..token.at]);
            text.push_str("t.");
            end = token.at;
        }
    }
    text.push_str(&source[end..]);
    text
}

/// What the prompt knows beside `t`, all of them members of it.
const OBJECTS: [&str; 7] = ["agent", "digest", "keyboard", "lane", "mouse", "screen", "serial"];
const LONG: Duration = Duration::from_secs(40);
const MOST_LINES_UP: usize = 200;
const LOOKING_METHODS: [&str; 15] = [
    "latest",
    "history",
    "lines",
    "drain",
    "leds",
    "heads",
    "cursor",
    "stats",
    "log",
    "reconcile",
    "capabilities",
    "is_connected",
    "is_paused",
    "name",
    "folder",
];
const LOOKING_FUNCTIONS: [&str; 18] = [
    "print",
    "type",
    "tostring",
    "tonumber",
    "pairs",
    "ipairs",
    "next",
    "select",
    "rawget",
    "rawlen",
    "rawequal",
    "getmetatable",
    "at_least",
    "at_most",
    "one_of",
    "pattern",
    "any",
    "absent",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str) -> Entry {
        Entry { source: source.to_owned(), worked: true, took: Duration::from_secs(1) }
    }

    #[test]
    fn what_only_looks_is_told_from_what_acts() {
        for look in [
            "1 + 1",
            "digest:latest()",
            "#serial:lines()",
            "print(x)",
            "digest:latest().records[1]",
            "string.rep('a', 3)",
            "x",
        ] {
            assert!(!acts(look), "{look}");
        }
        for act in [
            "keyboard:press('enter')",
            "digest:wait_for(any)",
            "x = 1",
            "local x = digest:latest()",
            "t.params.user = 'root'",
            "function f() end",
            "expect(1):equals(1)",
            "t:sleep(1)",
            "help()",
        ] {
            assert!(acts(act), "{act}");
        }
    }

    #[test]
    fn a_session_becomes_a_scenario_with_what_it_uses() {
        let entries = [
            entry("digest:wait_for(any)"),
            entry("digest:latest()"),
            Entry { worked: false, ..entry("keyboard:press('nokey')") },
            entry("key = 'enter'"),
            entry("keyboard:press(key)"),
            entry("key = 'x'"),
            entry(
                "for row = 1, 2 do\n  seen = digest:wait_for { line_rendered = { row = at_least(row) } }\nend",
            ),
            entry("function go() return seen end"),
            entry("lane:snapshot('a')"),
        ];
        let saved: Vec<&Entry> = entries.iter().filter(|entry| entry.is_saved()).collect();
        insta::assert_snapshot!(session_script("logs \"in\"", "sim", &saved), @r#"
        -- Saved at the prompt, on lane sim.
        scenario("logs \"in\"", { needs = { "digest", "keyboard", "snapshot" } }, function(t)
          local digest, keyboard, lane = t.digest, t.keyboard, t.lane

          digest:wait_for(any)
          local key = 'enter'
          keyboard:press(key)
          key = 'x'
          local seen
          for row = 1, 2 do
            seen = digest:wait_for { line_rendered = { row = at_least(row) } }
          end
          local function go() return seen end
          lane:snapshot('a')
        end)
        "#);
    }

    fn held(source: &str, line: u32, visible: &[&str], typed: &[&str]) -> Hold {
        let script = Script { path: "a.lua".into(), source: source.into() };
        Hold {
            at: Some((script, line)),
            visible: visible.iter().map(|name| (*name).to_owned()).collect(),
            entries: typed.iter().map(|source| entry(source)).collect(),
            ended: Some(Decision::Retry),
        }
    }

    const SCRIPT: &str = "scenario('it', function(t)\n  t:step('boot', function()\n    t.digest:wait_for {\n      row = 3\n    }\n  end)\n  local keyboard = t.keyboard\n  t.serial:wait_for('x')\nend)\n";

    #[test]
    fn what_helped_stands_before_the_line_that_was_held() {
        let holds = vec![
            held(SCRIPT, 3, &["t"], &["digest:latest()", "keyboard:press('enter')\nt:sleep(1)"]),
            held(SCRIPT, 8, &["t", "keyboard"], &["keyboard:type('a')"]),
            held(SCRIPT, 8, &["t", "keyboard"], &["keyboard:press('b')"]),
        ];
        let book = Book { holds, ..Book::default() };
        let (text, count) = helped_script(&book, |_| true).unwrap();
        assert_eq!(count, 3);
        insta::assert_snapshot!(text, @r"
        scenario('it', function(t)
          t:step('boot', function()
            t.keyboard:press('enter')
            t:sleep(1)
            t.digest:wait_for {
              row = 3
            }
          end)
          local keyboard = t.keyboard
          keyboard:type('a')
          keyboard:press('b')
          t.serial:wait_for('x')
        end)
        ");
    }

    #[test]
    fn lines_go_up_to_where_they_fit_or_are_refused() {
        // Line 4 is inside of a table.
        let book =
            Book { holds: vec![held(SCRIPT, 4, &["t"], &["keyboard:press('enter')"])], ..Book::default() };
        let fits = |text: &str| !text.contains("wait_for {\n      t.keyboard");
        let (text, _) = helped_script(&book, fits).unwrap();
        assert!(
            text.contains("function()\n    t.keyboard:press('enter')\n    t.digest:wait_for {"),
            "{text}"
        );
        let error = helped_script(&book, |_| false).unwrap_err();
        assert_eq!(error.to_string(), "the lines fit nowhere before line 4 of a.lua");
        assert_eq!(helped_script(&Book::default(), |_| true).unwrap_err(), BookError::Nothing);
    }
}
