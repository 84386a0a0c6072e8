//! A connection, byte by byte.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shape::{self, Shape};

/// Longer than any answer takes, also on a busy host.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// After so long, nothing more comes.
pub(super) const SILENCE: Duration = Duration::from_millis(800);

/// One connection. Every line that arrives is checked for what all lines keep. When a test fails, it says what was
/// sent and received.
pub(super) struct Talk {
    stream: UnixStream,
    bytes: Vec<u8>,
    has_ended: bool,
    /// Events that came while an answer was waited for.
    events: VecDeque<(String, Value)>,
    next_id: i64,
    said: VecDeque<String>,
}

impl Talk {
    /// Connects, and says nothing yet. A server that still tidies up after another client is waited for.
    pub(super) fn connect(path: &Path) -> Self {
        let limit = Instant::now() + DEADLINE;
        loop {
            let mut talk = Self::connect_once(path);
            talk.send(r#"{"id":"served?","method":"status","params":{}}"#);
            match talk.try_line(DEADLINE) {
                Some(line) if line["id"] == "served?" => {
                    assert_eq!(line["error"]["code"], "no_hello_yet", "the first answer before a hello");
                    return talk;
                }
                _ => assert!(Instant::now() < limit, "the server stays busy"),
            }
            talk.said.clear();
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Connects, whatever the server makes of it.
    pub(super) fn connect_once(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("connect to {path:?}: {error}"));
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let (bytes, events, said) = Default::default();
        Self { stream, bytes, has_ended: false, events, next_id: 100, said }
    }

    /// Connects and says hello.
    pub(super) fn greeted(path: &Path) -> Self {
        let mut talk = Self::connect(path);
        talk.call("hello", json!({ "client_name": "conformance", "protocol_version": "1.2" }));
        talk
    }

    pub(super) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends what need not be a line.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        self.note('>', &String::from_utf8_lossy(bytes));
        // A server that closes in the middle of what it refuses is within its rights; what it said is looked at next.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request and returns its id.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = json!(self.next_id);
        self.next_id += 1;
        self.send(&json!({ "id": id, "method": method, "params": params }).to_string());
        id
    }

    /// Sends a request and returns its result.
    #[track_caller]
    pub(super) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.answer();
        assert_eq!(answer["id"], id, "the answer to {method}: {answer}");
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request and checks its result's keys.
    #[track_caller]
    pub(super) fn call_shaped(&mut self, method: &str, params: Value, shape: Shape) -> Value {
        let result = self.call(method, params);
        assert_eq!(shape::mismatch(&result, shape), None, "the result of {method}: {result}");
        result
    }

    /// Sends a request that must be refused with this code.
    #[track_caller]
    pub(super) fn refused(&mut self, method: &str, params: Value, code: &str) {
        let id = self.ask(method, params.clone());
        self.answers_with(&id, code, &format!("{method} {params}"));
    }

    /// Sends a line that must be refused with this code and without an id.
    #[track_caller]
    pub(super) fn refused_line(&mut self, line: &[u8], code: &str) {
        self.send_bytes(line);
        self.send_bytes(b"\n");
        self.answers_with(&Value::Null, code, &String::from_utf8_lossy(line));
    }

    /// Reads an answer that refuses; `id` is null where it has none.
    #[track_caller]
    pub(super) fn answers_with(&mut self, id: &Value, code: &str, what: &str) {
        let answer = self.answer();
        assert_eq!(answer.get("id").unwrap_or(&Value::Null), id, "{what:.200}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{what:.200}: {answer}");
    }

    /// Whether the connection still serves.
    #[track_caller]
    pub(super) fn is_served(&mut self) {
        self.call("status", json!({}));
    }

    /// The next answer; events that come before it are kept.
    #[track_caller]
    pub(super) fn answer(&mut self) -> Value {
        let limit = Instant::now() + DEADLINE;
        loop {
            let line = self.line(limit.saturating_duration_since(Instant::now()));
            match line["event"].as_str() {
                Some(name) => self.events.push_back((name.to_owned(), line["data"].clone())),
                None => return line,
            }
        }
    }

    /// The data of the next event of this name; others are dropped.
    #[track_caller]
    pub(super) fn event(&mut self, name: &str) -> Value {
        self.event_within(name, DEADLINE).unwrap_or_else(|| panic!("no {name} within {DEADLINE:?}"))
    }

    /// The data of the next event of this name, if it comes within this time.
    #[track_caller]
    pub(super) fn event_within(&mut self, name: &str, within: Duration) -> Option<Value> {
        let limit = Instant::now() + within;
        loop {
            while let Some((found, data)) = self.events.pop_front() {
                if found == name {
                    return Some(data);
                }
            }
            let line = self.try_line(limit.saturating_duration_since(Instant::now()))?;
            let found = line["event"].as_str().unwrap_or_else(|| panic!("wants an event, got {line}"));
            self.events.push_back((found.to_owned(), line["data"].clone()));
        }
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(super) fn is_silent(&mut self) {
        let line = self.events.pop_front().map(|(name, _)| json!(name)).or_else(|| self.try_line(SILENCE));
        assert!(line.is_none(), "wants silence, got {}", line.unwrap_or_default());
        assert!(!self.has_ended, "wants silence, got the end of the connection");
    }

    /// The server says nothing more and closes.
    #[track_caller]
    pub(super) fn ends(&mut self) {
        let line = self.try_line(DEADLINE);
        assert!(line.is_none(), "wants the end, got {}", line.unwrap_or_default());
        assert!(self.has_ended, "the server does not close the connection");
    }

    /// Whether the server has closed.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[track_caller]
    pub(super) fn line(&mut self, within: Duration) -> Value {
        let line = self.try_line(within);
        let why = if self.has_ended { "the server closed the connection" } else { "no line" };
        line.unwrap_or_else(|| panic!("{why} within {within:?}"))
    }

    /// The next line, if there is one within this time and the connection lasts.
    #[track_caller]
    pub(super) fn try_line(&mut self, within: Duration) -> Option<Value> {
        let limit = Instant::now() + within;
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let line = String::from_utf8(line).expect("lines are UTF-8");
                self.note('<', &line);
                return Some(checked(&line));
            }
            let left = limit.saturating_duration_since(Instant::now());
            if self.has_ended || left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = vec![0; 1 << 16];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.end(),
                Ok(bytes) => self.bytes.extend_from_slice(&buffer[..bytes]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.end(),
                    _ => panic!("read: {error}"),
                },
            }
        }
    }

    fn end(&mut self) {
        assert!(self.bytes.is_empty(), "the last line is cut: {:?}", String::from_utf8_lossy(&self.bytes));
        self.has_ended = true;
    }

    fn note(&mut self, mark: char, text: &str) {
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        let shown: String = text.trim_end_matches('\n').chars().take(400).collect();
        let more = if shown.len() + 1 < text.len() { "…" } else { "" };
        self.said.push_back(format!("{mark} {shown}{more}"));
    }
}

