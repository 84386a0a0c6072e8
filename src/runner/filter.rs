//! Which tests somebody means: `tag(smoke) and not lane(sextant)`. PURE.
//!
//! ```text
//! expression  = and-terms joined by `or` or `|`
//! and-terms   = terms joined by `and` or `&`
//! term        = `not` term | `!` term | `(` expression `)` | question | text
//! question    = key `(` matcher `)`        key: name file tag lane capability case
//! matcher     = `=`text (equal) | `~`text (contains) | `/`regex`/` | text
//! ```
//! Text alone is looked for in names, cases and files. Inside a question without a sign, `name`, `file` and `case` are
//! searched, `tag`, `lane` and `capability` must be equal.

use std::fmt;

use regex_lite::Regex;

use crate::near::nearest;

/// An expression over tests.
#[derive(Debug, Clone)]
pub struct Filter(Node);

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// The case's name.
    pub case: Option<&'a str>,
    /// The script's path.
    pub file: &'a str,
    /// Labels.
    pub tags: &'a [String],
    /// Names of the lanes it runs on.
    pub lanes: &'a [String],
    /// What it needs.
    pub capabilities: &'a [String],
}

#[derive(Debug, Clone)]
enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Question(Key, Matcher),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Name,
    File,
    Tag,
    Lane,
    Capability,
    Case,
}

#[derive(Debug, Clone)]
enum Matcher {
    Equal(String),
    Contains(String),
    Regex(Regex),
}

/// Why text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The text.
    pub text: String,
    /// Where, in characters from 0.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, at, message } = self;
        write!(f, "{message}\n  {text}\n  {:at$}^", "")
    }
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is none; says where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0 };
        let node = parser.or()?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(')') => Err(parser.error("a `)` without its `(`")),
            Some(_) => Err(parser.error("wanted `and`, `or`, or the end")),
        }
    }

    /// Whether a test is meant.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.0.matches(facts)
    }
}

impl Node {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Or(nodes) => nodes.iter().any(|node| node.matches(facts)),
            Self::And(nodes) => nodes.iter().all(|node| node.matches(facts)),
            Self::Not(node) => !node.matches(facts),
            Self::Text(text) => {
                facts.name.contains(text)
                    || facts.file.contains(text)
                    || facts.case.is_some_and(|case| case.contains(text))
            }
            Self::Question(key, matcher) => match key {
                Key::Name => matcher.matches(facts.name),
                Key::File => matcher.matches(facts.file),
                Key::Case => facts.case.is_some_and(|case| matcher.matches(case)),
                Key::Tag => facts.tags.iter().any(|tag| matcher.matches(tag)),
                Key::Lane => facts.lanes.iter().any(|lane| matcher.matches(lane)),
                Key::Capability => facts.capabilities.iter().any(|name| matcher.matches(name)),
            },
        }
    }
}

