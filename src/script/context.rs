//! What all bindings of one attempt share: the journal and its cursors, the lane, the deadlines, the failures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mlua::Lua;

use super::failure::{Failure, FailureKind, Place};
use crate::console::layout::{self, Layout};
use crate::console::{Console, Screenshot};
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::lane::handle::{Capability, EndClass, LaneEnd, LaneHandle};

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
}

impl Scope {
    /// The scope of the caller.
    pub(super) fn current() -> Option<Self> {
        SCOPE.try_with(Clone::clone).ok()
    }

    /// Runs `future` in this scope.
    pub(super) fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        SCOPE.scope(self, future)
    }

    /// Whether misses are tried again rather than verdicts.
    pub(super) fn is_tentative() -> bool {
        SCOPE.try_with(|scope| scope.tentative).unwrap_or(false)
    }
}

/// Shared by all bindings of an attempt; lives in the Lua state as app data.
pub(super) struct Context {
    pub(super) journal: Journal,
    pub(super) lane: LaneHandle,
    pub(super) folder: PathBuf,
    pub(super) scope: Scope,
    waits: AtomicU32,
    shots: AtomicU32,
    attachments: AtomicU32,
    /// Bytes that the script may still log.
    log_left: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cursors: [Cursor; Source::ALL.len()],
    /// What the machine said up to here was said before it was put back or reset.
    machine_since: Cursor,
    /// The line that paused the machine.
    paused_at: Option<Place>,
    /// What the guest takes its keyboard for; none: the US one.
    layout: Option<&'static Layout>,
    /// Expectations that did not hold, in order.
    missed: Vec<Failure>,
    /// Set once: nothing of the script goes on after it.
    fatal: Option<Failure>,
}

impl Context {
    pub(super) fn new(journal: Journal, lane: LaneHandle, folder: PathBuf, scope: Scope) -> Self {
        Self {
            journal,
            lane,
            folder,
            scope,
            waits: AtomicU32::new(0),
            shots: AtomicU32::new(0),
            attachments: AtomicU32::new(0),
            log_left: AtomicUsize::new(LOG_LIMIT),
            state: Mutex::default(),
        }
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

    /// The console, or why there is none.
    pub(super) fn console(&self, call: &str) -> Result<Arc<dyn Console>, Failure> {
        self.lane.console.clone().ok_or_else(|| {
            Failure::usage(format!("{call}: lane \"{}\" has no console", self.lane.name))
                .hint("name what the scenario needs: `needs = { \"keyboard\", \"screen\" }`")
        })
    }

    /// Refuses a call that the lane cannot serve.
    pub(super) fn require(&self, call: &str, capability: Capability) -> Result<(), Failure> {
        if self.lane.capabilities.contains(&capability) {
            return Ok(());
        }
        Err(self.lacking(call, capability))
    }

    /// The failure of a call that the lane cannot serve.
    pub(super) fn lacking(&self, call: &str, capability: Capability) -> Failure {
        Failure::usage(format!("{call}: lane \"{}\" has no {capability}", self.lane.name)).hint(format!(
            "add \"{capability}\" to the scenario's `needs`, so that it is skipped on such a lane"
        ))
    }

    pub(super) fn cursor(&self, source: Source) -> Cursor {
        self.state().cursors[source as usize]
    }

    pub(super) fn set_cursor(&self, source: Source, cursor: Cursor) {
        self.state().cursors[source as usize] = cursor;
    }

    /// Lets all that the machine said up to `cursor` lie behind: it was put back, or began anew.
    pub(super) fn begin_anew(&self, cursor: Cursor) {
        let mut state = self.state();
        for source in [Source::Qmp, Source::Serial, Source::Screen, Source::Digest, Source::Agent] {
            state.cursors[source as usize] = cursor;
        }
        state.machine_since = cursor;
    }

    /// Up to where the machine's words are of an earlier life.
    pub(super) fn machine_since(&self) -> Cursor {
        self.state().machine_since
    }

    /// Notes which line paused the machine, or that it runs.
    pub(super) fn set_paused_at(&self, place: Option<Place>) {
        self.state().paused_at = place;
    }

    /// What the guest takes its keyboard for.
    pub(super) fn layout(&self) -> &'static Layout {
        self.state().layout.unwrap_or(&layout::US)
    }

