//! The commands of the prompt: lines that begin with `:`. Pure.

use crate::near::nearest;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Help(Option<String>),
    Retry,
    Continue,
    Abort,
    Quit,
    Rewind(Option<String>),
    Locals,
    Steps,
    Last,
    Events(Vec<String>),
    Shot { how: Option<String>, file: Option<String> },
    Type(String),
    Key(Vec<String>),
    Source(String),
    Run(Option<String>),
    Save { file: String, what: Option<String>, replaces: bool },
    History,
}

/// What is said of a command.
pub(super) struct Page {
    pub(super) name: &'static str,
    /// Short names.
    pub(super) other: &'static [&'static str],
    pub(super) arguments: &'static str,
    /// One line.
    pub(super) short: &'static str,
    /// The rest, in lines of up to 76 columns.
    pub(super) long: &'static str,
}

impl Page {
    /// As it is typed.
    pub(super) fn usage(&self) -> String {
        let space = if self.arguments.is_empty() { "" } else { " " };
        format!(":{}{space}{}", self.name, self.arguments)
    }
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("unknown command `:{name}`{}", near.map(|near| format!(", did you mean `:{near}`?")).unwrap_or_default())]
    Unknown { name: String, near: Option<&'static str> },
    #[error("`:{name}` takes nothing behind it, got `{got}`")]
    Surplus { name: &'static str, got: String },
    #[error("`{usage}` wants {wanted}")]
    Missing { usage: String, wanted: &'static str },
}

impl CommandError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unknown { .. } => "`:help` lists the commands".to_owned(),
            Self::Surplus { name, .. } => format!("`:help :{name}` says more"),
            Self::Missing { usage, .. } => {
                let name = usage.split(' ').next().unwrap_or_default();
                format!("`:help {name}` says more")
            }
        }
    }
}

/// Finds the page of a command by its name or a short one, with or without its colon.
pub(super) fn page(name: &str) -> Option<&'static Page> {
    let name = name.trim_start_matches(':').trim_end_matches('!');
    PAGES.iter().find(|page| page.name == name || page.other.contains(&name))
}

/// The command that was probably meant.
pub(super) fn near(name: &str) -> Option<&'static str> {
    nearest(name.trim_start_matches(':'), PAGES.iter().map(|page| page.name))
}

/// Reads a line that begins with `:`.
pub(super) fn parse(line: &str) -> Result<Command, CommandError> {
    let line = line.trim().strip_prefix(':').unwrap_or(line).trim_start();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let replaces = name == "save!";
    let Some(page) = page(name).filter(|_| !name.ends_with('!') || replaces) else {
        let near = near(name.trim_end_matches('!'));
        return Err(CommandError::Unknown { name: name.to_owned(), near });
    };
    let name = page.name;
    let nothing = |command| match rest {
        "" => Ok(command),
        got => Err(CommandError::Surplus { name, got: got.to_owned() }),
    };
    let missing = |wanted| CommandError::Missing { usage: page.usage(), wanted };
    let some = || (!rest.is_empty()).then(|| unquoted(rest));
    match name {
        "help" => Ok(Command::Help((!rest.is_empty()).then(|| rest.to_owned()))),
        "retry" => nothing(Command::Retry),
        "continue" => nothing(Command::Continue),
        "abort" => nothing(Command::Abort),
        "quit" => nothing(Command::Quit),
        "rewind" => Ok(Command::Rewind(some())),
        "locals" => nothing(Command::Locals),
        "steps" => nothing(Command::Steps),
        "last" => nothing(Command::Last),
        "history" => nothing(Command::History),
        "events" => Ok(Command::Events(
            rest.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        )),
        "shot" => {
            let (first, others) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let is_way = WAYS.contains(&first);
            let (how, file) = if is_way { (first, others.trim()) } else { ("", rest) };
            let some = |text: &str| (!text.is_empty()).then(|| unquoted(text));
            Ok(Command::Shot { how: some(how), file: some(file) })
        }
        "type" if rest.is_empty() => Err(missing("text")),
        "type" => Ok(Command::Type(unescaped(rest))),
        "key" if rest.is_empty() => Err(missing("at least one key, such as `enter` or `ctrl+alt+delete`")),
        "key" => Ok(Command::Key(rest.split_whitespace().map(str::to_owned).collect())),
        "source" => some().map(Command::Source).ok_or_else(|| missing("a script's file")),
        "run" => Ok(Command::Run(some())),
        "save" => {
            let (file, what) = match rest.rsplit_once(char::is_whitespace) {
                Some((file, what @ ("session" | "scenario"))) => (file.trim(), Some(what.to_owned())),
                _ => (rest, None),
            };
            let file = if file.is_empty() { return Err(missing("a file")) } else { unquoted(file) };
            Ok(Command::Save { file, what, replaces })
        }
        _ => Err(CommandError::Unknown { name: name.to_owned(), near: None }),
    }
}

