//! `t.agent`.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, Table, UserData, UserDataMethods, Value};
use serde_json::json;

use super::console_call::ConsoleCall;
use super::context::Wait;
use super::failure::{Failure, FailureKind};
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::Options;
use super::values::from_json;
use crate::console::agent::{AgentError, AgentState, ClipboardKind, GuestAgent, Selection};
use crate::journal::{Body, Event, Source};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// `t.agent`.
pub(super) struct AgentSkin(pub(super) Arc<Machine>);

impl UserData for AgentSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "agent",
            &[
                "is_connected",
                "capabilities",
                "wait_for",
                "copy",
                "wait_for_taken",
                "clipboard",
                "paste",
                "resize",
            ],
        );
        methods.add_method("is_connected", |lua, this, ()| {
            let call = AgentCall::new(lua, &this.0, "agent:is_connected");
            call.with(|agent| Ok(agent.state().is_connected))
        });
        methods.add_method("capabilities", |lua, this, ()| {
            let call = AgentCall::new(lua, &this.0, "agent:capabilities");
            match call.with(|agent| Ok(agent.state().capability_names()))? {
                Some(names) => from_json(lua, &json!(names)),
                None => Ok(Value::Nil),
            }
        });
        methods.add_async_method("wait_for", |lua, this, options: Option<Table>| {
            let call = AgentCall::new(&lua, &this.0, "agent:wait_for");
            let timeout = call
                .call
                .prepare(|| Options::new("agent:wait_for", options, &["timeout"])?.seconds("timeout"));
            async move {
                let timeout = timeout?;
                // Being there is a state: what was seen and taken before still holds.
                if call.with(|agent| Ok(agent.state().capabilities.is_some()))? {
                    return Ok(());
                }
                let is_there = |event: &Event| match &event.body {
                    Body::AgentState { state, .. } => (state == "announced").then_some(()),
                    _ => None,
                };
                call.wait("the guest's agent", timeout, is_there).await
            }
        });
        add_clipboard(methods);
        methods.add_async_method(
            "resize",
            |lua, this, (width, height, options): (u32, u32, Option<Table>)| {
                let call = AgentCall::new(&lua, &this.0, "agent:resize");
                let prepared = call.call.prepare(|| {
                    let options = Options::new("agent:resize", options, &["timeout"])?;
                    if [width, height].iter().any(|side| !(1..=MOST_SIDE).contains(side)) {
                        let message =
                            format!("agent:resize: sides are 1 to {MOST_SIDE}, got {width} and {height}");
                        return Err(Failure::usage(message));
                    }
                    options.seconds("timeout")
                });
                async move {
                    let timeout = prepared?;
                    call.with(|agent| agent.resize(width, height))?;
                    call.note(Body::ResizeSent { width, height });
                    let Some(timeout) = timeout else { return Ok(()) };
                    let answer = |event: &Event| match event.body {
                        Body::AgentReplied { to: 2, is_done } => Some(is_done),
                        _ => None,
                    };
                    if call.wait("the agent's answer", Some(timeout), answer).await? {
                        return Ok(());
                    }
                    let message =
                        format!("agent:resize: the guest's agent could not make it {width} x {height}");
                    call.call.prepare(|| Err(Failure::new(FailureKind::Script, message)))
                }
            },
        );
    }
}

