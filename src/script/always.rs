//! `t:always`: what must hold beside the steps, from the call on.

use std::fmt::Write as _;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mlua::{Function, Lua, MetaMethod, MultiValue, Table, UserData, UserDataMethods, Value};
use serde_json::{Value as Json, json};
use tokio::task::AbortHandle;

use super::context::{Context, caller};
use super::failure::{Failure, FailureKind, Place};
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::{Options, describe};
use super::streams::digest_json;
use super::test::{TestSkin, call};
use super::values::{to_matcher, to_pattern};
use crate::journal::matching::{Matcher, show};
use crate::journal::{Body, Cursor, Event, Source};
use crate::near::nearest;

/// The checks of an attempt; lives in the Lua state as app data.
#[derive(Default)]
pub(super) struct Checks(Mutex<Vec<Arc<Check>>>);

/// One check.
struct Check {
    name: String,
    place: Option<Place>,
    /// For messages: what is looked at.
    what: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_over: bool,
    /// How often it was asked, or how many values were judged.
    asked: u64,
    /// Empty for one that a function answers.
    watches: Vec<Watch>,
    task: Option<AbortHandle>,
}

impl Checks {
    /// Ends all checks. Where the scenario held otherwise, `is_judged`, what was said last is judged before; returns what
    /// does not hold.
    pub(super) fn finish(&self, context: &Context, is_judged: bool) -> Option<Failure> {
        let checks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        for check in checks {
            if let Some(violation) = check.finish(context, is_judged && failure.is_none()) {
                failure = Some(violation);
            }
        }
        failure
    }
}

impl Check {
    fn finish(&self, context: &Context, is_judged: bool) -> Option<Failure> {
        let mut state = self.state();
        if state.is_over {
            return None;
        }
        if is_judged {
            drop(state);
            if let Some(evidence) = self.sweep() {
                return Some(self.violated(context, &evidence));
            }
            state = self.state();
        }
        state.is_over = true;
        // What must never come is not missed where nothing comes.
        let is_only_never =
            !state.watches.is_empty() && state.watches.iter().all(|it| matches!(it.rule, Rule::Never(_)));
        let asked = state.asked;
        if let Some(task) = state.task.take() {
            task.abort();
        }
        drop(state);
        self.note(context, "over", None);
        if asked == 0 && !is_only_never {
            let message =
                format!("t:always: \"{}\" was never asked: nothing came of {}", self.name, self.what);
            context.warn(message, self.place.as_ref());
        }
        None
    }

    /// Judges what came since the last time; returns what does not hold.
    fn sweep(&self) -> Option<String> {
        // Without the lock: a matcher may be a function of the script, which may do anything.
        let mut watches = std::mem::take(&mut self.state().watches);
        let mut asked = 0;
        let evidence = watches.iter_mut().find_map(|watch| watch.sweep(&mut asked));
        let mut state = self.state();
        state.watches = watches;
        state.asked += asked;
        evidence
    }

    /// Whether it has come to its end, and whether it looks at a file, which tells nobody when it grows.
    fn outlook(&self) -> (bool, bool) {
        let state = self.state();
        (state.is_over, state.watches.iter().any(|watch| watch.log.is_some()))
    }

    /// Notes that it does not hold. The failure ends the attempt.
    fn violated(&self, context: &Context, evidence: &str) -> Failure {
        self.state().is_over = true;
        self.note(context, "violated", Some(evidence.to_owned()));
        let message = format!("t:always: \"{}\" does not hold\n{evidence}", self.name);
        let failure = Failure::new(FailureKind::Expectation, message).at(self.place.clone()).fatal();
        context.end_with(failure.clone());
        failure
    }

    fn note(&self, context: &Context, state: &str, detail: Option<String>) {
        let line = self.place.as_ref().map_or(0, |place| place.line);
        let body = Body::Always { name: self.name.clone(), state: state.to_owned(), detail, line };
        context.journal.append(Source::Script, body);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rule for one stream of one machine.
struct Watch {
    machine: Arc<Machine>,
    stream: Stream,
    rule: Rule,
    /// Up to where it was judged.
    cursor: Cursor,
    /// The number that a rule about an order saw last, and with which event.
    last: Option<(f64, u64)>,
    log: Option<LogTail>,
}

/// What can be watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Serial,
    Digest,
    Qmp,
    QemuLog,
}

impl Stream {
    const ALL: [Self; 4] = [Self::Serial, Self::Digest, Self::Qmp, Self::QemuLog];

    fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Digest => "digest",
            Self::Qmp => "qmp",
            Self::QemuLog => "qemu_log",
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Serial | Self::QemuLog)
    }
}

/// What must hold of a stream.
enum Rule {
    /// Each value matches.
    Each(Matcher),
    /// No value matches.
    Never(Matcher),
    /// Numbers under a key do not fall, or rise.
    Order { key: String, is_strict: bool },
}

impl Watch {
    fn sweep(&mut self, asked: &mut u64) -> Option<String> {
        if let Some(log) = &mut self.log {
            let lines = log.lines();
            return lines.into_iter().find_map(|line| {
                *asked += 1;
                let evidence = self.rule.judge(&json!(line), &mut self.last, 0)?;
                Some(format!("{}: {evidence}", self.machine.call(self.stream.name())))
            });
        }
        let source = match self.stream {
            Stream::Serial => Source::Serial,
            Stream::Digest => Source::Digest,
            Stream::Qmp | Stream::QemuLog => Source::Qmp,
        };
        let events = self.machine.journal.after(source, self.cursor);
        events.iter().find_map(|event| self.look(event, asked))
    }

    fn look(&mut self, event: &Event, asked: &mut u64) -> Option<String> {
        self.cursor = Cursor(event.seq);
        let value = self.value(event)?;
        // What a machine says that was put back, or began anew, is in no order with what it said before.
        let since = self.machine.since().0;
        self.last = self.last.filter(|(_, seq)| *seq > since || event.seq <= since);
        *asked += 1;
        let evidence = self.rule.judge(&value, &mut self.last, event.seq)?;
        let mut text = format!("{}: {evidence}", self.machine.call(self.stream.name()));
        let _ = write!(
            text,
            "\n(event {} of the journal, {:.3} s after it began)",
            event.seq,
            event.at().as_secs_f64()
        );
        Some(text)
    }

    /// What the rule is about in an event, if anything.
    fn value(&self, event: &Event) -> Option<Json> {
        match (&event.body, &self.rule) {
            (Body::SerialLine { text }, _) => Some(json!(text)),
            // A line that has not ended yet may still come to match, but what is in it already was said.
            (Body::SerialPrompt { text }, Rule::Never(_)) => Some(json!(text)),
            (Body::QmpEvent { name, data }, _) => Some(json!({ "name": name, "data": data })),
            (Body::DigestUpdated { .. }, _) | (Body::DigestRecord { .. }, Rule::Never(_)) => {
                digest_json(event)
            }
            _ => None,
        }
    }
}

impl Rule {
    /// Says what does not hold.
    fn judge(&self, value: &Json, last: &mut Option<(f64, u64)>, seq: u64) -> Option<String> {
        match self {
            Self::Each(matcher) => {
                let comparison = matcher.compare(Some(value));
                let misses: Vec<String> = comparison.misses.iter().map(ToString::to_string).collect();
                (!comparison.matched()).then(|| format!("{} ({})", show(value), misses.join("; ")))
            }
            Self::Never(matcher) => {
                let comparison = matcher.compare(Some(value));
                // A function that fails has not said no.
                let failed = comparison.misses.iter().find(|miss| miss.got.starts_with("an error from"));
                match failed {
                    Some(miss) => Some(format!("{}: {}", show(value), miss.got)),
                    None => comparison.matched().then(|| format!("{} came, which is {matcher}", show(value))),
                }
            }
            Self::Order { key, is_strict } => {
                let number = value.get(key)?.as_f64()?;
                let before = last.replace((number, seq)).map(|(before, _)| before)?;
                let holds = if *is_strict { number > before } else { number >= before };
                let verb = if number < before { "fell" } else { "went" };
                (!holds).then(|| format!("`{key}` {verb} from {before} to {number}"))
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Each(matcher) => matcher.to_string(),
            Self::Never(matcher) => format!("never {matcher}"),
            Self::Order { key, is_strict: true } => format!("`{key}` increases"),
            Self::Order { key, is_strict: false } => format!("`{key}` never decreases"),
        }
    }
}

/// The lines that are added to a file.
struct LogTail {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
}

impl LogTail {
    /// From its present end on.
    fn new(path: PathBuf) -> Self {
        let offset = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        Self { path, offset, rest: Vec::new() }
    }

