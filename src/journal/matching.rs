//! What a script can ask of a value: plain values match partially, matchers say the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A question to a value. Values are JSON, the common form of events and of what scripts hold.
#[derive(Clone)]
pub enum Matcher {
    /// Anything that is there.
    Any,
    /// Nothing is there.
    Absent,
    /// This value; numbers compare by value.
    Equals(Value),
    /// A number of at least this.
    AtLeast(f64),
    /// A number of at most this.
    AtMost(f64),
    /// One of several.
    OneOf(Vec<Matcher>),
    /// A string in which the pattern is found.
    Pattern(regex_lite::Regex),
    /// An object that has these keys with matching values; other keys do not matter.
    Record(BTreeMap<String, Matcher>),
    /// An array of this length whose elements match in order.
    List(Vec<Matcher>),
    /// A function of the script. An error counts as a miss and is shown.
    Predicate(Predicate),
}

/// A question that only its owner can answer.
pub type Predicate = Arc<dyn Fn(&Value) -> Result<bool, String> + Send + Sync>;

/// How a value compares with a matcher.
#[derive(Debug, Default, Clone)]
pub struct Comparison {
    /// Questions answered with yes.
    pub hits: usize,
    /// Questions answered with no.
    pub misses: Vec<Miss>,
}

/// One question answered with no.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// Where in the value, e.g. `scene_transition.to`; empty for the value itself.
    pub path: String,
    /// What was wanted.
    pub wanted: String,
    /// What was there.
    pub got: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "wanted {}, got {}", self.wanted, self.got)
        } else {
            write!(f, "{}: wanted {}, got {}", self.path, self.wanted, self.got)
        }
    }
}

impl Comparison {
    /// Whether every question was answered with yes.
    pub fn matched(&self) -> bool {
        self.misses.is_empty()
    }
}

impl Matcher {
    /// Compares; `None` is a value that is not there.
    pub fn compare(&self, value: Option<&Value>) -> Comparison {
        let mut comparison = Comparison::default();
        self.compare_at(&mut String::new(), value, &mut comparison);
        comparison
    }

    /// Whether the value matches.
    pub fn matches(&self, value: &Value) -> bool {
        self.compare(Some(value)).matched()
    }

    fn compare_at(&self, path: &mut String, value: Option<&Value>, comparison: &mut Comparison) {
        if let (Self::Record(wanted), Some(Value::Object(fields))) = (self, value) {
            for (key, matcher) in wanted {
                within(
                    path,
                    |path| path.push_str(key),
                    |path| {
                        matcher.compare_at(path, fields.get(key), comparison);
                    },
                );
            }
            return;
        }
        if let (Self::List(wanted), Some(Value::Array(items))) = (self, value)
            && wanted.len() == items.len()
        {
            for (index, (matcher, item)) in wanted.iter().zip(items).enumerate() {
                within(
                    path,
                    |path| path.push_str(&format!("[{}]", index + 1)),
                    |path| {
                        matcher.compare_at(path, Some(item), comparison);
                    },
                );
            }
            return;
        }
        match self.answer(value) {
            Ok(true) => comparison.hits += 1,
            Ok(false) => comparison.misses.push(Miss {
                path: path.clone(),
                wanted: self.to_string(),
                got: value.map_or_else(|| "nothing".to_owned(), show),
            }),
            Err(error) => comparison.misses.push(Miss {
                path: path.clone(),
                wanted: self.to_string(),
                got: format!("an error from the function: {error}"),
            }),
        }
    }

    fn answer(&self, value: Option<&Value>) -> Result<bool, String> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(match self {
                Self::Absent => true,
                Self::OneOf(choices) => choices.iter().any(|choice| choice.answer(None) == Ok(true)),
                _ => false,
            });
        };
        Ok(match self {
            Self::Any => true,
            Self::Absent | Self::List(_) => false,
            Self::Equals(wanted) => equal(wanted, value),
            Self::AtLeast(limit) => value.as_f64().is_some_and(|number| number >= *limit),
            Self::AtMost(limit) => value.as_f64().is_some_and(|number| number <= *limit),
            Self::OneOf(choices) => choices.iter().any(|choice| choice.matches(value)),
            Self::Pattern(pattern) => value.as_str().is_some_and(|text| pattern.is_match(text)),
            // An empty Lua table is both; an object or array that reaches this has the wrong kind or length.
            Self::Record(wanted) => wanted.is_empty() && value.as_array().is_some_and(Vec::is_empty),
            Self::Predicate(predicate) => return predicate(value),
        })
    }
}

/// Runs `inner` with `path` extended by one element, then restores it.
fn within(path: &mut String, extend: impl FnOnce(&mut String), inner: impl FnOnce(&mut String)) {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    extend(path);
    inner(path);
    path.truncate(length);
}

