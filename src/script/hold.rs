//! Holding a scenario at a failed call: its machines stand still, its deadlines too, and somebody at a prompt may look
//! into it, try something else, and let the call run again.
//!
//! Start reading at [`Holds`] (one per attempt) and [`hold`], which a guarded call of the script ends up in when it
//! failed (`hold.lua`). What somebody may ask is in [`super::prompt`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, Function, Lua, MultiValue, Table, Thread, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::agent::AgentSkin;
use super::attempt::play_declared;
use super::clock::Clock;
use super::context::{Context, Scope};
use super::declare::Declared;
use super::expect::{ExpectSkin, nothing_within};
use super::failure::{Failure, FailureKind, Place};
use super::keyboard::KeyboardSkin;
use super::lane::LaneSkin;
use super::mouse::MouseSkin;
use super::pause::Pause;
use super::prompt::{Ask, Decision, Frame, Held, Shown, Variable};
use super::sandbox::{Sandbox, StopFlag};
use super::scenario::{Script, declare};
use super::shown::shown;
use super::streams::{DigestSkin, ScreenSkin, SerialSkin};
use super::test::{TestSkin, call};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// Where an attempt's failed calls are held.
pub(super) struct Holds {
    prompts: mpsc::Sender<Held>,
    /// The scenario's name.
    scenario: String,
    is_session: bool,
    /// What times in Lua count from.
    epoch: Instant,
    /// One call is held after the other.
    turn: tokio::sync::Mutex<()>,
    marks: Mutex<Marks>,
    /// The step that is to be played again.
    again: watch::Sender<Option<u64>>,
    /// Stops what somebody at a prompt let compute.
    interrupt: StopFlag,
}

#[derive(Default)]
struct Marks {
    steps: Vec<StepMark>,
    made: u64,
}

/// The beginning of a step that is being played.
#[derive(Clone)]
struct StepMark {
    id: u64,
    name: String,
    began: Instant,
    /// How many expectations had not held.
    missed: usize,
    /// Which machines were saved; by their places in the context's list.
    saved: Vec<usize>,
}

impl StepMark {
    fn snapshot(&self) -> String {
        format!("hold-{}", self.id)
    }
}

impl Holds {
    pub(super) fn new(prompts: mpsc::Sender<Held>, scenario: String, is_session: bool) -> Self {
        Self {
            prompts,
            scenario,
            is_session,
            epoch: Instant::now(),
            turn: tokio::sync::Mutex::default(),
            marks: Mutex::default(),
            again: watch::Sender::new(None),
            interrupt: StopFlag::default(),
        }
    }

    /// Why nothing of the script may go on, because somebody at a prompt said so.
    pub(super) fn interrupted(&self) -> Option<Failure> {
        self.interrupt.is_set().then(|| Failure::new(FailureKind::Cancelled, "interrupted"))
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that can be played again from its beginning.
pub(super) struct Step<'a> {
    holds: &'a Holds,
    id: u64,
}

impl<'a> Step<'a> {
    /// Notes where a step begins, and saves the machines that can be saved. None: nobody holds this attempt.
    pub(super) async fn begin(context: &'a Context, scope: &Scope, name: &str) -> Option<Self> {
        let holds = context.holds.as_deref().filter(|_| !scope.at_prompt && !scope.tentative)?;
        let (_, missed) = context.missed();
        let mark = {
            let mut marks = holds.marks();
            marks.made += 1;
            let id = marks.made;
            StepMark { id, name: name.to_owned(), began: scope.clock.now(), missed, saved: Vec::new() }
        };
        let mut saved = Vec::new();
        for (index, machine) in context.machines().iter().enumerate() {
            let control = machine.lane.control.as_ref();
            if let Some(control) =
                control.filter(|_| machine.lane.capabilities.contains(&Capability::Snapshot))
            {
                match control.snapshot(&mark.snapshot()).await {
                    Ok(()) => saved.push(index),
                    Err(error) => context.log(format!("the step \"{name}\" cannot be gone back to: {error}")),
                }
            }
        }
        // Saving is not the scenario's time.
        scope.clock.set_back(mark.began);
        let id = mark.id;
        holds.marks().steps.push(StepMark { saved, ..mark });
        Some(Self { holds, id })
    }

