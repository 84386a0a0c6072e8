//! A Rust source as far as the rules need it: the paths it names, the modules it declares, and which of that is test
//! code. Comments and literals do not count; macros are read like everything else, as words.

/// What a file names.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) paths: Vec<UsedPath>,
    /// The names of `mod name;`.
    pub(super) declared: Vec<String>,
}

/// A path with at least two segments, or one that is imported. Groups are spelled out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedPath {
    pub(super) line: usize,
    /// Whether it stands below a `#[cfg(test)]`.
    pub(super) is_test: bool,
    /// As written; `*` for all.
    pub(super) segments: Vec<String>,
    /// From the root of the crate, where it begins with `crate`, `self` or `super`.
    pub(super) in_crate: Option<Vec<String>>,
}

impl UsedPath {
    /// Returns whether `words`, such as `std::fs`, stand next to each other in it.
    pub(super) fn names(&self, words: &str) -> bool {
        let words: Vec<&str> = words.split("::").collect();
        self.segments.windows(words.len()).any(|window| window == words)
    }
}

impl Source {
    /// Reads the text of the module at `module`, its names from the root of the crate down.
    pub(super) fn parse(text: &str, module: &[&str]) -> Self {
        let tokens = tokens(text);
        let mut reader = Reader {
            test_tokens: test_tokens(&tokens),
            tokens,
            at: 0,
            blocks: Vec::new(),
            module: module.iter().map(|name| (*name).to_owned()).collect(),
            source: Self::default(),
        };
        reader.read();
        reader.source
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    /// `::`
    Separator,
    Mark(char),
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    line: usize,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        match &self.kind {
            Kind::Word(word) => word == text,
            Kind::Separator => text == "::",
            Kind::Mark(mark) => text.chars().eq([*mark]),
        }
    }
}

struct Reader {
    tokens: Vec<Token>,
    /// Which tokens are test code.
    test_tokens: Vec<bool>,
    at: usize,
    /// For every open brace, whether it is that of a module.
    blocks: Vec<bool>,
    module: Vec<String>,
    source: Source,
}

impl Reader {
    fn read(&mut self) {
        while self.at < self.tokens.len() {
            if self.is(0, "use") && !self.is(1, "<") {
                self.at += 1;
                self.read_use(&[]);
            } else if self.is(0, "mod") && self.word(1).is_some() {
                self.read_mod();
            } else if self.word(0).is_some() && self.is(1, "::") {
                self.read_path();
            } else {
                self.track_block();
                self.at += 1;
            }
        }
    }

    fn read_mod(&mut self) {
        let name = self.word(1).unwrap_or_default().to_owned();
        if self.is(2, ";") {
            self.source.declared.push(name);
        } else if self.is(2, "{") {
            self.blocks.push(true);
            self.module.push(name);
        }
        self.at += 3;
    }

    fn track_block(&mut self) {
        if self.is(0, "{") {
            self.blocks.push(false);
        } else if self.is(0, "}") && self.blocks.pop() == Some(true) {
            self.module.pop();
        }
    }

    /// `a::b::c`, up to what is no word.
    fn read_path(&mut self) {
        let start = self.at;
        let mut segments = Vec::new();
        while let Some(word) = self.word(0) {
            segments.push(word.to_owned());
            self.at += 1;
            if !self.is(0, "::") || self.word(1).is_none() {
                break;
            }
            self.at += 1;
        }
        self.push(start, segments);
    }

    /// One tree of a use, after `prefix`, up to what follows it.
    fn read_use(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        while self.is(0, "::") || self.is(0, "$") {
            self.at += 1;
        }
        while let Some(word) = self.word(0).or_else(|| self.is(0, "*").then_some("*")) {
            segments.push(word.to_owned());
            self.at += 1;
            if !self.is(0, "::") {
                self.push(self.at - 1, segments);
                self.at += if self.is(0, "as") { 2 } else { 0 };
                return;
            }
            self.at += 1;
        }
        if self.is(0, "{") {
            self.at += 1;
            while self.at < self.tokens.len() && !self.is(0, "}") {
                let start = self.at;
                self.read_use(&segments);
                // Whatever is no tree is stepped over, as is the comma after one.
                self.at += usize::from(self.is(0, ",") || self.at == start);
            }
            self.at += 1;
        }
    }

    fn push(&mut self, place: usize, mut segments: Vec<String>) {
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let in_crate = self.in_crate(&segments);
        let (line, is_test) = (self.tokens[place].line, self.test_tokens[place]);
        self.source.paths.push(UsedPath { line, is_test, segments, in_crate });
    }

    fn in_crate(&self, segments: &[String]) -> Option<Vec<String>> {
        let mut base = match segments.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    fn is(&self, ahead: usize, text: &str) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| token.is(text))
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match &self.tokens.get(self.at + ahead)?.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Returns for every token whether it belongs to an item below `#[cfg(test)]`.
fn test_tokens(tokens: &[Token]) -> Vec<bool> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut is_test = vec![false; tokens.len()];
    for start in 0..tokens.len() {
        let mut ahead = tokens[start..].iter().zip(ATTRIBUTE);
        if tokens.len() - start >= ATTRIBUTE.len() && ahead.all(|(token, text)| token.is(text)) {
            let end = start + ATTRIBUTE.len() + item_len(&tokens[start + ATTRIBUTE.len()..]);
            is_test[start..end].fill(true);
        }
    }
    is_test
}

/// How many tokens until the semicolon or the brace that ends the first item.
fn item_len(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(mark @ (')' | ']' | '}')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && mark == '}' {
                    return index + 1;
                }
            }
            Kind::Mark(';') if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(len) = ignored_len(rest) {
            len
        } else if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token { kind: Kind::Word(rest[..len].to_owned()), line });
            len
        } else if rest.starts_with("::") {
            tokens.push(Token { kind: Kind::Separator, line });
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(Token { kind: Kind::Mark(first), line });
            }
            first.len_utf8()
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    tokens
}

/// The length of the comment or literal that begins here, and of `r#` before a word.
fn ignored_len(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_len(rest));
    }
    let prefix = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(['"', '\'', '#'])));
    let prefix = prefix.unwrap_or_default();
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let quoted = &after[hashes..];
    if prefix.ends_with('r') && quoted.starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let len = quoted[1..].find(&end).map_or(quoted.len(), |at| 1 + at + end.len());
        return Some(prefix.len() + hashes + len);
    }
    if prefix == "r" && hashes == 1 {
        return Some(2);
    }
    match quoted.chars().next() {
        Some('"') if hashes == 0 => Some(prefix.len() + quoted_len(quoted, '"')),
        Some('\'') if hashes == 0 && is_char(quoted) => Some(prefix.len() + quoted_len(quoted, '\'')),
        _ => None,
    }
}

/// Tells a character from a lifetime.
fn is_char(quoted: &str) -> bool {
    let mut after = quoted.chars().skip(1);
    after.next() == Some('\\') || after.next() == Some('\'')
}

fn quoted_len(quoted: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    quoted.len()
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(next) = rest[at..].find(['/', '*']) {
        at += next;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}
