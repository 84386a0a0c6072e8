//! `t.digest`, `t.serial` and `t.screen`: questions to the streams of the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, Table, UserData, UserDataMethods, Value};
use serde_json::{Value as Json, json};

use super::console_call::ConsoleCall;
use super::context::{Context, Wait, caller};
use super::failure::Failure;
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::{Options, describe};
use super::values::{from_json, to_matcher, to_pattern};
use crate::console::{Area, Console, Head, Pointer, Screenshot, Traffic};
use crate::journal::matching::{Comparison, Matcher, show};
use crate::journal::{Body, Cursor, Event, ObservedDigest, Source};
use crate::lane::handle::Capability;
use crate::oracle::drain::{DrainLine, DrainParser};

/// `t.digest`.
pub(super) struct DigestSkin(pub(super) Arc<Machine>);

impl UserData for DigestSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "digest", &["wait_for", "latest", "history"]);
        methods.add_async_method("wait_for", |lua, this, (wanted, options): (Value, Option<Table>)| {
            let place = caller(&lua);
            let (context, machine) = (Context::of(&lua), Arc::clone(&this.0));
            let prepared = (|| {
                machine.require(&machine.call("digest:wait_for"), Capability::Digest)?;
                let options = Options::new("digest:wait_for", options, &["timeout"])?;
                if wanted.is_nil() {
                    return Err(Failure::usage("digest:wait_for: wants a matcher, got nil")
                        .hint("`digest:wait_for(any)` waits for any digest"));
                }
                let matcher = to_matcher(&lua, &wanted).map_err(|error| Failure::from_lua(&error))?;
                Ok((matcher, options.seconds("timeout")?))
            })()
            .map_err(|failure: Failure| context.raise(failure.at(place.clone())));
            async move {
                let (matcher, timeout) = prepared?;
                let seen = |events: &[Arc<Event>]| digests_seen(&matcher, events);
                let wait = Wait {
                    call: machine.call("digest:wait_for"),
                    wanted: matcher.to_string(),
                    source: Source::Digest,
                    timeout,
                    place,
                    seen: &seen,
                };
                let found = wait
                    .run(&context, &machine, |event| {
                        digest_json(event).filter(|value| matcher.matches(value))
                    })
                    .await?;
                from_json(&lua, &found)
            }
        });
        methods.add_method("latest", |lua, this, ()| {
            let digests = digests(&this.0, this.0.since());
            digests.last().map(|digest| plain(lua, &**digest)).transpose()
        });
        methods.add_method("history", |lua, this, ()| {
            let digests: Vec<Json> = digests(&this.0, Cursor::default())
                .iter()
                .map(|digest| to_plain_json(&**digest))
                .collect::<mlua::Result<_>>()?;
            from_json(lua, &Json::Array(digests))
        });
    }
}

/// The digests since the guest last booted, or was put back.
pub(super) fn digests_of_this_boot(machine: &Machine) -> Vec<ObservedDigest> {
    let events = machine.journal.after(Source::Digest, machine.since());
    let mut digests = Vec::new();
    for event in &events {
        if let Body::DigestUpdated { digest, restarted, .. } = &event.body {
            if *restarted {
                digests.clear();
            }
            digests.push((**digest).clone());
        }
    }
    digests
}

/// The newest digest since the machine began or was put back, or null.
pub(super) fn latest(machine: &Machine) -> mlua::Result<Json> {
    let digests = digests(machine, machine.since());
    digests.last().map_or(Ok(Json::Null), |digest| to_plain_json(&**digest))
}

/// All digests of the attempt after `cursor`.
fn digests(machine: &Machine, cursor: Cursor) -> Vec<Arc<ObservedDigest>> {
    let events = machine.journal.after(Source::Digest, cursor);
    events
        .iter()
        .filter_map(|event| match &event.body {
            Body::DigestUpdated { digest, .. } => Some(Arc::clone(digest)),
            _ => None,
        })
        .collect()
}

fn plain<T: serde::Serialize + ?Sized>(lua: &Lua, value: &T) -> mlua::Result<Value> {
    from_json(lua, &to_plain_json(value)?)
}

fn to_plain_json<T: serde::Serialize + ?Sized>(value: &T) -> mlua::Result<Json> {
    serde_json::to_value(value).map_err(mlua::Error::external)
}

/// What a matcher is asked about: a whole digest, or one record as `{ variant = { … } }`.
pub(super) fn digest_json(event: &Event) -> Option<Json> {
    match &event.body {
        Body::DigestUpdated { digest, framebuffer, .. } => {
            let mut value = serde_json::to_value(&**digest).ok()?;
            value["framebuffer"] = json!(framebuffer);
            Some(value)
        }
        Body::DigestRecord { record, frame_counter } => {
            let mut value = serde_json::to_value(record).ok()?;
            value["frame_counter"] = json!(frame_counter);
            Some(value)
        }
        _ => None,
    }
}