    /// Resolves when the step is to be played again.
    pub(super) async fn again(&self) {
        let mut again = self.holds.again.subscribe();
        let id = self.id;
        if again.wait_for(|step| *step == Some(id)).await.is_err() {
            // The sender lives in `holds`, so this is never reached.
            std::future::pending::<()>().await;
        }
        self.holds.again.send_replace(None);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut marks = self.holds.marks();
        let id = self.id;
        // Steps inside one that was dropped are over, too.
        if let Some(at) = marks.steps.iter().position(|step| step.id == id) {
            marks.steps.truncate(at);
        }
    }
}

/// What the prompts of a state share; lives in it as app data.
struct Prompts {
    /// `hold.lua`.
    module: Table,
    /// What was set at a prompt.
    own: Table,
    /// `t`, `keyboard` and so on.
    always: Table,
    /// What was loaded at a session's prompt.
    loaded: Vec<Declared>,
}

/// Lets the failed calls of a state be held.
pub(super) fn install(lua: &Lua, module: &Table, context: &Context) -> mlua::Result<()> {
    let globals = lua.globals();
    module.raw_set("pcall", globals.get::<Value>("pcall")?)?;
    module.raw_set("xpcall", globals.get::<Value>("xpcall")?)?;
    let holding = lua.create_async_function(
        |lua, (thread, failure, is_caught, began): (Thread, Value, bool, f64)| async move {
            let failure = match &failure {
                Value::Nil => None,
                Value::Error(error) => Some(Failure::from_lua(error)),
                other => Some(Failure::from_lua(&mlua::Error::RuntimeError(other.to_string()?))),
            };
            hold(&lua, thread, failure, is_caught, began).await
        },
    )?;
    module.raw_set("hold", holding)?;
    let now = lua.create_function(|lua, ()| {
        let context = Context::of(lua);
        let epoch = context.holds.as_ref().map(|holds| holds.epoch);
        let now = context.current_scope().clock.now();
        Ok(epoch.map_or(0.0, |epoch| now.saturating_duration_since(epoch).as_secs_f64()))
    })?;
    module.raw_set("now", now)?;
    let settle = lua.create_function(|lua, failure: Value| {
        if let Value::Error(error) = &failure {
            settle(&Context::of(lua), &Failure::from_lua(error));
        }
        Ok(())
    })?;
    module.raw_set("settle", settle)?;

    let guard: Function = module.raw_get("guard")?;
    let always = lua.create_table()?;
    let keep = |name: Option<&str>, object: AnyUserData| {
        guard.call::<()>(&object)?;
        name.map_or(Ok(()), |name| always.raw_set(name, object))
    };
    keep(Some("t"), lua.create_userdata(TestSkin)?)?;
    keep(None, lua.create_userdata(ExpectSkin::new(Value::Nil, false))?)?;
    keep(None, lua.create_userdata(nothing_within(lua)?)?)?;
    if let Some(machine) = context.machines().first() {
        let is_only = context.machines().len() == 1 && machine.role.is_none();
        let object = |name, object| keep(Some(name).filter(|_| is_only), object);
        object("keyboard", lua.create_userdata(KeyboardSkin(Arc::clone(machine)))?)?;
        object("mouse", lua.create_userdata(MouseSkin(Arc::clone(machine)))?)?;
        object("screen", lua.create_userdata(ScreenSkin(Arc::clone(machine)))?)?;
        object("digest", lua.create_userdata(DigestSkin(Arc::clone(machine)))?)?;
        object("serial", lua.create_userdata(SerialSkin(Arc::clone(machine)))?)?;
        object("agent", lua.create_userdata(AgentSkin(Arc::clone(machine)))?)?;
        object("lane", lua.create_userdata(LaneSkin(Arc::clone(machine)))?)?;
    }
    let own = lua.create_table()?;
    lua.set_app_data(Prompts { module: module.clone(), own, always, loaded: Vec::new() });
    Ok(())
}

/// A function of the script that is called from nowhere, as far as a prompt is concerned.
pub(super) fn rooted(lua: &Lua, function: &Function) -> mlua::Result<Function> {
    match lua.app_data_ref::<Prompts>() {
        Some(prompts) => prompts.module.raw_get::<Function>("root")?.call(function),
        None => Ok(function.clone()),
    }
}

/// A failure that is not held: what is fatal ends the attempt now.
fn settle(context: &Context, failure: &Failure) {
    if failure.fatal && !context.current_scope().at_prompt {
        context.condemn(failure);
    }
}

/// Holds the caller, which stands in `thread`, until somebody at a prompt decides; returns what `hold.lua` is to do.
async fn hold(
    lua: &Lua,
    thread: Thread,
    failure: Option<Failure>,
    is_caught: bool,
    began: f64,
) -> mlua::Result<&'static str> {
    let context = Context::of(lua);
    let scope = context.current_scope();
    let Some(holds) = context.holds.clone().filter(|_| !scope.at_prompt) else { return Ok("abort") };
    if let Some(failure) = &failure {
        let is_for_people = !scope.tentative
            && !failure.was_held
            && !matches!(failure.kind, FailureKind::Skip | FailureKind::Cancelled | FailureKind::Bug)
            && (failure.fatal || !is_caught);
        if !is_for_people {
            settle(&context, failure);
            return Ok("abort");
        }
    }
    // A session's own prompt is open for as long as the session, also while a scenario inside is held.
    let is_session = holds.is_session && scope.steps.is_empty() && failure.is_none();
    let _turn = if is_session { None } else { Some(holds.turn.lock().await) };
    let mut failure = failure;
    if let Some(failure) = failure.as_mut().filter(|failure| failure.screenshot.is_none()) {
        failure.screenshot = context.screenshot_if_possible("held").await;
    }
    let mut pause = Pause::new(&context, &scope.clock, is_session);
    pause.stop().await;

