//! `expect(value)` and `t:check(value)`: verdicts with evidence.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value, Variadic};
use serde_json::{Value as Json, json};

use super::context::{Context, Limit, caller, machine_ended};
use super::failure::{Failure, FailureKind, Place};
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::{describe, seconds_to_duration};
use super::streams::{DigestSkin, SerialSkin, latest, lines};
use super::test::call;
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

/// What is expected of a value.
struct Question {
    /// For people: `equals 3`.
    what: String,
    judge: Box<dyn Fn(&Json) -> Judgement + Send + Sync>,
}

impl UserData for ExpectSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        // Called with a dot or with a colon: the seconds are the last argument either way.
        fields.add_field_method_get("within", |lua, expect| {
            let (value, soft) = (expect.value.clone(), expect.soft);
            lua.create_function(move |lua, mut arguments: Variadic<Value>| {
                let seconds = arguments.pop().unwrap_or(Value::Nil);
                let within = WithinSkin::new(&value, soft, &seconds);
                within.map_err(|failure| Context::of(lua).raise(failure.at(caller(lua))))
            })
        });
    }

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
                "within",
            ],
        );
        methods.add_method("equals", |lua, expect, wanted: Value| expect.judge(lua, &equals(&wanted)?));
        methods
            .add_method("matches", |lua, expect, wanted: Value| expect.judge(lua, &matches(lua, &wanted)?));
        methods.add_method("is_true", |lua, expect, ()| expect.judge(lua, &is_true()));
        methods
            .add_method("contains", |lua, expect, wanted: Value| expect.judge(lua, &contains(lua, &wanted)?));
        methods.add_method("has_in_order", |lua, expect, wanted: Table| {
            expect.judge(lua, &has_in_order(lua, &wanted)?)
        });
        methods.add_method("never_decreases", |lua, expect, key: String| {
            expect.judge(lua, &never_decreases(key))
        });
        methods.add_method("increases", |lua, expect, key: String| expect.judge(lua, &increases(key)));
        methods.add_method("agrees", |lua, expect, ()| expect.judge(lua, &agrees()));
    }
}

impl ExpectSkin {
    fn judge(&self, lua: &Lua, question: &Question) -> mlua::Result<bool> {
        let context = Context::of(lua);
        let place = caller(lua);
        let value = to_json(&self.value)
            .map_err(|_| Failure::usage(format!("expect: cannot judge {}", describe(&self.value))))
            .map_err(|failure| context.raise(failure.at(place.clone())))?;
        verdict(&context, place, &question.what, (question.judge)(&value), self.soft)
    }
}

/// Notes a judgement, and raises a miss unless it is `soft`.
fn verdict(
    context: &Context,
    place: Option<Place>,
    what: &str,
    judgement: Judgement,
    soft: bool,
) -> mlua::Result<bool> {
    let scope = context.current_scope();
    let tentative = scope.tentative;
    let body = Body::Expectation {
        what: what.to_owned(),
        passed: judgement.is_ok(),
        difference: judgement.clone().err(),
        line: place.as_ref().map_or(0, |place| place.line),
    };
    if (judgement.is_ok() && !scope.quiet) || !tentative {
        context.journal.append(Source::Script, body);
    }
    let Err(difference) = judgement else { return Ok(true) };
    let message = format!("expected that it {what}\n{difference}");
    let mut failure = Failure::new(FailureKind::Expectation, message);
    failure.steps.clone_from(&scope.steps);
    let failure = failure.at(place);
    if !tentative && !scope.at_prompt {
        context.miss(failure.clone());
    }
    if soft { Ok(false) } else { Err(context.raise(failure)) }
}

/// A value that is asked for again until it is as expected, or time is over.
struct WithinSkin {
    asked: Asked,
    limit: Duration,
    soft: bool,
}

/// What is asked for again.
#[derive(Clone)]
enum Asked {
    Function(Function),
    /// `t.serial`: its lines.
    Lines(Arc<Machine>),
    /// `t.digest`: the newest one.
    Digest(Arc<Machine>),
}