impl Matcher {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(wanted) => text == wanted,
            Self::Contains(part) => text.contains(part),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Key {
    const NAMES: [(&'static str, Self); 8] = [
        ("name", Self::Name),
        ("file", Self::File),
        ("tag", Self::Tag),
        ("lane", Self::Lane),
        ("capability", Self::Capability),
        ("case", Self::Case),
        // As scenarios and other runners say it.
        ("needs", Self::Capability),
        ("test", Self::Name),
    ];

    fn by_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, key)| key)
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.and()?];
        while self.take_operator("or", '|') {
            nodes.push(self.and()?);
        }
        Ok(single(nodes, Node::Or))
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.term()?];
        while self.take_operator("and", '&') {
            nodes.push(self.term()?);
        }
        Ok(single(nodes, Node::And))
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.error("the expression is nested too deeply"));
        }
        self.depth += 1;
        let node = self.term_inside();
        self.depth -= 1;
        node
    }

    fn term_inside(&mut self) -> Result<Node, FilterError> {
        if self.take_operator("not", '!') {
            return Ok(Node::Not(Box::new(self.term()?)));
        }
        match self.peek() {
            None => Err(self.error("wanted text or a question such as `tag(smoke)`")),
            Some('(') => {
                self.at += 1;
                let node = self.or()?;
                if self.peek() != Some(')') {
                    return Err(self.error("wanted `)`"));
                }
                self.at += 1;
                Ok(node)
            }
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Node::Text),
            Some(char) if OPERATORS.contains(&char) => {
                Err(self.error(format!("wanted text or a question, got `{char}`")))
            }
            Some(_) => self.words(),
        }
    }

    /// A question, or words up to the next operator, which are one text with the spaces between them.
    fn words(&mut self) -> Result<Node, FilterError> {
        let begin = self.at;
        let mut end = begin;
        loop {
            let word_at = self.at;
            let word: String = self.rest().take_while(|char| !is_end_of_word(*char)).collect();
            self.at += word.chars().count();
            if self.text.get(self.at) == Some(&'(') {
                if word_at == begin {
                    return self.question(&word, word_at);
                }
                return Err(self.error("wanted `and` or `or` before a question"));
            }
            end = end.max(self.at);
            let is_last = self.peek().is_none_or(is_end_of_word) || self.is_at_word_operator();
            if is_last {
                break;
            }
        }
        Ok(Node::Text(self.text[begin..end].iter().collect()))
    }

    fn question(&mut self, key: &str, at: usize) -> Result<Node, FilterError> {
        let Some(known) = Key::by_name(key) else {
            let names = Key::NAMES.map(|(name, _)| name);
            let hint = match nearest(key, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", names[..6].join(", ")),
            };
            self.at = at;
            return Err(self.error(format!("no question `{key}(…)`; {hint}")));
        };
        self.at += 1;
        let matcher = self.matcher(known)?;
        if self.peek() != Some(')') {
            return Err(self.error("wanted `)`"));
        }
        self.at += 1;
        Ok(Node::Question(known, matcher))
    }

    fn matcher(&mut self, key: Key) -> Result<Matcher, FilterError> {
        let sign = self.peek();
        let at = self.at;
        if sign == Some('/') {
            self.at += 1;
            let Some(regex) = self.until('/') else {
                return Err(self.error("the pattern has no `/` at its end"));
            };
            return Regex::new(&regex).map(Matcher::Regex).map_err(|error| {
                self.at = at;
                self.error(format!("the pattern is wrong: {error}"))
            });
        }
        if matches!(sign, Some('=' | '~')) {
            self.at += 1;
        }
        let text = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => {
                let raw: String = self.rest().take_while(|char| *char != ')').collect();
                self.at += raw.chars().count();
                raw.trim().to_owned()
            }
        };
        if text.is_empty() {
            return Err(self.error("wanted text"));
        }
        let is_searched = matches!(key, Key::Name | Key::File | Key::Case);
        Ok(match sign {
            Some('=') => Matcher::Equal(text),
            Some('~') => Matcher::Contains(text),
            _ if is_searched => Matcher::Contains(text),
            _ => Matcher::Equal(text),
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let at = self.at;
        self.at += 1;
        self.until(quote).ok_or_else(|| {
            self.at = at;
            self.error(format!("the text has no {quote} at its end"))
        })
    }

    /// The text up to an unescaped `end`, which is taken as well.
    fn until(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            let char = *self.text.get(self.at)?;
            self.at += 1;
            match char {
                '\\' if self.text.get(self.at) == Some(&end) => {
                    text.push(end);
                    self.at += 1;
                }
                char if char == end => return Some(text),
                char => text.push(char),
            }
        }
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|char| char.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> impl Iterator<Item = char> {
        self.text[self.at..].iter().copied()
    }

    fn take_operator(&mut self, word: &str, sign: char) -> bool {
        if self.peek() == Some(sign) {
            self.at += 1;
            // `&&` and `||` are what fingers know.
            if sign != '!' && self.text.get(self.at) == Some(&sign) {
                self.at += 1;
            }
            return true;
        }
        let is_word = self.is_at(word);
        if is_word {
            self.at += word.len();
        }
        is_word
    }

    fn is_at(&self, word: &str) -> bool {
        let mut rest = self.rest();
        let is_same = word.chars().all(|char| rest.next() == Some(char));
        is_same && rest.next().is_none_or(|char| char.is_whitespace() || char == '(')
    }

    fn is_at_word_operator(&self) -> bool {
        ["and", "or"].into_iter().any(|word| self.is_at(word))
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError { text: self.text.iter().collect(), at: self.at, message: message.into() }
    }
}

