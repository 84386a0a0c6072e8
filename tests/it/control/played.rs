//! Servers as the protocol has them, played by a thread: of any version, with the faults that such servers had.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::digest::screen::Screen;

/// Longer than anything here takes, also on a busy host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a server behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    pub(crate) version: &'static str,
    pub(crate) events: &'static [&'static str],
    /// So many clients are sent away at first.
    pub(crate) busy: usize,
    /// So many times there is no surface yet.
    pub(crate) empty: usize,
    /// It sends releases as they come, so that one without the break bit types the key again.
    pub(crate) forgets_break: bool,
    /// An event that it offers and does not agree to tell.
    pub(crate) withholds: &'static str,
    /// A method that it never answers.
    pub(crate) deaf_to: &'static str,
    /// A method that it refuses.
    pub(crate) refuses: &'static str,
    /// What it does when this arrives at its guest.
    pub(crate) reacts: Vec<(u32, Reaction)>,
}

/// What a key leads to.
#[derive(Clone)]
pub(crate) enum Reaction {
    Tell(Value),
    HangUp,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            version: "1.2",
            events: &[
                "latency",
                "agent_connected",
                "paste_completed",
                "paste_failed",
                "dropped",
                "surface_drawn",
                "digest_updated",
            ],
            busy: 0,
            empty: 1,
            forgets_break: false,
            withholds: "",
            deaf_to: "",
            refuses: "",
            reacts: Vec::new(),
        }
    }
}

/// A server, and what it was asked.
pub(crate) struct Played {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    manners: Manners,
    state: Mutex<State>,
}

struct State {
    requests: Vec<Value>,
    wire: Vec<u32>,
    screen: Screen,
    client: Option<UnixStream>,
    connections: usize,
    subscribed: Vec<String>,
}

impl Played {
    /// A server with a machine of 32x16 pixels.
    pub(crate) fn new(manners: Manners) -> Self {
        Self::with_screen(manners, Screen::new(32, 16))
    }

