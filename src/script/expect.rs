//! `expect(value)` and `t:check(value)`: verdicts with evidence.

use mlua::{Lua, Table, UserData, UserDataMethods, Value};
use serde_json::Value as Json;

use super::context::{Context, Scope, caller};
use super::failure::{Failure, FailureKind};
use super::members::refuse_unknown;
use super::options::describe;
use super::values::{to_json, to_matcher};
use crate::journal::matching::{Comparison, Matcher, Miss, show};
use crate::journal::{Body, Source};

/// A value that is about to be judged.
pub(super) struct ExpectSkin {
    value: Value,
    /// Whether a miss is recorded without stopping the script.
    soft: bool,
}

impl ExpectSkin {
    pub(super) fn new(value: Value, soft: bool) -> Self {
        Self { value, soft }
    }
}

/// What a judgement found: `Err` holds the difference.
type Judgement = Result<(), String>;

impl UserData for ExpectSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "expect",
            &[
                "equals",
                "matches",
                "is_true",
                "contains",
                "has_in_order",
                "never_decreases",
                "increases",
                "agrees",
            ],
        );
        methods.add_method("equals", |lua, expect, wanted: Value| {
            let wanted = to_json(&wanted)?;
            let what = format!("equals {}", show(&wanted));
            expect.judge(lua, &what, |value| exactly(&wanted, value))
        });
        methods.add_method("matches", |lua, expect, wanted: Value| {
            let matcher = to_matcher(lua, &wanted)?;
            expect
                .judge(lua, &format!("matches {matcher}"), |value| difference(&matcher.compare(Some(value))))
        });
        methods.add_method("is_true", |lua, expect, ()| {
            expect.judge(lua, "is true", |value| match value {
                Json::Bool(true) => Ok(()),
                other => Err(format!("got {}", show(other))),
            })
        });
        methods.add_method("contains", |lua, expect, wanted: Value| {
            let matcher = to_matcher(lua, &wanted)?;
            expect.judge(lua, &format!("contains {matcher}"), |value| {
                let items = list(value)?;
                if items.iter().any(|item| matcher.matches(item)) {
                    return Ok(());
                }
                Err(format!("none of {} items matches{}", items.len(), nearest_miss(&matcher, items)))
            })
        });
        methods.add_method("has_in_order", |lua, expect, wanted: Table| {
            let wanted = wanted.sequence_values::<Value>().map(|item| to_matcher(lua, &item?));
            let wanted = wanted.collect::<mlua::Result<Vec<_>>>()?;
            if wanted.is_empty() {
                return Err(
                    Failure::usage("expect: has_in_order wants a list of at least one matcher").into()
                );
            }
            let what = format!("has in order {}", Matcher::List(wanted.clone()));
            expect.judge(lua, &what, |value| in_order(&wanted, list(value)?))
        });
        methods.add_method("never_decreases", |lua, expect, key: String| {
            expect.judge(lua, &format!("`{key}` never decreases"), |value| {
                monotone(list(value)?, &key, |before, after| after >= before)
            })
        });
        methods.add_method("increases", |lua, expect, key: String| {
            expect.judge(lua, &format!("`{key}` increases"), |value| {
                monotone(list(value)?, &key, |before, after| after > before)
            })
        });
        methods.add_method("agrees", |lua, expect, ()| {
            expect.judge(lua, "agrees", |value| match value.get("agrees") {
                Some(Json::Bool(true)) => Ok(()),
                Some(_) => Err(findings(value)),
                None => Err(format!("wants a reconciliation (`t:reconcile(…)`), got {}", show(value))),
            })
        });
    }
}

impl ExpectSkin {
    fn judge(&self, lua: &Lua, what: &str, judge: impl FnOnce(&Json) -> Judgement) -> mlua::Result<bool> {
        let context = Context::of(lua);
        let place = caller(lua);
        let value = to_json(&self.value)
            .map_err(|_| Failure::usage(format!("expect: cannot judge {}", describe(&self.value))))
            .map_err(|failure| context.raise(failure.at(place.clone())))?;
        let judgement = judge(&value);
        let tentative = Scope::is_tentative();
        let body = Body::Expectation {
            what: what.to_owned(),
            passed: judgement.is_ok(),
            difference: judgement.clone().err(),
            line: place.as_ref().map_or(0, |place| place.line),
        };
        if judgement.is_ok() || !tentative {
            context.journal.append(Source::Script, body);
        }
        let Err(difference) = judgement else { return Ok(true) };
        let mut failure =
            Failure::new(FailureKind::Expectation, format!("expected that it {what}\n{difference}"));
        failure.steps = context.current_scope().steps;
        let failure = failure.at(place);
        if !tentative {
            context.miss(failure.clone());
        }
        if self.soft { Ok(false) } else { Err(context.raise(failure)) }
    }
}

