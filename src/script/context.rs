//! What all bindings of one attempt share: the journal, the machines, the deadlines, the failures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future;
use mlua::Lua;
use tokio::sync::Notify;

use super::clock::Clock;
use super::failure::{Failure, FailureKind, Place};
use super::hold::Holds;
use super::machine::Machine;
use crate::console::Screenshot;
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::lane::handle::{EndClass, LaneEnd};
use crate::lane::speed::{CpuTime, SpeedProbe, host_load};

tokio::task_local! {
    /// Where the running part of the script stands. Whatever a step starts inherits the step's scope.
    static SCOPE: Scope;
}

/// A stretch of a script: its steps and its deadline.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) steps: Vec<String>,
    pub(super) deadline: Instant,
    /// What the deadline is called in messages, e.g. `the step "booting" (60 s)`.
    pub(super) deadline_name: String,
    /// Whether misses are tried again, as in `t:eventually`, rather than verdicts.
    pub(super) tentative: bool,
    /// Whether nobody wants to read what held, as in a check that is asked again and again.
    pub(super) quiet: bool,
    /// Whether somebody typed it at a prompt: what goes wrong there is no part of the scenario's verdict.
    pub(super) at_prompt: bool,
    /// What `deadline` is a time of.
    pub(super) clock: Clock,
}

impl Scope {
    /// One without steps, in which a part of a script has `timeout` from now on.
    pub(super) fn new(clock: &Clock, timeout: Duration, deadline_name: String) -> Self {
        Self {
            steps: Vec::new(),
            deadline: clock.now() + timeout,
            deadline_name,
            tentative: false,
            quiet: false,
            at_prompt: false,
            clock: clock.clone(),
        }
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(self.clock.now())
    }

    /// The scope of the caller.
    pub(super) fn current() -> Option<Self> {
        SCOPE.try_with(Clone::clone).ok()
    }

    /// Runs `future` in this scope.
    pub(super) fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        SCOPE.scope(self, future)
    }
}

/// Shared by all bindings of an attempt; lives in the Lua state as app data.
pub(super) struct Context {
    pub(super) journal: Journal,
    /// INVARIANT: at least one.
    machines: Vec<Arc<Machine>>,
    pub(super) folder: PathBuf,
    pub(super) scope: Scope,
    waits: AtomicU32,
    shots: AtomicU32,
    attachments: AtomicU32,
    /// Bytes that the script may still log.
    log_left: AtomicUsize,
    state: Mutex<State>,
    /// Told when a task beside the script's body ends the attempt.
    ended: Notify,
    /// Where failed calls of this attempt are held, if anybody wants that.
    pub(super) holds: Option<Arc<Holds>>,
}

#[derive(Default)]
struct State {
    /// Expectations that did not hold, in order.
    missed: Vec<Failure>,
    /// Once set, nothing of the script goes on.
    fatal: Option<Failure>,
}

impl Context {
    pub(super) fn new(
        journal: Journal,
        machines: Vec<Arc<Machine>>,
        folder: PathBuf,
        scope: Scope,
        holds: Option<Arc<Holds>>,
    ) -> Self {
        Self {
            journal,
            machines,
            folder,
            scope,
            waits: AtomicU32::new(0),
            shots: AtomicU32::new(0),
            attachments: AtomicU32::new(0),
            log_left: AtomicUsize::new(LOG_LIMIT),
            state: Mutex::default(),
            ended: Notify::new(),
            holds,
        }
    }

    /// The machines, in the order of their roles.
    pub(super) fn machines(&self) -> &[Arc<Machine>] {
        &self.machines
    }

    /// The context of the state that a binding was called from.
    pub(super) fn of(lua: &Lua) -> Arc<Self> {
        let context = lua.app_data_ref::<Arc<Self>>().expect("every attempt sets its context before it runs");
        Arc::clone(&context)
    }

    /// The scope of the caller, or that of the whole scenario.
    pub(super) fn current_scope(&self) -> Scope {
        Scope::current().unwrap_or_else(|| self.scope.clone())
    }

    /// The failure that ends the attempt, if there is one.
    pub(super) fn fatal(&self) -> Option<Failure> {
        self.state().fatal.clone()
    }