    fn lines(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.rest);
        let read = std::fs::File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.take(LOG_PIECE).read_to_end(&mut bytes)
        });
        self.offset += u64::try_from(read.unwrap_or(0)).unwrap_or_default();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        if self.rest.len() > LONGEST_LINE {
            bytes.append(&mut self.rest);
        }
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// `never(…)`, `never_decreases(…)`, `increases(…)` as scripts hold them.
enum RuleSkin {
    Never(Value),
    Order { key: String, is_strict: bool },
}

impl UserData for RuleSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "rule", &[]);
        methods.add_meta_method(MetaMethod::ToString, |_, rule, ()| {
            Ok(match rule {
                Self::Never(_) => "never(…)".to_owned(),
                Self::Order { key, is_strict: true } => format!("increases({key:?})"),
                Self::Order { key, is_strict: false } => format!("never_decreases({key:?})"),
            })
        });
    }
}

/// Binds the rules of `t:always`.
pub(super) fn bind_rules(lua: &Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    globals.set("never", lua.create_function(|_, wanted: Value| Ok(RuleSkin::Never(wanted)))?)?;
    globals.set(
        "never_decreases",
        lua.create_function(|_, key: String| Ok(RuleSkin::Order { key, is_strict: false }))?,
    )?;
    globals
        .set("increases", lua.create_function(|_, key: String| Ok(RuleSkin::Order { key, is_strict: true }))?)
}

/// What `t:always` returns.
struct AlwaysSkin(Arc<Check>);

impl UserData for AlwaysSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "check", &["stop"]);
        methods.add_method("stop", |lua, check, ()| {
            let context = Context::of(lua);
            match check.0.finish(&context, true) {
                Some(failure) => Err(context.raise(failure)),
                None => Ok(()),
            }
        });
    }
}

/// Adds `t:always`.
pub(super) fn add<M: UserDataMethods<TestSkin>>(methods: &mut M) {
    methods.add_async_method("always", |lua, _, (name, wanted, options): (String, Value, Option<Table>)| {
        let place = caller(&lua);
        let context = Context::of(&lua);
        let prepared = prepare(&lua, &context, &wanted, options);
        let prepared = prepared.map_err(|failure| context.raise(failure.at(place.clone())));
        async move {
            let (question, interval) = prepared?;
            let (what, watches, function) = match question {
                Question::Function(function) => ("the function".to_owned(), Vec::new(), Some(function)),
                Question::Streams(watches) => (describe_all(&watches), watches, None),
            };
            let state = Mutex::new(State { watches, ..State::default() });
            let check = Arc::new(Check { name, place, what, state });
            check.note(&context, "begun", None);
            if let Some(function) = &function {
                // Asked once before anything else happens: a check that nobody has asked has not held.
                ask(&lua, &context, &check, function).await?;
            }
            let task =
                tokio::task::spawn_local(watch(lua.clone(), context, Arc::clone(&check), function, interval));
            check.state().task = Some(task.abort_handle());
            let checks = lua.app_data_ref::<Checks>().expect("every attempt sets its checks before it runs");
            checks.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&check));
            Ok(AlwaysSkin(check))
        }
    });
}

