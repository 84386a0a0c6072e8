//! `t.lane`: the machine itself, its power, its clock and its past.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, Table, UserData, UserDataFields, UserDataMethods, Value};
use serde_json::{Map, Value as Json, json};

use super::agent::AgentSkin;
use super::context::{Context, Wait, caller, machine_end, machine_ended};
use super::failure::{Failure, FailureKind, Place};
use super::keyboard::KeyboardSkin;
use super::machine::Machine;
use super::members::refuse_unknown;
use super::mouse::MouseSkin;
use super::options::{Options, describe};
use super::streams::{DigestSkin, ScreenSkin, SerialSkin};
use super::values::{from_json, to_json};
use crate::journal::{Body, Source};
use crate::lane::control::{ControlError, MachineControl};
use crate::lane::fault::{Fault, FaultChannel, FaultWords, MOST_COORDINATE, MOST_NTH, MOST_RATE, MOST_XOR};
use crate::lane::handle::{Capability, EndClass, LaneEnd};
use crate::lane::qmp::QmpError;
use crate::lane::sim::Faults;
use crate::lane::snapshot::SnapshotError;

/// `t.lane`.
pub(super) struct LaneSkin(pub(super) Arc<Machine>);

impl UserData for LaneSkin {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("keyboard", |_, lane| Ok(KeyboardSkin(Arc::clone(&lane.0))));
        fields.add_field_method_get("mouse", |_, lane| Ok(MouseSkin(Arc::clone(&lane.0))));
        fields.add_field_method_get("digest", |_, lane| Ok(DigestSkin(Arc::clone(&lane.0))));
        fields.add_field_method_get("serial", |_, lane| Ok(SerialSkin(Arc::clone(&lane.0))));
        fields.add_field_method_get("screen", |_, lane| Ok(ScreenSkin(Arc::clone(&lane.0))));
        fields.add_field_method_get("agent", |_, lane| Ok(AgentSkin(Arc::clone(&lane.0))));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        refuse_unknown(
            methods,
            "lane",
            &[
                "name",
                "folder",
                "capabilities",
                "pause",
                "resume",
                "is_paused",
                "reset",
                "powerdown",
                "snapshot",
                "restore",
                "qmp",
                "inject",
                "clear_faults",
                "wait_for_shutdown",
                "keyboard",
                "mouse",
                "digest",
                "serial",
                "screen",
                "agent",
            ],
        );
        methods.add_method("name", |_, this, ()| Ok(this.0.lane.name.clone()));
        methods.add_method("folder", |lua, _, ()| Ok(Context::of(lua).folder.display().to_string()));
        methods.add_method("capabilities", |lua, this, ()| {
            let mut names: Vec<&str> = this.0.lane.capabilities.iter().map(|one| one.name()).collect();
            names.sort_unstable();
            from_json(lua, &json!(names))
        });
        add_clock(methods);
        add_power(methods);
        add_snapshots(methods);
        add_faults(methods);
        methods.add_async_method("qmp", |lua, this, (command, arguments): (String, Value)| {
            let call = Call::new(&lua, &this.0, "lane:qmp", Capability::Qmp);
            let arguments = call.prepared(arguments_of(&arguments));
            async move {
                let arguments = arguments?;
                let answer = call.run(async |control| control.qmp(&command, arguments).await).await?;
                match &*command {
                    "stop" => call.machine.set_paused_at(call.place),
                    "cont" => call.machine.set_paused_at(None),
                    _ => {}
                }
                from_json(&lua, &answer)
            }
        });
        methods.add_async_method("wait_for_shutdown", |lua, this, options: Option<Table>| {
            let place = caller(&lua);
            let (context, machine) = (Context::of(&lua), Arc::clone(&this.0));
            let timeout = Options::new("lane:wait_for_shutdown", options, &["timeout"])
                .and_then(|options| options.seconds("timeout"))
                .map_err(|failure| context.raise(failure.at(place.clone())));
            async move {
                let wait = Wait {
                    call: machine.call("lane:wait_for_shutdown"),
                    wanted: "the guest's power-off".to_owned(),
                    source: Source::Lane,
                    timeout: timeout?,
                    place: place.clone(),
                    seen: &|_| "the machine is still running".to_owned(),
                };
                // The lane says its end in the journal after everything the machine said before.
                let how = wait
                    .run(&context, &machine, |event| match &event.body {
                        Body::LaneEnded { how, by_guest } => Some((how.clone(), *by_guest)),
                        _ => None,
                    })
                    .await?;
                match how {
                    (_, true) => Ok(()),
                    (how, false) => {
                        let end = LaneEnd { class: EndClass::Host, how };
                        let call = machine.call("lane:wait_for_shutdown");
                        let failure = machine_ended(&end, &format!("{call}: not ended by the guest"), "");
                        Err(context.raise(failure.at(place)))
                    }
                }
            }
        });
    }
}