/// What a failed wait for a digest saw: counts by name, and the nearest miss.
fn digests_seen(matcher: &Matcher, events: &[Arc<Event>]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut nearest: Option<(Comparison, Json)> = None;
    let mut unseen: Vec<&str> = Vec::new();
    for event in events {
        let name = match &event.body {
            Body::DigestUpdated { missed, .. } => {
                unseen.extend(missed.iter().map(String::as_str));
                "digest"
            }
            Body::DigestRecord { record, .. } => record.name(),
            _ => continue,
        };
        *counts.entry(name).or_default() += 1;
        let Some(value) = digest_json(event) else { continue };
        let comparison = matcher.compare(Some(&value));
        let better = nearest.as_ref().is_none_or(|(best, _)| comparison.hits >= best.hits);
        // A miss at the top level is another kind of record, not a near one.
        let related = comparison.misses.iter().any(|miss| miss.path.contains('.')) || comparison.hits > 0;
        if related && better {
            nearest = Some((comparison, value));
        }
    }
    if counts.is_empty() {
        return "seen since the last match: no digest at all; is the screen on and does this guest paint one?".to_owned();
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let mut text = format!("seen since the last match: {}", counts.join(", "));
    unseen.sort_unstable();
    unseen.dedup();
    if !unseen.is_empty() {
        // A digest shows only its newest records; the channel hashes tell that others came and went between two looks.
        text.push_str(&format!(
            "\nhappened, but left the digest before it was on the screen: {}; wait for a record that stays the newest, \
             for a channel hash, or judge the drain",
            unseen.join(", ")
        ));
    }
    if let Some((comparison, value)) = nearest {
        let misses: Vec<String> = comparison.misses.iter().map(ToString::to_string).collect();
        text.push_str(&format!("\nnearest miss: {}\n              ({})", show(&value), misses.join("; ")));
    }
    text
}

/// `t.serial`.
pub(super) struct SerialSkin(pub(super) Arc<Machine>);

impl UserData for SerialSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "serial", &["wait_for", "lines", "drain"]);
        methods.add_async_method("wait_for", |lua, this, (wanted, options): (Value, Option<Table>)| {
            let place = caller(&lua);
            let (context, machine) = (Context::of(&lua), Arc::clone(&this.0));
            let prepared = (|| {
                machine.require(&machine.call("serial:wait_for"), Capability::Serial)?;
                let options = Options::new("serial:wait_for", options, &["timeout"])?;
                let matcher = match &wanted {
                    Value::String(text) => to_pattern("serial:wait_for", &text.to_string_lossy())?,
                    Value::UserData(_) | Value::Function(_) => {
                        to_matcher(&lua, &wanted).map_err(|error| Failure::from_lua(&error))?
                    }
                    other => {
                        let got = describe(other);
                        return Err(Failure::usage(format!("serial:wait_for: wants a pattern, got {got}")));
                    }
                };
                Ok((matcher, options.seconds("timeout")?))
            })()
            .map_err(|failure: Failure| context.raise(failure.at(place.clone())));
            async move {
                let (matcher, timeout) = prepared?;
                let wait = Wait {
                    call: machine.call("serial:wait_for"),
                    wanted: matcher.to_string(),
                    source: Source::Serial,
                    timeout,
                    place,
                    seen: &lines_seen,
                };
                let found = wait
                    .run(&context, &machine, |event| match &event.body {
                        Body::SerialLine { text } | Body::SerialPrompt { text } => {
                            let captures = match &matcher {
                                Matcher::Pattern(pattern) => captures(pattern, text)?,
                                other if other.matches(&json!(text)) => Vec::new(),
                                _ => return None,
                            };
                            Some(json!({ "text": text, "captures": captures }))
                        }
                        _ => None,
                    })
                    .await?;
                from_json(&lua, &found)
            }
        });
        methods.add_method("lines", |lua, this, ()| from_json(lua, &json!(lines(&this.0))));
        methods.add_async_method("drain", |lua, this, options: Option<Table>| {
            let place = caller(&lua);
            let (context, machine) = (Context::of(&lua), Arc::clone(&this.0));
            let prepared = (|| {
                machine.require(&machine.call("serial:drain"), Capability::Serial)?;
                Options::new("serial:drain", options, &["timeout"])?.seconds("timeout")
            })()
            .map_err(|failure: Failure| context.raise(failure.at(place.clone())));
            async move {
                let timeout = prepared?;
                // The drain counts from the beginning, wherever other waits on this stream have come to.
                let lines = drain(&machine);
                let lines = if is_complete(&lines) {
                    lines
                } else {
                    let wait = Wait {
                        call: machine.call("serial:drain"),
                        wanted: "the drain's last line, `type=refresh_stats`".to_owned(),
                        source: Source::Serial,
                        timeout,
                        place,
                        seen: &lines_seen,
                    };
                    let mut parser = DrainParser::default();
                    wait.run(&context, &machine, |event| {
                        let line = parser.handle_line(serial_text(event)?)?;
                        matches!(line, DrainLine::RefreshStats(_)).then_some(())
                    })
                    .await?;
                    drain(&machine)
                };
                let records: Vec<Json> = lines.iter().map(to_plain_json).collect::<mlua::Result<_>>()?;
                from_json(&lua, &Json::Array(records))
            }
        });
    }
}