    /// Records a missed expectation.
    pub(super) fn miss(&self, failure: Failure) {
        self.state().missed.push(failure);
    }

    /// The first expectation that did not hold, and how many did not.
    pub(super) fn missed(&self) -> (Option<Failure>, usize) {
        let state = self.state();
        (state.missed.first().cloned(), state.missed.len())
    }

    /// The expectations that did not hold after the first `count`.
    pub(super) fn missed_after(&self, count: usize) -> Vec<Failure> {
        self.state().missed.get(count..).unwrap_or_default().to_vec()
    }

    /// Forgets the expectations that did not hold after the first `count`: the script has another try at them.
    pub(super) fn forget_missed_after(&self, count: usize) {
        self.state().missed.truncate(count);
    }

    /// Forgets a missed expectation that is tried again.
    pub(super) fn forget_missed(&self, failure: &Failure) {
        let missed = &mut self.state().missed;
        if let Some(at) = missed.iter().rposition(|one| one.is_same(failure)) {
            missed.remove(at);
        }
    }

    /// Ends the attempt from beside the script's body, whatever that waits for.
    pub(super) fn end_with(&self, failure: Failure) {
        self.condemn(&failure);
        self.ended.notify_one();
    }

    /// Lets nothing of the script go on, because of this failure.
    pub(super) fn condemn(&self, failure: &Failure) {
        self.state().fatal.get_or_insert_with(|| failure.clone());
    }

    /// Resolves when the attempt was ended from beside the script's body.
    pub(super) async fn ended(&self) -> mlua::Error {
        self.ended.notified().await;
        let failure =
            self.fatal().unwrap_or_else(|| Failure::new(FailureKind::Cancelled, "the script was stopped"));
        mlua::Error::external(failure)
    }

    /// Lets the script go on after a fatal failure, for what it has put off to its end.
    pub(super) fn forget_fatal(&self) {
        self.state().fatal = None;
    }

    /// Turns a failure into the error a script sees; a fatal one also ends the attempt, unless it may still be held.
    pub(super) fn raise(&self, mut failure: Failure) -> mlua::Error {
        let scope = self.current_scope();
        if failure.fatal && self.holds.is_none() && !scope.at_prompt {
            self.condemn(&failure);
        }
        if failure.steps.is_empty() {
            failure.steps = scope.steps;
        }
        mlua::Error::external(failure)
    }

    /// Writes the screen to `screenshots/NN-name.png` and returns the path relative to the attempt's folder.
    /// `Ok(None)`: there is no screen. One that is not fetched within `patience` is shown as it was.
    async fn screenshot(
        &self,
        machine: &Machine,
        name: &str,
        patience: Duration,
    ) -> std::io::Result<Option<(PathBuf, u32, u32)>> {
        let Some(console) = machine.lane.console.as_deref() else { return Ok(None) };
        let _ = tokio::time::timeout(patience, console.refreshed()).await;
        match Screenshot::take(console) {
            Some(shot) => self.save_screenshot(machine, name, shot).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a picture that was taken already.
    pub(super) async fn save_screenshot(
        &self,
        machine: &Machine,
        name: &str,
        shot: Screenshot,
    ) -> std::io::Result<(PathBuf, u32, u32)> {
        let number = self.shots.fetch_add(1, Ordering::Relaxed) + 1;
        let path = PathBuf::from("screenshots").join(match &machine.role {
            Some(role) => format!("{number:02}-{role}-{}.png", file_name(name)),
            None => format!("{number:02}-{}.png", file_name(name)),
        });
        let target = self.folder.join(&path);
        let (width, height) = (shot.width, shot.height);
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(target.parent().expect("a screenshot lies in a folder"))?;
            std::fs::write(&target, shot.to_png().map_err(std::io::Error::other)?)
        })
        .await??;
        let body = Body::Screenshot { path: path.display().to_string(), width, height };
        machine.journal.append(Source::Screen, body);
        Ok((path, width, height))
    }

    /// A screenshot of each machine that must not change the outcome: what went wrong with it is only logged. Returns
    /// the first.
    pub(super) async fn screenshot_if_possible(&self, name: &str) -> Option<PathBuf> {
        let shots = self.machines.iter().map(|machine| self.screenshot_within(machine, name, PATIENCE));
        future::join_all(shots).await.into_iter().flatten().next()
    }