fn add_clock<M: UserDataMethods<LaneSkin>>(methods: &mut M) {
    methods.add_async_method("pause", |lua, this, ()| {
        let call = Call::new(&lua, &this.0, "lane:pause", Capability::Qmp);
        async move {
            call.run(async |control| control.pause().await).await?;
            call.machine.leave_alone(call.context.current_scope().at_prompt);
            call.machine.set_paused_at(call.place);
            Ok(())
        }
    });
    methods.add_async_method("resume", |lua, this, ()| {
        let call = Call::new(&lua, &this.0, "lane:resume", Capability::Qmp);
        async move {
            call.run(async |control| control.resume().await).await?;
            call.machine.leave_alone(call.context.current_scope().at_prompt);
            call.machine.set_paused_at(None);
            Ok(())
        }
    });
    methods.add_async_method("is_paused", |lua, this, ()| {
        let call = Call::new(&lua, &this.0, "lane:is_paused", Capability::Qmp);
        async move { call.run(async |control| control.is_paused().await).await }
    });
}

fn add_power<M: UserDataMethods<LaneSkin>>(methods: &mut M) {
    methods.add_async_method("reset", |lua, this, ()| {
        let call = Call::new(&lua, &this.0, "lane:reset", Capability::Qmp);
        async move {
            let since = call.run(async |control| control.reset().await).await?;
            call.machine.begin_anew(since);
            Ok(())
        }
    });
    methods.add_async_method("powerdown", |lua, this, ()| {
        let call = Call::new(&lua, &this.0, "lane:powerdown", Capability::Qmp);
        async move { call.run(async |control| control.powerdown().await).await }
    });
}

fn add_snapshots<M: UserDataMethods<LaneSkin>>(methods: &mut M) {
    methods.add_async_method("snapshot", |lua, this, name: String| {
        let call = Call::new(&lua, &this.0, "lane:snapshot", Capability::Snapshot);
        async move { call.run(async |control| control.snapshot(&name).await).await }
    });
    methods.add_async_method("restore", |lua, this, name: String| {
        let call = Call::new(&lua, &this.0, "lane:restore", Capability::Snapshot);
        async move {
            let since = call.run(async |control| control.restore(&name).await).await?;
            call.machine.begin_anew(since);
            Ok(())
        }
    });
}

fn add_faults<M: UserDataMethods<LaneSkin>>(methods: &mut M) {
    methods.add_method("inject", |lua, this, options: Option<Table>| {
        let call = Call::new(lua, &this.0, "lane:inject", Capability::Faults);
        let injected = fault_of(options).and_then(|fault| {
            let faults = call.faults()?;
            faults.inject(&fault).map_err(|error| Failure::usage(format!("lane:inject: {error}")))
        });
        call.prepared(injected)
    });
    methods.add_method("clear_faults", |lua, this, ()| {
        let call = Call::new(lua, &this.0, "lane:clear_faults", Capability::Faults);
        let faults = call.faults();
        call.prepared(faults).map(|faults| faults.clear())
    });
}

