//! The proof that we draw right: our surface is QEMU's own screendump, pixel for pixel, while the firmware boots and
//! at every step of the reference guest's story.
//!
//! The machine runs on meanwhile: a stopped one does not send what it drew last. Nothing here draws for longer than a
//! moment, so the two must become equal soon, or never.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use backstaff::console::Screenshot;
use backstaff::journal::Journal;
use backstaff::lane::bringup::{Lane, Start, UpOptions};
use backstaff::lane::plan::resolve_acceleration;
use backstaff::lane::platform_detect::DetectConfig;
use backstaff::lane::teardown::TeardownConfig;
use backstaff::lane::{Plan, Platform, Profile, plan};
use backstaff::script::{AttemptOptions, Lanes, Outcome, Script, load, run_attempt};
use backstaff::spice::{Recorder, RecorderOptions};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// Waits of the canonical story, in order; after each the screens are compared.
const STEPS: [&str; 6] = [
    "t.digest:wait_for(any)",
    "t.keyboard:press('enter') t.digest:wait_for { scene_transition = { from = 'awaiting', to = 'booting' } }",
    "t.digest:wait_for { line_rendered = { row = at_least(21) } }",
    "t.keyboard:press('i') t.digest:wait_for { line_rendered = { row = 25 } }",
    "t.keyboard:paste('sextant{HELLO_OPERATOR}') t.keyboard:press('enter') t.digest:wait_for { paste_received = any }",
    "t.digest:wait_for { scene_transition = { to = 'parked' } }",
];

