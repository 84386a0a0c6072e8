//! `backstaff record`: what was typed, through a control socket or on a terminal, plays again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::lab::{Lab, Running};

/// A client that waits for what it wants to see before it types, as people do.
struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    /// Records of all digests, the newest last.
    seen: Vec<Value>,
    id: u32,
}

impl Client {
    /// Waits for the socket, too.
    fn connect(path: &Path) -> Self {
        let limit = Instant::now() + DEADLINE;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < limit, "{}: {error}", path.display()),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self { stream, lines, seen: Vec::new(), id: 0 };
        client.ask("hello", &json!({ "client_name": "a person", "protocol_version": "1.5" }));
        client.ask("subscribe", &json!({ "events": ["digest_updated"] }));
        client
    }

    fn ask(&mut self, method: &str, params: &Value) {
        self.id += 1;
        let request = json!({ "id": self.id, "method": method, "params": params });
        self.stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        loop {
            let line = self.line();
            if line["id"] == self.id {
                assert_eq!(line["ok"], true, "{method}: {line}");
                return;
            }
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the server is gone");
        let line: Value = serde_json::from_str(&line).unwrap();
        self.seen.extend(line["data"]["events"].as_array().into_iter().flatten().cloned());
        line
    }

    /// Waits for a digest with a record of this name and these fields.
    fn wait_for(&mut self, name: &str, wanted: &Value) {
        let fits = |record: &Value| {
            let fields = wanted.as_object().unwrap();
            record.get(name).is_some_and(|record| fields.iter().all(|(key, value)| record[key] == *value))
        };
        while !self.seen.iter().any(fits) {
            self.line();
        }
        self.seen.clear();
    }

    /// Waits for any digest: the guest is there.
    fn wait_for_digest(&mut self) {
        while self.line()["event"] != "digest_updated" {}
    }

    fn key(&mut self, code: u16) {
        self.ask("send_key", &json!({ "scancode": code, "state": "down" }));
        std::thread::sleep(Duration::from_millis(30));
        self.ask("send_key", &json!({ "scancode": code, "state": "up" }));
        std::thread::sleep(Duration::from_millis(30));
    }

    /// Enter, `i`, the answer, Enter, power-off: all of the reference guest's story.
    fn tell_the_story(&mut self) {
        self.wait_for_digest();
        self.key(ENTER);
        self.wait_for("line_rendered", &json!({ "row": 21 }));
        self.key(I);
        self.wait_for("line_rendered", &json!({ "row": 25 }));
        self.ask("paste", &json!({ "text": "sextant{HELLO_OPERATOR}", "char_delay_ms": 20 }));
        self.wait_for("keypress", &json!({ "unicode": "}" }));
        self.key(ENTER);
        self.wait_for("scene_transition", &json!({ "to": "parked" }));
        self.ask("send_key", &json!({ "scancode": ENTER, "state": "press" }));
    }
}

fn start<'a>(lab: &'a Lab, arguments: &[&str]) -> Running<'a> {
    let socket = lab.path("tmp/control.sock");
    let arguments = [&["record", "--control-socket", socket.to_str().unwrap()], arguments].concat();
    lab.command(&arguments).may_make("").start()
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_whole_story_is_recorded_and_plays_three_times() {
    let lab = Lab::bare();
    let recording = start(&lab, &["--output", "story.lua"]);
    recording.wait_for("recording lane sim");
    let mut client = Client::connect(&lab.path("tmp/control.sock"));
    client.key(SHIFT);
    client.tell_the_story();
    let said = recording.finish().exits_with(0).text();
    assert!(said.contains("play it with: backstaff run story.lua --lane sim"), "{said}");
    assert!(said.contains("note: typed text is in it as it was typed"), "{said}");
    assert!(said.contains("digest  scene_transition from awaiting, to booting"), "{said}");
    let script = read(lab.path("story.lua"));
    // Numbers that tell when are in none of it.
    for wanted in [
        "needs = { \"digest\", \"keyboard\", \"serial\" }",
        "keyboard:press(\"enter\")",
        "digest:wait_for { line_rendered = { row = 21 } }",
        "keyboard:press(\"i\")",
        "digest:wait_for { line_rendered = { row = 25 } }",
        "keyboard:type(\"sextant{HELLO_OPERATOR}\")",
        "t:step(\"scene_transition to parked\", function()",
        "digest:wait_for { scene_transition = { from = \"booting\", to = \"parked\" } }",
        "t:step(\"power-off\", function()",
        "t.lane:wait_for_shutdown()",
    ] {
        assert!(script.contains(wanted), "{wanted}\n{script}");
    }
    for unwanted in ["sleep", "timestamp", "frame_counter", "keypress"] {
        assert!(!script.contains(unwanted), "{unwanted}\n{script}");
    }
    let played = lab.run(&["run", "story.lua", "--repeat", "3"]).exits_with(0);
    let _ = played.says(&["3 passed, 0 failed, 0 skipped"]);
}

#[test]
fn a_story_on_a_real_machine_plays_there() {
    let Some(lab) = Lab::with_guest("recording a real machine") else { return };
    let recording = start(&lab, &["--lane", "sextant", "--output", "story.lua"]);
    let mut client = Client::connect(&lab.path("tmp/control.sock"));
    client.tell_the_story();
    let _ = recording.finish().exits_with(0);
    let script = read(lab.path("story.lua"));
    assert!(script.contains("keyboard:type(\"sextant{HELLO_OPERATOR}\")"), "{script}");
    let _ = lab.run(&["run", "story.lua"]).exits_with(0).says(&["1 passed, 0 failed, 0 skipped"]);
}

