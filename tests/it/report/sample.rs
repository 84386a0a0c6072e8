//! Folders of runs as the runner leaves them, with journals whose times are made up.

use std::path::{Path, PathBuf};

use backstaff::console::Screenshot;
use backstaff::journal::run::{AttemptNote, FailureNote, RunBegan, RunBody, RunLog, TestNote, Verdict};
use serde_json::{Value, json};

/// A run's folder that is being written.
pub(crate) struct Sample {
    folder: tempfile::TempDir,
    log: RunLog,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::create(folder.path()).unwrap();
        let began =
            RunBegan { version: "0".to_owned(), lane: "sim".to_owned(), jobs: 2, ..RunBegan::default() };
        log.append([RunBody::RunBegan(began)]);
        Self { folder, log }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn script(&self, file: &str, text: &str) {
        self.log.append([RunBody::ScriptLoaded { file: file.to_owned(), text: text.to_owned() }]);
    }

    pub(crate) fn append(&self, body: RunBody) {
        self.log.append([body]);
    }

    /// A test of one attempt, with this journal; returns the attempt's folder.
    pub(crate) fn test(
        &self,
        test: TestNote,
        verdict: Verdict,
        failure: Option<FailureNote>,
        journal: &Journal,
    ) -> PathBuf {
        let folder = self.began(test.clone(), journal);
        self.ended(&test.id, 1, verdict, failure);
        self.append(RunBody::TestEnded { id: test.id, verdict, attempts: 1, took_ms: 5000, is_slow: false });
        folder
    }

    /// The same, killed in the middle.
    pub(crate) fn began(&self, test: TestNote, journal: &Journal) -> PathBuf {
        let id = test.id.clone();
        self.append(RunBody::TestSelected(test));
        self.attempt(&id, 1, journal)
    }

    pub(crate) fn attempt(&self, id: &str, attempt: u32, journal: &Journal) -> PathBuf {
        let folder = format!(
            "{:x}/attempt-{attempt}",
            id.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte))
        );
        self.append(RunBody::AttemptBegan { id: id.to_owned(), attempt, folder: folder.clone() });
        let folder = self.path().join(folder);
        journal.write(&folder);
        folder
    }

    pub(crate) fn ended(&self, id: &str, attempt: u32, verdict: Verdict, failure: Option<FailureNote>) {
        self.append(RunBody::AttemptEnded(AttemptNote {
            id: id.to_owned(),
            attempt,
            verdict,
            failure,
            further_misses: 0,
            warnings: Vec::new(),
            host_notes: Vec::new(),
            took_ms: 5000,
        }));
    }

    pub(crate) fn run_ended(&self) {
        self.append(RunBody::RunEnded { took_ms: 9000, ended_by: None });
    }
}

pub(crate) fn test(name: &str) -> TestNote {
    let (file, lane) = ("login.lua".to_owned(), "sim".to_owned());
    TestNote {
        id: format!("{file}::{name}@{lane}"),
        name: name.to_owned(),
        file,
        line: 1,
        lane,
        ..TestNote::default()
    }
}

/// The lines of a journal.
#[derive(Default)]
pub(crate) struct Journal {
    seq: u64,
    lines: String,
    pictures: Vec<(String, Vec<u8>)>,
}

impl Journal {
    pub(crate) fn event(self, t_ms: u64, source: &str, name: &str, data: Value) -> Self {
        self.on("", t_ms, source, name, data)
    }

    /// With a lane's name.
    pub(crate) fn on(mut self, lane: &str, t_ms: u64, source: &str, name: &str, data: Value) -> Self {
        self.seq += 1;
        let mut event = json!({"seq": self.seq, "t_ns": t_ms * 1_000_000, "wall": "2026-01-01T00:00:00Z",
            "source": source, "event": name, "data": data});
        if !lane.is_empty() {
            event["lane"] = json!(lane);
        }
        self.line(&event.to_string())
    }

    pub(crate) fn line(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }

    /// So many events are missing here.
    pub(crate) fn gap(mut self, missing: u64) -> Self {
        self.seq += missing;
        self
    }

    /// A screenshot; `red` makes pictures differ.
    pub(crate) fn shot(mut self, t_ms: u64, path: &str, red: u8) -> Self {
        let pixels = (0..64 * 48_u32).flat_map(|at| [u8::try_from(at % 251).unwrap(), 40, red, 0]).collect();
        let png = Screenshot { width: 64, height: 48, pixels }.to_png().unwrap();
        self.pictures.push((path.to_owned(), png));
        self.event(t_ms, "screen", "screenshot", json!({"path": path, "width": 64, "height": 48}))
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder.join("screenshots")).unwrap();
        let text = format!("{{\"format\":\"backstaff-journal\",\"version\":1}}\n{}", self.lines);
        std::fs::write(folder.join("journal.ndjson"), text).unwrap();
        for (path, png) in &self.pictures {
            std::fs::write(folder.join(path), png).unwrap();
        }
    }
}