fn equal(wanted: &Value, value: &Value) -> bool {
    match (wanted.as_f64(), value.as_f64()) {
        // Integers first: 2^53 + 1 must not equal 2^53.
        (Some(a), Some(b)) => match (wanted.as_i64(), value.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.total_cmp(&b).is_eq(),
        },
        _ => wanted == value,
    }
}

/// Renders a value the way a script would write it, cut to a readable length.
pub fn show(value: &Value) -> String {
    let mut text = String::new();
    show_into(value, &mut text);
    if text.chars().count() > SHOWN_CHARS {
        let mut cut: String = text.chars().take(SHOWN_CHARS).collect();
        cut.push('…');
        return cut;
    }
    text
}

fn show_into(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("nil"),
        Value::String(string) => text.push_str(&format!("{string:?}")),
        Value::Array(items) => {
            text.push_str("{ ");
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                show_into(item, text);
            }
            text.push_str(" }");
        }
        Value::Object(fields) => {
            text.push_str("{ ");
            for (index, (key, field)) in fields.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                text.push_str(key);
                text.push_str(" = ");
                show_into(field, text);
            }
            text.push_str(" }");
        }
        other => text.push_str(&other.to_string()),
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Absent => f.write_str("nothing"),
            Self::Equals(value) => f.write_str(&show(value)),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::OneOf(choices) => {
                f.write_str("one of ")?;
                list(f, choices.iter().map(|choice| (None, choice)))
            }
            Self::Pattern(pattern) => write!(f, "text matching {:?}", pattern.as_str()),
            Self::Record(wanted) => list(f, wanted.iter().map(|(key, matcher)| (Some(key), matcher))),
            Self::List(wanted) => list(f, wanted.iter().map(|matcher| (None, matcher))),
            Self::Predicate(_) => f.write_str("what the function accepts"),
        }
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = (Option<&'a String>, &'a Matcher)>,
) -> fmt::Result {
    f.write_str("{ ")?;
    for (index, (key, matcher)) in items.enumerate() {
        f.write_str(if index > 0 { ", " } else { "" })?;
        if let Some(key) = key {
            write!(f, "{key} = ")?;
        }
        write!(f, "{matcher}")?;
    }
    f.write_str(" }")
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const SHOWN_CHARS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(fields: impl IntoIterator<Item = (&'static str, Matcher)>) -> Matcher {
        Matcher::Record(fields.into_iter().map(|(key, matcher)| (key.to_owned(), matcher)).collect())
    }

    #[test]
    fn a_record_matches_by_the_keys_given() {
        let wanted = record([("to", Matcher::Equals(json!("booting")))]);
        assert!(wanted.matches(&json!({"from": "awaiting", "to": "booting"})));
    }

    #[test]
    fn a_miss_says_where_what_and_got() {
        let wanted = record([(
            "scene_transition",
            record([("to", Matcher::Equals(json!("parked"))), ("from", Matcher::Any)]),
        )]);
        let comparison = wanted.compare(Some(&json!({"scene_transition": {"from": "a", "to": "booting"}})));
        assert_eq!(comparison.hits, 1);
        assert_eq!(
            comparison.misses[0].to_string(),
            "scene_transition.to: wanted \"parked\", got \"booting\""
        );
    }

    #[test]
    fn absent_matches_only_what_is_not_there() {
        let wanted = record([("panic", Matcher::Absent)]);
        assert!(wanted.matches(&json!({"row": 1})));
        assert!(!wanted.matches(&json!({"panic": true})));
    }

    #[test]
    fn numbers_compare_by_value_and_large_integers_exactly() {
        assert!(Matcher::Equals(json!(2.0)).matches(&json!(2)));
        assert!(
            !Matcher::Equals(json!(9_007_199_254_740_993_i64)).matches(&json!(9_007_199_254_740_992_i64))
        );
    }

    #[test]
    fn bounds_refuse_what_is_not_a_number() {
        assert!(Matcher::AtLeast(2.0).matches(&json!(2)));
        assert!(!Matcher::AtMost(2.0).matches(&json!("1")));
    }

    #[test]
    fn a_failing_function_is_a_miss_that_shows_its_error() {
        let wanted = Matcher::Predicate(Arc::new(|_| Err("boom".to_owned())));
        let comparison = wanted.compare(Some(&json!(1)));
        assert!(comparison.misses[0].got.contains("boom"));
    }

    #[test]
    fn lists_match_element_by_element() {
        let wanted = Matcher::List(vec![Matcher::Any, Matcher::Equals(json!(2))]);
        assert!(wanted.matches(&json!([1, 2])));
        assert!(!wanted.matches(&json!([1, 2, 3])));
        assert_eq!(wanted.compare(Some(&json!([1, 3]))).misses[0].path, "[2]");
    }
}