impl WithinSkin {
    fn new(value: &Value, soft: bool, seconds: &Value) -> Result<Self, Failure> {
        let limit = match seconds {
            #[expect(clippy::cast_precision_loss, reason = "nobody waits 2^53 seconds")]
            Value::Integer(seconds) => seconds_to_duration(*seconds as f64),
            Value::Number(seconds) => seconds_to_duration(*seconds),
            _ => None,
        };
        let limit = limit.ok_or_else(|| {
            let got = describe(seconds);
            Failure::usage(format!("expect: `within` wants seconds from 0 to 1e9, got {got}"))
        })?;
        let asked = match value {
            Value::Function(function) => Some(Asked::Function(function.clone())),
            Value::UserData(data) => {
                let lines = || Some(Asked::Lines(Arc::clone(&data.borrow::<SerialSkin>().ok()?.0)));
                let digest = || Some(Asked::Digest(Arc::clone(&data.borrow::<DigestSkin>().ok()?.0)));
                lines().or_else(digest)
            }
            _ => None,
        };
        let asked = asked.ok_or_else(|| {
            let got = describe(value);
            Failure::usage(format!("expect: `within` wants something to ask again, got {got}")).hint(
                "a function, `t.serial` (its lines) or `t.digest` (the newest): \
                 `expect(function() return … end).within(2):equals(…)`",
            )
        })?;
        Ok(Self { asked, limit, soft })
    }
}

/// A question about nothing, for who needs to know what such objects are like.
pub(super) fn nothing_within(lua: &Lua) -> mlua::Result<impl UserData + use<>> {
    let asked = Asked::Function(lua.create_function(|_, ()| Ok(()))?);
    Ok(WithinSkin { asked, limit: Duration::ZERO, soft: false })
}

impl UserData for WithinSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "within",
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
        methods
            .add_async_method("equals", |lua, within, wanted: Value| again(&lua, &within, equals(&wanted)));
        methods.add_async_method("matches", |lua, within, wanted: Value| {
            again(&lua, &within, matches(&lua, &wanted))
        });
        methods.add_async_method("is_true", |lua, within, ()| again(&lua, &within, Ok(is_true())));
        methods.add_async_method("contains", |lua, within, wanted: Value| {
            again(&lua, &within, contains(&lua, &wanted))
        });
        methods.add_async_method("has_in_order", |lua, within, wanted: Table| {
            again(&lua, &within, has_in_order(&lua, &wanted))
        });
        methods.add_async_method("never_decreases", |lua, within, key: String| {
            again(&lua, &within, Ok(never_decreases(key)))
        });
        methods.add_async_method("increases", |lua, within, key: String| {
            again(&lua, &within, Ok(increases(key)))
        });
        methods.add_async_method("agrees", |lua, within, ()| again(&lua, &within, Ok(agrees())));
    }
}

/// Asks until the answer is as expected, or time is over.
fn again(
    lua: &Lua,
    within: &WithinSkin,
    question: mlua::Result<Question>,
) -> impl Future<Output = mlua::Result<bool>> + use<> {
    let (lua, context, place) = (lua.clone(), Context::of(lua), caller(lua));
    let (asked, timeout, soft) = (within.asked.clone(), within.limit, within.soft);
    async move {
        let question = question?;
        let scope = context.current_scope();
        let limit = Limit::new(&scope, Some(timeout));
        let machine = match &asked {
            Asked::Function(_) => None,
            Asked::Lines(machine) | Asked::Digest(machine) => Some(machine),
        };
        let what = &question.what;
        let mut note =
            context.wait_begins(machine.map(|one| &**one), "expect.within", what, &limit, place.as_ref());
        let mut last;
        loop {
            match asked.ask(&lua, &context).await {
                Ok(value) => match (question.judge)(&value) {
                    Ok(()) => {
                        note.end("matched", None);
                        return verdict(&context, place, what, Ok(()), soft);
                    }
                    Err(difference) => last = difference,
                },
                Err(failure) if failure.fatal || failure.kind == FailureKind::Usage => {
                    return Err(context.raise(failure.at(place)));
                }
                Err(failure) if failure.kind == FailureKind::MachineEnded => {
                    note.end("machine_ended", None);
                    return Err(context.raise(failure.at(place)));
                }
                Err(failure) => last = failure.to_string(),
            }
            // A machine that has ended says nothing more; it was asked once after its end.
            let end = machine.and_then(|machine| machine.lane.ended.borrow().clone());
            if let Some(end) = end {
                note.end("machine_ended", None);
                let seen = format!("last: {last}");
                let failure =
                    machine_ended(&end, &format!("expect.within: the machine ended before it {what}"), &seen);
                return Err(context.raise(failure.at(place)));
            }
            if scope.clock.now() + INTERVAL >= limit.deadline {
                note.end("timeout", None);
                let difference = format!("not {}\n{last}", limit.within(&scope));
                let missed = verdict(&context, place.clone(), what, Err(difference), soft);
                if limit.is_inherited {
                    let message = format!("expect.within: not so {}\nlast: {last}", limit.within(&scope));
                    return Err(context.raise(Failure::new(FailureKind::Timeout, message).at(place).fatal()));
                }
                return missed;
            }
            scope.clock.sleep(INTERVAL).await;
        }
    }
}