/// Goes on for as long as the check holds.
async fn watch(
    lua: Lua,
    context: Arc<Context>,
    check: Arc<Check>,
    function: Option<Function>,
    interval: Duration,
) {
    let mut newest = context.journal.watch();
    loop {
        match &function {
            Some(function) => {
                tokio::time::sleep(interval).await;
                let is_over = check.state().is_over;
                if is_over || ask(&lua, &context, &check, function).await.is_err() {
                    return;
                }
            }
            None => {
                newest.mark_unchanged();
                let (is_over, has_log) = check.outlook();
                if is_over {
                    return;
                }
                if let Some(evidence) = check.sweep() {
                    check.violated(&context, &evidence);
                    return;
                }
                let pause = if has_log { interval } else { Duration::from_secs(3600) };
                let _ = tokio::time::timeout(pause, newest.changed()).await;
            }
        }
    }
}

/// Asks a function whether its check holds.
async fn ask(lua: &Lua, context: &Context, check: &Check, function: &Function) -> mlua::Result<()> {
    let mut scope = context.current_scope();
    scope.tentative = true;
    scope.quiet = true;
    let asked = scope.run(call(lua, function, MultiValue::new()));
    let answer = tokio::time::timeout(ANSWER, asked).await;
    if check.state().is_over {
        return Ok(());
    }
    check.state().asked += 1;
    let evidence = match answer {
        Ok(Ok(values)) => match values.front() {
            None | Some(Value::Nil | Value::Boolean(false)) => {
                "the function returned nothing true".to_owned()
            }
            Some(_) => return Ok(()),
        },
        Ok(Err(error)) => {
            let failure = Failure::from_lua(&error);
            if failure.fatal {
                context.end_with(failure.clone());
                return Err(context.raise(failure));
            }
            if failure.kind == FailureKind::MachineEnded {
                // Of a machine that is gone there is nothing left to ask.
                check.finish(context, false);
                return Ok(());
            }
            failure.to_string()
        }
        Err(_) => format!("the function gave no answer within {} s", ANSWER.as_secs()),
    };
    Err(context.raise(check.violated(context, &evidence)))
}

enum Question {
    Function(Function),
    Streams(Vec<Watch>),
}

fn prepare(
    lua: &Lua,
    context: &Context,
    wanted: &Value,
    options: Option<Table>,
) -> Result<(Question, Duration), Failure> {
    let options = Options::new("t:always", options, &["interval", "lane"])?;
    let interval = options.seconds("interval")?.unwrap_or(INTERVAL).max(LEAST_INTERVAL);
    let role = options.string("lane")?;
    let count = lua
        .app_data_ref::<Checks>()
        .map_or(0, |checks| checks.0.lock().unwrap_or_else(PoisonError::into_inner).len());
    if count >= MOST_CHECKS {
        return Err(Failure::usage(format!("t:always: there are {MOST_CHECKS} checks already")));
    }
    match wanted {
        Value::Function(function) => match role {
            None => Ok((Question::Function(function.clone()), interval)),
            Some(_) => Err(Failure::usage(
                "t:always: option `lane` goes with a table of streams, not with a function",
            )),
        },
        Value::Table(table) => {
            let machines = machines(context, role.as_deref())?;
            Ok((Question::Streams(watches(lua, context, &machines, table)?), interval))
        }
        other => {
            let got = describe(other);
            Err(Failure::usage(format!("t:always: wants a function or a table of streams, got {got}"))
                .hint("such as `t:always(\"no panic\", { serial = never(\"panic\") })`"))
        }
    }
}

/// The machines that a check is about: all of them, or the one it names.
fn machines(context: &Context, role: Option<&str>) -> Result<Vec<Arc<Machine>>, Failure> {
    let Some(role) = role else { return Ok(context.machines().to_vec()) };
    let found = context.machines().iter().find(|machine| machine.role.as_deref() == Some(role));
    found.map(|machine| vec![Arc::clone(machine)]).ok_or_else(|| {
        let roles: Vec<&str> =
            context.machines().iter().filter_map(|machine| machine.role.as_deref()).collect();
        let message = format!("t:always: there is no lane `{role}`");
        match nearest(role, roles.iter().copied()) {
            Some(near) => Failure::usage(format!("{message}, did you mean `{near}`?")),
            None if roles.is_empty() => {
                Failure::usage(message).hint("this scenario has one lane, which needs no name")
            }
            None => Failure::usage(message).hint(format!("the lanes are {}", roles.join(", "))),
        }
    })
}

