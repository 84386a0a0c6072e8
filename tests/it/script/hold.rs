//! Scenarios that stand still at a failed call, and what somebody at their prompt can do.

use std::path::Path;
use std::time::Duration;

use backstaff::journal::Journal;
use backstaff::lane::sim::SimOptions;
use backstaff::lane::{Profile, SimLane};
use backstaff::script::prompt::{Ask, Decision, Held, Shown};
use backstaff::script::{AttemptOptions, Failure, FailureKind, Lanes, Outcome, Script, load, run_attempt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An attempt on a simulated machine, and whoever sits at its prompt.
struct Bench {
    helds: mpsc::Receiver<Held>,
    attempt: JoinHandle<Outcome>,
    journal: Journal,
    lane: SimLane,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn plays(source: &str) -> Self {
        Self::begins(source, false).await
    }

    async fn begins(source: &str, is_session: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sim.toml");
        let Ok(Profile::Sim(profile)) = Profile::parse("sim", "kind = \"sim\"\n", &file, Path::new("/"))
        else {
            panic!()
        };
        let journal = Journal::new();
        let options = SimOptions {
            profile: &profile,
            folder: folder.path(),
            is_joinable: false,
            recorder: None,
            listener: None,
        };
        let lane = SimLane::up(options, &journal, &CancellationToken::new()).await.unwrap();
        let script = Script { path: "case.lua".into(), source: source.into() };
        let scenario = load(&script).unwrap().remove(0);
        let (prompts, helds) = mpsc::channel(1);
        let attempt = tokio::spawn(run_attempt(AttemptOptions {
            script,
            scenario,
            journal: journal.clone(),
            attempt: 1,
            lanes: Lanes::One(lane.handle()),
            folder: folder.path().to_owned(),
            params: serde_json::json!({}),
            prompts: Some(prompts),
            is_session,
            cancel: CancellationToken::new(),
        }));
        Self { helds, attempt, journal, lane, _folder: folder }
    }

    async fn held(&mut self) -> Held {
        let held = self.helds.recv();
        tokio::time::timeout(PATIENCE, held).await.expect("it is held in time").expect("it is held")
    }

    /// How it ends, without being held once more.
    async fn ends(mut self) -> Result<(), Box<Failure>> {
        let outcome = tokio::time::timeout(PATIENCE, &mut self.attempt).await.expect("it ends").unwrap();
        assert!(self.helds.try_recv().is_err(), "it was held again");
        self.lane.down().await;
        match outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed(failure, _) => Err(failure),
        }
    }
}

/// What somebody at a prompt does.
trait Person {
    async fn asks<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T;
    async fn says(&self, source: &str) -> Result<Vec<Shown>, Failure>;
    async fn sees(&self, source: &str) -> Shown;
    async fn ends(self, decision: Decision);
}

impl Person for Held {
    async fn asks<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (sender, answer) = oneshot::channel();
        self.asks.send(ask(sender)).await.map_err(|_| "nobody listens").unwrap();
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer")
    }

    async fn says(&self, source: &str) -> Result<Vec<Shown>, Failure> {
        let (source, cancel) = (source.to_owned(), CancellationToken::new());
        self.asks(|answer| Ask::Eval { source, name: "prompt:1".to_owned(), cancel, answer }).await
    }

    async fn sees(&self, source: &str) -> Shown {
        self.says(source).await.unwrap().remove(0)
    }

    async fn ends(self, decision: Decision) {
        self.asks.send(Ask::End(decision)).await.map_err(|_| "nobody listens").unwrap();
    }
}

