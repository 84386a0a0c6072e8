//! `backstaff serve`: a console on a control socket, from its first moment to every kind of end.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::lab::Lab;
use crate::lane::somebody::free_port;

const SOCKET: &str = "logs/console.sock";
const SERIAL: &str = "logs/serial.log";

/// A folder with the lane `attached`, in which a socket can be made where runs make their files.
fn lab(lab: Lab) -> Lab {
    std::fs::create_dir(lab.path("logs")).unwrap();
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let read = |name: &str| std::fs::read_to_string(profiles.join(name)).unwrap();
    lab.file("lanes/attached.toml", &read("lanes/attached.toml"))
        .file("canonical.lua", &read("canonical.lua"))
}

/// A server. Dropping it kills it.
struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts one and waits until its console is up.
    fn up(lab: &Lab, arguments: &[&str]) -> Self {
        let mut server = Self::start(lab, arguments);
        let stdout = server.child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let is_up = lines.any(|line| line.unwrap().starts_with("serving on "));
        assert!(is_up, "{:?}", server.ends());
        // It has more to say, and must not be stopped by nobody reading it.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }

    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let all: Vec<&str> =
            ["serve", "--control-socket", SOCKET].into_iter().chain(arguments.iter().copied()).collect();
        Self { child: lab.command(&all).into_command().spawn().unwrap(), socket: lab.path(SOCKET) }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for its end; returns its exit code and what it complained about.
    fn ends(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap())
    }

    /// A client that has said hello. Another that has just gone, or only looked who is there, may still be in the way.
    fn client(&self) -> Client {
        let began = Instant::now();
        loop {
            let stream = UnixStream::connect(&self.socket).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut client = Client { lines: BufReader::new(stream), passed: VecDeque::new() };
            let answer = client.ask("hello", json!({ "client_name": "test", "protocol_version": "1.0" }));
            if answer["result"]["server_name"] == "backstaff" {
                return client;
            }
            assert!(answer["error"]["code"] == "busy" && began.elapsed() < PATIENCE, "{answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    lines: BufReader<UnixStream>,
    /// Events that came before an answer.
    passed: VecDeque<Value>,
}

impl Client {
    fn ask(&mut self, method: &str, params: Value) -> Value {
        // A server that is busy has closed by now, and what it said can be read all the same.
        let _ = writeln!(self.lines.get_mut(), "{}", json!({ "id": 1, "method": method, "params": params }));
        loop {
            let line = self.read().expect("an answer");
            if line["event"].is_null() {
                return line;
            }
            self.passed.push_back(line);
        }
    }

    /// Nothing at the end.
    fn line(&mut self) -> Option<Value> {
        self.passed.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("closed without {name}"));
            if line["event"] == name {
                return line["data"].clone();
            }
        }
    }
}

/// The canonical scenario, unchanged, on a lane that is attached through the socket.
fn run_canonical(lab: &Lab, socket: &Path) {
    let run = lab.command(&["run", "canonical.lua", "--lane", "attached"]);
    let run = run.env("BACKSTAFF_CONTROL_SOCKET", socket).env("BACKSTAFF_SERIAL_LOG", lab.path(SERIAL));
    let finished = run.run();
    let _ = finished
        .exits_with(0)
        .says(&["PASS  boots, accepts the paste and parks", "1 passed, 0 failed, 0 skipped"]);
}

#[test]
fn the_canonical_scenario_passes_through_a_socket_on_a_simulated_lane() {
    let lab = lab(Lab::bare());
    let mut server = Server::up(&lab, &["--lane", "sim", "--serial-log", SERIAL]);
    run_canonical(&lab, &server.socket);
    assert_eq!(server.ends(), (Some(0), String::new()));
    assert!(!server.socket.exists());
}

#[test]
fn the_canonical_scenario_passes_through_a_socket_on_qemu() {
    let Some(guest) = Lab::with_guest("the_canonical_scenario_passes_through_a_socket_on_qemu") else {
        return;
    };
    let lab = lab(guest);
    let mut server = Server::up(&lab, &["--lane", "sextant", "--serial-log", SERIAL]);
    run_canonical(&lab, &server.socket);
    assert_eq!(server.ends(), (Some(0), String::new()));
}