fn watches(
    lua: &Lua,
    context: &Context,
    machines: &[Arc<Machine>],
    table: &Table,
) -> Result<Vec<Watch>, Failure> {
    let known = Stream::ALL.map(Stream::name);
    let cursor = Cursor(context.journal.newest());
    let mut watches = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, wanted) = pair.map_err(|error| Failure::from_lua(&error))?;
        let name = match &key {
            Value::String(name) => name.to_string_lossy(),
            other => {
                return Err(Failure::usage(format!("t:always: streams are named, got {}", describe(other))));
            }
        };
        let Some(stream) = Stream::ALL.into_iter().find(|stream| stream.name() == name) else {
            let message = format!("t:always: there is no stream `{name}`");
            return Err(match nearest(&name, known) {
                Some(near) => Failure::usage(format!("{message}, did you mean `{near}`?")),
                None => Failure::usage(message).hint(format!("streams are {}", known.join(", "))),
            });
        };
        for machine in machines {
            let log = tail(machine, stream)?;
            let (machine, rule) = (Arc::clone(machine), rule(lua, stream, &wanted)?);
            watches.push(Watch { machine, stream, rule, cursor, last: None, log });
        }
    }
    if watches.is_empty() {
        return Err(Failure::usage("t:always: the table names no stream")
            .hint(format!("streams are {}", known.join(", "))));
    }
    Ok(watches)
}

/// Refuses a stream that the machine has not.
fn tail(machine: &Machine, stream: Stream) -> Result<Option<LogTail>, Failure> {
    use crate::lane::handle::Capability;
    match stream {
        Stream::Serial => machine.require("t:always", Capability::Serial)?,
        Stream::Digest => machine.require("t:always", Capability::Digest)?,
        Stream::Qmp => machine.require("t:always", Capability::Qmp)?,
        Stream::QemuLog => {
            let log = machine.lane.qemu_log.clone().ok_or_else(|| {
                Failure::usage(format!("t:always: lane \"{}\" has no log of QEMU's", machine.lane.name))
                    .hint("only lanes of kind \"qemu\" have one; ask `t.lane:capabilities()` which kind this may be")
            })?;
            return Ok(Some(LogTail::new(log)));
        }
    }
    Ok(None)
}

fn rule(lua: &Lua, stream: Stream, wanted: &Value) -> Result<Rule, Failure> {
    let matcher = |wanted: &Value| match wanted {
        Value::Nil => Err(Failure::usage("t:always: `never` wants a matcher, got nil")),
        // As in `serial:wait_for`: a text about text is a pattern.
        Value::String(text) if stream.is_text() => to_pattern("t:always", &text.to_string_lossy()),
        wanted => to_matcher(lua, wanted).map_err(|error| Failure::from_lua(&error)),
    };
    let Value::UserData(data) = wanted else { return matcher(wanted).map(Rule::Each) };
    let Ok(rule) = data.borrow::<RuleSkin>() else { return matcher(wanted).map(Rule::Each) };
    match &*rule {
        RuleSkin::Never(wanted) => matcher(wanted).map(Rule::Never),
        RuleSkin::Order { key, .. } if stream.is_text() => {
            let message = format!("t:always: lines of text have no `{key}` to be in order");
            Err(Failure::usage(message).hint("`never_decreases` and `increases` are for `digest`"))
        }
        RuleSkin::Order { key, is_strict } => Ok(Rule::Order { key: key.clone(), is_strict: *is_strict }),
    }
}

fn describe_all(watches: &[Watch]) -> String {
    let texts = watches
        .iter()
        .map(|watch| format!("{} ({})", watch.machine.call(watch.stream.name()), watch.rule.text()));
    texts.collect::<Vec<_>>().join(", ")
}

const INTERVAL: Duration = Duration::from_millis(100);
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// How long a function may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
const MOST_CHECKS: usize = 256;
const LOG_PIECE: u64 = 1 << 20;
const LONGEST_LINE: usize = 1 << 16;