/// The complete lines on the serial port.
pub(super) fn lines(machine: &Machine) -> Vec<String> {
    let events = machine.journal.after(Source::Serial, Cursor::default());
    events.iter().filter_map(|event| serial_text(event).map(str::to_owned)).collect()
}

/// The record lines on the serial port, since the machine was put back if it was.
pub(super) fn drain(machine: &Machine) -> Vec<DrainLine> {
    let mut parser = DrainParser::default();
    let events = machine.journal.after(Source::Serial, machine.since());
    events.iter().filter_map(|event| parser.handle_line(serial_text(event)?)).collect()
}

fn is_complete(lines: &[DrainLine]) -> bool {
    matches!(lines.last(), Some(DrainLine::RefreshStats(_)))
}

fn serial_text(event: &Event) -> Option<&str> {
    match &event.body {
        Body::SerialLine { text } => Some(text),
        _ => None,
    }
}

fn captures(pattern: &regex_lite::Regex, text: &str) -> Option<Vec<String>> {
    let found = pattern.captures(text)?;
    Some(
        found
            .iter()
            .skip(1)
            .map(|group| group.map_or_else(String::new, |group| group.as_str().to_owned()))
            .collect(),
    )
}

fn lines_seen(events: &[Arc<Event>]) -> String {
    let lines: Vec<&str> = events.iter().filter_map(|event| serial_text(event)).collect();
    // A prompt that stands there has no line end yet; one that went on is among the lines.
    let prompt = match events.last().map(|event| &event.body) {
        Some(Body::SerialPrompt { text }) => format!("\nand a line that has not ended yet:\n  {text}"),
        _ => String::new(),
    };
    let last: Vec<String> =
        lines.iter().rev().take(LINES_SHOWN).rev().map(|line| format!("\n  {line}")).collect();
    let last = last.concat();
    match lines.len() {
        0 => format!("no line on the serial port since the last match{prompt}"),
        1 => format!("1 line since the last match:{last}{prompt}"),
        count => format!("{count} lines since the last match, the last of them:{last}{prompt}"),
    }
}

fn head_json(head: &Head) -> Json {
    let Area { left, top, right, bottom } = head.area;
    json!({ "display": head.display, "x": left, "y": top, "width": right - left, "height": bottom - top })
}

/// The monitor that a call names by its place in `screen:heads()`.
fn head_of(call: &ConsoleCall, console: &dyn Console, options: &Options) -> Result<Option<Head>, Failure> {
    const MOST: u32 = 256;
    let Some(number) = options.whole("head", 1, MOST)? else { return Ok(None) };
    let heads = console.heads();
    let head = usize::try_from(number).ok().and_then(|number| heads.get(number.checked_sub(1)?));
    head.copied().map(Some).ok_or_else(|| {
        let count = heads.len();
        let heads = if count == 1 { "head" } else { "heads" };
        Failure::usage(format!(
            "{}: there is no head {number}, the screen has {count} {heads} now",
            call.name
        ))
        .hint("a head that the guest has not switched on is not there; `screen:heads()` lists those that are")
    })
}

fn pointer_json(pointer: &Pointer) -> Json {
    let mut json = json!({ "x": pointer.x, "y": pointer.y, "visible": pointer.is_visible });
    if let Some(shape) = &pointer.shape {
        json["width"] = json!(shape.width);
        json["height"] = json!(shape.height);
        json["hot_x"] = json!(shape.hot_x);
        json["hot_y"] = json!(shape.hot_y);
        json["hash"] = json!(shape.hash());
    }
    json
}

/// `t.screen`.
pub(super) struct ScreenSkin(pub(super) Arc<Machine>);

