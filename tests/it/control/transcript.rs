//! A whole conversation with `backstaff serve`, as it is on the wire. It is in `docs/control-socket.md`, too.
//!
//! `BACKSTAFF_UPDATE_GOLDEN=1` writes the transcript anew; a missing one fails.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::own::OwnServer;

#[test]
fn the_conversation_is_the_one_that_was_looked_at() {
    // Time enough to listen to a boot.
    let server = OwnServer::with_time_scale(1);
    let observed = conversation(&server.path);
    let golden = file();
    if std::env::var_os("BACKSTAFF_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&golden, &observed).unwrap();
    }
    let expected = std::fs::read_to_string(&golden)
        .unwrap_or_else(|error| panic!("{error}: {golden:?}; BACKSTAFF_UPDATE_GOLDEN=1 writes it"));
    assert_eq!(observed, expected, "{golden:?}");
}

/// Where the transcript is.
pub(super) fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/control/transcript.txt")
}

fn conversation(path: &Path) -> String {
    let mut guest = Talk::to(path);
    guest.ask(HELLO);
    guest.ask(r#"{"id":2,"method":"subscribe","params":{"events":["digest_updated"]}}"#);
    guest.event(|_| true);
    drop(guest);

    let mut talk = Talk::to(path);
    talk.say("Nothing is answered before hello; the connection stays.");
    talk.ask(r#"{"id":1,"method":"status","params":{}}"#);
    talk.ask(r#"{"id":2,"method":"hello","params":{"client_name":"example","protocol_version":"1"}}"#);
    talk.ask(HELLO);
    talk.say("The console as it is.");
    talk.ask(r#"{"id":3,"method":"status","params":{}}"#);
    talk.ask(r#"{"id":4,"method":"screenshot","params":{}}"#);
    talk.ask(r#"{"id":5,"method":"screenshot","params":{"surface_id":0,"format":"rgba"}}"#);
    talk.ask(r#"{"id":6,"method":"stats","params":{}}"#);
    talk.say("Events. A name that is not known is left out of the answer.");
    talk.ask(r#"{"id":"sub-1","method":"subscribe","params":{"events":["digest_updated","weather"]}}"#);
    talk.say("A key, and what the guest made of it; digests in between are left out here.");
    talk.ask(r#"{"id":7,"method":"send_key","params":{"scancode":28,"state":"down"}}"#);
    talk.ask(r#"{"id":8,"method":"send_key","params":{"scancode":156,"state":"up"}}"#);
    talk.event(|event| is_last(event, "scene_transition"));
    talk.event(|event| is_last(event, "line_rendered"));
    talk.ask(r#"{"id":9,"method":"unsubscribe","params":{"events":["digest_updated","latency"]}}"#);
    talk.ask(r#"{"id":10,"method":"subscribe","params":{"events":["surface_drawn"]}}"#);
    talk.event(|_| true);
    talk.ask(r#"{"id":11,"method":"unsubscribe","params":{"events":["surface_drawn"]}}"#);
    talk.say("A paste is answered at once; its outcome comes later and names the request.");
    talk.ask(r#"{"id":12,"method":"subscribe","params":{"events":["paste_completed","paste_failed"]}}"#);
    talk.ask(r#"{"id":"p-1","method":"paste","params":{"text":"hello\r\n","char_delay_ms":20}}"#);
    talk.event(|_| true);
    talk.ask(r#"{"id":13,"method":"paste","params":{"text":"caf\u00e9 \u2022"}}"#);
    talk.event(|_| true);
    talk.say("What came with protocol 1.3.");
    talk.ask(r#"{"id":14,"method":"clipboard_set","params":{"text":"hello"}}"#);
    talk.ask(r#"{"id":15,"method":"clipboard_get","params":{}}"#);
    talk.ask(r#"{"id":16,"method":"resize","params":{"width":1027,"height":769}}"#);
    talk.say("What goes wrong.");
    for line in [
        r#"{"id":17,"method":"reboot","params":{}}"#,
        r#"{"id":18,"method":"stauts","params":{}}"#,
        r#"{"id":19,"method":"send_key","params":{"scancode":28,"state":"release"}}"#,
        r#"{"id":20,"method":"send_key","params":{"scancode":65536,"state":"up"}}"#,
        r#"{"id":21,"method":"screenshot","params":{"surface_id":7}}"#,
        r#"{"id":22,"method":"screenshot","params":{"format":"bmp"}}"#,
        r#"{"id":23,"method":"resize","params":{"width":0,"height":768}}"#,
        "{\"id\":24,\"method\":\"status\"}",
        r#"{"id":null,"method":"status","params":{}}"#,
        "status",
    ] {
        talk.ask(line);
    }
    talk.say("A second client is told so, unprompted, and is closed.");
    let mut second = Talk::to(path);
    second.hear(|_| true);
    second.ends();
    talk.text.push_str(&second.text);
    talk.say("Another major version ends the connection.");
    talk.ask(r#"{"id":25,"method":"hello","params":{"client_name":"example","protocol_version":"2.0"}}"#);
    talk.ends();
    talk.text
}

/// Whether the newest record of a digest is of this kind.
fn is_last(event: &Value, kind: &str) -> bool {
    event["data"]["events"]
        .as_array()
        .and_then(|events| events.last())
        .is_some_and(|last| last.get(kind).is_some())
}

/// A connection that writes down what is said.
struct Talk {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    text: String,
}

impl Talk {
    fn to(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines, text: String::new() }
    }

    fn say(&mut self, what: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&format!("# {what}\n"));
    }

    /// Sends a line and hears the answer to it; events before it are left out.
    fn ask(&mut self, line: &str) {
        let limit = Instant::now() + DEADLINE;
        loop {
            self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
            let asked = self.text.len();
            self.text.push_str(&format!("> {line}\n"));
            let heard = self.hear(|heard| heard.get("event").is_none());
            if heard["error"]["code"] != "busy" {
                return;
            }
            // The server has not noticed yet that the client before us has gone.
            assert!(Instant::now() < limit, "it stays busy");
            self.text.truncate(asked);
            std::thread::sleep(Duration::from_millis(100));
            let path = self.stream.peer_addr().unwrap();
            let again = Self::to(path.as_pathname().unwrap());
            (self.stream, self.lines) = (again.stream, again.lines);
        }
    }

    fn event(&mut self, is_wanted: impl Fn(&Value) -> bool) {
        self.hear(|heard| heard.get("event").is_some() && is_wanted(heard));
    }

    /// Writes down the next line that is wanted.
    fn hear(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "the server closed after\n{}", self.text);
            let heard: Value = serde_json::from_str(&line).unwrap();
            if is_wanted(&heard) {
                self.text.push_str(&format!("< {}", masked(&line)));
                return heard;
            }
        }
    }

    fn ends(&mut self) {
        let mut line = String::new();
        assert_eq!(self.lines.read_line(&mut line).unwrap(), 0, "{line}");
        self.text.push_str("# (closed by the server)\n");
    }
}

/// What differs from one conversation to the next stands as `…`.
fn masked(line: &str) -> String {
    let varying = [
        (r#""data_base64":"[^"]*""#, r#""data_base64":"…""#),
        (
            r#""(frame_counter|framebuffer_hash|timestamp_ms|wallclock_us|produced_at_secs|bytes_in|messages_received|marks_received|decodes_total)":[0-9.]+"#,
            r#""$1":…"#,
        ),
    ];
    varying.iter().fold(line.to_owned(), |line, (pattern, stand_in)| {
        regex_lite::Regex::new(pattern).unwrap().replace_all(&line, *stand_in).into_owned()
    })
}

const HELLO: &str =
    r#"{"id":"h","method":"hello","params":{"client_name":"example","protocol_version":"1.5"}}"#;
const DEADLINE: Duration = Duration::from_secs(60);