/// Without the quotes around it, as people are used to for names with spaces.
fn unquoted(text: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(text).to_owned()
}

/// `\n` is a line end, which is the key Enter, `\t` a tab, `\\` a backslash.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let replaced = match (char, chars.peek()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('\\')) => '\\',
            _ => {
                out.push(char);
                continue;
            }
        };
        out.push(replaced);
        chars.next();
    }
    out
}

/// Ways to show a picture that can be asked for.
pub(super) const WAYS: [&str; 5] = ["kitty", "iterm", "sixel", "blocks", "file"];

/// All commands, in the order in which they are listed.
pub(super) const PAGES: [Page; 17] = [
    Page {
        name: "help",
        other: &["h", "?"],
        arguments: "[NAME]",
        short: "what a name means: `wait_for`, `digest:wait_for`, `:save`",
        long: "NAME is a function, a method, an option, something like `keyboard`, or a\n\
               command with its colon. Without NAME it lists the commands.",
    },
    Page {
        name: "retry",
        other: &["r"],
        arguments: "",
        short: "run the failed call again",
        long: "The failed wait or expectation runs once more, with the deadline it had left\n\
               when it began. After `:rewind` the step is played again from its beginning.\n\
               A scenario whose call holds then has not failed.",
    },
    Page {
        name: "continue",
        other: &["c"],
        arguments: "",
        short: "go on behind the failed call; the scenario has failed",
        long: "The failed call returns nothing and the scenario goes on behind it. Its\n\
               verdict stays what it was: failed. Behind `t:hold()` nothing has failed, and\n\
               the scenario simply goes on.",
    },
    Page {
        name: "abort",
        other: &["a"],
        arguments: "",
        short: "end the scenario here, as without a prompt",
        long: "The scenario ends with its failure; what it put off with `t:defer` is done.\n\
               At a session's own prompt it is the same as `:quit`. So is Ctrl-D.",
    },
    Page {
        name: "quit",
        other: &["q", "exit"],
        arguments: "",
        short: "leave: abort what is held, and take the machine down",
        long: "What is held is aborted, nothing further is begun, and the machine is taken\n\
               down in order.",
    },
    Page {
        name: "rewind",
        other: &[],
        arguments: "[STEP]",
        short: "put the machine back to the beginning of a step",
        long: "The machine is put back to where it was when STEP began; without STEP, the\n\
               innermost one. `:retry` then plays that step again. Only where the lane can\n\
               be saved; what the scenario keeps in its own variables stays as it is.",
    },
    Page {
        name: "locals",
        other: &["l"],
        arguments: "",
        short: "the functions being called, with their variables",
        long: "Innermost first. They can be read and changed by name in what is typed.",
    },
    Page {
        name: "steps",
        other: &[],
        arguments: "",
        short: "the attempt's steps, with times and verdicts",
        long: "When each step began, how long it took, and whether it held.",
    },
    Page {
        name: "last",
        other: &[],
        arguments: "",
        short: "why the last call failed, with everything seen",
        long: "The message in full, the lines of the script, and what the machine said last.",
    },
    Page {
        name: "events",
        other: &["e"],
        arguments: "[STREAM…|on|off]",
        short: "what is told above the prompt as it happens",
        long: "Streams: digest serial screen lane qmp keyboard script agent runner, or all.\n\
               More than can be read are left out, and counted.",
    },
    Page {
        name: "shot",
        other: &[],
        arguments: "[kitty|iterm|sixel|blocks|file] [FILE]",
        short: "show the screen, and save it as a PNG",
        long: "Into FILE, or below the attempt's folder. How it is shown depends on the\n\
               terminal; a word before FILE decides. `file` only saves.",
    },
    Page {
        name: "type",
        other: &["t"],
        arguments: "TEXT",
        short: "type text: `keyboard:type(\"TEXT\")`",
        long: "`\\n` in it is Enter, `\\t` a tab. It is saved as the call it stands for.",
    },
    Page {
        name: "key",
        other: &["k"],
        arguments: "NAME…",
        short: "press keys: `keyboard:press(\"NAME\")`",
        long: "One after the other, such as `:key down down enter`; `ctrl+alt+delete` together.",
    },
    Page {
        name: "source",
        other: &[],
        arguments: "FILE",
        short: "load a script, so that `:run` can play its scenarios",
        long: "The file is read again each time. Only at a session's own prompt.",
    },
    Page {
        name: "run",
        other: &[],
        arguments: "[NAME]",
        short: "play a scenario that was loaded, on the machine as it is",
        long: "Where it fails it is held, and can be helped. Without NAME, the only one.",
    },
    Page {
        name: "save",
        other: &["w"],
        arguments: "FILE",
        short: "write what worked as a scenario; `:save!` replaces FILE",
        long: "At a session's prompt: a scenario of the calls that did something. Inside a\n\
               scenario: its script, with them before the line that is held. Behind FILE,\n\
               `session` or `scenario` says which, where both are to be had.",
    },
    Page {
        name: "history",
        other: &[],
        arguments: "",
        short: "what was typed at this prompt, and what came of it",
        long: "A cross marks what failed, a dot what only looked and is not saved.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        let save = |file: &str, what: Option<&str>, replaces| Command::Save {
            file: file.to_owned(),
            what: what.map(str::to_owned),
            replaces,
        };
        for (line, wanted) in [
            (":help", Command::Help(None)),
            (": help  digest:wait_for ", Command::Help(Some("digest:wait_for".to_owned()))),
            (":q", Command::Quit),
            (":rewind \"log in\"", Command::Rewind(Some("log in".to_owned()))),
            (
                ":events digest,serial  lane",
                Command::Events(["digest", "serial", "lane"].map(str::to_owned).into()),
            ),
            (":shot", Command::Shot { how: None, file: None }),
            (":shot sixel", Command::Shot { how: Some("sixel".to_owned()), file: None }),
            (
                ":shot file a b.png",
                Command::Shot { how: Some("file".to_owned()), file: Some("a b.png".to_owned()) },
            ),
            (":type root\\n a\\\\n", Command::Type("root\n a\\n".to_owned())),
            (
                ":key ctrl+alt+delete enter",
                Command::Key(["ctrl+alt+delete", "enter"].map(str::to_owned).into()),
            ),
            (":save a.lua", save("a.lua", None, false)),
            (":save! 'my file.lua' session", save("my file.lua", Some("session"), true)),
        ] {
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn wrong_lines_say_what_is_wanted() {
        for (line, wanted) in [
            (":sorce a.lua", "unknown command `:sorce`, did you mean `:source`?"),
            (":", "unknown command `:`"),
            (":help!", "unknown command `:help!`, did you mean `:help`?"),
            (":retry now", "`:retry` takes nothing behind it, got `now`"),
            (":save", "`:save FILE` wants a file"),
            (":key", "`:key NAME…` wants at least one key, such as `enter` or `ctrl+alt+delete`"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.to_string(), wanted, "{line}");
            assert!(error.hint().contains(":help"), "{error:?}");
        }
    }

    #[test]
    fn every_command_is_explained_and_read() {
        for page in &PAGES {
            assert!(
                page.short.chars().count() <= 60 && page.long.lines().all(|line| line.chars().count() <= 80),
                "{}",
                page.name
            );
            let argument = if page.arguments.is_empty() { "" } else { "x" };
            let read = parse(&format!(":{} {argument}", page.name));
            assert!(read.is_ok(), "{read:?}");
        }
    }
}