    pub(crate) fn with_screen(manners: Manners, screen: Screen) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let state = State {
            requests: Vec::new(),
            wire: Vec::new(),
            screen,
            client: None,
            connections: 0,
            subscribed: Vec::new(),
        };
        let shared = Arc::new(Shared { manners, state: Mutex::new(state) });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                server.serve(stream.unwrap());
            }
        });
        Self { _folder: folder, path, shared }
    }

    /// Tells an event to a client that wants to know.
    pub(crate) fn tell(&self, event: &Value) {
        self.shared.tell(event);
    }

    /// Says anything.
    pub(crate) fn say(&self, line: &str) {
        self.shared.say(line);
    }

    /// Ends as a server does whose session has ended.
    pub(crate) fn hang_up(&self) {
        self.shared.hang_up();
    }

    pub(crate) fn show(&self, screen: Screen) {
        self.shared.state().screen = screen;
    }

    /// What the machine got.
    pub(crate) fn wire(&self) -> Vec<u32> {
        self.shared.state().wire.clone()
    }

    /// What a guest would have typed: it takes every make code of a letter for one.
    pub(crate) fn typed(&self) -> String {
        let letter = |code: u32| LETTERS.iter().find(|(known, _)| *known == code).map(|(_, letter)| *letter);
        self.wire().into_iter().filter_map(letter).collect()
    }

    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let state = self.shared.state();
        state.requests.iter().filter(|request| request["method"] == method).cloned().collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Waits until something holds.
    #[track_caller]
    pub(crate) fn wait(&self, holds: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < limit, "it did not come to that: {:?}", self.shared.state().requests);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: UnixStream) {
        let is_busy = {
            let mut state = self.state();
            state.connections += 1;
            state.connections <= self.manners.busy
        };
        if is_busy {
            let busy =
                json!({"ok": false, "error": {"code": "busy", "message": "another client is connected"}});
            let _ = writeln!(stream, "{busy}");
            return;
        }
        let reader = BufReader::new(stream.try_clone().unwrap());
        self.state().client = Some(stream);
        for line in reader.lines() {
            let Ok(line) = line else { break };
            let request: Value = serde_json::from_str(&line).unwrap();
            self.state().requests.push(request.clone());
            self.answer(&request);
        }
        let mut state = self.state();
        state.client = None;
        state.subscribed.clear();
    }

    fn answer(&self, request: &Value) {
        let method = request["method"].as_str().unwrap();
        if method == self.manners.deaf_to {
            return;
        }
        let outcome = if method == self.manners.refuses {
            Err(json!({"code": "internal_error", "message": "the input queue is full"}))
        } else {
            self.result(method, &request["params"])
        };
        let id = &request["id"];
        self.say(&match outcome {
            Ok(result) => json!({"id": id, "ok": true, "result": result}).to_string(),
            Err(error) => json!({"id": id, "ok": false, "error": error}).to_string(),
        });
        if method == "send_key" {
            let reached = self.state().wire.last().copied();
            let reactions = self.manners.reacts.iter().filter(|(code, _)| Some(*code) == reached);
            for (_, reaction) in reactions {
                match reaction {
                    Reaction::Tell(event) => self.tell(event),
                    Reaction::HangUp => self.hang_up(),
                }
            }
        }
    }

    fn result(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let mut state = self.state();
        match method {
            "hello" => Ok(json!({
                "server_name": "played",
                "protocol_version": self.manners.version,
                "supported_methods": ["hello", "status", "send_key", "paste", "screenshot", "subscribe", "unsubscribe"],
                "supported_events": self.manners.events,
            })),
            "status" => {
                let asked = state.requests.iter().filter(|request| request["method"] == "status").count();
                let surface = json!({
                    "channel_id": 0, "surface_id": 0, "width": state.screen.width, "height": state.screen.height,
                });
                let surfaces = if asked > self.manners.empty { vec![surface] } else { Vec::new() };
                Ok(json!({"spice_connected": true, "agent_connected": false, "surfaces": surfaces}))
            }
            "send_key" => {
                let code = u32::try_from(params["scancode"].as_u64().unwrap()).unwrap();
                let up = if self.manners.forgets_break { code } else { code | 0x80 };
                let sent = match params["state"].as_str().unwrap() {
                    "down" => vec![code],
                    "up" => vec![up],
                    _ => vec![code, up],
                };
                let on_wire = |code: u32| if code > 0xff { (code & 0xff) << 8 | code >> 8 } else { code };
                state.wire.extend(sent.into_iter().map(on_wire));
                Ok(json!({}))
            }
            "screenshot" => {
                let Screen { width, height, pixels } = &state.screen;
                assert_eq!(params["format"], "rgba");
                let rgba: Vec<u8> =
                    pixels.chunks_exact(4).flat_map(|it| [it[2], it[1], it[0], 255]).collect();
                let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, rgba);
                Ok(json!({"width": width, "height": height, "format": "rgba", "data_base64": data}))
            }
            "subscribe" => {
                let wanted = params["events"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                let is_told =
                    |name: &&str| self.manners.events.contains(name) && *name != self.manners.withholds;
                let known: Vec<&str> = wanted.filter(is_told).collect();
                state.subscribed.extend(known.iter().map(|name| (*name).to_owned()));
                Ok(json!({"subscribed": known}))
            }
            other => Err(json!({"code": "unknown_method", "message": other})),
        }
    }

    fn tell(&self, event: &Value) {
        let wants = self.state().subscribed.iter().any(|name| event["event"] == name.as_str());
        // These come whether or not anybody wants to know.
        if wants || event["event"] == "dropped" {
            self.say(&event.to_string());
        }
    }

    fn say(&self, line: &str) {
        if let Some(client) = &mut self.state().client {
            let _ = client.write_all(format!("{line}\n").as_bytes());
        }
    }

    fn hang_up(&self) {
        if let Some(client) = self.state().client.take() {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// A `digest_updated` with these records.
pub(crate) fn digest(frame_counter: u32, records: Value) -> Value {
    json!({"event": "digest_updated", "data": {
        "events": records, "frame_counter": frame_counter, "framebuffer_hash": 7, "wallclock_us": 1,
    }})
}

pub(crate) fn drawn() -> Value {
    json!({"event": "surface_drawn", "data": {
        "display_channel_id": 0, "surface_id": 0, "produced_at_secs": 1.5, "wallclock_us": 1,
    }})
}

/// Listens at a fresh path, and hands what connects first to `talk`.
pub(crate) fn listen(talk: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || talk(listener.accept().unwrap().0));
    (folder, path)
}

/// A socket that nobody listens on any more.
pub(crate) fn stale(folder: &Path) -> PathBuf {
    let path = folder.join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    path
}

const LETTERS: [(u32, char); 7] =
    [(0x1c, '\n'), (0x1e, 'a'), (0x12, 'e'), (0x23, 'h'), (0x26, 'l'), (0x18, 'o'), (0x17, 'i')];
