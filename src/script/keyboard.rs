//! `t.keyboard`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{LuaSerdeExt as _, Table, UserData, UserDataMethods, Value};

use super::console_call::ConsoleCall;
use super::context::{Wait, millis};
use super::failure::Failure;
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::{Options, describe};
use crate::console::layout::Layout;
use crate::console::{LockLights, Scancode, typing};
use crate::journal::{Body, Event, Source};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// `t.keyboard`.
pub(super) struct KeyboardSkin(pub(super) Arc<Machine>);

impl UserData for KeyboardSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "keyboard",
            &["press", "down", "up", "type", "paste", "layout", "leds", "set_leds", "wait_for_leds"],
        );
        add_leds(methods);
        methods.add_async_method("press", |lua, this, (key, options): (Value, Option<Table>)| {
            let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, "keyboard:press");
            let prepared = call.prepare(|| {
                let options = Options::new("keyboard:press", options, &["hold"])?;
                Ok((chord(&call, &key)?, options.seconds("hold")?.unwrap_or(HOLD)))
            });
            async move {
                let (codes, hold) = prepared?;
                let console = call.console()?;
                let name = codes.iter().filter_map(|code| code.name()).collect::<Vec<_>>().join("+");
                for code in &codes {
                    key_sent(&call, *code, Some(name.clone()), "press");
                }
                call.done(typing::press(&*console, &codes, hold).await)
            }
        });
        methods.add_async_method("down", |lua, this, key: Value| {
            let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, "keyboard:down");
            async move {
                for code in call.prepare(|| chord(&call, &key))? {
                    key_sent(&call, code, code.name(), "down");
                    call.done(call.console()?.key_down(code))?;
                }
                call.console()?.flushed().await;
                Ok(())
            }
        });
        methods.add_async_method("up", |lua, this, key: Value| {
            let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, "keyboard:up");
            async move {
                for code in call.prepare(|| chord(&call, &key))?.into_iter().rev() {
                    key_sent(&call, code, code.name(), "up");
                    call.done(call.console()?.key_up(code))?;
                }
                call.console()?.flushed().await;
                Ok(())
            }
        });
        for (name, call_name) in [("type", "keyboard:type"), ("paste", "keyboard:paste")] {
            methods.add_async_method(
                name,
                move |lua, this, (text, options): (mlua::LuaString, Option<Table>)| {
                    let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, call_name);
                    let prepared = call.prepare(|| {
                        let options = Options::new(call_name, options, &["char_delay"])?;
                        let text = text
                            .to_str()
                            .map_err(|_| Failure::usage(format!("{call_name}: the text is not UTF-8")))?;
                        let keys = call
                            .machine
                            .layout()
                            .keys(&text)
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
                            call.machine.journal.append(Source::Keyboard, body);
                        }
                        call.done(typed)
                    }
                },
            );
        }
        methods.add_method("layout", |lua, this, name: Option<String>| {
            let call = ConsoleCall::new(lua, &this.0, Capability::Keyboard, "keyboard:layout");
            if let Some(name) = name {
                let layout = call.prepare(|| {
                    Layout::by_name(&name).ok_or_else(|| {
                        let near = nearest(&name, Layout::names());
                        let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
                        let known = Layout::names().collect::<Vec<_>>().join(", ");
                        Failure::usage(format!("keyboard:layout: unknown layout `{name}`{near}"))
                            .hint(format!("layouts are {known}"))
                    })
                })?;
                call.machine.set_layout(layout);
            }
            Ok(call.machine.layout().name)
        });
    }
}