impl Drop for Talk {
    #[expect(clippy::print_stderr, reason = "beside the message of the test that fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let rule = std::thread::current().name().unwrap_or("?").to_owned();
            let said: Vec<String> = self.said.drain(..).collect();
            eprintln!("rule {rule}; sent (>) and received (<) last:\n{}", said.join("\n"));
        }
    }
}

/// As many lines are shown when a test fails.
const REMEMBERED: usize = 16;

/// What every line of a server keeps: one JSON object, an event with data or an answer with a result or an error, and
/// nothing besides.
#[track_caller]
fn checked(line: &str) -> Value {
    let line: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {line:.400}"));
    let object = line.as_object().unwrap_or_else(|| panic!("no object: {line}"));
    let mut keys: Vec<&str> = object.keys().map(String::as_str).filter(|key| *key != "id").collect();
    keys.sort_unstable();
    match (&*keys, line["ok"].as_bool()) {
        (["data", "event"], _) => {
            let name = line["event"].as_str().unwrap_or_else(|| panic!("an event without a name: {line}"));
            assert!(!object.contains_key("id"), "an event with an id: {line}");
            if let Some(shape) = shape::of_event(name) {
                assert_eq!(shape::mismatch(&line["data"], shape), None, "event {name}: {line}");
            }
        }
        (["ok", "result"], Some(true)) => {
            assert!(line["id"].is_i64() || line["id"].is_string(), "a result without an id: {line}");
            assert!(line["result"].is_object(), "a result that is no object: {line}");
        }
        (["error", "ok"], Some(false)) => {
            let error = shape::mismatch(&line["error"], ERROR);
            assert_eq!(error, None, "{line}");
            assert_ne!(line["error"]["code"], "", "{line}");
        }
        _ => panic!("neither an event nor an answer: {line}"),
    }
    line
}

const ERROR: Shape = &[("code", shape::Kind::Text), ("message", shape::Kind::Text)];