#[tokio::test(flavor = "multi_thread")]
async fn our_surface_is_the_screendump_with_qxl() {
    compare_along_the_story("qxl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_surface_is_the_screendump_with_std_vga() {
    compare_along_the_story("std").await;
}

async fn compare_along_the_story(device: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let platform = match Platform::detect(&DetectConfig::new(path)).await {
        Ok(platform) => platform,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new();
    let lane = boot(device, &platform, folder.path(), &journal).await;

    let mut firmware_screens = HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !journal.all_after(Default::default()).iter().any(|event| event.body.name() == "digest_updated") {
        assert!(Instant::now() < deadline, "the guest never came up");
        // Before the firmware draws, a screendump shows words of QEMU's own, which it sends to nobody.
        if is_lit(&lane) {
            firmware_screens.insert(compare(&lane, folder.path(), "firmware").await.pixels);
        }
        // What the firmware draws when is nothing one could wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (index, step) in STEPS.iter().enumerate() {
        play(&lane, &journal, folder.path(), step).await;
        compare(&lane, folder.path(), &format!("step {}", index + 1)).await;
    }
    let (firmware_screens, steps) = (firmware_screens.len(), STEPS.len());
    eprintln!("{device}: {firmware_screens} firmware screens and {steps} steps are equal to screendump");
    assert!(firmware_screens >= 1, "the firmware drew nothing");
    lane.down(TeardownConfig::default()).await;
}

/// Records the story, from the machine's first moment to its last screen, which is the screendump's.
pub(crate) async fn record_the_story(device: &str, path: &Path) {
    let platform = Platform::detect(&DetectConfig::new(std::env::var_os("PATH").unwrap_or_default())).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new();
    let recorder = Recorder::create(path, RecorderOptions::default()).unwrap();
    let plan = plan_of(device, &platform.unwrap());
    let (start, recorded) = (Start::Boot, Some(&recorder));
    let options = UpOptions {
        plan: &plan,
        folder: folder.path(),
        start,
        is_joinable: false,
        recorder: recorded,
        listener: None,
    };
    let lane = Lane::up_with(options, &journal, &CancellationToken::new()).await.unwrap();
    for step in STEPS {
        play(&lane, &journal, folder.path(), step).await;
    }
    compare(&lane, folder.path(), "the last screen").await;
    lane.down(TeardownConfig::default()).await;
    recorder.finish().unwrap();
}

fn is_lit(lane: &Lane) -> bool {
    let screen = lane.handle().console.and_then(|console| Screenshot::take(&*console));
    screen.is_some_and(|screen| screen.pixels.iter().any(|byte| *byte != 0))
}

/// Boots the reference guest with `device`, ready as soon as there is a surface.
pub(super) async fn boot(device: &str, platform: &Platform, folder: &Path, journal: &Journal) -> Lane {
    let plan = plan_of(device, platform);
    Lane::up(&plan, folder, journal, &CancellationToken::new()).await.unwrap()
}

fn plan_of(device: &str, platform: &Platform) -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("scenarios/lanes/sextant.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("accel = \"auto\"", "accel = \"tcg\"").replace("\"qxl\"", &format!("{device:?}"));
    let mut profile = Profile::parse("sextant", &text, &file, root).unwrap().qemu().unwrap();
    profile.gates.retain(|gate| !matches!(gate.kind, backstaff::lane::profile::GateKind::Digest));
    let acceleration = resolve_acceleration(profile.machine.accel, platform, None).unwrap();
    plan(&profile, platform, &acceleration).unwrap()
}

/// Runs one step of the story. Every step is an attempt of its own, so that the test has the machine in between.
async fn play(lane: &Lane, journal: &Journal, folder: &Path, step: &str) {
    let source = format!("scenario('step', {{ timeout = 60 }}, function(t) {step} end)");
    let script = Script { path: "step.lua".into(), source: source.into() };
    let scenario = load(&script).unwrap().remove(0);
    let options = AttemptOptions {
        script,
        scenario,
        journal: journal.clone(),
        attempt: 1,
        lanes: Lanes::One(lane.handle()),
        folder: folder.to_owned(),
        params: json!({}),
        prompts: None,
        is_session: false,
        cancel: CancellationToken::new(),
    };
    let outcome = run_attempt(options).await;
    assert!(matches!(outcome, Outcome::Passed), "{step}: {outcome:?}");
}

/// Waits until our screen and a screendump are equal.
pub(super) async fn compare(lane: &Lane, folder: &Path, what: &str) -> Screenshot {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        execute(lane, "screendump", json!({ "filename": "screen.ppm" })).await;
        let wanted = parse_ppm(&std::fs::read(folder.join("screen.ppm")).unwrap());
        let console = lane.handle().console.unwrap();
        let got = Screenshot::take(&*console);
        if got.as_ref() == Some(&wanted) {
            return wanted;
        }
        if Instant::now() > deadline {
            panic!("{what}: {}", difference(&wanted, got.as_ref()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn execute(lane: &Lane, command: &str, arguments: Value) {
    let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
    lane.qmp().execute(command, arguments, Duration::from_secs(20)).await.unwrap();
}

/// A binary PPM as QEMU writes it, as BGRX.
fn parse_ppm(bytes: &[u8]) -> Screenshot {
    let mut fields = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
    assert_eq!(fields.next(), Some(&b"P6"[..]));
    let mut number = || std::str::from_utf8(fields.next().unwrap()).unwrap().parse::<u32>().unwrap();
    let (width, height) = (number(), number());
    let rest = fields.next().unwrap();
    let pixels = rest.strip_prefix(b"255\n").unwrap();
    let pixels = pixels.chunks_exact(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0], 0]).collect();
    Screenshot { width, height, pixels }
}

fn difference(wanted: &Screenshot, got: Option<&Screenshot>) -> String {
    let Some(got) = got else { return "we have no screen".to_owned() };
    if (wanted.width, wanted.height) != (got.width, got.height) {
        return format!("wanted {}x{}, got {}x{}", wanted.width, wanted.height, got.width, got.height);
    }
    let pairs = wanted.pixels.chunks_exact(4).zip(got.pixels.chunks_exact(4));
    let differing: Vec<usize> =
        pairs.enumerate().filter(|(_, (a, b))| a != b).map(|(index, _)| index).collect();
    let first = differing[0];
    let width = wanted.width as usize;
    format!("{} pixels differ, the first at {},{}", differing.len(), first % width, first / width)
}