    pub(super) fn set_layout(&self, layout: &'static Layout) {
        self.state().layout = Some(layout);
    }

    /// What to say about a wait that expired on a machine which the script had paused.
    fn paused_hint(&self) -> Option<String> {
        let place = self.state().paused_at.clone()?;
        Some(format!("the machine is paused since line {}; `t.lane:resume()` lets it go on", place.line))
    }

    /// What to say about a wait that expired on a machine on which things go wrong on purpose.
    fn faults_hint(&self) -> Option<String> {
        let faults = self.lane.faults.as_ref()?.summary()?;
        Some(format!("faults were injected: {faults}"))
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

    /// Turns a failure into the error a script sees; a fatal one also ends the attempt.
    pub(super) fn raise(&self, mut failure: Failure) -> mlua::Error {
        if failure.steps.is_empty() {
            failure.steps = self.current_scope().steps;
        }
        if failure.fatal {
            self.state().fatal.get_or_insert_with(|| failure.clone());
        }
        mlua::Error::external(failure)
    }

    /// Writes the screen to `screenshots/NN-name.png` and returns the path relative to the attempt's folder.
    /// `Ok(None)`: there is no screen. One that is not fetched within `patience` is shown as it was.
    async fn screenshot(
        &self,
        name: &str,
        patience: Duration,
    ) -> std::io::Result<Option<(PathBuf, u32, u32)>> {
        let Some(console) = self.lane.console.as_deref() else { return Ok(None) };
        let _ = tokio::time::timeout(patience, console.refreshed()).await;
        match Screenshot::take(console) {
            Some(shot) => self.save_screenshot(name, shot).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a picture that was taken already.
    pub(super) async fn save_screenshot(
        &self,
        name: &str,
        shot: Screenshot,
    ) -> std::io::Result<(PathBuf, u32, u32)> {
        let number = self.shots.fetch_add(1, Ordering::Relaxed) + 1;
        let path = PathBuf::from("screenshots").join(format!("{number:02}-{}.png", file_name(name)));
        let target = self.folder.join(&path);
        let (width, height) = (shot.width, shot.height);
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(target.parent().expect("a screenshot lies in a folder"))?;
            std::fs::write(&target, shot.to_png().map_err(std::io::Error::other)?)
        })
        .await??;
        let body = Body::Screenshot { path: path.display().to_string(), width, height };
        self.journal.append(Source::Screen, body);
        Ok((path, width, height))
    }

    /// A screenshot that must not change the outcome: what went wrong with it is only logged.
    pub(super) async fn screenshot_if_possible(&self, name: &str) -> Option<PathBuf> {
        self.screenshot_within(name, PATIENCE).await
    }

    async fn screenshot_within(&self, name: &str, patience: Duration) -> Option<PathBuf> {
        match self.screenshot(name, patience).await {
            Ok(shot) => shot.map(|(path, ..)| path),
            Err(error) => {
                tracing::warn!(%error, "screenshot not saved");
                None
            }
        }
    }

    /// Notes what the script says, as long as it does not say too much: the journal is kept in memory.
    pub(super) fn log(&self, message: String) {
        let size = message.len().max(LOG_LINE_BYTES);
        let take = |left: usize| left.checked_sub(size);
        let message = match self.log_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => message,
            Err(0) => return,
            Err(_) => {
                self.log_left.store(0, Ordering::Relaxed);
                format!("the script logged more than {} MiB; nothing more of it is kept", LOG_LIMIT >> 20)
            }
        };
        self.journal.append(Source::Script, Body::Log { message });
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

/// A question to one stream of the journal, with everything that is needed to explain that it got no answer.
pub(super) struct Wait<'a> {
    /// The call, e.g. `digest:wait_for`.
    pub(super) call: &'static str,
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
        mut accept: impl FnMut(&Event) -> Option<T>,
    ) -> mlua::Result<T> {
        let scope = context.current_scope();
        let began = Instant::now();
        let (deadline, inherited) = match self.timeout {
            Some(own) if began + own < scope.deadline => (began + own, false),
            _ => (scope.deadline, true),
        };
        let wait = context.waits.fetch_add(1, Ordering::Relaxed) + 1;
        let limit = deadline.saturating_duration_since(began);
        context.journal.append(
            Source::Script,
            Body::WaitBegan {
                wait,
                call: self.call.to_owned(),
                wanted: self.wanted.clone(),
                timeout_s: limit.as_secs_f64(),
                line: self.place.as_ref().map_or(0, |place| place.line),
            },
        );
        let mut note =
            WaitNote { journal: &context.journal, wait, began, outcome: "cancelled", matched: None };

        let from = context.cursor(self.source);
        let mut cursor = from;
        let mut answer = None;
        let mut take = |event: &Event| {
            answer = accept(event);
            answer.is_some()
        };
        let mut ended = context.lane.ended.clone();
        let outcome = tokio::select! {
            biased;
            event = context.journal.next_match(self.source, &mut cursor, &mut take) => Outcome::Matched(event.seq),
            end = machine_end(&mut ended) => Outcome::Ended(end),
            () = tokio::time::sleep_until(deadline.into()) => Outcome::Expired,
        };
        match outcome {
            Outcome::Matched(seq) => {
                note.outcome = "matched";
                note.matched = Some(seq);
                context.set_cursor(self.source, cursor);
                Ok(answer.expect("the journal stops only at an event that was taken"))
            }
            Outcome::Ended(end) => {
                note.outcome = "machine_ended";
                drop(note);
                Err(context.raise(self.machine_ended(context, from, &end)))
            }
            Outcome::Expired => {
                note.outcome = "timeout";
                drop(note);
                Err(context.raise(self.expired(context, &scope, from, limit, inherited).await))
            }
        }
    }