    let prompts = Prompt { lua, context: &context, holds: &holds, thread, is_session };
    let (asks, asked) = mpsc::channel(1);
    let held = prompts.held(failure.clone(), &scope, &pause, asks)?;
    let place = held.place.clone();
    let held_since = Instant::now();
    context.log(match (&place, is_session) {
        (_, true) => "the prompt is open".to_owned(),
        (Some(place), false) => format!("held at {place}"),
        (None, false) => "held".to_owned(),
    });
    let decision = match holds.prompts.send(held).await {
        Ok(()) => prompts.answer(asked, &mut pause).await,
        Err(_) => Ending::Ended(Decision::Abort),
    };
    if !is_session {
        let seconds = held_since.elapsed().as_secs_f64();
        context.log(format!("went on after {seconds:.1} s: {}", decision.name()));
    }
    pause.go_on().await;
    match (decision, failure) {
        (Ending::StepAgain(step), _) => {
            holds.again.send_replace(Some(step));
            // The step drops us.
            std::future::pending().await
        }
        (Ending::Ended(Decision::Retry), Some(failure)) => {
            context.forget_missed(&failure);
            // It has all the time again that it had.
            scope.clock.set_back(holds.epoch + Duration::from_secs_f64(began));
            Ok("retry")
        }
        (Ending::Ended(Decision::Continue), Some(failure)) => {
            context.forget_missed(&failure);
            context.miss(Failure { was_held: true, fatal: false, ..failure });
            Ok("continue")
        }
        (Ending::Ended(Decision::Abort), Some(failure)) => {
            let failure = Failure { was_held: true, ..failure };
            context.condemn(&failure);
            Err(mlua::Error::external(failure))
        }
        (Ending::Ended(Decision::Abort), None) if !is_session => {
            let failure = Failure::new(FailureKind::Cancelled, "ended at the prompt").at(place);
            context.condemn(&failure);
            Err(mlua::Error::external(failure))
        }
        (Ending::Ended(_), None) => Ok("continue"),
    }
}

/// How a prompt ended.
enum Ending {
    Ended(Decision),
    /// The step with this id is played again.
    StepAgain(u64),
}

impl Ending {
    fn name(&self) -> &'static str {
        match self {
            Self::Ended(Decision::Retry) => "the call runs again",
            Self::Ended(Decision::Continue) => "the scenario goes on behind it",
            Self::Ended(Decision::Abort) => "the scenario ends",
            Self::StepAgain(_) => "the step is played again",
        }
    }
}

/// One prompt, as the script's thread serves it.
struct Prompt<'a> {
    lua: &'a Lua,
    context: &'a Arc<Context>,
    holds: &'a Holds,
    thread: Thread,
    is_session: bool,
}