/// Somebody else's client on our guest: docs/control-socket.md says how to build it.
#[test]
#[ignore = "needs the published client `ryll`; the variable RYLL names the program"]
fn the_canonical_scenario_passes_through_the_published_client() {
    let ryll = std::env::var_os("RYLL").expect("RYLL names the program");
    let Some(guest) = Lab::with_guest("the_canonical_scenario_passes_through_the_published_client") else {
        return;
    };
    let port = free_port();
    let profile = std::fs::read_to_string(guest.path("lanes/sextant.toml")).unwrap();
    let profile = profile.replace("transport = \"unix\"", &format!("transport = \"tcp\"\nport = {port}"));
    let lab = lab(guest).file("lanes/tcp.toml", &profile);
    let mut machine = Killed(lab.command(&["lane", "up", "tcp"]).into_command().spawn().unwrap());
    let mut lines = BufReader::new(machine.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let serial = lines.by_ref().find_map(|line| Some(line.trim().strip_prefix("serial")?.trim().to_owned()));
    let serial = serial.expect("where its serial log is");
    std::thread::spawn(move || lines.for_each(drop));
    let socket = lab.path("logs/ryll.sock");
    let mut client = Command::new(ryll);
    client.args(["--headless", "--enable-paste-as-keystrokes", "--direct", &format!("127.0.0.1:{port}")]);
    client.arg("--control-socket").arg(&socket).current_dir(lab.path("tmp"));
    let mut client = Killed(client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < PATIENCE && client.0.try_wait().unwrap().is_none(), "it makes no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    let run = lab.command(&["run", "canonical.lua", "--lane", "attached"]);
    let run = run.env("BACKSTAFF_CONTROL_SOCKET", &socket).env("BACKSTAFF_SERIAL_LOG", serial);
    let finished = run.run();
    let _ = finished
        .exits_with(0)
        .says(&["PASS  boots, accepts the paste and parks", "1 passed, 0 failed, 0 skipped"]);
    assert!(client.0.wait().unwrap().success());
    assert!(machine.0.wait().unwrap().success());
}

/// A program that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_serial_log_is_where_it_was_asked_for_and_in_the_lanes_folder() {
    let lab = lab(Lab::bare());
    let mut server = Server::up(&lab, &["--lane", "sim", "--serial-log", SERIAL]);
    lab.wait_for_file(&lab.path(SERIAL), "\n");
    let there = std::fs::read_to_string(lab.path(SERIAL)).unwrap();
    server.signal(Signal::INT);
    assert_eq!(server.ends().0, Some(0), "this is how a server is ended");
    let folder = lab.run_folders().pop().unwrap();
    let folder = if folder.join("serial.log").exists() { folder } else { super::lab::only(&folder) };
    assert!(std::fs::read_to_string(folder.join("serial.log")).unwrap().starts_with(&there));
}

#[test]
fn a_client_sees_the_end_of_the_guest_and_the_name_is_gone_by_then() {
    let lab = lab(Lab::bare());
    let mut server = Server::up(&lab, &["--lane", "sim"]);
    let mut client = server.client();
    client.ask("subscribe", json!({ "events": ["digest_updated", "paste_completed"] }));
    let press = |client: &mut Client, code: u16| {
        client.ask("send_key", json!({ "scancode": code, "state": "press" }))
    };
    press(&mut client, 0x1C);
    // Three wrong answers end the guest.
    let is_row = |data: &Value, row: u64| data["events"].to_string().contains(&format!("\"row\":{row},"));
    while !is_row(&client.event("digest_updated"), 21) {}
    press(&mut client, 0x17);
    while !is_row(&client.event("digest_updated"), 25) {}
    client.ask("paste", json!({ "text": "no\nno\nno", "char_delay_ms": 20 }));
    assert_eq!(client.event("paste_completed"), json!({ "request_id": 1, "chars_sent": 8 }));
    press(&mut client, 0x1C);
    while client.line().is_some() {}
    assert!(!server.socket.exists());
    assert_eq!(server.ends().0, Some(0));
}

#[test]
fn signals_end_a_server_and_leave_no_name() {
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let lab = lab(Lab::bare());
        let mut server = Server::up(&lab, &["--lane", "sim"]);
        let mut client = server.client();
        server.signal(signal);
        assert_eq!(client.line(), None);
        assert_eq!(server.ends().0, Some(code), "{signal:?}");
        assert!(!server.socket.exists());
    }
}

#[test]
fn what_a_killed_server_left_is_no_obstacle_and_a_living_one_is() {
    let lab = lab(Lab::bare());
    let mut killed = Server::up(&lab, &["--lane", "sim"]);
    killed.signal(Signal::KILL);
    killed.ends();
    assert!(killed.socket.exists());
    let mut server = Server::up(&lab, &["--lane", "sim"]);
    let finished = Server::start(&lab, &["--lane", "sim"]).ends();
    assert_eq!(finished.0, Some(2));
    assert!(finished.1.contains("another server answers on \"logs/console.sock\""), "{}", finished.1);
    assert_eq!(server.client().ask("status", json!({}))["ok"], true, "it was left alone");
    server.signal(Signal::INT);
    assert_eq!(server.ends().0, Some(0));
}

#[test]
fn several_clients_are_served_where_that_was_asked_for() {
    let lab = lab(Lab::bare());
    let server = Server::up(&lab, &["--lane", "sim", "--multi"]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.ask("status", json!({})), two.ask("status", json!({})));
    let hello = one.ask("hello", json!({ "client_name": "again", "protocol_version": "1.5" }));
    assert_eq!(hello["result"]["features"], json!(["multi"]));
}