fn is_end_of_word(char: char) -> bool {
    char.is_whitespace() || OPERATORS.contains(&char)
}

fn single(mut nodes: Vec<Node>, join: impl Fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { join(nodes) }
}

const OPERATORS: [char; 5] = ['(', ')', '&', '|', '!'];
const DEPTH_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn means(filter: &str) -> bool {
        let facts = Facts {
            name: "boots, accepts the paste and parks",
            case: Some("root on tty1"),
            file: "scenarios/canonical.lua",
            tags: &["smoke".to_owned(), "slow".to_owned()],
            lanes: &["sextant".to_owned()],
            capabilities: &["digest".to_owned(), "keyboard".to_owned()],
        };
        Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).matches(&facts)
    }

    #[test]
    fn tests_are_found_by_what_they_are() {
        for filter in [
            "paste",
            "boots, accepts the paste and parks",
            "\"the paste and parks\"",
            "'tty1'",
            "scenarios/",
            "tag(smoke)",
            "tag(smoke) and lane(sextant)",
            "tag(smoke)&!tag(quick)",
            "tag(quick) or (capability(digest) and not needs(mouse))",
            "name(/^boots.*parks$/) && file(~canonical)",
            "case(root on tty1)",
            "case(/tty\\d/)",
            "not (tag(quick) | tag(quicker) || name(=boots))",
            "  lane( sextant )  ",
            "file(/scenarios\\/can/)",
        ] {
            assert!(means(filter), "{filter}");
        }
        for filter in [
            "tag(smo)",
            "lane(sex)",
            "name(=boots)",
            "not boots",
            "boots & tag(quick)",
            "!(tag(smoke))",
            "tag(quick) or tag(quicker) and tag(smoke)",
        ] {
            assert!(!means(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_says_where() {
        for (filter, at, message) in [
            ("", 0, "wanted text or a question such as `tag(smoke)`"),
            ("tag(smoke) and", 14, "wanted text or a question such as `tag(smoke)`"),
            ("tagg(smoke)", 0, "no question `tagg(…)`; did you mean `tag`?"),
            (
                "verdict(failed)",
                0,
                "no question `verdict(…)`; known: name, file, tag, lane, capability, case",
            ),
            ("tag(smoke", 9, "wanted `)`"),
            ("tag()", 4, "wanted text"),
            ("(tag(smoke)", 11, "wanted `)`"),
            ("tag(smoke))", 10, "a `)` without its `(`"),
            ("tag(smoke) lane(x)", 11, "wanted `and`, `or`, or the end"),
            ("name(/x)", 8, "the pattern has no `/` at its end"),
            ("\"boots", 0, "the text has no \" at its end"),
            ("| x", 0, "wanted text or a question, got `|`"),
        ] {
            let error = Filter::parse(filter).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, message), "{filter}");
        }
        assert!(Filter::parse("name(/(/)").unwrap_err().message.starts_with("the pattern is wrong"));
        assert!(Filter::parse(&"(".repeat(100_000)).unwrap_err().message.contains("too deeply"));
        let error = Filter::parse("smoke & tagg(x)").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no question `tagg(…)`; did you mean `tag`?\n  smoke & tagg(x)\n          ^"
        );
    }
}