#[test]
fn what_is_typed_on_the_terminal_is_recorded() {
    let lab = Lab::bare();
    let Some(invocation) = lab.command_on_terminal("typing", &["record", "--output", "typed.lua"]) else {
        return;
    };
    let mut command = invocation.into_command();
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let terminal = Screen::of(&mut child);
    let mut keys = child.stdin.take().unwrap();
    let mut press = |bytes: &str| {
        keys.write_all(bytes.as_bytes()).unwrap();
        keys.flush().unwrap();
    };
    terminal.wait_for("recording lane sim: type; Ctrl-] ends it");
    terminal.wait_for("or type with: backstaff control --socket ");
    press("é");
    terminal.wait_for("no key makes é; nothing was typed for it");
    press("\r");
    terminal.wait_for("line_rendered row 21\r");
    press("i");
    terminal.wait_for("line_rendered row 25\r");
    press("Let me in\r");
    terminal.wait_for("paste_received len 9, correct false");
    press("\u{1d}");
    let status = child.wait().unwrap();
    let said = terminal.text();
    assert!(status.success(), "{said}");
    let script = read(lab.path("typed.lua"));
    assert!(script.contains("keyboard:type(\"Let me in\")\n    keyboard:press(\"enter\")\n"), "{script}");
    assert!(script.contains("digest:wait_for { paste_received = { len = 9, correct = false } }"), "{script}");
    let _ = lab.run(&["run", "typed.lua"]).exits_with(0).says(&["1 passed"]);
}

#[test]
fn what_was_recorded_is_written_whatever_ends_it() {
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 143)] {
        let lab = Lab::bare();
        let recording = start(&lab, &[]);
        recording.wait_for("recording lane sim");
        recording.signal(signal);
        let said = recording.finish().exits_with(code).text();
        assert!(said.contains("note: nothing was typed: it only waits for what was seen"), "{said}");
        let file = lab.run_folder().join("recorded.lua");
        let script = read(file.clone());
        assert!(script.contains("digest:wait_for(any)") && !script.contains("keyboard"), "{script}");
        let _ = lab.run(&["run", file.to_str().unwrap()]).exits_with(0);
    }
}

#[test]
fn a_lane_that_dies_leaves_what_was_recorded() {
    let dying = "kind = \"sim\"\n[[fault]]\ncut = \"main\"\nafter = 3\n";
    let lab = Lab::bare().file("lanes/dying.toml", dying);
    let recording = start(&lab, &["--lane", "dying", "--output", "story.lua"]);
    let mut client = Client::connect(&lab.path("tmp/control.sock"));
    client.wait_for_digest();
    client.key(ENTER);
    client.wait_for("scene_transition", &json!({ "to": "booting" }));
    let _ = recording.finish().exits_with(16);
    let script = read(lab.path("story.lua"));
    assert!(script.contains("keyboard:press(\"enter\")\n"), "{script}");
    assert!(!script.contains("wait_for_shutdown"), "{script}");
}

#[test]
fn a_file_that_is_there_is_refused_before_a_machine_is_wanted() {
    let lab = Lab::bare().file("there.lua", "mine\n").file("broken/backstaff.toml", "");
    let refused = |arguments: &[&str]| {
        let arguments = [&["record"], arguments].concat();
        lab.command(&arguments).may_make("nothing").run().exits_with(2).within(30).text()
    };
    insta::assert_snapshot!(refused(&["--output", "there.lua"]), @r"
    [stderr]
    error: --output there.lua: this is there already
    hint: `--force` writes it anew; no machine was started
    ");
    insta::assert_snapshot!(refused(&["--output", "broken"]), @r"
    [stderr]
    error: --output broken: this is a folder
    hint: name a file in it
    ");
    insta::assert_snapshot!(refused(&["--output", "no/where.lua"]), @r"
    [stderr]
    error: --output no/where.lua: there is no folder no
    hint: make it first; no machine was started
    ");
    assert!(refused(&["--force"]).contains("--output <FILE>"));
    let recording = start(&lab, &["--output", "there.lua", "--force"]);
    recording.wait_for("recording lane sim");
    recording.signal(Signal::INT);
    let _ = recording.finish().exits_with(0);
    assert!(read(lab.path("there.lua")).starts_with("-- Recorded on lane sim."));
}

/// What a terminal shows, read as it comes.
struct Screen {
    text: Arc<Mutex<String>>,
}

impl Screen {
    fn of(child: &mut Child) -> Self {
        let text: Arc<Mutex<String>> = Arc::default();
        let (mut output, shared) = (child.stdout.take().unwrap(), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { text }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn wait_for(&self, wanted: &str) {
        let limit = Instant::now() + DEADLINE;
        // Colours stand between words.
        let colours = regex_lite::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
        while !colours.replace_all(&self.text(), "").contains(wanted) {
            assert!(Instant::now() < limit, "{wanted:?} never came:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

const ENTER: u16 = 0x1C;
const I: u16 = 0x17;
const SHIFT: u16 = 0x2A;
const DEADLINE: Duration = Duration::from_secs(120);