/// The fault that a call of `lane:inject` describes.
fn fault_of(options: Option<Table>) -> Result<Fault, Failure> {
    let options = Options::new(
        "lane:inject",
        options,
        &[
            "drop_key",
            "duplicate_key",
            "lose_line",
            "flip_pixel",
            "delay",
            "throttle",
            "stall",
            "cut",
            "malform",
            "every",
            "count",
            "matching",
            "xor",
            "once",
            "channel",
            "after",
            "seconds",
        ],
    )?;
    let channel = |key| options.choice(key, &FaultChannel::ALL, FaultChannel::name);
    let words = FaultWords {
        drop_key: options.whole("drop_key", 1, MOST_NTH)?,
        duplicate_key: options.whole("duplicate_key", 1, MOST_NTH)?,
        lose_line: options.whole("lose_line", 1, MOST_NTH)?,
        flip_pixel: options.pair("flip_pixel", MOST_COORDINATE)?,
        delay: options.seconds("delay")?,
        throttle: options.whole("throttle", 1, MOST_RATE)?,
        stall: channel("stall")?,
        cut: channel("cut")?,
        malform: channel("malform")?,
        every: options.boolean("every")?,
        count: options.whole("count", 1, MOST_NTH)?,
        matching: options.string("matching")?,
        xor: options.whole("xor", 1, MOST_XOR)?,
        once: options.boolean("once")?,
        channel: channel("channel")?,
        after: options.seconds("after")?,
        seconds: options.seconds("seconds")?,
    };
    words.fault().map_err(|mistake| {
        let failure = Failure::usage(format!("lane:inject: {mistake}"));
        match mistake.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// One call of a binding: who called, and how its failures are raised.
struct Call {
    context: Arc<Context>,
    machine: Arc<Machine>,
    name: String,
    needs: Capability,
    place: Option<Place>,
}

impl Call {
    fn new(lua: &Lua, machine: &Arc<Machine>, name: &str, needs: Capability) -> Self {
        let (context, machine) = (Context::of(lua), Arc::clone(machine));
        Self { name: machine.call(name), context, machine, needs, place: caller(lua) }
    }

    fn prepared<T>(&self, result: Result<T, Failure>) -> mlua::Result<T> {
        result.map_err(|failure| self.context.raise(failure.at(self.place.clone())))
    }

    /// The means to make things go wrong, on a machine that runs.
    fn faults(&self) -> Result<Faults, Failure> {
        let Self { machine, name, .. } = self;
        machine.require(name, self.needs)?;
        if let Some(end) = &*machine.lane.ended.borrow() {
            return Err(machine_ended(end, &format!("{name}: the machine has ended"), ""));
        }
        machine.lane.faults.clone().ok_or_else(|| machine.lacking(name, self.needs))
    }

    /// Has the machine do something, for as long as the step lasts and the machine lives.
    async fn run<T>(
        &self,
        act: impl AsyncFnOnce(MachineControl) -> Result<T, ControlError>,
    ) -> mlua::Result<T> {
        let result = self.run_unraised(act).await;
        self.prepared(result)
    }

    async fn run_unraised<T>(
        &self,
        act: impl AsyncFnOnce(MachineControl) -> Result<T, ControlError>,
    ) -> Result<T, Failure> {
        let Self { context, machine, name, .. } = self;
        machine.require(name, self.needs)?;
        let Some(control) = machine.lane.control.clone() else {
            return Err(machine.lacking(name, self.needs));
        };
        let ended = |end: &LaneEnd| machine_ended(end, &format!("{name}: the machine has ended"), "");
        if let Some(end) = &*machine.lane.ended.borrow() {
            return Err(ended(end));
        }
        let scope = context.current_scope();
        let limit = scope.left();
        let mut end = machine.lane.ended.clone();
        let result = tokio::select! {
            biased;
            result = act(control) => result,
            end = machine_end(&mut end) => return Err(ended(&end)),
            () = scope.clock.sleep_until(scope.deadline) => {
                let left = format!("{:.1} s left of {}", limit.as_secs_f64(), scope.deadline_name);
                let message = format!("{name}: not done within the {left}");
                return Err(Failure::new(FailureKind::Timeout, message).fatal());
            }
        };
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                if is_broken_wire(&error)
                    && let Ok(end) = tokio::time::timeout(END_GRACE, machine_end(&mut end)).await
                {
                    return Err(ended(&end));
                }
                Err(failed(name, &error))
            }
        }
    }
}

/// Whether QEMU closed its monitor, which is often the first sign of its end.
fn is_broken_wire(error: &ControlError) -> bool {
    matches!(
        error,
        ControlError::Qmp(QmpError::Ended { .. })
            | ControlError::Snapshot(SnapshotError::Qmp(QmpError::Ended { .. }))
    )
}

/// Who must act: the author, on what he asked for; or the host, whose machine does not do it.
fn failed(call: &str, error: &ControlError) -> Failure {
    let kind = match error {
        ControlError::NotAllowed { .. }
        | ControlError::NoSnapshots
        | ControlError::Snapshot(SnapshotError::Name { .. } | SnapshotError::Unknown { .. }) => {
            FailureKind::Usage
        }
        ControlError::Qmp(QmpError::Refused { .. })
        | ControlError::Snapshot(SnapshotError::Failed(_) | SnapshotError::Qmp(QmpError::Refused { .. })) => {
            FailureKind::Script
        }
        ControlError::Qmp(_) | ControlError::Snapshot(_) | ControlError::Timeout { .. } => {
            FailureKind::LaneLost
        }
    };
    let failure = Failure::new(kind, format!("{call}: {error}"));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The second argument of `lane:qmp`.
fn arguments_of(value: &Value) -> Result<Map<String, Json>, Failure> {
    let wrong = |got: String| {
        Failure::usage(format!("lane:qmp: arguments are a table with names, got {got}"))
            .hint("such as `t.lane:qmp(\"query-rocker\", { name = \"sw1\" })`")
    };
    let table = match value {
        Value::Nil => return Ok(Map::new()),
        Value::Table(table) => table,
        other => return Err(wrong(describe(other))),
    };
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| Failure::from_lua(&error))?;
        if !matches!(key, Value::String(_)) {
            return Err(wrong(format!("{} as a key", describe(&key))));
        }
    }
    let json = to_json(value).map_err(|error| {
        let failure = Failure::from_lua(&error);
        Failure::usage(format!("lane:qmp: {}", failure.message))
    })?;
    match json {
        Json::Object(arguments) => Ok(arguments),
        other => Err(wrong(other.to_string())),
    }
}

/// From a broken monitor to the news of the end that broke it.
const END_GRACE: Duration = Duration::from_secs(3);