    async fn screenshot_within(&self, machine: &Machine, name: &str, patience: Duration) -> Option<PathBuf> {
        match self.screenshot(machine, name, patience).await {
            Ok(shot) => shot.map(|(path, ..)| path),
            Err(error) => {
                tracing::warn!(%error, "screenshot not saved");
                None
            }
        }
    }

    /// Notes what the script says, as long as it does not say too much: the journal is kept in memory.
    pub(super) fn log(&self, message: String) {
        if let Some(message) = self.sayable(message) {
            self.journal.append(Source::Script, Body::Log { message });
        }
    }

    /// The same for what somebody should look at.
    pub(super) fn warn(&self, message: String, place: Option<&Place>) {
        if let Some(message) = self.sayable(message) {
            let line = place.map_or(0, |place| place.line);
            self.journal.append(Source::Script, Body::Warning { message, line });
        }
    }

    fn sayable(&self, message: String) -> Option<String> {
        let size = message.len().max(LOG_LINE_BYTES);
        let take = |left: usize| left.checked_sub(size);
        match self.log_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Some(message),
            Err(0) => None,
            Err(_) => {
                self.log_left.store(0, Ordering::Relaxed);
                let limit = LOG_LIMIT >> 20;
                Some(format!("the script logged more than {limit} MiB; nothing more of it is kept"))
            }
        }
    }

    /// Writes an attachment and returns its path relative to the attempt's folder.
    pub(super) fn attach(&self, name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
        let number = self.attachments.fetch_add(1, Ordering::Relaxed) + 1;
        let path = PathBuf::from("attachments").join(format!("{number:02}-{}", file_name(name)));
        std::fs::create_dir_all(self.folder.join("attachments"))?;
        std::fs::write(self.folder.join(&path), bytes)?;
        let body = Body::Attachment { name: name.to_owned(), path: path.display().to_string() };
        self.journal.append(Source::Script, body);
        Ok(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to one stream of a machine, with everything that is needed to explain that it got no answer.
pub(super) struct Wait<'a> {
    /// The call, e.g. `digest:wait_for`.
    pub(super) call: String,
    /// What is waited for, readable.
    pub(super) wanted: String,
    /// The stream.
    pub(super) source: Source,
    /// The call's own limit; without one, what is left of the step.
    pub(super) timeout: Option<Duration>,
    /// The line of the call.
    pub(super) place: Option<Place>,
    /// What was seen instead, asked only when the wait failed.
    pub(super) seen: &'a (dyn Fn(&[Arc<Event>]) -> String + Send + Sync),
}

impl Wait<'_> {
    /// Waits for the first event after the stream's cursor that `accept` takes, and moves the cursor past it.
    /// Ends early when the machine does.
    pub(super) async fn run<T>(
        self,
        context: &Context,
        machine: &Machine,
        mut accept: impl FnMut(&Event) -> Option<T>,
    ) -> mlua::Result<T> {
        let source = self.source;
        let question = async {
            let mut cursor = machine.cursor(source);
            let mut answer = None;
            let take = |event: &Event| {
                answer = accept(event);
                answer.is_some()
            };
            let event = machine.journal.next_match(source, &mut cursor, take).await;
            (answer.expect("the journal stops only at an event that was taken"), Some(event.seq))
        };
        let (answer, seq) = self.until(context, machine, question).await?;
        if let Some(seq) = seq {
            machine.set_cursor(source, Cursor(seq));
        }
        Ok(answer)
    }

    /// Waits for the answer to any question, which comes with the event that gave it if there is one.
    pub(super) async fn until<T>(
        self,
        context: &Context,
        machine: &Machine,
        question: impl Future<Output = (T, Option<u64>)>,
    ) -> mlua::Result<(T, Option<u64>)> {
        let scope = context.current_scope();
        let limit = Limit::new(&scope, self.timeout);
        let mut note =
            context.wait_begins(Some(machine), &self.call, &self.wanted, &limit, self.place.as_ref());
        let from = machine.cursor(self.source);
        let mut ended = machine.lane.ended.clone();
        tokio::select! {
            biased;
            (answer, seq) = question => {
                note.end("matched", seq);
                Ok((answer, seq))
            }
            end = machine_end(&mut ended) => {
                note.end("machine_ended", None);
                let seen = (self.seen)(&machine.journal.after(self.source, from));
                let what = format!("{}: the machine ended while waiting for {}", self.call, self.wanted);
                Err(context.raise(machine_ended(&end, &what, &seen).at(self.place.clone())))
            }
            () = scope.clock.sleep_until(limit.deadline) => {
                note.end("timeout", None);
                Err(context.raise(self.expired(context, machine, &scope, from, &limit).await))
            }
        }
    }

    async fn expired(
        &self,
        context: &Context,
        machine: &Machine,
        scope: &Scope,
        from: Cursor,
        limit: &Limit,
    ) -> Failure {
        let seen = (self.seen)(&machine.journal.after(self.source, from));
        let within = limit.within(scope);
        let message = format!("{}: no match for {} {within}\n{seen}", self.call, self.wanted);
        let mut failure = Failure::new(FailureKind::Timeout, message).at(self.place.clone());
        failure.steps.clone_from(&scope.steps);
        failure.hint = machine.hint();
        if limit.is_inherited {
            failure = failure.fatal();
        }
        if !scope.tentative {
            failure.screenshot = context.screenshot_within(machine, "timeout", LAST_PATIENCE).await;
        }
        failure
    }
}