impl Prompt<'_> {
    fn held(
        &self,
        failure: Option<Failure>,
        scope: &Scope,
        pause: &Pause<'_>,
        asks: mpsc::Sender<Ask>,
    ) -> mlua::Result<Held> {
        let Self { context, holds, .. } = self;
        let frames = self.frames()?;
        let place = failure.as_ref().and_then(|failure| failure.place.clone());
        let steps = holds.marks().steps.clone();
        Ok(Held {
            place: place.or_else(|| frames.first().and_then(|frame| frame.place.clone())),
            failure,
            steps: scope.steps.clone(),
            scenario: match (holds.is_session, scope.steps.first()) {
                (true, Some(scenario)) => scenario.clone(),
                _ => holds.scenario.clone(),
            },
            is_session: self.is_session,
            frames,
            lanes: context.machines().iter().map(|one| (one.role.clone(), one.lane.clone())).collect(),
            notes: pause.notes.clone(),
            rewindable: steps
                .into_iter()
                .filter(|step| !step.saved.is_empty())
                .map(|step| step.name)
                .collect(),
            journal: context.journal.clone(),
            folder: context.folder.clone(),
            asks,
        })
    }

    async fn answer(&self, mut asked: mpsc::Receiver<Ask>, pause: &mut Pause<'_>) -> Ending {
        let mut gone_back: Option<u64> = None;
        loop {
            match asked.recv().await {
                None => return Ending::Ended(Decision::Abort),
                Some(Ask::End(Decision::Retry)) if let Some(step) = gone_back => {
                    return Ending::StepAgain(step);
                }
                Some(Ask::End(decision)) => return Ending::Ended(decision),
                Some(Ask::Eval { source, name, cancel, answer }) => {
                    let done = pause.while_running(self.eval(&source, &name, &cancel)).await;
                    tell(answer, done);
                }
                Some(Ask::Source { script, cancel, answer }) => {
                    let done = self.interruptible(&cancel, async { self.source(&script) }).await;
                    tell(answer, done);
                }
                Some(Ask::Run { scenario, cancel, answer }) => {
                    tell(answer, self.run(scenario.as_deref(), &cancel).await);
                }
                Some(Ask::Frames { answer }) => tell(answer, self.frames().unwrap_or_default()),
                Some(Ask::Names { answer }) => tell(answer, self.names().unwrap_or_default()),
                Some(Ask::Rewind { step, answer }) => {
                    let result = self.rewind(step.as_deref(), pause).await;
                    let result = result.map(|mark| {
                        gone_back = Some(mark.id);
                        mark.name
                    });
                    tell(answer, result);
                }
            }
        }
    }

    /// Runs a piece of Lua.
    async fn eval(
        &self,
        source: &str,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<Shown>, Failure> {
        let run = async {
            let environment = self.environment()?;
            let compile = |text: &str| {
                let chunk = self.lua.load(text).set_name(format!("={name}")).set_mode(ChunkMode::Text);
                chunk.set_environment(environment.clone()).into_function()
            };
            let chunk = match compile(&format!("return {source}")) {
                Ok(chunk) => chunk,
                Err(_) => compile(kept(source))?,
            };
            let scope = Scope {
                at_prompt: true,
                ..Scope::new(&Clock::default(), AT_PROMPT, "the prompt (60.0 s)".to_owned())
            };
            let scope = Scope { steps: self.context.current_scope().steps, ..scope };
            scope.run(call(self.lua, &chunk, MultiValue::new())).await
        };
        let values = self
            .interruptible(cancel, async { run.await.map_err(|error| self.readable(&error, source)) })
            .await?;
        Ok(values.iter().map(shown).collect())
    }

    /// A failure at this prompt. A single line is still on the screen, so that its place would say nothing.
    fn readable(&self, error: &mlua::Error, source: &str) -> Failure {
        let mut failure = Failure::from_lua(error);
        if source.lines().count() <= 1 {
            failure.place = failure.place.filter(|place| !place.file.starts_with("prompt:"));
        }
        failure.traceback = None;
        let missing =
            failure.message.split_once("a nil value (global '").and_then(|(_, rest)| rest.split_once('\''));
        let near = missing.and_then(|(missing, _)| {
            let names = self.names().unwrap_or_default();
            nearest(missing, names.iter().map(|(name, _)| name.as_str())).map(str::to_owned)
        });
        match near {
            Some(near) => Failure { hint: Some(format!("did you mean `{near}`?")), ..failure },
            None => failure,
        }
    }

    /// Runs `part` until it ends or somebody interrupts it, also where it only computes.
    async fn interruptible<T>(
        &self,
        cancel: &CancellationToken,
        part: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let interrupt = self.holds.interrupt.clone();
        let watcher = {
            let (cancel, interrupt) = (cancel.clone(), interrupt.clone());
            // The script's thread may be computing: only another one notices.
            OnDrop(tokio::spawn(async move {
                cancel.cancelled().await;
                interrupt.set();
            }))
        };
        let result = tokio::select! {
            biased;
            result = part => result,
            () = cancel.cancelled() => Err(Failure::new(FailureKind::Cancelled, "interrupted")),
        };
        drop(watcher);
        interrupt.clear();
        result
    }

    /// Loads a script.
    fn source(&self, script: &Script) -> Result<Vec<String>, Failure> {
        let lua = self.lua;
        let run = lua.app_data_ref::<super::test::Run>().expect("every attempt sets its runner").0.clone();
        let sandbox = Sandbox { lua: lua.clone(), run, hold: None };
        let declared = declare(&sandbox, script).map_err(|error| Failure::from_lua(&error))?;
        let names = declared.iter().map(|one| one.scenario.name.clone()).collect();
        let mut prompts = lua.app_data_mut::<Prompts>().expect("installed with the state");
        prompts.loaded = declared;
        Ok(names)
    }

    /// Plays a scenario that was loaded.
    async fn run(&self, name: Option<&str>, cancel: &CancellationToken) -> Result<(), Failure> {
        if !self.is_session {
            return Err(Failure::usage("a scenario is held here, and one is played after the other")
                .hint("end it first, with `:abort`; then `:run` plays another one in a session"));
        }
        let (scenario, body) = self.wanted(name)?;
        let play = play_declared(self.lua, self.context, &scenario, &body);
        self.interruptible(cancel, async {
            match play.await {
                Some(failure) => Err(failure),
                None => Ok(()),
            }
        })
        .await
    }

    fn wanted(&self, name: Option<&str>) -> Result<(super::Scenario, Function), Failure> {
        let prompts = self.lua.app_data_ref::<Prompts>().expect("installed with the state");
        let names = || prompts.loaded.iter().map(|one| one.scenario.name.as_str());
        let listed = || names().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let found = match (name, &*prompts.loaded) {
            (_, []) => {
                return Err(Failure::usage("no scenario was loaded").hint("load some: `:source FILE`"));
            }
            (None, [only]) => Some(only),
            (None, _) => {
                return Err(Failure::usage("which scenario?").hint(format!("there are {}", listed())));
            }
            (Some(name), all) => {
                let mut similar = all.iter().filter(|one| one.scenario.name.contains(name));
                let same = all.iter().find(|one| one.scenario.name == name);
                same.or_else(|| similar.next().filter(|_| similar.next().is_none()))
            }
        };
        match found {
            Some(found) => Ok((found.scenario.clone(), found.body.clone())),
            None => {
                let name = name.unwrap_or_default();
                let failure = Failure::usage(format!("there is no scenario {name:?}"));
                Err(match nearest(name, names()) {
                    Some(near) => failure.hint(format!("did you mean {near:?}?")),
                    None => failure.hint(format!("there are {}", listed())),
                })
            }
        }
    }

    /// Puts the machines back to the beginning of a step.
    async fn rewind(&self, name: Option<&str>, pause: &mut Pause<'_>) -> Result<StepMark, Failure> {
        let steps = self.holds.marks().steps.clone();
        let names = || steps.iter().map(|step| step.name.as_str());
        let found = match name {
            Some(name) => steps.iter().rfind(|step| step.name == name),
            None => steps.last(),
        };
        let Some(mark) = found else {
            let failure = match name {
                _ if steps.is_empty() => Failure::usage("no step is being played"),
                Some(name) => Failure::usage(format!("no step {name:?} is being played")),
                None => Failure::usage("no step is being played"),
            };
            let near = name.and_then(|name| nearest(name, names()));
            return Err(match near {
                Some(near) => failure.hint(format!("did you mean {near:?}?")),
                None if steps.is_empty() => failure.hint("steps are `t:step(name, function() … end)`"),
                None => failure.hint(format!("being played are {}", names().collect::<Vec<_>>().join(", "))),
            });
        };
        if mark.saved.is_empty() {
            return Err(Failure::usage("the machine was not saved when that step began").hint(
                "that takes a lane that can be saved, of kind \"qemu\" and warm; see `backstaff doctor`",
            ));
        }
        for index in &mark.saved {
            let machine = &self.context.machines()[*index];
            let Some(control) = &machine.lane.control else { continue };
            let since = control.restore(&mark.snapshot()).await.map_err(|error| {
                let failure = Failure::new(FailureKind::LaneLost, format!("put the machine back: {error}"));
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?;
            machine.begin_anew(since);
        }
        self.context.forget_missed_after(mark.missed);
        pause.clock.set_back(mark.began);
        Ok(mark.clone())
    }

    fn module(&self) -> Table {
        self.lua.app_data_ref::<Prompts>().expect("installed with the state").module.clone()
    }

    /// `hold.lua`'s frames of where the scenario stands.
    fn stack(&self) -> mlua::Result<Table> {
        if self.is_session {
            return self.lua.create_table();
        }
        self.module().raw_get::<Function>("frames")?.call(&self.thread)
    }

    fn environment(&self) -> mlua::Result<Table> {
        let (own, always) = {
            let prompts = self.lua.app_data_ref::<Prompts>().expect("installed with the state");
            (prompts.own.clone(), prompts.always.clone())
        };
        self.module().raw_get::<Function>("environment")?.call((self.stack()?, own, always))
    }

    fn frames(&self) -> mlua::Result<Vec<Frame>> {
        let variables: Function = self.module().raw_get("variables")?;
        self.stack()?.sequence_values::<Table>().map(|frame| frame_of(&frame?, &variables)).collect()
    }

    fn names(&self) -> mlua::Result<Vec<(String, String)>> {
        let mut names = std::collections::BTreeMap::new();
        let mut add = |table: &Table| {
            for (name, value) in table.pairs::<Value, Value>().flatten() {
                if let Value::String(name) = name {
                    names.insert(name.to_string_lossy(), kind(&value));
                }
            }
        };
        add(&self.lua.globals());
        {
            let prompts = self.lua.app_data_ref::<Prompts>().expect("installed with the state");
            add(&prompts.always);
            add(&prompts.own);
        }
        let variables: Function = self.module().raw_get("variables")?;
        for frame in self.stack()?.sequence_values::<Table>() {
            for variable in variables.call::<Table>(frame?)?.sequence_values::<Table>() {
                let variable = variable?;
                names.insert(variable.raw_get("name")?, kind(&variable.raw_get("value")?));
            }
        }
        Ok(names.into_iter().collect())
    }
}

fn frame_of(frame: &Table, variables: &Function) -> mlua::Result<Frame> {
    let source: String = frame.raw_get("source")?;
    let line: i64 = frame.raw_get("line")?;
    let name: Option<String> = frame.raw_get("name")?;
    let defined: i64 = frame.raw_get("defined")?;
    let file = source.trim_start_matches(['@', '=']).to_owned();
    let place = u32::try_from(line).ok().map(|line| Place { file, line });
    let function = match name {
        Some(name) => format!("function {name}"),
        None if defined > 0 => format!("function of line {defined}"),
        None => "the file".to_owned(),
    };
    let variables: Table = variables.call(frame)?;
    let variables = variables.sequence_values::<Table>().map(|variable| {
        let variable = variable?;
        Ok(Variable {
            name: variable.raw_get("name")?,
            is_upvalue: variable.raw_get("is_upvalue")?,
            value: shown(&variable.raw_get::<Value>("value")?),
        })
    });
    Ok(Frame { function, place, variables: variables.collect::<mlua::Result<_>>()? })
}

fn kind(value: &Value) -> String {
    match (value, shown(value)) {
        (Value::UserData(_), Shown::Thing(name)) => name,
        _ => value.type_name().to_owned(),
    }
}

/// Nobody may be left to hear the answer.
fn tell<T>(answer: oneshot::Sender<T>, what: T) {
    let _ = answer.send(what);
}

/// A piece of Lua whose first `local` outlives it: at a prompt each piece is a chunk of its own.
fn kept(source: &str) -> &str {
    let trimmed = source.trim_start();
    match trimmed.strip_prefix("local").filter(|rest| rest.starts_with(char::is_whitespace)) {
        // Those with attributes cannot be anything else.
        Some(rest) if !rest.lines().next().unwrap_or_default().contains('<') => rest,
        _ => source,
    }
}

struct OnDrop(JoinHandle<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a call at a prompt may take.
const AT_PROMPT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn locals_of_the_prompt_outlive_their_line() {
        assert_eq!(kept("local x = 1").trim(), "x = 1");
        assert_eq!(kept("  local function f() end").trim(), "function f() end");
        assert_eq!(kept("local x <const> = 1"), "local x <const> = 1");
        assert_eq!(kept("localx = 1"), "localx = 1");
    }
}
