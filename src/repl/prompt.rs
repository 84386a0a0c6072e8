//! The loop: a line in, an answer out, until one of them ends the prompt. Prompts nest.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Repl;
use super::book::{Book, BookError, Entry, Hold, helped_script, session_script};
use super::command::{self, Command, PAGES};
use super::complete::stream_name;
use super::feed::{Feed, Streams};
use super::input::{Input, Line};
use super::lua::quote;
use super::picture::{self, Way};
use super::shown::{self, clean, cut};
use super::{evidence, screen::Screen};
use crate::console::Screenshot;
use crate::journal::{Body, Cursor, Source};
use crate::near::nearest;
use crate::reference::reference;
use crate::report::failure::render;
use crate::report::style::{Look, Tone};
use crate::script::prompt::{Ask, Decision, Frame, Held, Shown};
use crate::script::{Failure, FailureKind, Script};

/// What became of the prompts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Whether any was open.
    pub was_open: bool,
    /// Whether a line or a command did not do what it should.
    pub has_failed: bool,
    /// Whether somebody wanted to leave rather than to go on with whatever comes next.
    pub is_left: bool,
}

/// What there is while a prompt is open.
struct Open {
    held: Held,
    /// Its place in the books.
    book: usize,
    /// What the script that stands there says.
    script: Option<Script>,
    /// What is typed behind.
    prompt: String,
    /// Names of scenarios that were loaded.
    scenarios: Vec<String>,
    has_gone_back: bool,
    /// Why the last call failed, and what was called.
    last: Option<(Failure, Option<Script>)>,
}

/// Where the prompts come from.
struct Prompts<'a> {
    held: &'a mut mpsc::Receiver<Held>,
    is_closed: bool,
    cancel: &'a CancellationToken,
}

impl Repl {
    /// Serves attempts that stand still, until there are no more of them. `cancel` ends everything; it is cancelled also
    /// when somebody at the prompt wants to leave and something is still to run.
    pub async fn serve(&mut self, mut held: mpsc::Receiver<Held>, cancel: &CancellationToken) -> Served {
        let mut was_open = false;
        let mut prompts = Prompts { held: &mut held, is_closed: false, cancel };
        loop {
            let next = tokio::select! {
                next = prompts.held.recv() => next,
                () = cancel.cancelled() => None,
            };
            let Some(held) = next else { break };
            was_open = true;
            let is_session = held.is_session;
            self.hold(held, &mut prompts).await;
            if self.is_leaving && !is_session {
                cancel.cancel();
            }
        }
        if let Some(terminal) = &self.terminal {
            terminal.restore(&self.screen);
        }
        Served { was_open, has_failed: self.has_failed, is_left: self.is_leaving }
    }

