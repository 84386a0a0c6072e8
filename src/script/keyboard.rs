//! `t.keyboard`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Lua, Table, UserData, UserDataMethods, Value};

use super::context::{Context, caller, machine_ended, millis};
use super::failure::{Failure, FailureKind, Place};
use super::members::refuse_unknown;
use super::options::{Options, describe};
use crate::console::keyboard::us_keys;
use crate::console::{Console, ConsoleError, Scancode, typing};
use crate::journal::{Body, Source};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// `t.keyboard`.
pub(super) struct KeyboardSkin;

impl UserData for KeyboardSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "keyboard", &["press", "down", "up", "type", "paste"]);
        methods.add_async_method("press", |lua, _, (key, options): (Value, Option<Table>)| {
            let call = Call::new(&lua, "keyboard:press");
            let prepared = call.prepare(|| {
                let options = Options::new("keyboard:press", options, &["hold"])?;
                Ok((chord("keyboard:press", &key)?, options.seconds("hold")?.unwrap_or(HOLD)))
            });
            async move {
                let (codes, hold) = prepared?;
                let console = call.console()?;
                let name = codes.iter().filter_map(|code| code.name()).collect::<Vec<_>>().join("+");
                for code in &codes {
                    call.key_sent(*code, Some(name.clone()), "press");
                }
                call.done(typing::press(&*console, &codes, hold).await)
            }
        });
        methods.add_async_method("down", |lua, _, key: Value| {
            let call = Call::new(&lua, "keyboard:down");
            async move {
                for code in call.prepare(|| chord("keyboard:down", &key))? {
                    call.key_sent(code, code.name(), "down");
                    call.done(call.console()?.key_down(code))?;
                }
                call.console()?.flushed().await;
                Ok(())
            }
        });
        methods.add_async_method("up", |lua, _, key: Value| {
            let call = Call::new(&lua, "keyboard:up");
            async move {
                for code in call.prepare(|| chord("keyboard:up", &key))?.into_iter().rev() {
                    call.key_sent(code, code.name(), "up");
                    call.done(call.console()?.key_up(code))?;
                }
                call.console()?.flushed().await;
                Ok(())
            }
        });
        for (name, call_name) in [("type", "keyboard:type"), ("paste", "keyboard:paste")] {
            methods.add_async_method(
                name,
                move |lua, _, (text, options): (mlua::LuaString, Option<Table>)| {
                    let call = Call::new(&lua, call_name);
                    let prepared = call.prepare(|| {
                        let options = Options::new(call_name, options, &["char_delay"])?;
                        let text = text
                            .to_str()
                            .map_err(|_| Failure::usage(format!("{call_name}: the text is not UTF-8")))?;
                        let keys = us_keys(&text)
                            .map_err(|error| Failure::usage(format!("{call_name}: {error}")))?;
                        if keys.len() > TEXT_KEYS {
                            let message = format!(
                                "{call_name}: {} characters, at most {TEXT_KEYS} at once",
                                keys.len()
                            );
                            return Err(Failure::usage(message));
                        }
                        Ok((keys, options.seconds("char_delay")?.unwrap_or(CHAR_DELAY)))
                    });
                    async move {
                        let (keys, delay) = prepared?;
                        let began = Instant::now();
                        let typed = typing::type_keys(&*call.console()?, &keys, delay).await;
                        if let Ok(chars) = typed {
                            let body = Body::TextTyped { chars, took_ms: millis(began.elapsed()) };
                            call.context.journal.append(Source::Keyboard, body);
                        }
                        call.done(typed)
                    }
                },
            );
        }
    }
}

/// One call of a binding: who called, and how its failures are raised.
struct Call {
    context: Arc<Context>,
    name: &'static str,
    place: Option<Place>,
}

impl Call {
    fn new(lua: &Lua, name: &'static str) -> Self {
        Self { context: Context::of(lua), name, place: caller(lua) }
    }

    fn prepare<T>(&self, prepare: impl FnOnce() -> Result<T, Failure>) -> mlua::Result<T> {
        prepare().map_err(|failure| self.context.raise(failure.at(self.place.clone())))
    }

    fn console(&self) -> mlua::Result<Arc<dyn Console>> {
        self.prepare(|| {
            self.context.require(self.name, Capability::Keyboard)?;
            self.context.console(self.name)
        })
    }

    fn key_sent(&self, code: Scancode, key: Option<String>, action: &str) {
        let body = Body::KeySent { code: code.0, key, action: action.to_owned() };
        self.context.journal.append(Source::Keyboard, body);
    }

    fn done<T>(&self, result: Result<T, ConsoleError>) -> mlua::Result<T> {
        result.map_err(|ConsoleError::Closed { reason }| {
            let failure = match &*self.context.lane.ended.borrow() {
                Some(end) => machine_ended(end, &format!("{}: the machine has ended", self.name), ""),
                None => Failure::new(
                    FailureKind::LaneLost,
                    format!("{}: the console is closed: {reason}", self.name),
                ),
            };
            self.context.raise(failure.at(self.place.clone()))
        })
    }
}

/// `"enter"`, `"ctrl+alt+delete"`, or a make code as a number.
fn chord(call: &str, key: &Value) -> Result<Vec<Scancode>, Failure> {
    match key {
        Value::String(names) => {
            let names = names.to_string_lossy();
            // A lone `+` is the key, not a separator.
            let parts: Vec<&str> = if names == "+" { vec!["+"] } else { names.split('+').collect() };
            parts.into_iter().map(|name| named(call, name.trim())).collect()
        }
        Value::Integer(code) => {
            let code = u16::try_from(*code).ok().map(Scancode).filter(|code| code.is_make_code());
            code.map(|code| vec![code]).ok_or_else(|| {
                Failure::usage(format!("{call}: {} is not an AT set 1 make code", describe(key))).hint(
                    "make codes are 0x01 to 0x7F; extended keys carry 0xE0 in the high byte, e.g. 0xE04B",
                )
            })
        }
        other => {
            Err(Failure::usage(format!("{call}: a key is a name or a make code, got {}", describe(other))))
        }
    }
}

fn named(call: &str, name: &str) -> Result<Scancode, Failure> {
    Scancode::by_name(name).ok_or_else(|| {
        if name.chars().count() == 1 {
            let message = format!("{call}: no key makes {name:?} by itself");
            return Failure::usage(message).hint("use `keyboard:type` for characters that need shift");
        }
        match nearest(name, Scancode::names()) {
            Some(near) => Failure::usage(format!("{call}: unknown key `{name}`, did you mean `{near}`?")),
            None => Failure::usage(format!("{call}: unknown key `{name}`"))
                .hint("names are `enter`, `esc`, `f1`, `page_up`, …, or a character without shift"),
        }
    })
}

/// Firmware reads its keyboard every 20 ms; half of what people hold a key for.
const HOLD: Duration = Duration::from_millis(40);
/// What the reference scenario uses; 5 ms is the least that firmware keeps up with.
const CHAR_DELAY: Duration = Duration::from_millis(20);
const TEXT_KEYS: usize = 4096;
