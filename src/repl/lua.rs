//! Lua as it is typed: words of a line, for colours, completion, and for what a saved scenario needs. Pure; what cannot
//! be right Lua gives words all the same.

/// A word of Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Its first byte.
    pub(super) at: usize,
}

/// What kind of word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Keyword,
    Text,
    Number,
    Comment,
    Symbol,
}

impl Token<'_> {
    fn is(&self, symbol: &str) -> bool {
        self.kind != Kind::Text && self.text == symbol
    }

    /// Whether a call's arguments begin here.
    fn opens_call(&self) -> bool {
        self.is("(") || self.is("{") || self.kind == Kind::Text
    }
}

/// Takes a text apart. What is not closed goes on to the end.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = match first {
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            '-' if rest.starts_with("--") => (Kind::Comment, comment(rest)),
            '"' | '\'' => (Kind::Text, quoted(rest, first)),
            '[' => match long_bracket(rest) {
                Some(length) => (Kind::Text, length),
                None => (Kind::Symbol, 1),
            },
            '0'..='9' => (Kind::Number, number(rest)),
            _ if first.is_alphanumeric() || first == '_' => {
                let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
                let kind = if KEYWORDS.contains(&&rest[..length]) { Kind::Keyword } else { Kind::Name };
                (kind, length)
            }
            _ => {
                let wide = ["...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>"];
                let length =
                    wide.iter().find(|wide| rest.starts_with(**wide)).map_or(first.len_utf8(), |it| it.len());
                (Kind::Symbol, length)
            }
        };
        tokens.push(Token { kind, text: &rest[..length], at });
        at += length;
    }
    tokens
}

fn is_part(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn comment(rest: &str) -> usize {
    match long_bracket(&rest[2..]) {
        Some(length) => length + 2,
        None => rest.find('\n').unwrap_or(rest.len()),
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\n' => return at,
            _ if char == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `[[…]]` or `[==[…]==]`.
fn long_bracket(rest: &str) -> Option<usize> {
    let level = rest.strip_prefix('[')?;
    let level = level.len() - level.trim_start_matches('=').len();
    rest[1 + level..].starts_with('[').then(|| {
        let end = format!("]{}]", "=".repeat(level));
        rest.find(&end).map_or(rest.len(), |at| at + end.len())
    })
}

fn number(rest: &str) -> usize {
    let mut before = ' ';
    let is_hex = rest.starts_with("0x") || rest.starts_with("0X");
    let end = rest.char_indices().find(|&(at, char)| {
        let is_exponent = if is_hex { matches!(before, 'p' | 'P') } else { matches!(before, 'e' | 'E') };
        let belongs = char.is_ascii_alphanumeric()
            || (char == '.' && !rest[at..].starts_with(".."))
            || (is_exponent && matches!(char, '+' | '-'));
        before = char;
        !belongs
    });
    end.map_or(rest.len(), |(at, _)| at)
}

/// What a piece of Lua does to names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// What is called: `digest:wait_for`, `t.digest:wait_for`, `expect`.
    pub(super) calls: Vec<String>,
    /// Names that are not declared here, and are given a value.
    pub(super) assigned: Vec<String>,
    /// Names that are not declared here, and are read or called or given a value.
    pub(super) free: Vec<String>,
    /// Whether it declares locals.
    pub(super) declares: bool,
}

/// Says what a piece of Lua does to names, without regard to where a name declared in it ends to be known.
pub(super) fn usage(source: &str) -> Use {
    let all = tokens(source);
    let tokens: Vec<Token<'_>> = all.into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let mut found = Use::default();
    let declared = declared(&tokens);
    found.declares = tokens.iter().any(|token| token.is("local"));
    let mut brackets: Vec<&str> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| tokens[index]);
        let after = tokens.get(index + 1);
        if token.kind == Kind::Symbol {
            match token.text {
                "(" | "{" | "[" => brackets.push(token.text),
                ")" | "}" | "]" => drop(brackets.pop()),
                "=" if brackets.is_empty() => found.assigned.extend(targets(&tokens[..index])),
                _ => {}
            }
        }
        if token.kind != Kind::Name {
            continue;
        }
        let is_member = before.is_some_and(|before| before.is(".") || before.is(":"));
        if after.is_some_and(Token::opens_call) && !before.is_some_and(|before| before.is("function")) {
            found.calls.push(path_to(&tokens, index));
        }
        let is_key = brackets.last() == Some(&"{")
            && after.is_some_and(|after| after.is("="))
            && before.is_some_and(|before| before.is("{") || before.is(",") || before.is(";"));
        let is_label = before.is_some_and(|before| before.is("::") || before.is("goto"));
        if before.is_some_and(|before| before.is("function"))
            && !after.is_some_and(|after| after.is(".") || after.is(":"))
            && !index.checked_sub(2).is_some_and(|index| tokens[index].is("local"))
        {
            found.assigned.push(token.text.to_owned());
        }
        if !is_member && !is_key && !is_label {
            found.free.push(token.text.to_owned());
        }
    }
    for names in [&mut found.assigned, &mut found.free] {
        names.retain(|name| !declared.contains(&&**name));
        let mut known = Vec::new();
        names.retain(|name| {
            !known.contains(name) && {
                known.push(name.clone());
                true
            }
        });
    }
    found
}