impl Asked {
    async fn ask(&self, lua: &Lua, context: &Context) -> Result<Json, Failure> {
        let function = match self {
            Self::Lines(machine) => return Ok(json!(lines(machine))),
            Self::Digest(machine) => {
                return latest(machine).map_err(|error| Failure::from_lua(&error));
            }
            Self::Function(function) => function,
        };
        let mut scope = context.current_scope();
        scope.tentative = true;
        scope.quiet = true;
        let answer = scope.run(call(lua, function, MultiValue::new())).await;
        let mut values = answer.map_err(|error| Failure::from_lua(&error))?;
        let value = values.pop_front().unwrap_or(Value::Nil);
        to_json(&value).map_err(|_| Failure::usage(format!("expect: cannot judge {}", describe(&value))))
    }
}

fn equals(wanted: &Value) -> mlua::Result<Question> {
    let wanted = to_json(wanted)?;
    let what = format!("equals {}", show(&wanted));
    Ok(Question { what, judge: Box::new(move |value| exactly(&wanted, value)) })
}

fn matches(lua: &Lua, wanted: &Value) -> mlua::Result<Question> {
    let matcher = to_matcher(lua, wanted)?;
    let what = format!("matches {matcher}");
    Ok(Question { what, judge: Box::new(move |value| difference(&matcher.compare(Some(value)))) })
}

fn is_true() -> Question {
    let judge = Box::new(|value: &Json| match value {
        Json::Bool(true) => Ok(()),
        other => Err(format!("got {}", show(other))),
    });
    Question { what: "is true".to_owned(), judge }
}

fn contains(lua: &Lua, wanted: &Value) -> mlua::Result<Question> {
    let matcher = to_matcher(lua, wanted)?;
    let what = format!("contains {matcher}");
    let judge = Box::new(move |value: &Json| {
        let items = list(value)?;
        if items.iter().any(|item| matcher.matches(item)) {
            return Ok(());
        }
        Err(format!("none of {} items matches{}", items.len(), nearest_miss(&matcher, items)))
    });
    Ok(Question { what, judge })
}

fn has_in_order(lua: &Lua, wanted: &Table) -> mlua::Result<Question> {
    let wanted = wanted.sequence_values::<Value>().map(|item| to_matcher(lua, &item?));
    let wanted = wanted.collect::<mlua::Result<Vec<_>>>()?;
    if wanted.is_empty() {
        return Err(Failure::usage("expect: has_in_order wants a list of at least one matcher").into());
    }
    let what = format!("has in order {}", Matcher::List(wanted.clone()));
    Ok(Question { what, judge: Box::new(move |value| in_order(&wanted, list(value)?)) })
}

fn never_decreases(key: String) -> Question {
    let what = format!("`{key}` never decreases");
    Question {
        what,
        judge: Box::new(move |value| monotone(list(value)?, &key, |before, after| after >= before)),
    }
}

fn increases(key: String) -> Question {
    let what = format!("`{key}` increases");
    Question {
        what,
        judge: Box::new(move |value| monotone(list(value)?, &key, |before, after| after > before)),
    }
}

fn agrees() -> Question {
    let judge = Box::new(|value: &Json| match value.get("agrees") {
        Some(Json::Bool(true)) => Ok(()),
        Some(_) => Err(findings(value)),
        None => Err(format!("wants a reconciliation (`t:reconcile(…)`), got {}", show(value))),
    });
    Question { what: "agrees".to_owned(), judge }
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
/// Between two times that a value is asked for.
const INTERVAL: Duration = Duration::from_millis(50);
