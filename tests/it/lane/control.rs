//! What a script may do to its machine, done to real ones: the reference guest where it matters what is on the screen,
//! a ROM that rests where it does not.

use std::path::Path;

use backstaff::journal::{Body, Cursor, Journal, Source};
use backstaff::lane::bringup::Lane;
use backstaff::lane::plan::resolve_acceleration;
use backstaff::lane::profile::QmpAllow;
use backstaff::lane::teardown::TeardownConfig;
use backstaff::lane::{Platform, Profile, plan};
use backstaff::script::prompt::{Ask, Decision, Held, Shown};
use backstaff::script::{AttemptOptions, Failure, FailureKind, Lanes, Outcome, Script, load, run_attempt};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::screendump;
use super::support::platform_or_skip;
use crate::cli::rom::{ROM_LANE, rom};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_goes_back_and_another_way_with_qxl() {
    there_and_back("qxl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_goes_back_and_another_way_with_std_vga() {
    there_and_back("std").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_goes_back_and_another_way_with_virtio_vga() {
    there_and_back("virtio").await;
}

async fn there_and_back(device: &str) {
    let Some(machine) = Machine::with_guest(device).await else { return };
    machine
        .plays(
            r#"
            local before = t.digest:wait_for { channel_hashes = any }
            t.lane:snapshot("awaiting")
            for round = 1, 2 do
              t.keyboard:press("enter")
              t.digest:wait_for { scene_transition = { from = "awaiting", to = "booting" } }
              t.digest:wait_for { line_rendered = { row = at_least(3) } }
              t.lane:restore("awaiting")
              local after = t.digest:wait_for { channel_hashes = any }
              expect(after.channel_hashes):equals(before.channel_hashes)
              expect(after.frame_counter):matches(at_least(before.frame_counter))
              expect(t.digest:latest().channel_hashes):equals(before.channel_hashes)
            end
            "#,
        )
        .await;
    machine.looks_right("awaiting again").await;

    // Back to where it has never stood still: the script of the boot goes on writing.
    machine
        .plays(
            r#"
            t.lane:restore("awaiting")
            t.keyboard:press("f1")
            t.digest:wait_for { scene_transition = { to = "booting" } }
            t.lane:snapshot("moving")
            t.digest:wait_for { line_rendered = { row = at_least(5) } }
            for round = 1, 5 do
              t.lane:restore("moving")
              local first = t.digest:wait_for { line_rendered = any }
              expect(first.line_rendered.row):matches(at_most(4))
              t.digest:wait_for { line_rendered = { row = 5 } }
            end
            t.digest:wait_for { line_rendered = { row = at_least(21) } }
            "#,
        )
        .await;
    machine.looks_right("the prompt").await;
    machine.plays("t.lane:restore('awaiting')").await;
    machine.looks_right("awaiting from the prompt").await;

    // A name that is taken again stands for the newer machine.
    machine
        .plays(
            r#"
            t.lane:restore("awaiting")
            t.keyboard:press("enter")
            t.digest:wait_for { line_rendered = { row = at_least(21) } }
            t.lane:snapshot("awaiting")
            t.keyboard:press("r")
            t.digest:wait_for { bootloader_decision = { choice = "retry" } }
            t.lane:restore("awaiting")
            t.keyboard:press("i")
            t.digest:wait_for { line_rendered = { row = 25 } }
            "#,
        )
        .await;
    machine.looks_right("the other way").await;
    machine.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_machine_says_nothing_and_a_reset_one_begins_anew() {
    let Some(machine) = Machine::with_guest("qxl").await else { return };
    machine
        .plays(
            r#"
            local digest, lane = t.digest, t.lane
            digest:wait_for(any)
            expect(lane:is_paused()):equals(false)
            lane:pause()
            expect(lane:is_paused()):is_true()
            pcall(digest.wait_for, digest, any, { timeout = 0.2 })
            while pcall(digest.wait_for, digest, any, { timeout = 0.05 }) do end
            local ok, err = pcall(digest.wait_for, digest, any, { timeout = 1.2 })
            expect({ ok, err.kind }):equals { false, "timeout" }
            lane:resume()
            digest:wait_for(any)
            expect(lane:is_paused()):equals(false)

            -- Not the button of a machine that listens to it.
            lane:powerdown()
            digest:wait_for(any)

            for round = 1, 2 do
              t.keyboard:press("f2")
              digest:wait_for { scene_transition = { to = "booting" } }
              lane:reset()
              expect(digest:latest() == nil):is_true()
              local first = digest:wait_for { channel_hashes = any }
              expect(first.frame_counter):matches(at_most(3))
              expect(first.channel_hashes.keypress):equals(0)
            end

            lane:pause()
            lane:snapshot("paused")
            lane:restore("paused")
            expect(lane:is_paused()):is_true()
            lane:resume()
            digest:wait_for(any, { timeout = 20 })
            "#,
        )
        .await;
    machine.looks_right("after two resets").await;

    let failure = machine.fails("t.lane:pause()\nt.digest:wait_for(any, { timeout = 0.1 })\nt.digest:wait_for({ frame_counter = 0 }, { timeout = 0.1 })").await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(
        failure.hint.as_deref(),
        Some("the machine is paused since line 2; `t.lane:resume()` lets it go on")
    );

    let ends = r#"
        t.lane:resume()
        t.lane:reset()
        t.digest:wait_for(any)
        t.keyboard:press("enter")
        t.digest:wait_for { line_rendered = { row = at_least(21) } }
        t.keyboard:press("a")
        t.lane:wait_for_shutdown()
        t.lane:pause()"#;
    let failure = machine.fails(ends).await;
    assert_eq!(failure.kind, FailureKind::MachineEnded, "{failure}");
    assert_eq!(failure.message, "lane:pause: the machine has ended: the guest reset the machine");
    machine.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_nobody_waits_for_any_more_leaves_the_machine_in_order() {
    let Some(machine) = Machine::with_rom(&["query-*", "system_reset"]).await else { return };
    machine
        .plays("for _ = 1, 20 do t:race { function() t.lane:reset() end, function() t:sleep(0.002) end } end")
        .await;
    let failure =
        machine.fails("t:step('s', { timeout = 0.02 }, function() pcall(t.lane.reset, t.lane) end)").await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(
        failure.message.starts_with("lane:reset: not done within the 0.0 s left of the step \"s\""),
        "{failure}"
    );
    // On this lane a reset ends QEMU again.
    let failure =
        machine.fails("t.lane:qmp('system_reset')\nt.lane:wait_for_shutdown()\nt.lane:reset()").await;
    assert_eq!(failure.place.unwrap().line, 3, "{}", failure.message);
    machine.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_says_why_and_what_instead() {
    let Some(machine) = Machine::with_rom(&["query-*", "screendump", "human-*", "quit"]).await else {
        return;
    };
    machine
        .plays(
            r#"
            expect(t.lane:capabilities()):equals { "keyboard", "mouse", "qmp", "screen", "serial", "snapshot" }
            expect(t.lane:qmp("query-status")):matches { running = true, status = "running" }
            expect(t.lane:qmp("query-status", {}).running):is_true()
            expect(t.lane:qmp("screendump", { filename = "seen.ppm" })):equals {}
            local info = t.lane:qmp("human-monitor-command", { ["command-line"] = "info name" })
            expect(info):matches(pattern("rom"))
            "#,
        )
        .await;
    machine.plays("t.lane:snapshot('first')\nt.lane:snapshot('second')\nt.lane:restore('first')").await;
    let usage = [
        (
            "t.lane:restore('frist')",
            "lane:restore: there is no snapshot \"frist\", did you mean \"first\"?",
            None,
        ),
        (
            "t.lane:restore('zebra')",
            "lane:restore: there is no snapshot \"zebra\"",
            Some("there are first, second"),
        ),
        (
            "t.lane:snapshot('../up')",
            "lane:snapshot: a snapshot's name is \"../up\", wanted 1 to 64 of the characters A-Z a-z 0-9 . _ -",
            None,
        ),
        (
            "t.lane:snapshot('')",
            "lane:snapshot: a snapshot's name is \"\", wanted 1 to 64 of the characters A-Z a-z 0-9 . _ -",
            None,
        ),
        (
            "t.lane:qmp('device_del', { id = 'x' })",
            "lane:qmp: the profile does not allow `device_del`",
            Some(
                "allowed are query-*, screendump, human-*, quit; add `allow = [\"device_del\"]` under `[qmp]` in the profile",
            ),
        ),
    ];
    for (script, message, hint) in usage {
        let failure = machine.fails(script).await;
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Usage, message), "{script}");
        assert_eq!(failure.hint.as_deref(), hint, "{script}");
        assert_eq!(failure.place.unwrap().line, 2, "{script}");
    }
    let failure = machine.fails("t.lane:qmp('screendump', { filename = 1 })").await;
    assert_eq!(failure.kind, FailureKind::Script);
    assert_eq!(
        failure.message,
        "lane:qmp: qmp screendump: GenericError: Invalid parameter type for 'filename', expected: string"
    );

    let failure = machine.fails("t.lane:qmp('quit')\nt:sleep(0.5)\nt.lane:snapshot('late')").await;
    assert_eq!(failure.kind, FailureKind::LaneLost);
    assert!(
        failure.message.starts_with("lane:snapshot: the machine has ended: somebody ended QEMU"),
        "{failure}"
    );
    machine.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_done_to_a_machine_is_in_the_journal() {
    let Some(machine) = Machine::with_rom(&["query-*"]).await else { return };
    machine.plays("t.lane:snapshot('a') t.lane:restore('a') t.lane:qmp('query-name')").await;
    let failure = machine.fails("t.lane:restore('b')").await;
    let events = machine.journal.after(Source::Lane, Cursor::default());
    let commands: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::LaneCommand { command, detail, error, .. } => {
                Some((command.as_str(), detail.as_deref().unwrap_or_default(), error.clone()))
            }
            _ => None,
        })
        .collect();
    let error = failure.message.strip_prefix("lane:restore: ").map(str::to_owned);
    let wanted = [
        ("snapshot", "a", None),
        ("restore", "a", None),
        ("qmp", "query-name", None),
        ("restore", "b", error),
    ];
    assert_eq!(commands, wanted);
    machine.ends().await;
}

/// Somebody sits at the prompt of a scenario that fails, and has a step played again.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_step_is_played_again_from_where_it_began() {
    let Some(machine) = Machine::with_guest("qxl").await else { return };
    let (sender, mut helds) = mpsc::channel::<Held>(1);
    let person = async {
        let held = helds.recv().await.unwrap();
        assert_eq!(held.rewindable, ["booting"], "{:?}", held.notes);
        assert_eq!(held.failure.as_ref().unwrap().place.as_ref().unwrap().line, 6);
        let ask = async |ask: Ask| held.asks.send(ask).await.map_err(|_| "nobody listens").unwrap();
        let eval = async |source: &str| {
            let (answer, answered) = oneshot::channel();
            let (name, cancel) = ("prompt:1".to_owned(), CancellationToken::new());
            ask(Ask::Eval { source: source.to_owned(), name, cancel, answer }).await;
            answered.await.unwrap().unwrap()
        };
        // While nobody asks for more than a look, it stands still.
        let control = machine.lane.handle().control.unwrap();
        assert!(control.is_paused().await.unwrap());
        assert_eq!(eval("tries").await, [Shown::Integer(1)]);
        assert!(control.is_paused().await.unwrap());
        let (answer, answered) = oneshot::channel();
        ask(Ask::Rewind { step: Some("boting".to_owned()), answer }).await;
        assert!(answered.await.unwrap().unwrap_err().hint.unwrap().contains("booting"));
        let (answer, answered) = oneshot::channel();
        ask(Ask::Rewind { step: None, answer }).await;
        assert_eq!(answered.await.unwrap().unwrap(), "booting");
        // It shows what it showed then, and goes on as long as something waits for it.
        eval("digest:wait_for { channel_hashes = { keypress = 0 } }").await;
        ask(Ask::End(Decision::Retry)).await;
        drop(held);
        assert!(helds.recv().await.is_none(), "held once more");
    };
    let body = r#"
        local tries = 0
        t:step("booting", { timeout = 60 }, function()
          tries = tries + 1
          if tries == 1 then t.keyboard:press("f9") expect(tries):equals(2) end
          t.keyboard:press("enter")
          t.digest:wait_for { scene_transition = { to = "booting" } }
          expect(t.digest:latest().channel_hashes == nil):equals(false)
        end)"#;
    let (outcome, ()) = tokio::join!(machine.play_with(body, Some(sender)), person);
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}\n{}", machine.story());
    machine.looks_right("the step that was played again").await;
    machine.ends().await;
}