/// Names that the piece itself declares: locals, loop variables, parameters.
fn declared<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut declared = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let rest = &tokens[index + 1..];
        let names: &[Token<'a>] = match token.text {
            "local" if rest.first().is_some_and(|next| next.is("function")) => {
                rest.get(1..2).unwrap_or_default()
            }
            "local" | "for" if token.kind == Kind::Keyword => {
                let end =
                    rest.iter().position(|it| it.is("=") || it.is("in") || is_next_line(tokens, index, it));
                &rest[..end.unwrap_or(rest.len())]
            }
            "function" => {
                let open = rest.iter().position(|it| it.is("("));
                let close = rest.iter().position(|it| it.is(")"));
                match (open, close) {
                    (Some(open), Some(close)) if open < close => &rest[open..close],
                    _ => &[],
                }
            }
            _ => &[],
        };
        let is_attribute = |at: usize| at > 0 && names[at - 1].is("<");
        let known =
            names.iter().enumerate().filter(|(at, name)| name.kind == Kind::Name && !is_attribute(*at));
        declared.extend(known.map(|(_, name)| name.text));
    }
    declared
}

/// Whether a `local` without a value has ended before this word, which no comma joins to the ones before.
fn is_next_line(tokens: &[Token<'_>], from: usize, token: &Token<'_>) -> bool {
    let Some(at) = tokens.iter().position(|it| it.at == token.at) else { return false };
    at > from + 1 && token.kind != Kind::Symbol && !tokens[at - 1].is(",") && !tokens[at - 1].is("<")
}

/// The plain names that an `=` behind these words gives values to.
fn targets(before: &[Token<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = before.len();
    while let Some(name) = at.checked_sub(1).map(|at| before[at]).filter(|name| name.kind == Kind::Name) {
        at -= 1;
        let earlier = at.checked_sub(1).map(|at| before[at]);
        match earlier {
            Some(dot) if dot.is(".") || dot.is(":") => break,
            Some(word) if word.is("local") || word.is("for") => return Vec::new(),
            Some(comma) if comma.is(",") => {
                names.insert(0, name.text.to_owned());
                at -= 1;
            }
            _ => {
                names.insert(0, name.text.to_owned());
                break;
            }
        }
    }
    names
}

/// `t.digest:wait_for` for its last word.
fn path_to(tokens: &[Token<'_>], last: usize) -> String {
    let mut first = last;
    while first >= 2
        && (tokens[first - 1].is(".") || tokens[first - 1].is(":"))
        && tokens[first - 2].kind == Kind::Name
    {
        first -= 2;
    }
    // Behind a call the owner is not known; the name is.
    let is_tail = first > 0 && (tokens[first - 1].is(".") || tokens[first - 1].is(":"));
    let first = if is_tail { first - 1 } else { first };
    tokens[first..=last].iter().map(|token| token.text).collect()
}

/// A text as Lua writes it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if char.is_control() => quoted.push_str(&format!("\\u{{{:x}}}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a key of a table can stand without brackets.
pub(super) fn is_name(text: &str) -> bool {
    let is_first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !KEYWORDS.contains(&text)
}

/// The words that Lua keeps for itself.
pub(super) const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn a_text_is_taken_apart_into_words() {
        assert_eq!(
            words("x = t.digest:wait_for{ row = 0x1F } -- ends\n..[==[ a]] ]==]"),
            [
                "x",
                "=",
                "t",
                ".",
                "digest",
                ":",
                "wait_for",
                "{",
                "row",
                "=",
                "0x1F",
                "}",
                "-- ends",
                "..",
                "[==[ a]] ]==]"
            ]
        );
        assert_eq!(
            words("'a\\'b' \"ä\" 1e-3 1..2 größe"),
            ["'a\\'b'", "\"ä\"", "1e-3", "1", "..", "2", "größe"]
        );
        for unclosed in ["\"a", "[[a", "--[[ a", "'", "[=", "0x", "1e"] {
            assert_eq!(words(unclosed).concat(), unclosed);
        }
        assert_eq!(words("\"a\nb"), ["\"a", "b"]);
    }

    #[test]
    fn what_a_line_uses_is_told() {
        let used = usage("x, y = digest:wait_for { row = 3, any }, f(1)\nlocal z = x\nt.a.b = z");
        assert_eq!(used.calls, ["digest:wait_for", "f"]);
        assert_eq!(used.assigned, ["x", "y"]);
        assert_eq!(used.free, ["x", "y", "digest", "any", "f", "t"]);
        assert!(used.declares);
        let used = usage("for i, v in ipairs(list) do keyboard:press(v) end");
        assert_eq!((used.free.join(" "), used.assigned), ("ipairs list keyboard".to_owned(), vec![]));
        let used = usage("function go(a) expect(a):equals(2) end");
        assert_eq!((used.free.join(" "), used.assigned.join(" ")), ("go expect".to_owned(), "go".to_owned()));
        assert_eq!(used.calls, ["expect", ":equals"]);
        assert_eq!(usage("if a == b then c = { d = 1 } end").assigned, ["c"]);
        assert_eq!(usage("local a, b\nc = a").free, ["c"]);
        assert_eq!(usage("local a <const> = const").free, ["const"]);
        assert_eq!(usage("goto done ::done::").free, Vec::<String>::new());
        assert_eq!(usage("serial:wait_for 'x'").calls, ["serial:wait_for"]);
    }

    #[test]
    fn texts_are_quoted_so_that_lua_reads_the_same() {
        assert_eq!(quote("a\"\\\n\tä\u{1b}"), "\"a\\\"\\\\\\n\\tä\\u{1b}\"");
        assert!(is_name("row_1") && !is_name("1row") && !is_name("end") && !is_name("") && !is_name("größe"));
    }
}
