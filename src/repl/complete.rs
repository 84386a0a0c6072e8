//! What Tab offers: names of this prompt, members and option keys from the reference, commands, files. Reads folders
//! only for file names.

use std::path::{Path, PathBuf};

use super::command::{PAGES, WAYS};
use super::lua::{self, Kind, Token};
use crate::journal::Source;
use crate::reference::{Field, Member, readable, reference};

/// What has a name at the prompt at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Names and the kinds of things they are.
    pub(super) live: Vec<(String, String)>,
    /// Scenarios that were loaded.
    pub(super) scenarios: Vec<String>,
    /// Steps that can be gone back to.
    pub(super) steps: Vec<String>,
}

/// Something that Tab can put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// As it is listed.
    pub(super) shown: String,
    /// As it is put there.
    pub(super) text: String,
}

impl Candidate {
    fn plain(text: &str) -> Self {
        Self { shown: text.to_owned(), text: text.to_owned() }
    }
}

/// Returns where the word at `at` begins, and what it can become.
pub(super) fn complete(line: &str, at: usize, names: &Names) -> (usize, Vec<Candidate>) {
    let before = line.get(..at).unwrap_or(line);
    let (start, mut found) = match before.trim_start().strip_prefix(':') {
        Some(_) => command(before, names),
        None => script(before, names),
    };
    let word = &before[start..];
    found.retain(|candidate| candidate.text.starts_with(word));
    found.sort_by(|left, right| left.shown.cmp(&right.shown));
    found.dedup();
    (start, found)
}

fn command(before: &str, names: &Names) -> (usize, Vec<Candidate>) {
    let colon = before.find(':').unwrap_or(0);
    let line = &before[colon + 1..];
    let Some(space) = line.find(char::is_whitespace) else {
        let all = PAGES.iter().map(|page| {
            let space = if page.arguments.is_empty() { "" } else { " " };
            Candidate { shown: format!(":{}", page.name), text: format!("{}{space}", page.name) }
        });
        return (colon + 1, all.collect());
    };
    let rest = colon + 1 + space + 1;
    let last = before.rfind(char::is_whitespace).map_or(rest, |at| at + 1);
    let plain = |texts: &mut dyn Iterator<Item = &str>| texts.map(Candidate::plain).collect();
    match &line[..space] {
        "source" | "save" | "save!" | "w" => (rest, files(&before[rest..])),
        "shot" => {
            let mut found = files(&before[last..]);
            found.extend(WAYS.iter().map(|way| Candidate::plain(way)));
            (last, found)
        }
        "events" | "e" => {
            let streams = Source::ALL.map(stream_name);
            (last, plain(&mut streams.into_iter().chain(["on", "off", "all"])))
        }
        "key" | "k" => (last, KEYS.iter().map(|key| Candidate::plain(key)).collect()),
        "run" => (rest, plain(&mut names.scenarios.iter().map(String::as_str))),
        "rewind" => (rest, plain(&mut names.steps.iter().map(String::as_str))),
        "help" | "h" | "?" => {
            if before[rest..].starts_with(':') {
                return (
                    rest,
                    PAGES.iter().map(|page| Candidate::plain(&format!(":{}", page.name))).collect(),
                );
            }
            let (start, found) = script(&before[rest..], names);
            // Behind the name of a function there is nothing to call here.
            let bare = found
                .into_iter()
                .map(|it| Candidate { text: it.text.trim_end_matches('(').to_owned(), ..it });
            (rest + start, bare.collect())
        }
        _ => (before.len(), Vec::new()),
    }
}

fn script(before: &str, names: &Names) -> (usize, Vec<Candidate>) {
    let tokens = lua::tokens(before);
    let (word, head) = match tokens.split_last() {
        Some((last, head)) if last.at + last.text.len() == before.len() => match last.kind {
            Kind::Name | Kind::Keyword => (Some(last), head),
            // Inside of a text or a comment there is nothing to complete.
            Kind::Comment => return (before.len(), Vec::new()),
            Kind::Text if !is_closed(last.text) => return (before.len(), Vec::new()),
            Kind::Number => return (before.len(), Vec::new()),
            _ => (None, tokens.as_slice()),
        },
        _ => (None, tokens.as_slice()),
    };
    let start = word.map_or(before.len(), |word| word.at);
    if word.is_none() && tokens.last().is_some_and(|last| matches!(last.text, ")" | "]" | "}")) {
        return (start, Vec::new());
    }
    if let Some((joint, owner)) = head.split_last().filter(|(last, _)| matches!(last.text, "." | ":")) {
        return (start, members(&before[owner_start(owner)..joint.at], joint.text));
    }
    let keys = option_keys(before, head);
    if !keys.is_empty() {
        return (start, keys);
    }
    (start, globals(names))
}