/// Until when a wait goes on.
pub(super) struct Limit {
    pub(super) deadline: Instant,
    /// Whether that is the step's deadline rather than the wait's own.
    pub(super) is_inherited: bool,
    length: Duration,
}

impl Limit {
    pub(super) fn new(scope: &Scope, timeout: Option<Duration>) -> Self {
        let began = scope.clock.now();
        let (deadline, is_inherited) = match timeout {
            Some(own) if began + own < scope.deadline => (began + own, false),
            _ => (scope.deadline, true),
        };
        Self { deadline, is_inherited, length: deadline.saturating_duration_since(began) }
    }

    /// For messages: `within 2.0 s`.
    pub(super) fn within(&self, scope: &Scope) -> String {
        let limit = format!("{:.1} s", self.length.as_secs_f64());
        match self.is_inherited {
            true => format!("within the {limit} left of {}", scope.deadline_name),
            false => format!("within {limit}"),
        }
    }
}

impl Context {
    /// Notes that a wait begins. Without a machine it is about none in particular.
    pub(super) fn wait_begins(
        &self,
        machine: Option<&Machine>,
        call: &str,
        wanted: &str,
        limit: &Limit,
        place: Option<&Place>,
    ) -> WaitNote {
        let wait = self.waits.fetch_add(1, Ordering::Relaxed) + 1;
        let journal = machine.map_or(&self.journal, |machine| &machine.journal).clone();
        journal.append(
            Source::Script,
            Body::WaitBegan {
                wait,
                call: call.to_owned(),
                wanted: wanted.to_owned(),
                timeout_s: limit.length.as_secs_f64(),
                line: place.map_or(0, |place| place.line),
            },
        );
        let only = match &*self.machines {
            [only] => Some(&**only),
            _ => None,
        };
        let speed = machine.or(only).and_then(|machine| machine.lane.speed.clone());
        WaitNote {
            journal,
            wait,
            began: Instant::now(),
            load: host_load(),
            cpu: speed.as_ref().and_then(SpeedProbe::sample),
            speed,
        }
    }
}

/// For a picture of the screen, and for one that has to be taken before the step's deadline ends everything.
const PATIENCE: Duration = Duration::from_secs(5);
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// Writes `wait_ended` however the wait ends, also when its future is dropped.
pub(super) struct WaitNote {
    journal: Journal,
    /// 0 when it has ended.
    wait: u32,
    began: Instant,
    load: Option<f64>,
    speed: Option<SpeedProbe>,
    cpu: Option<CpuTime>,
}