fn add_clipboard<M: UserDataMethods<AgentSkin>>(methods: &mut M) {
    methods.add_async_method("copy", |lua, this, (text, options): (mlua::LuaString, Option<Table>)| {
        let call = AgentCall::new(&lua, &this.0, "agent:copy");
        let prepared = call.call.prepare(|| {
            let options = Options::new("agent:copy", options, &["selection"])?;
            let selection = selection_of(&call, &options)?;
            let text = text.to_str().map_err(|_| Failure::usage("agent:copy: the text is not UTF-8"))?;
            if text.len() > MOST_TEXT {
                let message = format!("agent:copy: {} bytes, at most {MOST_TEXT} at once", text.len());
                return Err(Failure::usage(message));
            }
            Ok((selection, text.to_owned()))
        });
        async move {
            let (selection, text) = prepared?;
            call.with(|agent| agent.copy(selection, &text))?;
            call.note(Body::Clipboard {
                action: "copied".to_owned(),
                selection: selection.to_string(),
                kinds: Vec::new(),
                bytes: Some(u64::try_from(text.len()).unwrap_or(u64::MAX)),
                hash: Some(crate::console::agent::hash(text.as_bytes())),
                why: None,
            });
            Ok(())
        }
    });
    methods.add_async_method("wait_for_taken", |lua, this, options: Option<Table>| {
        let call = AgentCall::new(&lua, &this.0, "agent:wait_for_taken");
        let prepared = call.call.prepare(|| {
            let options = Options::new("agent:wait_for_taken", options, &["selection", "timeout"])?;
            Ok((selection_of(&call, &options)?, options.seconds("timeout")?))
        });
        async move {
            let (selection, timeout) = prepared?;
            let name = selection.to_string();
            call.wait("the guest's request for what it was offered", timeout, |event| {
                clipboard_news(event, &name, &["taken"]).map(|_| ())
            })
            .await
        }
    });
    methods.add_method("clipboard", |lua, this, options: Option<Table>| {
        let call = AgentCall::new(lua, &this.0, "agent:clipboard");
        let selection = call
            .call
            .prepare(|| selection_of(&call, &Options::new("agent:clipboard", options, &["selection"])?))?;
        let AgentState { mut offers, .. } = call.with(|agent| Ok(agent.state()))?;
        let Some(kinds) = offers.remove(&selection) else { return Ok(Value::Nil) };
        from_json(lua, &json!(kinds.iter().map(ToString::to_string).collect::<Vec<_>>()))
    });
    methods.add_async_method("paste", |lua, this, options: Option<Table>| {
        let call = AgentCall::new(&lua, &this.0, "agent:paste");
        let prepared = call.call.prepare(|| {
            let options = Options::new("agent:paste", options, &["selection", "timeout"])?;
            Ok((selection_of(&call, &options)?, options.seconds("timeout")?))
        });
        async move {
            let (selection, timeout) = prepared?;
            let text = paste(&call, selection, timeout).await?;
            lua.create_string(&*text)
        }
    });
}

/// Waits for the guest's next offer of text, and fetches it.
async fn paste(call: &AgentCall, selection: Selection, timeout: Option<Duration>) -> mlua::Result<Arc<[u8]>> {
    let name = selection.to_string();
    let text = ClipboardKind::TEXT.to_string();
    let began = std::time::Instant::now();
    let left = || timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
    loop {
        call.wait("text that the guest offers", left(), |event| {
            clipboard_news(event, &name, &["offered"]).filter(|news| news.kinds.contains(&text)).map(|_| ())
        })
        .await?;
        // An offer that has been withdrawn since, or that `copy` has taken the place of, is none.
        let is_asked = call.with(|agent| match agent.fetch(selection) {
            Err(AgentError::NothingOffered(_)) => Ok(false),
            asked => asked.map(|()| true),
        })?;
        if is_asked {
            break;
        }
    }
    let why = call
        .wait("the text that the guest offers", left(), |event| {
            clipboard_news(event, &name, &["fetched", "not_fetched"]).map(|news| news.why.map(str::to_owned))
        })
        .await?;
    let fetched = call.with(|agent| Ok(agent.fetched(selection)))?;
    match (why, fetched) {
        (None, Some(text)) => Ok(text),
        (why, _) => {
            let why = why.unwrap_or_else(|| "it was offered anew meanwhile".to_owned());
            call.call.prepare(|| Err(Failure::new(FailureKind::Script, format!("agent:paste: {why}"))))
        }
    }
}

struct News<'a> {
    kinds: &'a [String],
    why: Option<&'a str>,
}