impl UserData for ScreenSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "screen", &["screenshot", "wait_for_stable", "heads", "cursor", "stats"]);
        methods.add_method("heads", |lua, this, ()| {
            let call = ConsoleCall::new(lua, &this.0, Capability::Screen, "screen:heads");
            let heads: Vec<Json> = call.console()?.heads().iter().map(head_json).collect();
            from_json(lua, &Json::Array(heads))
        });
        methods.add_method("cursor", |lua, this, options: Option<Table>| {
            let call = ConsoleCall::new(lua, &this.0, Capability::Screen, "screen:cursor");
            let console = call.console()?;
            let display = call.prepare(|| {
                let options = Options::new("screen:cursor", options, &["head"])?;
                let head = head_of(&call, &*console, &options)?;
                // The first of a screen that is off is the first all the same.
                Ok(head.map_or(0, |head| head.display))
            })?;
            let Some(pointer) = console.pointer(display) else { return Ok(Value::Nil) };
            from_json(lua, &pointer_json(&pointer))
        });
        methods.add_method("stats", |lua, this, ()| {
            let call = ConsoleCall::new(lua, &this.0, Capability::Screen, "screen:stats");
            let channels = call.console()?.traffic();
            let mut all = Traffic::default();
            channels.values().for_each(|traffic| all.add(traffic));
            let mut stats = to_plain_json(&all)?;
            stats["channels"] = to_plain_json(&channels)?;
            from_json(lua, &stats)
        });
        methods.add_async_method(
            "screenshot",
            |lua, this, (name, options): (Option<String>, Option<Table>)| {
                let call = ConsoleCall::new(&lua, &this.0, Capability::Screen, "screen:screenshot");
                let prepared = call.console().and_then(|console| {
                    let options = call.prepare(|| Options::new("screen:screenshot", options, &["head"]))?;
                    Ok((console, options))
                });
                async move {
                    let (console, options) = prepared?;
                    console.refreshed().await;
                    let shot = call.prepare(|| {
                        let shot = match head_of(&call, &*console, &options)? {
                            Some(head) => Screenshot::take_head(&*console, &head),
                            None => Screenshot::take(&*console),
                        };
                        shot.ok_or_else(|| {
                            Failure::usage("screen:screenshot: the screen is off: there is no surface")
                                .hint("wait for the screen first, e.g. `screen:wait_for_stable()`")
                        })
                    })?;
                    let name = name.as_deref().unwrap_or("screenshot");
                    let saved = call.context.save_screenshot(&call.machine, name, shot).await;
                    let (path, width, height) = call.prepare(|| {
                        let unsaved =
                            |error| Failure::usage(format!("screen:screenshot: cannot be saved: {error}"));
                        saved.map_err(unsaved)
                    })?;
                    from_json(&lua, &json!({ "path": path, "width": width, "height": height }))
                }
            },
        );
        methods.add_async_method("wait_for_stable", |lua, this, options: Option<Table>| {
            let place = caller(&lua);
            let (context, machine) = (Context::of(&lua), Arc::clone(&this.0));
            let prepared = (|| {
                machine.require(&machine.call("screen:wait_for_stable"), Capability::Screen)?;
                let options = Options::new("screen:wait_for_stable", options, &["quiet", "timeout"])?;
                Ok((options.seconds("quiet")?.unwrap_or(QUIET), options.seconds("timeout")?))
            })()
            .map_err(|failure: Failure| context.raise(failure.at(place.clone())));
            async move {
                let (quiet, timeout) = prepared?;
                let wait = Wait {
                    call: machine.call("screen:wait_for_stable"),
                    wanted: format!("{:.1} s without a draw", quiet.as_secs_f64()),
                    source: Source::Screen,
                    timeout,
                    place,
                    seen: &draws_seen,
                };
                let question = async { (visible_silence(&machine, quiet).await, None) };
                wait.until(&context, &machine, question).await.map(|_| ())
            }
        });
    }
}

/// Waits until there is a screen and nothing was drawn on it for `quiet`.
async fn visible_silence(machine: &Machine, quiet: Duration) {
    loop {
        machine.journal.silence(Source::Screen, quiet).await;
        if let Some(console) = &machine.lane.console {
            console.refreshed().await;
            if console.with_screen(&mut |_| {}) {
                return;
            }
        }
        let mut cursor = Cursor(machine.journal.newest());
        machine.journal.next_match(Source::Screen, &mut cursor, |_| true).await;
    }
}

fn draws_seen(events: &[Arc<Event>]) -> String {
    let draws = events.iter().filter(|event| matches!(event.body, Body::SurfaceDrawn { .. })).count();
    match draws {
        0 => "no draw was seen".to_owned(),
        1 => "the screen changed once".to_owned(),
        _ => format!("the screen changed {draws} times; something on it may be blinking"),
    }
}

const LINES_SHOWN: usize = 5;
const QUIET: Duration = Duration::from_millis(500);