/// Binds `expect`.
pub(super) fn bind(lua: &Lua) -> mlua::Result<()> {
    let expect = lua.create_function(|_, value: Value| Ok(ExpectSkin::new(value, false)))?;
    lua.globals().set("expect", expect)
}

fn difference(comparison: &Comparison) -> Judgement {
    if comparison.matched() {
        return Ok(());
    }
    let shown = comparison.misses.iter().take(MISSES_SHOWN).map(ToString::to_string);
    let mut lines: Vec<String> = shown.collect();
    if comparison.misses.len() > MISSES_SHOWN {
        lines.push(format!("and {} more differences", comparison.misses.len() - MISSES_SHOWN));
    }
    Err(lines.join("\n"))
}

/// Compares as a matcher would, and lets no key be there that was not wanted.
fn exactly(wanted: &Json, value: &Json) -> Judgement {
    let mut comparison = exact_matcher(wanted).compare(Some(value));
    surplus(wanted, value, &mut String::new(), &mut comparison.misses);
    difference(&comparison)
}

fn exact_matcher(wanted: &Json) -> Matcher {
    match wanted {
        Json::Array(items) => Matcher::List(items.iter().map(exact_matcher).collect()),
        Json::Object(fields) => {
            Matcher::Record(fields.iter().map(|(key, field)| (key.clone(), exact_matcher(field))).collect())
        }
        Json::Null => Matcher::Absent,
        other => Matcher::Equals(other.clone()),
    }
}

fn surplus(wanted: &Json, value: &Json, path: &mut String, misses: &mut Vec<Miss>) {
    let (Json::Object(wanted), Json::Object(fields)) = (wanted, value) else { return };
    for (key, field) in fields {
        let length = path.len();
        path.push_str(if length > 0 { "." } else { "" });
        path.push_str(key);
        match wanted.get(key) {
            Some(wanted) => surplus(wanted, field, path, misses),
            None => misses.push(Miss { path: path.clone(), wanted: "nothing".to_owned(), got: show(field) }),
        }
        path.truncate(length);
    }
}

fn list(value: &Json) -> Result<&[Json], String> {
    match value {
        Json::Array(items) => Ok(items),
        // An empty Lua table.
        Json::Object(fields) if fields.is_empty() => Ok(&[]),
        other => Err(format!("wants a list, got {}", show(other))),
    }
}

fn in_order(wanted: &[Matcher], items: &[Json]) -> Judgement {
    let mut from = 0;
    for (index, matcher) in wanted.iter().enumerate() {
        match items[from..].iter().position(|item| matcher.matches(item)) {
            Some(at) => from += at + 1,
            None => {
                let after = match index {
                    0 => format!("in {} items", items.len()),
                    _ => format!("after item {index}, which is entry {from} of {}", items.len()),
                };
                let near = nearest_miss(matcher, &items[from..]);
                return Err(format!("item {} is missing: {matcher} {after}{near}", index + 1));
            }
        }
    }
    Ok(())
}

fn nearest_miss(matcher: &Matcher, items: &[Json]) -> String {
    let nearest = items
        .iter()
        .map(|item| (matcher.compare(Some(item)), item))
        .filter(|(comparison, _)| comparison.hits > 0)
        .max_by_key(|(comparison, _)| comparison.hits);
    match nearest {
        None => String::new(),
        Some((comparison, item)) => {
            let misses: Vec<String> = comparison.misses.iter().map(ToString::to_string).collect();
            format!("\nnearest miss: {} ({})", show(item), misses.join("; "))
        }
    }
}

fn monotone(items: &[Json], key: &str, holds: impl Fn(f64, f64) -> bool) -> Judgement {
    let numbers: Vec<(usize, f64)> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| Some((index + 1, item.get(key)?.as_f64()?)))
        .collect();
    if numbers.is_empty() {
        return Err(format!("none of {} items has a number `{key}`", items.len()));
    }
    match numbers.windows(2).find(|pair| !holds(pair[0].1, pair[1].1)) {
        None => Ok(()),
        Some(pair) => Err(format!(
            "`{key}` is {} at item {} and {} at item {}",
            pair[0].1, pair[0].0, pair[1].1, pair[1].0
        )),
    }
}

fn findings(value: &Json) -> String {
    let findings = value.get("findings").and_then(Json::as_array);
    let lines: Vec<String> = findings
        .into_iter()
        .flatten()
        .filter(|finding| finding["standing"] != "agrees")
        .filter_map(|finding| {
            Some(format!("{}: {}", finding["standing"].as_str()?, finding["text"].as_str()?))
        })
        .collect();
    if lines.is_empty() { "the two do not agree".to_owned() } else { lines.join("\n") }
}

const MISSES_SHOWN: usize = 8;