#[test]
fn a_paste_that_failed_shows_in_the_exit_code() {
    let lab = lab(Lab::bare());
    let mut server = Server::up(&lab, &["--lane", "sim"]);
    let mut client = server.client();
    client.ask("subscribe", json!({ "events": ["paste_failed"] }));
    client.ask("paste", json!({ "text": "caf\u{e9}" }));
    let reason = client.event("paste_failed")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("cannot paste: 1 unrepresentable character(s): U+00E9"), "{reason}");
    server.signal(Signal::INT);
    assert_eq!(server.ends().0, Some(1));
}

#[test]
fn what_cannot_be_served_is_said_with_its_remedy_and_leaves_no_name() {
    let lab = lab(Lab::bare()).file("logs/letter", "dear reader");
    let run = |arguments: &[&str]| {
        let all: Vec<&str> = ["serve"].into_iter().chain(arguments.iter().copied()).collect();
        lab.run(&all)
    };
    let long = "x".repeat(120);
    let long = format!("logs/{long}");
    let _ = run(&["--control-socket", "logs/letter"])
        .exits_with(2)
        .says(&["is no socket", "hint: it is left as it is"]);
    assert_eq!(std::fs::read_to_string(lab.path("logs/letter")).unwrap(), "dear reader");
    let _ = run(&["--control-socket", "logs/no/c"])
        .exits_with(2)
        .says(&["make a socket at", "hint: make its folder first"]);
    let _ =
        run(&["--control-socket", &long]).exits_with(2).says(&["at most 107", "hint: name a shorter one"]);
    let _ = run(&["--lane", "sim"]).exits_with(2).says(&["--control-socket <PATH>"]);
    let _ =
        run(&["--control-socket", SOCKET, "--lane", "smi"]).exits_with(3).says(&["did you mean \"sim\"?"]);
    let _ = run(&["--control-socket", SOCKET, "--lane", "attached"])
        .exits_with(2)
        .says(&["attached to no machine"]);
    let refused = run(&["--control-socket", SOCKET, "--spice", "spice+unix:///nowhere"]);
    let _ =
        refused.exits_with(1).says(&["open the console that --spice names", "hint: is the machine running"]);
    let _ = run(&["--control-socket", SOCKET, "--spice", "localhost"])
        .exits_with(1)
        .says(&["--spice is no address", "hint: "]);
    let _ = run(&["--control-socket", SOCKET, "--vv", "no.vv"]).exits_with(1).says(&["no.vv", "--vv"]);
    let both = run(&["--control-socket", SOCKET, "--vv", "a", "--serial-log", SERIAL]);
    let _ = both.exits_with(2).says(&["cannot be used with"]);
}

#[test]
fn a_console_that_is_somebody_elses_is_served_until_they_close_it() {
    let lab = lab(Lab::bare());
    let mut machine = Killed(lab.command(&["lane", "up", "sim"]).into_command().spawn().unwrap());
    let mut said = BufReader::new(machine.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let vv = said.by_ref().find_map(|line| Some(line.split_once("remote-viewer ")?.1.to_owned()));
    std::thread::spawn(move || said.for_each(drop));
    let vv = vv.expect("how to join it");
    let mut server = Server::up(&lab, &["--vv", vv.trim_matches(|c| "'\"".contains(c))]);
    let mut client = server.client();
    let began = Instant::now();
    while client.ask("status", json!({}))["result"]["surfaces"] == json!([]) {
        assert!(began.elapsed() < PATIENCE, "no surface");
        std::thread::sleep(Duration::from_millis(20));
    }
    let shot = client.ask("screenshot", json!({}));
    assert_eq!(shot["result"]["format"], "png", "{shot}");
    kill_process(Pid::from_raw(i32::try_from(machine.0.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    while client.line().is_some() {}
    machine.0.wait().unwrap();
    assert_eq!(server.ends().0, Some(0));
    assert!(!server.socket.exists());
}

#[test]
fn the_socket_is_there_before_the_console_is() {
    let lab = lab(Lab::bare());
    // A SPICE server that takes its time.
    let spice = lab.path("logs/spice.sock");
    let listener = UnixListener::bind(&spice).unwrap();
    let address = format!("spice+unix://{}", spice.display());
    let mut server = Server::start(&lab, &["--spice", &address]);
    let _taken = listener.accept().unwrap();
    let began = Instant::now();
    while !server.socket.exists() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = server.client();
    let status = client.ask("status", json!({}))["result"].clone();
    assert_eq!(status, json!({ "spice_connected": true, "agent_connected": false, "surfaces": [] }));
    let key = client.ask("send_key", json!({ "scancode": 30, "state": "press" }));
    assert_eq!(key["error"], json!({ "code": "internal_error", "message": "there is no console yet" }));
    assert_eq!(client.ask("screenshot", json!({}))["error"]["code"], "no_such_surface");
    drop((listener, _taken));
    assert_eq!(client.line(), None);
    assert_eq!(server.ends().0, Some(1));
    std::fs::remove_file(spice).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(60);