/// What happened to one clipboard, if it is one of these things.
fn clipboard_news<'a>(event: &'a Event, name: &str, actions: &[&str]) -> Option<News<'a>> {
    match &event.body {
        Body::Clipboard { action, selection, kinds, why, .. } => {
            let is_it = selection == name && actions.contains(&action.as_str());
            is_it.then_some(News { kinds, why: why.as_deref() })
        }
        _ => None,
    }
}

/// One call of `t.agent`.
struct AgentCall {
    call: ConsoleCall,
}

impl AgentCall {
    fn new(lua: &Lua, machine: &Arc<Machine>, name: &str) -> Self {
        Self { call: ConsoleCall::new(lua, machine, Capability::Agent, name) }
    }

    /// Has the agent do something.
    fn with<T>(&self, act: impl FnOnce(&dyn GuestAgent) -> Result<T, AgentError>) -> mlua::Result<T> {
        let console = self.call.console()?;
        self.call.prepare(|| {
            let Some(agent) = console.agent() else {
                return Err(self.call.machine.lacking(&self.call.name, Capability::Agent));
            };
            act(agent).map_err(|error| {
                let failure = Failure::new(FailureKind::Script, format!("{}: {error}", self.call.name));
                match error {
                    AgentError::NotConnected | AgentError::NotAnnounced => failure.hint(
                        "wait for it with `agent:wait_for()`; the guest must have a SPICE agent running",
                    ),
                    AgentError::NothingOffered(_) | AgentError::Lacks(_) | AgentError::Closed => failure,
                }
            })
        })
    }

    fn note(&self, body: Body) {
        self.call.machine.journal.append(Source::Agent, body);
    }

    async fn wait<T>(
        &self,
        wanted: &str,
        timeout: Option<Duration>,
        accept: impl FnMut(&Event) -> Option<T>,
    ) -> mlua::Result<T> {
        // Whether there is such a way at all.
        self.with(|_| Ok(()))?;
        let wait = Wait {
            call: self.call.name.clone(),
            wanted: wanted.to_owned(),
            source: Source::Agent,
            timeout,
            place: self.call.place.clone(),
            seen: &agent_seen,
        };
        wait.run(&self.call.context, &self.call.machine, accept).await
    }
}

fn selection_of(call: &AgentCall, options: &Options) -> Result<Selection, Failure> {
    const KNOWN: [Selection; 3] = [Selection::CLIPBOARD, Selection::PRIMARY, Selection::SECONDARY];
    let Some(name) = options.string("selection")? else { return Ok(Selection::CLIPBOARD) };
    KNOWN.into_iter().find(|selection| selection.to_string() == name).ok_or_else(|| {
        let near = nearest(&name, ["clipboard", "primary", "secondary"]);
        let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
        Failure::usage(format!("{}: unknown selection `{name}`{near}", call.call.name))
            .hint("selections are clipboard, primary, secondary")
    })
}

/// What a failed wait saw of the agent instead.
fn agent_seen(events: &[Arc<Event>]) -> String {
    let seen = events.iter().map(|event| match &event.body {
        Body::AgentState { state, .. } => format!("agent {state}"),
        Body::Clipboard { action, selection, kinds, .. } if kinds.is_empty() => {
            format!("{selection} {action}")
        }
        Body::Clipboard { action, selection, kinds, .. } => {
            format!("{selection} {action} as {}", kinds.join(", "))
        }
        body => body.name().replace('_', " "),
    });
    let seen: Vec<String> = seen.collect();
    let skipped = seen.len().saturating_sub(SHOWN);
    match seen.get(skipped..).unwrap_or_default() {
        [] => {
            "nothing was heard of the guest's agent since the last match; does the guest run one?".to_owned()
        }
        last => format!("seen since the last match: {}", last.join("; ")),
    }
}

const SHOWN: usize = 8;
const MOST_SIDE: u32 = 16_384;
/// Text to copy, in bytes.
const MOST_TEXT: usize = 1 << 20;