impl WaitNote {
    /// Ends the wait, unless it has ended.
    pub(super) fn end(&mut self, outcome: &'static str, matched: Option<u64>) {
        if self.wait == 0 {
            return;
        }
        let load = [self.load, host_load()];
        let load = match load {
            [Some(first), Some(last)] => Some(f64::midpoint(first, last)),
            [first, last] => first.or(last),
        };
        let now = self.speed.as_ref().and_then(SpeedProbe::sample);
        let body = Body::WaitEnded {
            wait: std::mem::take(&mut self.wait),
            outcome: outcome.to_owned(),
            matched,
            took_ms: millis(self.began.elapsed()),
            host_load: load.map(in_hundredths),
            lane_speed: now.zip(self.cpu).and_then(|(now, then)| now.speed_since(then)).map(in_hundredths),
        };
        self.journal.append(Source::Script, body);
    }
}

impl Drop for WaitNote {
    fn drop(&mut self) {
        self.end("cancelled", None);
    }
}

fn in_hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The failure of something that needed a machine which is gone.
pub(super) fn machine_ended(end: &LaneEnd, what: &str, seen: &str) -> Failure {
    let seen = if seen.is_empty() { String::new() } else { format!("\n{seen}") };
    match end.class {
        EndClass::GuestShutdown | EndClass::GuestReset => {
            Failure::new(FailureKind::MachineEnded, format!("{what}: {}{seen}", end.how))
                .hint("if the scenario makes the guest end here, wait with `t.lane:wait_for_shutdown()`")
        }
        EndClass::Closed => Failure::new(FailureKind::LaneLost, format!("{what}: {}{seen}", end.how)).hint(
            "if the guest powers off here, wait with `t.lane:wait_for_shutdown()`; a QMP socket lets the lane tell \
             who ended the machine",
        ),
        EndClass::Host | EndClass::TakenDown => {
            let failure = Failure::new(FailureKind::LaneLost, format!("{what}: {}{seen}", end.how));
            match end.how.contains("killed by signal 9") {
                true => failure.hint("somebody killed it, or the kernel did for want of memory: see `dmesg`"),
                false => failure,
            }
        }
    }
}

/// Resolves when the machine has ended.
pub(super) async fn machine_end(ended: &mut tokio::sync::watch::Receiver<Option<LaneEnd>>) -> LaneEnd {
    match ended.wait_for(Option::is_some).await.map(|end| end.clone()) {
        Ok(Some(end)) => end,
        // The lane was dropped without a word: that is its end as well.
        _ => LaneEnd { class: EndClass::TakenDown, how: "the lane was taken down".to_owned() },
    }
}

/// The line that called a binding. Ask while the binding is being called, not later.
pub(super) fn caller(lua: &Lua) -> Option<Place> {
    (1..STACK_SEARCH).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let file = source.short_src?;
            let line = u32::try_from(frame.current_line()?).ok()?;
            // Frames of the binding layer and of the prelude are not the script's.
            let ours = file.starts_with('[') || file.starts_with("__mlua");
            (!ours).then(|| Place { file: chunk_name(&source.source).unwrap_or(file.into_owned()), line })
        })
        .flatten()
    })
}

/// The full name of a chunk; Lua's short one is cut at 60 bytes.
fn chunk_name(source: &Option<std::borrow::Cow<'_, str>>) -> Option<String> {
    source.as_ref()?.strip_prefix('@').map(str::to_owned)
}

/// A name that is safe and readable as a part of a file name.
fn file_name(name: &str) -> String {
    let mut safe = String::new();
    for char in name.chars() {
        let keep = char.is_ascii_alphanumeric() || matches!(char, '.' | '_');
        if keep {
            safe.push(char.to_ascii_lowercase());
        } else if !safe.ends_with('-') && !safe.is_empty() {
            safe.push('-');
        }
    }
    safe.truncate(FILE_NAME_CHARS);
    let safe = safe.trim_matches(['-', '.']);
    if safe.is_empty() { "unnamed".to_owned() } else { safe.to_owned() }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const LOG_LIMIT: usize = 16 << 20;
/// What a line of the log takes at least, however short it is.
const LOG_LINE_BYTES: usize = 64;
const STACK_SEARCH: usize = 12;
const FILE_NAME_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_of_steps_become_harmless_file_names() {
        assert_eq!(file_name("the decoded payload"), "the-decoded-payload");
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("états"), "tats");
        assert_eq!(file_name("…"), "unnamed");
    }
}