    /// Serves one attempt that stands still, to the end of its prompt.
    fn hold<'a>(
        &'a mut self,
        held: Held,
        prompts: &'a mut Prompts<'_>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let _open = self.input.is_editor().then(|| self.options.interrupts.open());
            let _ended = watch_ends(&held, &self.screen);
            // A prompt inside of another shares its journal, which is told already.
            let is_inner = self.books.iter().any(|book| {
                book.folder == held.folder && book.holds.last().is_some_and(|hold| hold.ended.is_none())
            });
            let _feed = (!is_inner)
                .then(|| Feed::start(held.journal.clone(), self.streams.clone(), self.screen.clone()));
            let mut open = self.open(held);
            self.greet(&open);
            if open.held.is_session
                && let Some(file) = self.options.source.take()
            {
                self.source(&mut open, &file, prompts).await;
            }
            let decision = self.until_decided(&mut open, prompts).await;
            self.books[open.book].holds.last_mut().expect("it was opened").ended = Some(decision);
            // The attempt may have ended by itself, and then nobody asks.
            let _ = open.held.asks.send(Ask::End(decision)).await;
        })
    }

    fn open(&mut self, held: Held) -> Open {
        let place = held.failure.as_ref().and_then(|failure| failure.place.as_ref()).or(held.place.as_ref());
        let script = place.and_then(|place| Script::read(Path::new(&place.file)).ok());
        let prompt = match place.filter(|_| !held.is_session) {
            Some(place) => {
                let name = Path::new(&place.file)
                    .file_name()
                    .map_or_else(String::new, |name| name.display().to_string());
                format!("{}:{}> ", cut(&clean(&name), PROMPT_NAME), place.line)
            }
            None if held.is_session => {
                let lane = held.lanes.first().map_or("lua", |(_, lane)| lane.name.as_str());
                format!("{}> ", cut(&clean(lane), PROMPT_NAME))
            }
            None => "held> ".to_owned(),
        };
        let known = |book: &Book| {
            book.folder == held.folder && book.scenario == held.scenario && book.is_session == held.is_session
        };
        let book = self.books.iter().position(known).unwrap_or_else(|| {
            self.books.push(Book {
                folder: held.folder.clone(),
                scenario: held.scenario.clone(),
                is_session: held.is_session,
                lane: held.lanes.first().map(|(_, lane)| lane.name.clone()).unwrap_or_default(),
                holds: Vec::new(),
            });
            self.books.len() - 1
        });
        let at = script.clone().zip(place.map(|place| place.line));
        let visible = visible_names(&held.frames, place.map(|place| place.file.as_str()));
        self.books[book].holds.push(Hold { at, visible, ..Hold::default() });
        let last = held.failure.clone().map(|failure| (failure, script.clone()));
        Open { held, book, script, prompt, scenarios: Vec::new(), has_gone_back: false, last }
    }

    /// Says where one is, and what can be done.
    fn greet(&mut self, open: &Open) {
        let look = self.screen.look();
        let held = &open.held;
        for note in std::mem::take(&mut self.notes) {
            self.note(&note);
        }
        let is_person = self.input.is_editor();
        if held.is_session {
            if is_person {
                let lanes: Vec<&str> = held.lanes.iter().map(|(_, lane)| lane.name.as_str()).collect();
                let lanes = look.paint(Tone::Strong, lanes.join(", "));
                self.screen.print(&format!("lane {lanes} is up; type Lua, or :help"));
            }
        } else {
            let scenario = format!("\"{}\"", clean(&held.scenario));
            // What a session plays is itself a step there.
            let own = usize::from(held.steps.first() == Some(&held.scenario));
            let steps: String = held.steps[own..].iter().map(|step| format!(" › {}", clean(step))).collect();
            let head = look.paint(Tone::Warn, "HELD");
            self.screen.print(&format!("{head}  {scenario}{steps}"));
            match (&held.failure, &held.place) {
                (Some(failure), _) => self.say_failure(failure, open.script.as_ref(), Some(&held.folder)),
                (None, Some(place)) => self.screen.print(&format!("      {place}: t:hold()")),
                (None, None) => {}
            }
        }
        for note in &held.notes {
            self.note(note);
        }
        if is_person && !held.is_session {
            let words = match held.failure {
                Some(_) => {
                    ":retry runs it again, :continue goes on behind it, :abort ends it, :help lists more"
                }
                None => ":continue goes on, :abort ends it, :help lists more",
            };
            self.screen.print(&look.paint(Tone::Faint, wrapped(words, look.width)));
        }
    }

    async fn until_decided(&mut self, open: &mut Open, prompts: &mut Prompts<'_>) -> Decision {
        let mut last_interrupt: Option<Instant> = None;
        loop {
            if self.is_leaving {
                return Decision::Abort;
            }
            self.learn_names(open).await;
            let line = tokio::select! {
                line = self.input.next(&open.prompt) => line,
                () = open.held.asks.closed() => {
                    let text = "the scenario has ended; the prompt closes";
                    self.screen.print(&self.screen.look().paint(Tone::Warn, text));
                    return Decision::Abort;
                }
                () = prompts.cancel.cancelled() => return Decision::Abort,
                // On a terminal without an editor's raw mode, it comes as a signal.
                () = self.options.interrupts.pressed() => Line::Interrupted { had_text: false },
            };
            match line {
                Line::Text(text) if text.trim().is_empty() => {}
                Line::Text(text) if text.trim_start().starts_with(':') => {
                    if let Some(decision) = self.command(open, text.trim(), prompts).await {
                        return decision;
                    }
                }
                Line::Text(text) => self.eval(open, text.trim_end(), prompts).await,
                Line::Interrupted { had_text: true } => last_interrupt = None,
                Line::Interrupted { had_text: false } => {
                    if last_interrupt.is_some_and(|last| last.elapsed() < TWICE) {
                        self.is_leaving = true;
                        return Decision::Abort;
                    }
                    last_interrupt = Some(Instant::now());
                    let text = ":quit or Ctrl-D leaves, and so does Ctrl-C once more";
                    self.screen.print(&wrapped(text, self.screen.look().width));
                }
                Line::End => return self.end_of_lines(open),
                Line::Failed(why) => {
                    self.complain(&format!("no more lines can be read: {why}"), None);
                    self.is_leaving = true;
                    return Decision::Abort;
                }
            }
        }
    }

    /// Ctrl-D, or the end of what is piped.
    fn end_of_lines(&mut self, open: &Open) -> Decision {
        if !self.input.is_editor() {
            self.is_leaving = true;
        } else if open.held.is_session {
            self.is_leaving = true;
            self.screen.print(":quit");
        } else {
            self.screen.print(":abort: the scenario ends here, with its failure");
        }
        Decision::Abort
    }

    /// Asks what has a name now, for completion. What takes long is not worth it.
    async fn learn_names(&mut self, open: &Open) {
        let Input::Editor(editor) = &self.input else { return };
        let (answer, names) = oneshot::channel();
        let asked = async {
            open.held.asks.send(Ask::Names { answer }).await.ok()?;
            names.await.ok()
        };
        let live = tokio::time::timeout(NAMES_PATIENCE, asked).await.ok().flatten();
        let mut names = editor.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.live = live.unwrap_or_default();
        names.scenarios.clone_from(&open.scenarios);
        names.steps.clone_from(&open.held.rewindable);
    }

    async fn eval(&mut self, open: &mut Open, source: &str, prompts: &mut Prompts<'_>) {
        self.typed += 1;
        let name = format!("prompt:{}", self.typed);
        let (answer, answered) = oneshot::channel();
        let cancel = CancellationToken::new();
        let ask = Ask::Eval { source: source.to_owned(), name: name.clone(), cancel: cancel.clone(), answer };
        let began = Instant::now();
        let since = Cursor(open.held.journal.newest());
        let result = self.ask(open, ask, answered, &cancel, prompts).await;
        let took = began.elapsed();
        self.say_logged(open, since);
        let entry = Entry { source: source.to_owned(), worked: matches!(result, Some(Ok(_))), took };
        self.books[open.book].holds.last_mut().expect("it was opened").entries.push(entry);
        match result {
            Some(Ok(values)) => {
                let look = self.screen.look();
                let shown: Vec<String> = values.iter().map(|value| shown::render(value, look)).collect();
                self.screen.print(&shown.join("\n"));
            }
            Some(Err(failure)) => {
                let typed = Script { path: PathBuf::from(name), source: source.into() };
                self.say_call_failed(open, failure, Some(typed));
            }
            None => {}
        }
    }

    /// What a call has printed. A run that is held has a report of its own, which says that.
    fn say_logged(&mut self, open: &Open, since: Cursor) {
        let is_told = !self.books.iter().any(|book| book.is_session);
        if is_told || self.streams.get().contains(&Source::Script) {
            return;
        }
        let events = open.held.journal.all_after(since);
        let said = events.iter().filter_map(|event| match &event.body {
            Body::Log { message } => Some(clean(message)),
            Body::Warning { message, .. } => Some(format!("warning: {}", clean(message))),
            _ => None,
        });
        let lines: Vec<String> = said.collect();
        if !lines.is_empty() {
            self.screen.print(&lines.join("\n"));
        }
    }

    /// Sends an ask and waits for its answer; serves prompts that open inside of it meanwhile. None: nobody answers any
    /// more.
    async fn ask<T>(
        &mut self,
        open: &Open,
        ask: Ask,
        mut answered: oneshot::Receiver<T>,
        cancel: &CancellationToken,
        prompts: &mut Prompts<'_>,
    ) -> Option<T> {
        if open.held.asks.send(ask).await.is_err() {
            self.complain("the scenario has ended", Some(":quit leaves"));
            return None;
        }
        let interrupts = self.options.interrupts.clone();
        let mut pressed = 0;
        loop {
            // Every arm can be dropped: an answer stays in its channel, and so do prompts and interrupts.
            tokio::select! {
                biased;
                answer = &mut answered => {
                    if answer.is_err() {
                        self.complain("the scenario ended before it answered", None);
                    }
                    return answer.ok();
                }
                nested = prompts.held.recv(), if !prompts.is_closed => match nested {
                    Some(nested) => {
                        self.hold(nested, prompts).await;
                        if self.is_leaving {
                            cancel.cancel();
                        }
                    }
                    None => prompts.is_closed = true,
                },
                () = interrupts.pressed() => {
                    pressed += 1;
                    cancel.cancel();
                    // The terminal has written `^C` there.
                    self.screen.print("\n");
                    match pressed {
                        1 => {}
                        2 => self.note("the call does not stop yet; Ctrl-C once more ends everything"),
                        _ => {
                            self.is_leaving = true;
                            prompts.cancel.cancel();
                        }
                    }
                }
                () = prompts.cancel.cancelled() => {
                    cancel.cancel();
                    self.is_leaving = true;
                    return tokio::time::timeout(LAST_ANSWER, answered).await.ok()?.ok();
                }
            }
        }
    }

    /// Asks what is answered at once.
    async fn ask_plainly<T>(
        &mut self,
        open: &Open,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let sent = open.held.asks.send(ask(answer)).await.is_ok();
        let answered = if sent { answered.await.ok() } else { None };
        if answered.is_none() {
            self.complain("the scenario has ended", Some(":quit leaves"));
        }
        answered
    }

    async fn command(&mut self, open: &mut Open, line: &str, prompts: &mut Prompts<'_>) -> Option<Decision> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                self.complain(&error.to_string(), Some(&error.hint()));
                return None;
            }
        };
        let look = self.screen.look();
        match command {
            Command::Help(name) => self.help(name.as_deref()),
            Command::Retry => return self.retry(open),
            Command::Continue if open.held.is_session => {
                self.complain("nothing is held here", Some("`:quit` leaves the session"));
            }
            Command::Continue => return Some(Decision::Continue),
            Command::Abort if !open.held.is_session => return Some(Decision::Abort),
            Command::Abort | Command::Quit => {
                self.is_leaving = true;
                return Some(Decision::Abort);
            }
            Command::Rewind(step) => self.rewind(open, step).await,
            Command::Locals => {
                if let Some(frames) = self.ask_plainly(open, |answer| Ask::Frames { answer }).await {
                    self.screen.print(&evidence::frames(&frames, look));
                }
            }
            Command::Steps => {
                let events = open.held.journal.all_after(Cursor::default());
                self.screen.print(&evidence::steps(&events, look));
            }
            Command::Last => self.last(open),
            Command::Events(words) => self.events(&words),
            Command::Shot { how, file } => self.shot(open, how.as_deref(), file).await,
            Command::Type(text) => {
                self.eval(open, &format!("keyboard:type({})", quote(&text)), prompts).await;
            }
            Command::Key(keys) => {
                for key in keys {
                    self.eval(open, &format!("keyboard:press({})", quote(&key)), prompts).await;
                }
            }
            Command::Source(file) => self.source(open, Path::new(&file), prompts).await,
            Command::Run(scenario) => self.run(open, scenario, prompts).await,
            Command::Save { file, what, replaces } => self.save(open, &file, what.as_deref(), replaces).await,
            Command::History => self.history(open),
        }
        None
    }

    fn help(&mut self, name: Option<&str>) {
        let look = self.screen.look();
        let Some(name) = name else { return self.screen.print(&commands(look)) };
        // `:help save` means the command, unless Lua has something of that name.
        let is_command = name.starts_with(':');
        let found = reference().help_within(name, look.width.max(24));
        match (command::page(name), found) {
            (Some(page), found) if is_command || found.is_err() => {
                let usage = look.paint(Tone::Strong, page.usage());
                let other: Vec<String> = page.other.iter().map(|name| format!(":{name}")).collect();
                let other =
                    if other.is_empty() { String::new() } else { format!("  ({})", other.join(", ")) };
                let long = wrapped(&page.long.split_whitespace().collect::<Vec<_>>().join(" "), look.width);
                self.screen.print(&format!("{usage}{other}\n{}\n{long}", wrapped(page.short, look.width)));
            }
            (_, Ok(text)) => self.screen.print(&text),
            (_, Err(_)) if is_command => {
                let near =
                    command::near(name).map(|near| format!(", did you mean `:{near}`?")).unwrap_or_default();
                self.complain(&format!("unknown command `{name}`{near}"), Some("`:help` lists the commands"));
            }
            (_, Err(unknown)) => {
                self.complain(&unknown.to_string(), Some("`:help` lists the commands; Tab completes names"))
            }
        }
    }

    fn retry(&mut self, open: &Open) -> Option<Decision> {
        match () {
            () if open.held.is_session => {
                self.complain("nothing is held here", Some("`:run` plays a scenario"))
            }
            () if open.held.failure.is_none() && !open.has_gone_back => {
                self.complain("nothing has failed here", Some("`:continue` goes on"));
            }
            () => return Some(Decision::Retry),
        }
        None
    }

    async fn rewind(&mut self, open: &mut Open, step: Option<String>) {
        if open.held.rewindable.is_empty() {
            let hint = "it takes a step that goes on, on a lane that can be saved; `:help :rewind` says more";
            return self.complain("there is no step to go back to", Some(hint));
        }
        if let Some(step) =
            step.as_deref().filter(|step| !open.held.rewindable.iter().any(|known| known == step))
        {
            let known: Vec<String> = open.held.rewindable.iter().map(|step| quote(step)).collect();
            let near = nearest(step, open.held.rewindable.iter().map(String::as_str));
            let near = near.map(|near| format!(", did you mean {}?", quote(near))).unwrap_or_default();
            let message = format!("there is no step {} to go back to{near}", quote(step));
            return self.complain(&message, Some(&format!("steps: {}", known.join(", "))));
        }
        match self.ask_plainly(open, |answer| Ask::Rewind { step, answer }).await {
            Some(Ok(step)) => {
                open.has_gone_back = true;
                self.screen.print(&format!(
                    "back at the beginning of step \"{}\"; :retry plays it again",
                    clean(&step)
                ));
            }
            Some(Err(failure)) => self.say_call_failed(open, failure, None),
            None => {}
        }
    }

    fn last(&mut self, open: &Open) {
        let Some((failure, script)) = &open.last else {
            return self.screen.print("nothing has failed yet");
        };
        self.say_failure(failure, script.as_ref(), Some(&open.held.folder));
        let events = open.held.journal.all_after(Cursor::default());
        self.screen.print(&evidence::last_wait(&events, self.screen.look()));
    }

    fn events(&mut self, words: &[String]) {
        let mut chosen = BTreeSet::new();
        for word in words {
            match word.as_str() {
                "off" => chosen.clear(),
                "on" => chosen.extend(Streams::USUAL),
                "all" => chosen.extend(Source::ALL),
                name => match Streams::by_name(name) {
                    Some(stream) => drop(chosen.insert(stream)),
                    None => {
                        let names = Source::ALL.map(stream_name);
                        let near = nearest(name, names.into_iter().chain(["on", "off", "all"]));
                        let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
                        let hint = format!("streams: {}", names.join(" "));
                        return self
                            .complain(&format!("no stream is called `{}`{near}", clean(name)), Some(&hint));
                    }
                },
            }
        }
        if !words.is_empty() {
            self.streams.set(chosen);
        }
        let told: Vec<&str> = self.streams.get().into_iter().map(stream_name).collect();
        match told.as_slice() {
            [] => self.screen.print("no events are told; `:events on` tells those of digest and serial"),
            told => self.screen.print(&format!("events of {} are told", told.join(", "))),
        }
    }

    async fn shot(&mut self, open: &mut Open, how: Option<&str>, file: Option<String>) {
        let way = how.and_then(Way::by_name).unwrap_or(match self.input.is_editor() {
            true => self.options.way,
            false => Way::File,
        });
        let lanes: Vec<_> = open
            .held
            .lanes
            .iter()
            .filter_map(|(role, lane)| Some((role.clone(), lane.console.clone()?)))
            .collect();
        if lanes.is_empty() {
            return self.complain("this lane has no screen", None);
        }
        for (role, console) in lanes {
            if tokio::time::timeout(PICTURE_PATIENCE, console.refreshed()).await.is_err() {
                self.note("the console does not answer; this is the screen as it was last");
            }
            let Some(shot) = Screenshot::take(&*console) else {
                self.complain("the screen is off: there is no surface", None);
                continue;
            };
            let role = role.map(|role| format!("{role}-")).unwrap_or_default();
            let path = match &file {
                Some(file) if role.is_empty() => PathBuf::from(file),
                Some(file) => Path::new(file).with_file_name(format!(
                    "{role}{}",
                    Path::new(file).file_name().unwrap_or_default().display()
                )),
                None => open
                    .held
                    .folder
                    .join("screenshots")
                    .join(format!("prompt-{role}{:02}.png", self.next_shot())),
            };
            let encoded = tokio::task::spawn_blocking(move || {
                let png = shot.to_png().map_err(|error| error.to_string());
                (shot, png)
            });
            let Ok((shot, png)) = encoded.await else { continue };
            let written = png.and_then(|png| {
                let folder = path.parent().filter(|_| file.is_none());
                folder
                    .map_or(Ok(()), std::fs::create_dir_all)
                    .and_then(|()| std::fs::write(&path, &png))
                    .map_err(|error| error.to_string())?;
                Ok(png)
            });
            let look = self.screen.look();
            match written {
                Ok(png) => {
                    self.show(&shot, &png, way, look);
                    let size = format!("{}x{}", shot.width, shot.height);
                    self.screen
                        .print(&format!("{size}, saved as {}", look.paint(Tone::Place, path.display())));
                    if let (Ok(inside), None) = (path.strip_prefix(&open.held.folder), &file) {
                        let (width, height) = (shot.width, shot.height);
                        let body = Body::Screenshot { path: inside.display().to_string(), width, height };
                        open.held.journal.append(Source::Script, body);
                    }
                }
                Err(why) => {
                    self.show(
                        &shot,
                        &[],
                        if matches!(way, Way::Sixel | Way::File) { way } else { Way::Blocks },
                        look,
                    );
                    self.complain(&format!("the picture is not saved: {}: {why}", path.display()), None);
                }
            }
        }
    }

    fn next_shot(&mut self) -> usize {
        self.shots += 1;
        self.shots
    }

    fn show(&self, shot: &Screenshot, png: &[u8], way: Way, look: Look) {
        let columns = look.width.saturating_sub(1).min(MOST_COLUMNS);
        let text = match way {
            Way::Kitty => picture::kitty(png, columns),
            Way::Iterm => picture::iterm(png, columns),
            Way::Sixel => picture::sixel(shot, u32::try_from(columns * CELL_WIDTH).unwrap_or(u32::MAX)),
            Way::Blocks => picture::blocks(shot, columns, look.color),
            Way::File => return,
        };
        self.screen.print_bytes(text.as_bytes());
    }

    async fn source(&mut self, open: &mut Open, file: &Path, prompts: &mut Prompts<'_>) {
        if !open.held.is_session {
            let hint = "`:abort` or `:continue` leads back to the session, if there is one";
            return self.complain("scripts are loaded at a session's own prompt", Some(hint));
        }
        let script = match Script::read(file) {
            Ok(script) => script,
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                return self.complain(&format!("{error}{cause}"), None);
            }
        };
        let (answer, answered) = oneshot::channel();
        let cancel = CancellationToken::new();
        let ask = Ask::Source { script: script.clone(), cancel: cancel.clone(), answer };
        match self.ask(open, ask, answered, &cancel, prompts).await {
            Some(Ok(names)) => {
                let look = self.screen.look();
                if names.is_empty() {
                    self.note(&format!("{} declares no scenario", file.display()));
                }
                for name in &names {
                    self.screen.print(&format!("  {}", look.paint(Tone::Strong, clean(name))));
                }
                match names.as_slice() {
                    [] => {}
                    [_] => self.screen.print(":run plays it here"),
                    _ => self.screen.print(":run NAME plays one here"),
                }
                open.scenarios = names;
            }
            Some(Err(failure)) => self.say_call_failed(open, failure, Some(script)),
            None => {}
        }
    }

    async fn run(&mut self, open: &mut Open, scenario: Option<String>, prompts: &mut Prompts<'_>) {
        if !open.held.is_session {
            return self.complain(
                "scenarios are played at a session's own prompt",
                Some("`:retry` goes on with this one"),
            );
        }
        if open.scenarios.is_empty() {
            return self.complain("no scenario is loaded", Some("`:source FILE` loads a script"));
        }
        let listed = || open.scenarios.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        if let Some(name) =
            scenario.as_deref().filter(|name| !open.scenarios.iter().any(|known| known == name))
        {
            let near = nearest(name, open.scenarios.iter().map(String::as_str));
            let near = near.map(|near| format!(", did you mean {}?", quote(near))).unwrap_or_default();
            let hint = format!("there is {}", listed());
            return self.complain(&format!("no scenario {} is loaded{near}", quote(name)), Some(&hint));
        }
        if scenario.is_none() && open.scenarios.len() > 1 {
            let hint = format!("`:run NAME` plays one of {}", listed());
            return self.complain("several scenarios are loaded", Some(&hint));
        }
        let name = scenario.clone().unwrap_or_else(|| open.scenarios[0].clone());
        let (answer, answered) = oneshot::channel();
        let cancel = CancellationToken::new();
        let ask = Ask::Run { scenario, cancel: cancel.clone(), answer };
        let began = Instant::now();
        let result = self.ask(open, ask, answered, &cancel, prompts).await;
        let look = self.screen.look();
        let took = began.elapsed().as_secs_f64();
        match result {
            Some(Ok(())) => {
                self.screen.print(&format!(
                    "{}  {} {took:.1} s",
                    look.paint(Tone::Good, "PASS"),
                    clean(&name)
                ));
            }
            Some(Err(failure)) => {
                self.screen.print(&format!(
                    "{}  {} {took:.1} s",
                    look.paint(Tone::Bad, "FAIL"),
                    clean(&name)
                ));
                let place = failure.place.as_ref().map(|place| place.file.clone());
                let script = place.and_then(|file| Script::read(Path::new(&file)).ok());
                self.say_call_failed(open, failure, script);
            }
            None => {}
        }
    }

    async fn save(&mut self, open: &Open, file: &str, what: Option<&str>, replaces: bool) {
        let mut path = PathBuf::from(file);
        if path.extension().is_none() {
            path.set_extension("lua");
        }
        if !replaces && path.symlink_metadata().is_ok() {
            let hint = format!("`:save! {}` replaces it", path.display());
            return self.complain(&format!("{} is there already", path.display()), Some(&hint));
        }
        let (text, lines, told) = match self.saved_text(open, &path, what).await {
            Ok(saved) => saved,
            Err((message, hint)) => return self.complain(&message, hint.as_deref()),
        };
        match store(&path, &text, replaces) {
            Ok(()) => {
                let look = self.screen.look();
                let shown = look.paint(Tone::Place, path.display());
                self.screen.print(&format!("saved {shown}: {told}, {lines}"));
                let lane = &self.books[open.book].lane;
                self.screen.print(
                    &look.paint(Tone::Faint, format!("backstaff run {} --lane {lane}", path.display())),
                );
            }
            Err(error) => self.complain(&format!("{} cannot be written: {error}", path.display()), None),
        }
    }

    /// The script to save, how many lines it holds, and what they are; or what is wrong, and what to do.
    async fn saved_text(
        &self,
        open: &Open,
        path: &Path,
        what: Option<&str>,
    ) -> Result<(String, String, String), (String, Option<String>)> {
        let own = &self.books[open.book];
        let helped =
            match own.is_session {
                // What was helped last, of what was played in this session.
                true => self.books.iter().rev().find(|book| {
                    !book.is_session && book.folder == own.folder && book.saved().next().is_some()
                }),
                false => Some(own),
            };
        let from_session = match what {
            Some("session") => true,
            Some(_) => false,
            None => own.is_session && helped.is_none(),
        };
        let lines = |count: usize| {
            format!("{count} {}", if count == 1 { "line of the prompt" } else { "lines of the prompt" })
        };
        let path = path.to_owned();
        if from_session {
            let session = self.books.iter().find(|book| book.is_session).unwrap_or(own);
            let entries: Vec<&Entry> = session.saved().collect();
            if entries.is_empty() {
                return Err(nothing());
            }
            let name = path
                .file_stem()
                .map_or_else(String::new, |stem| stem.display().to_string())
                .replace(['_', '-'], " ");
            let text = session_script(&name, &session.lane, &entries);
            let count = entries.len();
            let script = Script { path, source: text.as_str().into() };
            let checked = tokio::task::spawn_blocking(move || crate::script::load(&script)).await;
            return match checked {
                Ok(Ok(_)) => Ok((text, lines(count), "a scenario of what worked".to_owned())),
                Ok(Err(error)) => {
                    let hint = "`:history` shows what would be in it".to_owned();
                    Err((format!("what was typed makes no script: {error}"), Some(hint)))
                }
                Err(error) => Err((error.to_string(), None)),
            };
        }
        let Some(helped) = helped else { return Err(nothing()) };
        let compiles = |text: &str| {
            let script = Script { path: path.clone(), source: text.into() };
            crate::script::load(&script).is_ok_and(|scenarios| !scenarios.is_empty())
        };
        // It compiles a script a few times, which takes milliseconds.
        match tokio::task::block_in_place(|| helped_script(helped, compiles)) {
            Ok((text, count)) => {
                Ok((text, lines(count), format!("\"{}\" with what helped", clean(&helped.scenario))))
            }
            Err(BookError::Nothing) => Err(nothing()),
            Err(error) => Err((
                error.to_string(),
                Some("`:save FILE session` writes a scenario of its own".to_owned())
                    .filter(|_| own.is_session),
            )),
        }
    }

    fn history(&mut self, open: &Open) {
        let look = self.screen.look();
        let mut text = String::new();
        let entries = self.books[open.book].holds.iter().flat_map(|hold| &hold.entries);
        for (entry, number) in entries.zip(1..) {
            let mark = match entry {
                Entry { worked: false, .. } => look.paint(Tone::Bad, "✗"),
                entry if entry.acts() => look.paint(Tone::Good, "✓"),
                _ => look.paint(Tone::Faint, "·"),
            };
            for (index, line) in entry.source.lines().enumerate() {
                let head = if index == 0 { format!("{number:>3} {mark} ") } else { " ".repeat(6) };
                text.push_str(&format!("{head}{}\n", clean(line)));
            }
        }
        self.screen.print(if text.is_empty() { "nothing was typed here yet" } else { &text });
    }

    fn say_call_failed(&mut self, open: &mut Open, failure: Failure, script: Option<Script>) {
        self.has_failed = true;
        if failure.kind == FailureKind::Cancelled {
            let text = self.screen.look().paint(Tone::Warn, "cancelled");
            return self.screen.print(&text);
        }
        let folder = open.held.folder.clone();
        self.say_failure(&failure, script.as_ref(), Some(&folder));
        open.last = Some((failure, script));
    }

    fn say_failure(&self, failure: &Failure, script: Option<&Script>, folder: Option<&Path>) {
        let look = self.screen.look();
        // Of one line that was just typed nobody needs an excerpt, nor its number.
        let is_typed = failure.place.as_ref().is_some_and(|place| place.file.starts_with("prompt:"));
        let is_short = script.is_none_or(|script| script.source.trim().lines().count() < 2);
        if is_typed && is_short {
            let mut plain = failure.clone();
            (plain.place, plain.traceback) = (None, None);
            return self.screen.print(&render(&plain, None, folder, 0, look));
        }
        let other = failure
            .place
            .as_ref()
            .filter(|place| script.is_none_or(|script| script.path != Path::new(&place.file)));
        let read = other.filter(|_| !is_typed).and_then(|place| Script::read(Path::new(&place.file)).ok());
        self.screen.print(&render(failure, read.as_ref().or(script), folder, 0, look));
    }

    fn complain(&mut self, message: &str, hint: Option<&str>) {
        self.has_failed = true;
        let look = self.screen.look();
        let mut text = format!("{} {}\n", look.paint(Tone::Bad, "error:"), clean(message));
        if let Some(hint) = hint {
            text.push_str(&format!("{} {}\n", look.paint(Tone::Warn, "hint:"), clean(hint)));
        }
        self.screen.print(&text);
    }

    fn note(&self, message: &str) {
        let note = self.screen.look().paint(Tone::Warn, "note:");
        self.screen.print(&format!("{note} {}", clean(message)));
    }
}