fn add_leds<M: UserDataMethods<KeyboardSkin>>(methods: &mut M) {
    methods.add_method("leds", |lua, this, ()| {
        let call = ConsoleCall::new(lua, &this.0, Capability::Keyboard, "keyboard:leds");
        let lights = call.console()?.lock_lights();
        lights.map(|lights| lua.to_value(&lights)).transpose()
    });
    methods.add_async_method("set_leds", |lua, this, options: Table| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, "keyboard:set_leds");
        let prepared = call.prepare(|| {
            let options = Options::new("keyboard:set_leds", Some(options), &["caps", "num", "scroll"])?;
            WantedLights::of(&options)
        });
        async move {
            let (wanted, console) = (prepared?, call.console()?);
            let lights = wanted.over(console.lock_lights().unwrap_or_default());
            call.done(console.set_lock_lights(lights))?;
            let LockLights { caps, num, scroll } = lights;
            call.machine.journal.append(Source::Keyboard, Body::LedsSent { caps, num, scroll });
            console.flushed().await;
            Ok(())
        }
    });
    methods.add_async_method("wait_for_leds", |lua, this, options: Table| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Keyboard, "keyboard:wait_for_leds");
        let prepared = call.prepare(|| {
            let options =
                Options::new("keyboard:wait_for_leds", Some(options), &["caps", "num", "scroll", "timeout"])?;
            Ok((WantedLights::of(&options)?, options.seconds("timeout")?))
        });
        async move {
            let (wanted, timeout) = prepared?;
            let console = call.console()?;
            let journal = &call.machine.journal;
            let news = journal.after(Source::Keyboard, call.machine.cursor(Source::Keyboard));
            let is_news = news.iter().filter_map(|event| lights_in(event)).any(|lights| wanted.are(lights));
            // Lights are a state: what was seen and taken before still holds.
            if !is_news && console.lock_lights().is_some_and(|lights| wanted.are(lights)) {
                return Ok(());
            }
            let wait = Wait {
                call: call.name.clone(),
                wanted: wanted.to_string(),
                source: Source::Keyboard,
                timeout,
                place: call.place.clone(),
                seen: &lights_seen,
            };
            wait.run(&call.context, &call.machine, |event| {
                lights_in(event).filter(|lights| wanted.are(*lights))
            })
            .await?;
            Ok(())
        }
    });
}

/// Lights as a script wants them; others are free.
#[derive(Clone, Copy)]
struct WantedLights {
    caps: Option<bool>,
    num: Option<bool>,
    scroll: Option<bool>,
}

impl WantedLights {
    fn of(options: &Options) -> Result<Self, Failure> {
        let (caps, num) = (options.boolean("caps")?, options.boolean("num")?);
        Ok(Self { caps, num, scroll: options.boolean("scroll")? })
    }

    fn over(self, lights: LockLights) -> LockLights {
        LockLights {
            caps: self.caps.unwrap_or(lights.caps),
            num: self.num.unwrap_or(lights.num),
            scroll: self.scroll.unwrap_or(lights.scroll),
        }
    }

    fn are(self, lights: LockLights) -> bool {
        self.over(lights) == lights
    }
}

impl fmt::Display for WantedLights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lights = [("caps", self.caps), ("num", self.num), ("scroll", self.scroll)];
        let wanted = lights.iter().filter_map(|(name, light)| Some(format!("{name} = {}", (*light)?)));
        write!(f, "{{ {} }}", wanted.collect::<Vec<_>>().join(", "))
    }
}

fn lights_in(event: &Event) -> Option<LockLights> {
    match event.body {
        Body::KeyboardLeds { caps, num, scroll } => Some(LockLights { caps, num, scroll }),
        _ => None,
    }
}

fn lights_seen(events: &[Arc<Event>]) -> String {
    match events.iter().filter_map(|event| lights_in(event)).next_back() {
        Some(LockLights { caps, num, scroll }) => {
            format!("the lights are caps = {caps}, num = {num}, scroll = {scroll}")
        }
        None => "the lights have not changed since the last match".to_owned(),
    }
}

fn key_sent(call: &ConsoleCall, code: Scancode, key: Option<String>, action: &str) {
    let body = Body::KeySent { code: code.0, key, action: action.to_owned() };
    call.machine.journal.append(Source::Keyboard, body);
}

/// `"enter"`, `"ctrl+alt+delete"`, or a make code as a number.
fn chord(call: &ConsoleCall, key: &Value) -> Result<Vec<Scancode>, Failure> {
    let (call, layout) = (call.name.as_str(), call.machine.layout());
    match key {
        Value::String(names) => {
            let names = names.to_string_lossy();
            // A lone `+` is the key, not a separator.
            let parts: Vec<&str> = if names == "+" { vec!["+"] } else { names.split('+').collect() };
            parts.into_iter().map(|name| named(call, layout, name.trim())).collect()
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

fn named(call: &str, layout: &Layout, name: &str) -> Result<Scancode, Failure> {
    layout.key_by_name(name).ok_or_else(|| {
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