    fn machine_ended(&self, context: &Context, from: Cursor, end: &LaneEnd) -> Failure {
        let seen = (self.seen)(&context.journal.after(self.source, from));
        machine_ended(
            end,
            &format!("{}: the machine ended while waiting for {}", self.call, self.wanted),
            &seen,
        )
        .at(self.place.clone())
    }

    async fn expired(
        &self,
        context: &Context,
        scope: &Scope,
        from: Cursor,
        limit: Duration,
        inherited: bool,
    ) -> Failure {
        let seen = (self.seen)(&context.journal.after(self.source, from));
        let limit = format!("{:.1} s", limit.as_secs_f64());
        let within = match inherited {
            true => format!("within the {limit} left of {}", scope.deadline_name),
            false => format!("within {limit}"),
        };
        let message = format!("{}: no match for {} {within}\n{seen}", self.call, self.wanted);
        let mut failure = Failure::new(FailureKind::Timeout, message).at(self.place.clone());
        failure.steps.clone_from(&scope.steps);
        failure.hint = context.paused_hint().or_else(|| context.faults_hint());
        if inherited {
            failure = failure.fatal();
        }
        if !scope.tentative {
            failure.screenshot = context.screenshot_within("timeout", LAST_PATIENCE).await;
        }
        failure
    }
}

/// For a picture of the screen, and for one that has to be taken before the step's deadline ends everything.
const PATIENCE: Duration = Duration::from_secs(5);
const LAST_PATIENCE: Duration = Duration::from_millis(500);

enum Outcome {
    Matched(u64),
    Ended(LaneEnd),
    Expired,
}

/// Writes `wait_ended` however the wait ends, also when its future is dropped.
struct WaitNote<'a> {
    journal: &'a Journal,
    wait: u32,
    began: Instant,
    outcome: &'static str,
    matched: Option<u64>,
}

impl Drop for WaitNote<'_> {
    fn drop(&mut self) {
        let body = Body::WaitEnded {
            wait: self.wait,
            outcome: self.outcome.to_owned(),
            matched: self.matched,
            took_ms: millis(self.began.elapsed()),
            host_load: None,
            lane_speed: None,
        };
        self.journal.append(Source::Script, body);
    }
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