/// By what QEMU itself notes about its input devices.
#[tokio::test(flavor = "multi_thread")]
async fn a_mouse_reaches_the_machine() {
    let Some(machine) = Machine::with_rom(&["trace-event-set-state"]).await else { return };
    machine
        .plays(
            r#"
            t.lane:qmp("trace-event-set-state", { name = "input_event_*", enable = true })
            t.mouse:move_by(-3, 4)
            t.mouse:click { button = "right" }
            t.mouse:scroll(1)
            t.keyboard:press("a")
            "#,
        )
        .await;
    let failure = machine.fails("t.mouse:move(1, 1, { timeout = 0.3 })").await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(
        failure.message,
        "mouse:move: the machine takes no positions, only relative motion, not within 0.3 s"
    );
    assert!(failure.hint.unwrap().starts_with("`tablet = true` under `[input]`"));
    let log = std::fs::read_to_string(machine.folder.path().join("qemu.log")).unwrap();
    let mut rest = &*log;
    for event in [
        "axis x, value -3",
        "axis y, value 4",
        "button right, down 1",
        "button right, down 0",
        "wheel-down, down 1",
    ] {
        let Some((_, after)) = rest.split_once(event) else { panic!("{event} is missing in\n{log}") };
        rest = after;
    }
    machine.ends().await;
}