fn text(text: &str) -> Shown {
    Shown::Text(text.to_owned(), text.len())
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_wait_is_held_with_its_locals_and_runs_again() {
    let mut bench = Bench::plays(
        r#"
        local greeting = "hello"
        scenario("it", { timeout = 60 }, function(t)
          local wanted, list = { to = "booting" }, { "a", "b" }
          t:step("booting", function()
            local attempts = 3
            local text = greeting .. tostring(list[1]) .. attempts
            t.digest:wait_for({ scene_transition = wanted }, { timeout = 0.3 })
            expect(text):equals("changed")
          end)
        end)"#,
    )
    .await;
    let held = bench.held().await;
    let failure = held.failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
    assert_eq!(held.place.as_ref().unwrap().to_string(), "case.lua:8");
    assert_eq!(held.steps, ["booting"]);
    assert!(failure.screenshot.is_some());
    let variables: Vec<(&str, &Shown, bool)> =
        held.frames[0].variables.iter().map(|one| (one.name.as_str(), &one.value, one.is_upvalue)).collect();
    assert_eq!(variables[0], ("attempts", &Shown::Integer(3), false));
    assert_eq!(variables[1], ("text", &text("helloa3"), false));
    assert!(variables.iter().any(|(name, _, is_upvalue)| *name == "list" && *is_upvalue), "{variables:?}");
    assert_eq!(held.frames[0].place.as_ref().unwrap().line, 8);
    // The function around it is called, too.
    assert!(held.frames[1].variables.iter().any(|one| one.name == "wanted" && !one.is_upvalue));

    assert_eq!(held.sees("text .. '!'").await, text("helloa3!"));
    assert_eq!(held.sees("wanted.to").await, text("booting"));
    assert_eq!(held.sees("greeting").await, text("hello"));
    assert!(held.says("text = 'changed'").await.unwrap().is_empty());
    held.says("local mine = attempts + 1").await.unwrap();
    assert_eq!(held.sees("mine").await, Shown::Integer(4));
    held.says("keyboard:press('enter')").await.unwrap();
    let names = held.asks(|answer| Ask::Names { answer }).await;
    for name in ["attempts", "wanted", "greeting", "mine", "keyboard", "t", "expect"] {
        assert!(names.iter().any(|(known, _)| known == name), "{name} in {names:?}");
    }
    held.ends(Decision::Retry).await;
    bench.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_goes_on_behind_a_miss_and_abort_does_not() {
    let source = r#"
        scenario("it", { timeout = 60 }, function(t)
          expect(1):equals(2)
          t:log("went on")
          t:check(3):equals(4)
        end)"#;
    let went_on = |bench: &Bench| {
        let events = bench.journal.all_after(Default::default());
        events.iter().any(|event| serde_json::to_string(&**event).unwrap().contains("went on\""))
    };
    let mut bench = Bench::plays(source).await;
    let held = bench.held().await;
    assert_eq!(held.failure.as_ref().unwrap().kind, FailureKind::Expectation);
    held.ends(Decision::Continue).await;
    // What only notes a miss does not stop, so there is nothing to hold.
    let seen = bench.journal.clone();
    let failure = { bench.ends().await.unwrap_err() };
    assert_eq!(failure.place.unwrap().line, 3);
    drop(seen);

    let mut bench = Bench::plays(source).await;
    bench.held().await.ends(Decision::Abort).await;
    let outcome = tokio::time::timeout(PATIENCE, &mut bench.attempt).await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Failed(failure, 1) if failure.place.as_ref().unwrap().line == 3));
    assert!(!went_on(&bench));
    bench.lane.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_script_catches_or_asks_again_is_not_held() {
    let bench = Bench::plays(
        r#"
        scenario("it", { timeout = 60 }, function(t)
          local never = { frame_counter = 4000000000 }
          local ok, err = pcall(function() t.digest:wait_for(never, { timeout = 0.1 }) end)
          expect({ ok, err.kind }):equals { false, "timeout" }
          local tries = 0
          t:eventually(function()
            tries = tries + 1
            expect(tries):equals(3)
            return true
          end, { timeout = 20 })
          local ok = pcall(function() t:step("inner", function() error("boom") end) end)
          expect(ok):equals(false)
          expect(coroutine.wrap(function() return pcall(expect(1).equals, expect(1), 2) end)()):equals(false)
        end)"#,
    )
    .await;
    // The last one is a miss that was recorded, as always.
    let failure = bench.ends().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Expectation);
    assert!(failure.message.contains("equals 2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_the_machine_stand_still() {
    let mut bench = Bench::plays(
        r#"
        scenario("it", { timeout = 4 }, function(t)
          t:step("waits", { timeout = 3 }, function()
            t.digest:wait_for { scene_transition = { to = "booting" } }
          end)
        end)"#,
    )
    .await;
    let held = bench.held().await;
    assert!(held.notes.is_empty(), "{:?}", held.notes);
    let frames = || {
        let events = bench.journal.after(backstaff::journal::Source::Digest, Default::default());
        events.len()
    };
    // It shows a digest several times a second, and none while it stands still.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = frames();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(frames(), before);
    held.says("keyboard:press('enter')").await.unwrap();
    held.ends(Decision::Retry).await;
    // The call has all the time again that it had before.
    bench.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_at_a_prompt_can_be_interrupted_and_is_no_verdict() {
    let mut bench = Bench::plays(
        "scenario('it', { timeout = 60 }, function(t)\n  local me = 1\n  t:hold()\n  expect(me):equals(1)\nend)",
    )
    .await;
    let held = bench.held().await;
    assert!(held.failure.is_none());
    assert_eq!(held.place.as_ref().unwrap().line, 3);
    for endless in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "digest:wait_for({ frame_counter = 4000000000 }, { timeout = 50 })",
        "t:sleep(50)",
    ] {
        let cancel = CancellationToken::new();
        let (sender, answer) = oneshot::channel();
        let (source, own) = (endless.to_owned(), cancel.clone());
        let ask = Ask::Eval { source, name: "prompt:1".to_owned(), cancel: own, answer: sender };
        held.asks.send(ask).await.map_err(|_| "nobody listens").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
        let failure = tokio::time::timeout(PATIENCE, answer).await.expect(endless).unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cancelled, "{endless}: {failure}");
    }
    assert_eq!(held.says("expect(1):equals(2)").await.unwrap_err().kind, FailureKind::Expectation);
    assert_eq!(held.says("t:check(1):equals(2)").await.unwrap(), [Shown::Boolean(false)]);
    let missing = held.says("digset:latest()").await.unwrap_err();
    assert_eq!(missing.hint.as_deref(), Some("did you mean `digest`?"), "{missing}");
    let broken = held.says("for for").await.unwrap_err();
    assert_eq!(broken.kind, FailureKind::Script, "{broken}");
    let none = held.asks(|answer| Ask::Rewind { step: None, answer }).await.unwrap_err();
    assert!(none.message.contains("no step"), "{none}");
    held.ends(Decision::Continue).await;
    bench.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_sits_at_the_prompt_any_more_the_scenario_ends() {
    let mut bench = Bench::plays("scenario('it', function(t)\n  expect(1):equals(2)\nend)").await;
    drop(bench.held().await);
    assert_eq!(bench.ends().await.unwrap_err().kind, FailureKind::Expectation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_what_was_set_and_plays_scenarios_of_files() {
    let mut bench =
        Bench::begins("scenario('prompt', { timeout = 1e6 }, function(t) t:hold() end)", true).await;
    let held = bench.held().await;
    assert!(held.is_session && held.frames.is_empty());
    held.says("local a = 20").await.unwrap();
    held.says("local function twice(x) return 2 * x end").await.unwrap();
    assert_eq!(held.sees("twice(a) + 2").await, Shown::Integer(42));
    let failed =
        held.says("digest:wait_for({ frame_counter = 4000000000 }, { timeout = 0.1 })").await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Timeout);

    let script = Script {
        path: "boots.lua".into(),
        source: r#"
            scenario("boots", { needs = { "digest" } }, function(t)
              local key = "enter"
              t.digest:wait_for({ scene_transition = { to = "booting" } }, { timeout = 0.3 })
            end)
            scenario("wants more", { needs = { "snapshot" } }, function(t) end)"#
            .into(),
    };
    let cancel = CancellationToken::new();
    let names = held.asks(|answer| Ask::Source { script, cancel, answer }).await.unwrap();
    assert_eq!(names, ["boots", "wants more"]);
    let run = |name: &str| {
        let (scenario, cancel) = (Some(name.to_owned()), CancellationToken::new());
        |answer| Ask::Run { scenario, cancel, answer }
    };
    let refused = held.asks(run("wants more")).await.unwrap_err();
    assert!(refused.message.contains("no snapshot"), "{refused}");
    assert!(held.asks(run("bots")).await.unwrap_err().hint.unwrap().contains("\"boots\""));

    let (sender, answer) = oneshot::channel();
    held.asks.send(run("boots")(sender)).await.map_err(|_| "nobody listens").unwrap();
    let inner = bench.held().await;
    assert!(!inner.is_session);
    assert_eq!(inner.scenario, "boots");
    assert_eq!(inner.sees("key").await, text("enter"));
    assert!(inner.asks(run("boots")).await.unwrap_err().message.contains("is held here"));
    inner.says("keyboard:press(key)").await.unwrap();
    inner.ends(Decision::Retry).await;
    tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().unwrap();

    let (sender, answer) = oneshot::channel();
    held.asks.send(run("boots")(sender)).await.map_err(|_| "nobody listens").unwrap();
    bench.held().await.ends(Decision::Abort).await;
    let failure = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    // What failed inside is no verdict about the session, which goes on.
    assert_eq!(held.sees("a").await, Shown::Integer(20));
    held.ends(Decision::Abort).await;
    bench.ends().await.unwrap();
}