fn nothing() -> (String, Option<String>) {
    let hint =
        "calls that act are saved, such as `keyboard:press(\"enter\")`; `:history` shows which".to_owned();
    (BookError::Nothing.to_string(), Some(hint))
}

/// Writes a file that was not there, or one whole in the place of another.
fn store(path: &Path, text: &str, replaces: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    if !replaces {
        let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
        return file.write_all(text.as_bytes());
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).inspect_err(|_| {
        // What could not be made is not there, either.
        let _ = std::fs::remove_file(&part);
    })
}

/// Names that can be seen where the script stands, without the prompt's help.
fn visible_names(frames: &[Frame], file: Option<&str>) -> BTreeSet<String> {
    let is_there =
        |frame: &&Frame| frame.place.as_ref().is_some_and(|place| Some(place.file.as_str()) == file);
    let variables = frames.iter().filter(is_there).flat_map(|frame| &frame.variables);
    variables.filter(|variable| variable.value != Shown::Nil).map(|variable| variable.name.clone()).collect()
}

/// Says it at once when a machine ends, until it is dropped.
fn watch_ends(held: &Held, screen: &Screen) -> Vec<AbortOnDropHandle<()>> {
    let watch = |(role, lane): &(Option<String>, crate::lane::handle::LaneHandle)| {
        let (mut ended, screen) = (lane.ended.clone(), screen.clone());
        let name = role.clone().unwrap_or_else(|| lane.name.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let Ok(end) = ended.wait_for(Option::is_some).await.map(|end| end.clone()) else { return };
            let Some(end) = end else { return };
            let look = screen.look();
            let head = match end.class.by_guest() {
                true => look.paint(Tone::Warn, format!("lane {} has ended:", clean(&name))),
                false => look.paint(Tone::Bad, format!("lane {} is gone:", clean(&name))),
            };
            let how: Vec<String> = end.how.lines().map(clean).collect();
            screen.print(&format!("{head} {}\n", how.join("\n  ")));
        }))
    };
    held.lanes.iter().map(watch).collect()
}