/// A lane that is up, with a scenario after the other on it.
pub(super) struct Machine {
    pub(super) lane: Lane,
    pub(super) journal: Journal,
    pub(super) folder: TempDir,
}

impl Machine {
    /// A lane whose profile may name `rom.bin`, which is `image`.
    pub(super) async fn with_profile(text: &str, image: &[u8]) -> Option<Self> {
        let platform = platform_or_skip("a lane of this profile").await?;
        let (folder, journal) = (tempfile::tempdir().unwrap(), Journal::new());
        std::fs::write(folder.path().join("rom.bin"), image).unwrap();
        let lane = Self::boot(&platform, text, &["query-*", "screendump"], folder.path(), &journal).await;
        Some(Self { lane, journal, folder })
    }

    async fn with_guest(device: &str) -> Option<Self> {
        let platform = platform_or_skip(device).await?;
        let (folder, journal) = (tempfile::tempdir().unwrap(), Journal::new());
        let lane = screendump::boot(device, &platform, folder.path(), &journal).await;
        Some(Self { lane, journal, folder })
    }

    async fn with_rom(allowed: &[&str]) -> Option<Self> {
        let platform = platform_or_skip("a ROM").await?;
        let (folder, journal) = (tempfile::tempdir().unwrap(), Journal::new());
        std::fs::write(folder.path().join("rom.bin"), rom()).unwrap();
        let lane = Self::boot(&platform, ROM_LANE, allowed, folder.path(), &journal).await;
        Some(Self { lane, journal, folder })
    }

