//! `t.mouse`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use mlua::{Table, UserData, UserDataMethods};

use super::console_call::ConsoleCall;
use super::context::Limit;
use super::failure::{Failure, FailureKind};
use super::machine::Machine;
use super::members::refuse_unknown;
use super::options::Options;
use crate::console::mouse::{self, Button};
use crate::console::{Console, MouseAction};
use crate::journal::{Body, Source};
use crate::lane::handle::Capability;
use crate::near::nearest;

/// `t.mouse`.
pub(super) struct MouseSkin(pub(super) Arc<Machine>);

impl UserData for MouseSkin {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(methods, "mouse", &["move", "move_by", "click", "down", "up", "drag", "scroll"]);
        add_motion(methods);
        add_buttons(methods);
    }
}

fn add_motion<M: UserDataMethods<MouseSkin>>(methods: &mut M) {
    methods.add_async_method("move", |lua, this, (x, y, options): (u32, u32, Option<Table>)| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, "mouse:move");
        let timeout = call.prepare(|| timeout_of(&Options::new("mouse:move", options, &["timeout"])?));
        async move {
            let (console, timeout) = (call.console()?, timeout?);
            call.prepare(|| on_screen(&call, &*console, (x, y)))?;
            takes_positions(&call, &*console, timeout).await?;
            note(&call, "move", format!("{x},{y}"));
            call.done(console.mouse(MouseAction::MoveTo { x, y }))?;
            console.flushed().await;
            Ok(())
        }
    });
    methods.add_async_method("move_by", |lua, this, (dx, dy): (i32, i32)| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, "mouse:move_by");
        async move {
            let console = call.console()?;
            note(&call, "move_by", format!("{dx:+},{dy:+}"));
            call.done(console.mouse(MouseAction::MoveBy { dx, dy }))?;
            console.flushed().await;
            Ok(())
        }
    });
    methods.add_async_method(
        "drag",
        |lua, this, (from_x, from_y, to_x, to_y, options): (u32, u32, u32, u32, Option<Table>)| {
            let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, "mouse:drag");
            let prepared = call.prepare(|| {
                let options = Options::new("mouse:drag", options, &["button", "steps", "pause", "timeout"])?;
                let button = button_of(&call, options.string("button")?.as_deref())?;
                let steps = options.whole("steps", 1, MOST_STEPS)?.unwrap_or(STEPS);
                let pause = options.seconds("pause")?.unwrap_or(PAUSE);
                Ok((button, steps, pause, timeout_of(&options)?))
            });
            async move {
                let (button, steps, pause, timeout) = prepared?;
                let console = call.console()?;
                let (from, to) = ((from_x, from_y), (to_x, to_y));
                call.prepare(|| {
                    on_screen(&call, &*console, from).and_then(|()| on_screen(&call, &*console, to))
                })?;
                takes_positions(&call, &*console, timeout).await?;
                note(&call, "drag", format!("{} {from_x},{from_y} to {to_x},{to_y}", button.name()));
                call.done(console.mouse(MouseAction::MoveTo { x: from_x, y: from_y }))?;
                console.flushed().await;
                tokio::time::sleep(pause).await;
                let way = mouse::way(from, to, steps);
                call.done(mouse::drag(&*console, button, &way, pause).await)
            }
        },
    );
}