/// The list of commands.
fn commands(look: Look) -> String {
    let mut text = String::new();
    let widest =
        PAGES.iter().map(|page| page.usage().chars().count()).filter(|width| *width <= 16).max().unwrap_or(0);
    for page in &PAGES {
        let usage = match page.usage() {
            usage if usage.chars().count() <= widest => usage,
            _ => format!(":{} …", page.name),
        };
        let padding = " ".repeat(widest.saturating_sub(usage.chars().count()) + 2);
        let room = look.width.saturating_sub(widest + 2);
        let mut short = wrapped(page.short, room.max(16));
        short = short.replace('\n', &format!("\n{}", " ".repeat(widest + 2)));
        text.push_str(&format!("{}{padding}{short}\n", look.paint(Tone::Strong, usage)));
    }
    let more = "Everything else is Lua: t, keyboard, mouse, screen, digest, serial, agent and lane are there. \
                Tab completes, Ctrl-C ends a call that waits, Ctrl-R searches what was typed.";
    text.push_str(&look.paint(Tone::Faint, wrapped(more, look.width)));
    text.push('\n');
    text
}

/// Text in lines of at most so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() < columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// Ctrl-C twice within this leaves.
const TWICE: Duration = Duration::from_secs(1);
/// Completion waits no longer for what has a name.
const NAMES_PATIENCE: Duration = Duration::from_millis(300);
/// How long a call that was cancelled with everything else is waited for.
const LAST_ANSWER: Duration = Duration::from_secs(3);
const PICTURE_PATIENCE: Duration = Duration::from_secs(5);
const PROMPT_NAME: usize = 20;
const MOST_COLUMNS: usize = 100;
/// Pixels of a character, as most terminals have them.
const CELL_WIDTH: usize = 8;