fn is_closed(text: &str) -> bool {
    let quote = text.chars().next().unwrap_or_default();
    text.len() > 1 && (text.ends_with(quote) || text.ends_with(']'))
}

/// Where `t.lanes.a` or `expect(x)` before a joint begins.
fn owner_start(tokens: &[Token<'_>]) -> usize {
    let mut at = tokens.len();
    while let Some(last) = at.checked_sub(1).map(|index| tokens[index]) {
        match last.text {
            ")" | "}" => match opening(tokens, at - 1) {
                Some(open) => at = open,
                None => break,
            },
            _ if last.kind == Kind::Text => at -= 1,
            _ if last.kind == Kind::Name => {
                at -= 1;
                match at.checked_sub(1).map(|index| tokens[index].text) {
                    Some("." | ":") => at -= 1,
                    _ => break,
                }
            }
            _ => break,
        }
    }
    tokens.get(at).map_or_else(|| tokens.last().map_or(0, |last| last.at + last.text.len()), |first| first.at)
}

/// The bracket that the one at `close` closes.
fn opening(tokens: &[Token<'_>], close: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for index in (0..=close).rev() {
        match tokens[index].text {
            ")" | "}" | "]" => depth += 1,
            "(" | "{" | "[" => {
                depth -= 1;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

fn members(owner: &str, joint: &str) -> Vec<Candidate> {
    let library = LIBRARIES.iter().find(|(name, _)| *name == owner && joint == ".");
    if let Some((_, functions)) = library {
        return functions
            .split(' ')
            .map(|name| Candidate { shown: name.to_owned(), text: format!("{name}(") })
            .collect();
    }
    let members =
        reference().members_of(owner).into_iter().filter(|member| member.takes_colon() == (joint == ":"));
    members
        .map(|member| match member {
            Member::Method(method) => {
                Candidate { shown: method.name.clone(), text: format!("{}(", method.name) }
            }
            Member::Field(field) => Candidate { shown: field_shown(field), text: field.name.clone() },
        })
        .collect()
}

fn field_shown(field: &Field) -> String {
    match readable(&field.kind).trim_end_matches('?') {
        "" => field.name.clone(),
        kind if kind.chars().count() > 24 => field.name.clone(),
        kind => format!("{}: {kind}", field.name),
    }
}

/// Keys of the option table that the cursor is in, when it stands where a key may.
fn option_keys(before: &str, tokens: &[Token<'_>]) -> Vec<Candidate> {
    let Some(open) = innermost_open(tokens).filter(|&open| tokens[open].text == "{") else {
        return Vec::new();
    };
    if !tokens.last().is_some_and(|last| matches!(last.text, "{" | "," | ";")) {
        return Vec::new();
    }
    // `f {`, or `f(…, {`.
    let call = match innermost_open(&tokens[..open]) {
        Some(paren) if tokens[paren].text == "(" => paren,
        _ => open,
    };
    let start = owner_start(&tokens[..call]);
    let function = before.get(start..tokens[call].at).unwrap_or_default().trim();
    let keys = reference().option_keys(function);
    keys.iter().map(|key| Candidate { shown: field_shown(key), text: format!("{} = ", key.name) }).collect()
}

fn innermost_open(tokens: &[Token<'_>]) -> Option<usize> {
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Symbol) {
        match token.text {
            "(" | "{" | "[" => open.push(index),
            ")" | "}" | "]" => drop(open.pop()),
            _ => {}
        }
    }
    open.pop()
}

fn globals(names: &Names) -> Vec<Candidate> {
    let reference = reference();
    let live = names.live.iter().map(|(name, kind)| match kind.as_str() {
        "function" => Candidate { shown: name.clone(), text: format!("{name}(") },
        _ => Candidate::plain(name),
    });
    let functions = reference.functions.iter().map(|function| &function.name);
    let functions = functions.map(|name| Candidate { shown: name.clone(), text: format!("{name}(") });
    let values = reference.values.iter().map(|value| Candidate::plain(&value.name));
    let known = ["t", "keyboard", "mouse", "screen", "digest", "serial", "agent", "lane"];
    let words = known.into_iter().chain(lua::KEYWORDS).chain(LIBRARIES.iter().map(|(name, _)| *name));
    let mut all: Vec<Candidate> = live.chain(functions).chain(values).collect();
    for word in words.map(Candidate::plain) {
        if !all.iter().any(|known| known.shown == word.shown) {
            all.push(word);
        }
    }
    all
}

/// Files and folders that begin so; what is hidden only when asked for.
fn files(begun: &str) -> Vec<Candidate> {
    let (folder, name) = match begun.rfind('/') {
        Some(slash) => begun.split_at(slash + 1),
        None => ("", begun),
    };
    let place = if folder.is_empty() { PathBuf::from(".") } else { Path::new(folder).to_owned() };
    let entries = std::fs::read_dir(place).into_iter().flatten().take(MOST_FILES).flatten();
    let found = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let is_folder = entry.path().is_dir();
        let is_wanted = file.starts_with(name) && (!file.starts_with('.') || name.starts_with('.'));
        let shown = format!("{file}{}", if is_folder { "/" } else { "" });
        is_wanted.then(|| Candidate { text: format!("{folder}{shown}"), shown })
    });
    found.collect()
}

/// The name of a stream as it is on disk.
pub(super) fn stream_name(source: Source) -> &'static str {
    match source {
        Source::Runner => "runner",
        Source::Lane => "lane",
        Source::Qmp => "qmp",
        Source::Serial => "serial",
        Source::Screen => "screen",
        Source::Digest => "digest",
        Source::Keyboard => "keyboard",
        Source::Script => "script",
        Source::Agent => "agent",
    }
}

const MOST_FILES: usize = 2_000;
/// Keys that are worth a Tab.
const KEYS: [&str; 24] = [
    "enter",
    "escape",
    "tab",
    "space",
    "backspace",
    "delete",
    "insert",
    "home",
    "end",
    "page_up",
    "page_down",
    "up",
    "down",
    "left",
    "right",
    "f1",
    "f2",
    "f8",
    "f10",
    "f11",
    "f12",
    "ctrl+alt+delete",
    "shift+tab",
    "alt+f4",
];
/// What scenarios are given of Lua's own.
const LIBRARIES: [(&str, &str); 4] = [
    (
        "string",
        "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
    ),
    ("table", "concat insert move pack remove sort unpack"),
    (
        "math",
        "abs ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi rad random sin sqrt tan tointeger type ult",
    ),
    ("utf8", "char charpattern codepoint codes len offset"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let names = Names {
            live: vec![
                ("attempts".to_owned(), "number".to_owned()),
                ("go".to_owned(), "function".to_owned()),
            ],
            scenarios: vec!["logs in".to_owned()],
            steps: vec!["boot".to_owned()],
        };
        let (start, found) = complete(line, line.len(), &names);
        found.into_iter().map(|candidate| format!("{}{}", &line[..start], candidate.text)).collect()
    }

    #[test]
    fn names_members_and_keys_are_offered_where_they_fit() {
        assert_eq!(offered("att"), ["attempts"]);
        assert_eq!(offered("x = go"), ["x = go(", "x = goto"]);
        assert_eq!(offered("keyb"), ["keyboard"]);
        assert_eq!(offered("t.keyb"), ["t.keyboard"]);
        assert_eq!(offered("keyboard:pr"), ["keyboard:press("]);
        assert_eq!(offered("f(t.digest:lat"), ["f(t.digest:latest("]);
        assert_eq!(offered("expect(x):equ"), ["expect(x):equals("]);
        assert_eq!(offered("keyboard:type(\"a\", { char_"), ["keyboard:type(\"a\", { char_delay = "]);
        assert_eq!(offered("string.gs"), ["string.gsub("]);
        assert!(offered("keyboard:").contains(&"keyboard:press(".to_owned()));
        assert!(offered("t:").contains(&"t:step(".to_owned()));
    }

    #[test]
    fn where_nothing_can_be_known_nothing_is_offered() {
        for line in [
            "\"keyb",
            "-- keyb",
            "12",
            "nobody:pr",
            "keyboard:press(\"ent",
            ":retry x",
            ")",
            "))):x",
            "}.y",
            ":type ke",
        ] {
            assert_eq!(offered(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn commands_and_what_they_take_are_offered() {
        assert_eq!(offered(":re"), [":retry", ":rewind "]);
        assert_eq!(offered(":run l"), [":run logs in"]);
        assert_eq!(offered(":rewind b"), [":rewind boot"]);
        assert_eq!(offered(":events digest se"), [":events digest serial"]);
        assert_eq!(offered(":key ctrl"), [":key ctrl+alt+delete"]);
        assert_eq!(offered(":help :sou"), [":help :source"]);
        assert_eq!(offered(":help keyboard:pr"), [":help keyboard:press"]);
        assert_eq!(offered(":shot six"), [":shot sixel"]);
        assert_eq!(offered(":source src/repl/comm"), [":source src/repl/command.rs"]);
        assert_eq!(offered(":source sr"), [":source src/"]);
    }
}