fn add_buttons<M: UserDataMethods<MouseSkin>>(methods: &mut M) {
    methods.add_async_method("click", |lua, this, options: Option<Table>| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, "mouse:click");
        let prepared = call.prepare(|| {
            let options = Options::new("mouse:click", options, &["button", "count", "hold"])?;
            let button = button_of(&call, options.string("button")?.as_deref())?;
            let count = options.whole("count", 1, MOST_CLICKS)?.unwrap_or(1);
            Ok((button, count, options.seconds("hold")?.unwrap_or(HOLD)))
        });
        async move {
            let ((button, count, hold), console) = (prepared?, call.console()?);
            note(&call, "click", format!("{} {count}", button.name()));
            call.done(mouse::click(&*console, button, count, hold).await)
        }
    });
    for (name, call_name) in [("down", "mouse:down"), ("up", "mouse:up")] {
        methods.add_async_method(name, move |lua, this, button: Option<String>| {
            let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, call_name);
            let button = call.prepare(|| button_of(&call, button.as_deref()));
            async move {
                let (button, console) = (button?, call.console()?);
                note(&call, name, button.name().to_owned());
                let action =
                    if name == "down" { MouseAction::Press(button) } else { MouseAction::Release(button) };
                call.done(console.mouse(action))?;
                console.flushed().await;
                Ok(())
            }
        });
    }
    methods.add_async_method("scroll", |lua, this, notches: i32| {
        let call = ConsoleCall::new(&lua, &this.0, Capability::Mouse, "mouse:scroll");
        async move {
            let count = notches.unsigned_abs();
            call.prepare(|| match count <= MOST_CLICKS {
                true => Ok(()),
                false => Err(Failure::usage(format!(
                    "mouse:scroll: {notches} notches, wanted -{MOST_CLICKS} to {MOST_CLICKS}"
                ))),
            })?;
            let console = call.console()?;
            note(&call, "scroll", format!("{notches:+}"));
            let wheel = if notches < 0 { Button::WheelUp } else { Button::WheelDown };
            call.done(mouse::click(&*console, wheel, count, NOTCH).await)
        }
    });
}

fn note(call: &ConsoleCall, action: &str, detail: String) {
    let body = Body::MouseSent { action: action.to_owned(), detail };
    call.machine.journal.append(Source::Keyboard, body);
}

fn timeout_of(options: &Options) -> Result<Duration, Failure> {
    Ok(options.seconds("timeout")?.unwrap_or(POSITIONS))
}

fn button_of(call: &ConsoleCall, name: Option<&str>) -> Result<Button, Failure> {
    let Some(name) = name else { return Ok(Button::Left) };
    if let Some((_, button)) = Button::PRESSED.into_iter().find(|(known, _)| *known == name) {
        return Ok(button);
    }
    let known = Button::PRESSED.map(|(known, _)| known);
    let near = nearest(name, known).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    Err(Failure::usage(format!("{}: unknown button `{name}`{near}", call.name))
        .hint(format!("buttons are {}", known.join(", "))))
}

fn on_screen(call: &ConsoleCall, console: &dyn Console, (x, y): (u32, u32)) -> Result<(), Failure> {
    let mut size = None;
    console.with_screen(&mut |frame| size = Some((frame.width(), frame.height())));
    match size {
        None => Err(Failure::usage(format!("{}: there is no screen now", call.name))
            .hint("wait for what shows that there is one, such as `t.screen:wait_for_stable()`")),
        Some((width, height)) if x >= width || y >= height => {
            let message = format!("{}: ({x}, {y}) does not lie on the screen of {width}x{height}", call.name);
            Err(Failure::usage(message))
        }
        Some(_) => Ok(()),
    }
}

/// Waits until the machine takes positions: a tablet does from when the guest has found it.
async fn takes_positions(call: &ConsoleCall, console: &dyn Console, timeout: Duration) -> mlua::Result<()> {
    if console.takes_positions().now_or_never().is_some() {
        return Ok(());
    }
    let limit = Limit::new(&call.context.current_scope(), Some(timeout));
    let (machine, place) = (Some(&*call.machine), call.place.as_ref());
    let mut note =
        call.context.wait_begins(machine, &call.name, "a machine that takes positions", &limit, place);
    let waited = tokio::time::timeout(timeout, console.takes_positions()).await;
    note.end(if waited.is_ok() { "matched" } else { "timeout" }, None);
    call.prepare(|| {
        waited.map_err(|_| {
            let message = format!(
                "{}: the machine takes no positions, only relative motion, not within {:.1} s",
                call.name,
                timeout.as_secs_f64()
            );
            Failure::new(FailureKind::Timeout, message).hint(
                "`tablet = true` under `[input]` in the profile gives it a device for positions, which the guest must \
                 support; `t.mouse:move_by` works without",
            )
        })
    })
}

/// How long people hold a button.
const HOLD: Duration = Duration::from_millis(40);
/// Between two notches of a wheel, half of it down.
const NOTCH: Duration = Duration::from_millis(15);
/// Between two points of a drag.
const PAUSE: Duration = Duration::from_millis(20);
const STEPS: u32 = 10;
const MOST_STEPS: u32 = 1_000;
const MOST_CLICKS: u32 = 100;
/// For the guest to find its tablet.
const POSITIONS: Duration = Duration::from_secs(5);
