//! Command lines on the pages: each is one that the program takes, with its options and their values.

use backstaff::cli::check_command_line;
use regex_lite::Regex;

use super::page::pages;

#[test]
fn the_program_takes_every_command_line_of_the_pages() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for block in pages().into_iter().flat_map(|page| page.blocks) {
        let scripts = match block.language.as_str() {
            "sh" => vec![block.text.clone()],
            "console" => prompts(&block.text),
            "groovy" => quoted_shell(&block.text),
            "yaml" => super::data::shell_in_yaml(&block.text),
            _ => continue,
        };
        for words in scripts.iter().flat_map(|script| command_lines(script)) {
            checked += 1;
            if let Err(error) = check_command_line(&words) {
                wrong.push(format!("{}: backstaff {}: {error}", block.place, words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "only {checked} command lines were found");
}

#[test]
fn commands_that_the_text_names_are_there() {
    let named = Regex::new(r"`backstaff ([a-z]+)(?: ([a-z]+))?(?: [^`\n]*)?`").unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in pages() {
        for found in named.captures_iter(&page.text) {
            checked += 1;
            let words = |count: usize| {
                let words = (1..=count).filter_map(|at| found.get(at));
                let words = words.map(|word| word.as_str().to_owned());
                words.chain(["--help".to_owned()]).collect::<Vec<String>>()
            };
            // The second word may be an argument or the rest of a sentence's command.
            if check_command_line(&words(2)).is_err() && check_command_line(&words(1)).is_err() {
                wrong.push(format!("{}: {}", page.name, &found[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "only {checked} commands were found");
}

/// What is typed at a prompt, a line each.
fn prompts(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// What a pipeline hands to a shell: `sh '…'`, with one quote or three.
fn quoted_shell(text: &str) -> Vec<String> {
    let step = Regex::new(r#"sh\s*(?:\(\s*)?(?:'''([\s\S]*?)'''|"""([\s\S]*?)"""|'([^'\n]*)'|"([^"\n]*)")"#)
        .unwrap();
    let steps = step.captures_iter(text);
    steps
        .filter_map(|found| (1..=4).find_map(|at| found.get(at)).map(|text| text.as_str().to_owned()))
        .collect()
}

/// The arguments of each call of backstaff in a shell script.
fn command_lines(script: &str) -> Vec<Vec<String>> {
    // What a value will be is not known here, only that it is there.
    let filled = Regex::new(r"\$\{\{[^}]*\}\}|\$\{?\w+\}?").unwrap().replace_all(script, "1").into_owned();
    commands(&filled).into_iter().filter_map(|words| arguments(&words)).collect()
}

/// What follows the program's name, if this is a call of backstaff.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let is_setting = |word: &str| Regex::new(r"^\w+=").unwrap().is_match(word);
    let prefixes = ["$", "nice", "exec", "if", "then", "do", "!", "else", "while", "time"];
    let mut words = words;
    while let [first, rest @ ..] = words {
        if first == "timeout" || first == "export" {
            words = rest.get(1..)?;
        } else if is_setting(first) || prefixes.contains(&first.as_str()) {
            words = rest;
        } else if first == "backstaff" || first.ends_with("/backstaff") {
            return Some(rest.to_vec());
        } else if first == "cargo" && rest.first().is_some_and(|word| word == "run") {
            let at = rest.iter().position(|word| word == "--")?;
            return Some(rest[at + 1..].to_vec());
        } else {
            return None;
        }
    }
    None
}

/// A shell script's commands, in words, as far as pages go: quotes, escapes, comments, pipes, redirections.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut is_target = false;
    let mut chars = script.chars().peekable();
    let end_word = |word: &mut Option<String>, is_target: &mut bool, all: &mut Vec<Vec<String>>| {
        let Some(text) = word.take() else { return };
        if !std::mem::take(is_target) {
            all.last_mut().unwrap().push(text);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                while let Some(inner) = chars.next().filter(|inner| *inner != c) {
                    text.push(if c == '"' && inner == '\\' { chars.next().unwrap_or(inner) } else { inner });
                }
            }
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '>' | '<' => {
                // The number of what is redirected.
                word = word.filter(|text| !text.chars().all(|c| c.is_ascii_digit()));
                end_word(&mut word, &mut is_target, &mut all);
                while chars.next_if(|c| ">&".contains(*c)).is_some() {}
                is_target = true;
            }
            '|' | '&' | ';' | '(' | ')' | '\n' | '`' => {
                end_word(&mut word, &mut is_target, &mut all);
                all.push(Vec::new());
            }
            c if c.is_whitespace() => end_word(&mut word, &mut is_target, &mut all),
            c => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut word, &mut is_target, &mut all);
    all.retain(|words| !words.is_empty());
    all
}

#[test]
fn calls_are_found_in_a_shell_script() {
    let script = "# backstaff no\nexport A=b\nA=b backstaff run 'a b' --shard $I/${N} > out 2>&1 | tee x # y\n\
                  cargo run --release -- list\nif ! timeout 9 ./backstaff serve --lane \\\n  sim & then true; fi\n";
    let found = command_lines(script);
    assert_eq!(found, [vec!["run", "a b", "--shard", "1/1"], vec!["list"], vec!["serve", "--lane", "sim"]]);
}