    async fn boot(
        platform: &Platform,
        text: &str,
        allowed: &[&str],
        folder: &Path,
        journal: &Journal,
    ) -> Lane {
        let file = folder.join("rom.toml");
        let mut profile = Profile::parse("rom", text, &file, folder).unwrap().qemu().unwrap();
        profile.qmp_allow = QmpAllow(allowed.iter().map(|one| (*one).to_owned()).collect());
        let acceleration = resolve_acceleration(profile.machine.accel, platform, None).unwrap();
        let plan = plan(&profile, platform, &acceleration).unwrap();
        Lane::up(&plan, folder, journal, &CancellationToken::new()).await.unwrap()
    }

    /// Runs the body of a scenario.
    async fn play(&self, body: &str) -> Outcome {
        self.play_with(body, None).await
    }

    async fn play_with(&self, body: &str, prompts: Option<mpsc::Sender<Held>>) -> Outcome {
        let source = format!("scenario('it', {{ timeout = 120 }}, function(t)\n{body}\nend)");
        let script = Script { path: "case.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        let options = AttemptOptions {
            script,
            scenario,
            journal: self.journal.clone(),
            attempt: 1,
            lanes: Lanes::One(self.lane.handle()),
            folder: self.folder.path().to_owned(),
            params: json!({}),
            prompts,
            is_session: false,
            cancel: CancellationToken::new(),
        };
        run_attempt(options).await
    }

    pub(super) async fn plays(&self, body: &str) {
        let outcome = self.play(body).await;
        if let Outcome::Failed(failure, _) = outcome {
            panic!("{failure}\n{}", self.story());
        }
    }

    pub(super) async fn fails(&self, body: &str) -> Failure {
        match self.play(body).await {
            Outcome::Failed(failure, _) => *failure,
            Outcome::Passed => panic!("it passed: {body}"),
        }
    }

    /// Our screen is, or soon becomes, QEMU's own.
    async fn looks_right(&self, what: &str) {
        screendump::compare(&self.lane, self.folder.path(), what).await;
    }

    pub(super) async fn ends(self) {
        self.lane.down(TeardownConfig::default()).await;
    }

    /// The last events, for people.
    fn story(&self) -> String {
        let events = self.journal.all_after(Cursor::default());
        let last = events.iter().skip(events.len().saturating_sub(120));
        last.map(|event| format!("{:?} {:?}\n", event.at(), event.body)).collect()
    }
}