/// A login that gets another answer than it waits for, and how it is noted.
pub(crate) fn failed_login() -> (Journal, FailureNote) {
    let wanted = "{ paste_received = { correct = true, len = 23 } }";
    let record = |t: u64, name: &str, value: Value| (t, json!({name: value, "frame_counter": t / 100}));
    let mut journal = Journal::default()
        .event(0, "runner", "attempt_began", json!({"scenario": "logs in", "file": "login.lua", "line": 1, "lane": "sim", "attempt": 1}))
        .event(10, "lane", "lane_state", json!({"state": "starting"}))
        .event(40, "lane", "lane_state", json!({"state": "ready"}))
        .event(50, "script", "step_began", json!({"path": ["boot"], "timeout_s": 60.0, "line": 2}))
        .event(60, "script", "wait_began", json!({"wait": 1, "call": "serial:wait_for", "wanted": "text matching \"login: $\"", "timeout_s": 1.0, "line": 3}))
        .event(900, "serial", "serial_line", json!({"text": "login: "}))
        .event(905, "script", "wait_ended", json!({"wait": 1, "outcome": "matched", "matched": 6, "took_ms": 845, "host_load": 0.5}))
        .event(906, "script", "step_ended", json!({"path": ["boot"], "passed": true, "took_ms": 856}))
        .shot(920, "screenshots/01-boot.png", 10)
        .event(1000, "script", "step_began", json!({"path": ["answer"], "timeout_s": 60.0, "line": 5}))
        .event(1200, "keyboard", "text_typed", json!({"chars": 23, "took_ms": 180}))
        .event(1210, "script", "expectation", json!({"what": "equals 1", "passed": true, "line": 7}))
        .event(1220, "script", "wait_began", json!({"wait": 2, "call": "digest:wait_for", "wanted": wanted, "timeout_s": 3.0, "line": 8}));
    let records = [
        record(1300, "keypress", json!({"unicode": "\r", "scancode": 28, "timestamp_ms": 1290})),
        record(1500, "paste_received", json!({"correct": false, "len": 23, "timestamp_ms": 1490})),
        record(2500, "line_rendered", json!({"row": 25, "timestamp_ms": 2490})),
    ];
    for (t, data) in records {
        journal = journal.event(t, "digest", "digest_record", data);
    }
    let journal = journal
        .event(2600, "serial", "serial_line", json!({"text": "wrong answer"}))
        .event(
            4220,
            "script",
            "wait_ended",
            json!({"wait": 2, "outcome": "timeout", "took_ms": 3000, "host_load": 4.2, "lane_speed": 0.31}),
        )
        .shot(4240, "screenshots/02-timeout.png", 200)
        .event(4250, "script", "step_ended", json!({"path": ["answer"], "passed": false, "took_ms": 3250}))
        .event(4300, "lane", "lane_state", json!({"state": "stopping"}))
        .event(4400, "runner", "attempt_ended", json!({"verdict": "timed_out", "reason": "no match"}));
    let message = format!(
        "digest:wait_for: no match for {wanted} within 3.0 s\nseen since the last match: 1 keypress\n\
         nearest miss: {{ paste_received = {{ correct = false, len = 23 }} }}\n              (correct: wanted true, got false)"
    );
    let failure = FailureNote {
        kind: "timeout".to_owned(),
        message,
        file: Some("login.lua".to_owned()),
        line: Some(8),
        hint: Some("look at the\ncable".to_owned()),
        steps: vec!["answer".to_owned()],
        screenshot: Some("screenshots/02-timeout.png".to_owned()),
        traceback: None,
    };
    (journal, failure)
}

pub(crate) const LOGIN: &str = "scenario(\"logs in\", function(t)\n  t:step(\"boot\", function()\n    \
    t.serial:wait_for(\"login: $\", { timeout = 1 })\n  end)\n  t:step(\"answer\", function()\n    \
    t.keyboard:type(\"sextant{HELLO_OPERATOR}\")\n    expect(1):equals(1)\n    \
    t.digest:wait_for({ paste_received = { len = 23, correct = true } }, { timeout = 3 })\n  end)\nend)\n";
