//! What a waiting call costs when it need not wait, and what a fresh state costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstaff::console::Console;
use backstaff::journal::{Body, Journal, Source};
use backstaff::script::sandbox::{Sandbox, StopFlag};
use backstaff::script::{Outcome, Script, load};
use visual_digest::Record;

use crate::measure::{Goal, Report, Samples};
use crate::screen::Screen;
use crate::stage::{Play, Press, StageConsole, runtime};

const CALL_GOAL: Duration = Duration::from_micros(2);
const STATE_GOAL: Duration = Duration::from_millis(1);
/// Calls between two marks.
const BATCH: u32 = 100;

/// Name of the row, the call in Lua, and whether it is the plain awaited call.
const CALLS: [(&str, &str, bool); 8] = [
    ("t:all {}: an awaited call that does nothing", "t:all(none)", true),
    ("keyboard:up: checks, journal, console", "keyboard:up('a')", false),
    ("digest:wait_for(any), satisfied", "digest:wait_for(any)", false),
    ("digest:wait_for { line_rendered = … }, satisfied", "digest:wait_for(line)", false),
    ("serial:wait_for(pattern), satisfied", "serial:wait_for('^login')", false),
    ("t:spawn(f):join()", "t:spawn(f):join()", false),
    ("t.digest (not awaited)", "local _ = t.digest", false),
    ("t:log(…) (not awaited)", "t:log('x')", false),
];

pub(crate) fn calls(report: &mut Report) {
    report.row("lower bound: async function that does nothing", &bare_call(report), None);
    for (name, call, is_plain) in CALLS {
        report.row(name, &time_call(report, call, 0), Goal::median(CALL_GOAL).filter(|_| is_plain));
    }
    let name = "digest:wait_for(any), 10 000 events behind";
    report.row(name, &time_call(report, "digest:wait_for(any)", 10_000), None);
}

/// The binding layer and the prelude without any binding of ours.
fn bare_call(report: &Report) -> Samples {
    let runtime = runtime();
    let sandbox = Sandbox::new(&StopFlag::default(), || None).unwrap();
    let lua = &sandbox.lua;
    let nothing = lua.create_async_function(|_, ()| async { Ok(()) }).unwrap();
    lua.globals().set("nothing", nothing).unwrap();
    let batch = lua.load(format!("for _ = 1, {BATCH} do nothing() end")).into_function().unwrap();
    let mut samples = Samples::default();
    for _ in 0..report.samples(1000) {
        let began = Instant::now();
        runtime.block_on(sandbox.run.call_async::<()>(batch.clone())).unwrap();
        samples.push(began.elapsed(), BATCH);
    }
    samples
}

/// Times `call` in an attempt. Before each batch the journal gets what the waits take, and `backlog` events more
/// than that before the first.
fn time_call(report: &Report, call: &str, backlog: u32) -> Samples {
    let batches = report.samples(300) + 1;
    let body = format!(
        "local keyboard, digest, serial = t.keyboard, t.digest, t.serial
        local none, line, f = {{}}, {{ line_rendered = {{ row = at_least(3) }} }}, function() end
        for _ = 1, {batches} do
          keyboard:down('a')
          for _ = 1, {BATCH} do {call} end
        end
        keyboard:down('a')"
    );
    let journal = Journal::new();
    let feed = {
        let journal = journal.clone();
        move |count| {
            for _ in 0..count {
                let record = Record::LineRendered { row: 7, timestamp_ms: 2350 };
                journal.append(Source::Digest, Body::DigestRecord { record, frame_counter: 1 });
                journal.append(Source::Serial, Body::SerialLine { text: "login: ".to_owned() });
            }
        }
    };
    feed(backlog);
    let (console, presses) = StageConsole::new(Screen::new(8, 8));
    let console: Arc<dyn Console> = Arc::new(console.on_press(move || feed(BATCH)));
    let outcome = runtime().block_on(Play::new(&body).run(console, journal));
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
    let presses: Vec<Press> = presses.try_iter().collect();
    let mut samples = Samples::default();
    // The first batch warms up.
    presses.windows(2).skip(1).for_each(|pair| samples.push(pair[1].at - pair[0].released, BATCH));
    samples
}

pub(crate) fn states(report: &mut Report) {
    let new = || Sandbox::new(&StopFlag::default(), || None).unwrap();
    report.row("sandbox with its prelude", &report.time(1000, 1, new), None);

    let source = "scenario('small', { needs = { 'digest' } }, function(t) t.digest:wait_for(any) end)";
    let script = Script { path: "small.lua".into(), source: source.into() };
    let load = || load(&script).unwrap();
    let goal = Goal::median(STATE_GOAL);
    report.row("load: state, bindings, a small script's top level", &report.time(1000, 1, load), goal);

    let runtime = runtime();
    let play = Play::new("t.keyboard:down('a')");
    let mut to_first = Samples::default();
    let whole = report.time(1000, 1, || {
        let (console, presses) = StageConsole::new(Screen::new(8, 8));
        let began = Instant::now();
        let outcome = runtime.block_on(play.run(Arc::new(console), Journal::new()));
        assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
        to_first.push(presses.recv().unwrap().at - began, 1);
    });
    report.row("run_attempt to its first key", &to_first, goal);
    report.row("run_attempt from begin to end", &whole, None);
}
