//! `backstaff control`, with `backstaff serve` and with servers that are not what they should be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::lab::{Finished, Lab};
use crate::control::own::OwnServer;

/// A server that answers as it was told; an empty line of it ends the connection.
struct Scripted {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scripted {
    fn new(answer: impl Fn(&str, &Value) -> Vec<String> + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scripted.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = Self::serve(stream.unwrap(), &answer);
            }
        });
        Self { path, _folder: folder }
    }

    fn serve(mut stream: UnixStream, answer: &dyn Fn(&str, &Value) -> Vec<String>) -> std::io::Result<()> {
        for line in BufReader::new(stream.try_clone()?).lines() {
            let request: Value = serde_json::from_str(&line?).unwrap();
            for line in answer(request["method"].as_str().unwrap(), &request) {
                if line.is_empty() {
                    return Ok(());
                }
                stream.write_all(format!("{line}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    /// One that knows hello and subscribe; the rest is up to `more`.
    fn speaking(more: impl Fn(&str, &Value) -> Vec<String> + Send + 'static) -> Self {
        Self::new(move |method, request| match method {
            "hello" => vec![ok(request, &hello())],
            "subscribe" => vec![ok(request, &json!({ "subscribed": request["params"]["events"] }))],
            _ => more(method, request),
        })
    }

    fn run(&self, lab: &Lab, words: &[&str]) -> Finished {
        control(lab, &self.path, words)
    }
}

fn hello() -> Value {
    json!({
        "server_name": "scripted",
        "protocol_version": "1.2",
        "supported_methods": ["hello", "status", "send_key", "paste", "screenshot", "subscribe", "unsubscribe"],
        "supported_events": ["latency", "paste_completed", "paste_failed", "dropped", "surface_drawn"],
    })
}

fn ok(request: &Value, result: &Value) -> String {
    json!({ "id": request["id"], "ok": true, "result": result }).to_string()
}

fn latency() -> String {
    r#"{"event":"latency","data":{"sample_ms":1.5,"wallclock_us":7}}"#.to_owned()
}

/// Runs `backstaff control` with these words.
fn control(lab: &Lab, socket: &std::path::Path, words: &[&str]) -> Finished {
    let arguments = [&["control", "--socket", socket.to_str().unwrap()], words].concat();
    lab.run(&arguments)
}

#[test]
fn every_verb_asks_a_server() {
    let server = OwnServer::start();
    let lab = Lab::bare();
    let run =
        |words: &[&str]| control(&lab, &server.path, &[words, &["--timeout", "60"]].concat()).exits_with(0);
    let json = |words: &[&str]| -> Value {
        let out = run(&[words, &["--json"]].concat()).stdout;
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    };
    let _ = run(&["hello"]).says(&["server    backstaff\nprotocol  1.5\nmethods   hello status send_key"]);
    assert_eq!(json(&["hello"])["protocol_version"], "1.5");
    // The first digest: the guest is there.
    let events = run(&["events", "digest_updated", "--count", "1"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&events).unwrap()["event"], "digest_updated");
    let _ = run(&["status"])
        .says(&["connected  yes\nagent      no\nsurface    1024x768, id 0 of display channel 0\n"]);
    assert_eq!(json(&["status"])["surfaces"][0]["width"], 1024);
    let _ = run(&["key", "enter"]).says(&["1 key sent\n"]);
    assert_eq!(json(&["key", "ctrl+x", "0xe04b", "shift", "--delay", "1"]), json!({ "keys_sent": 3 }));
    let _ = run(&["type", "Hello\n"]).says(&["6 keys sent\n"]);
    let _ = run(&["paste", "hello\r\n", "--delay", "1"]).says(&["6 keys typed\n"]);
    assert_eq!(json(&["paste", "hello", "--delay", "1"])["chars_sent"], 5);
    let _ = run(&["clipboard", "set", "-x"]);
    let _ = run(&["clipboard", "get"]);
    let _ = run(&["stats"]).says(&["channel_id                0\n", "bytes_in"]);
    assert!(json(&["stats"])["display"]["bytes_in"].as_u64() > Some(0));
}

#[test]
fn the_socket_may_come_from_the_environment() {
    let server = Scripted::speaking(|_, _| Vec::new());
    let lab = Lab::bare();
    let run = lab.command(&["control", "hello"]).env("BACKSTAFF_CONTROL_SOCKET", &server.path).run();
    insta::assert_snapshot!(run.exits_with(0).text(), @r"
    server    scripted
    protocol  1.2
    methods   hello status send_key paste screenshot subscribe unsubscribe
    events    latency paste_completed paste_failed dropped surface_drawn
    ");
}

#[test]
fn a_screenshot_is_a_whole_file_or_none() {
    let server = OwnServer::start();
    let lab = Lab::bare().file("logs/old.png", "old");
    let run =
        |words: &[&str]| control(&lab, &server.path, &[&["screenshot", "--timeout", "60"], words].concat());
    let events = ["events", "digest_updated", "--count", "1", "--timeout", "60"];
    let _ = control(&lab, &server.path, &events).exits_with(0);
    let _ = run(&["logs/old.png"]).exits_with(0).says(&["logs/old.png: 1024x768, ", " bytes of png\n"]);
    let png = std::fs::read(lab.path("logs/old.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"), "what was there is replaced");
    let rgba = run(&["logs/a.rgba", "--rgba", "--json"]).exits_with(0).stdout;
    let rgba: Value = serde_json::from_str(&rgba).unwrap();
    assert_eq!((&rgba["bytes"], &rgba["format"]), (&json!(1024 * 768 * 4), &json!("rgba")));
    assert_eq!(std::fs::metadata(lab.path("logs/a.rgba")).unwrap().len(), 1024 * 768 * 4);
    let piped = lab.path("logs/piped.png");
    let socket = server.path.to_str().unwrap();
    let command = lab.command(&["control", "--socket", socket, "screenshot", "-", "--surface", "0"]);
    let _ = command.stdout(std::fs::File::create(&piped).unwrap()).run().exits_with(0);
    assert!(std::fs::read(piped).unwrap().starts_with(b"\x89PNG"));

    let _ = run(&["logs/b.png", "--surface", "9"])
        .exits_with(1)
        .says(&["error: screenshot: ", "no_such_surface"]);
    let _ = run(&["logs/none/b.png"]).exits_with(2).says(&["error: write logs/none/b.png: No such file"]);
    let _ = run(&["-", "--json"]).exits_with(2).says(&["`--json` and the picture cannot both"]);
    let mut left: Vec<_> =
        std::fs::read_dir(lab.path("logs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| !["old.png", "a.rgba", "piped.png"].iter().any(|known| name == known));
    // Of the lane's own runs there are none in this folder.
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_picture_does_not_go_to_a_terminal() {
    let lab = Lab::bare();
    let test = "a_picture_does_not_go_to_a_terminal";
    let words = ["control", "--socket", "none", "screenshot", "-"];
    let Some(command) = lab.command_on_terminal(test, &words) else { return };
    let _ = command.run().exits_with(2).says(&["a picture is bytes, and standard output is a terminal"]);
}

#[test]
fn a_picture_that_is_none_is_not_written() {
    let pictures = [
        json!({ "width": 2, "height": 1, "format": "png", "data_base64": "aGVsbG8=" }),
        json!({ "width": 2, "height": 1, "format": "png", "data_base64": "%" }),
        json!({ "width": 2, "height": 1, "format": "jpeg", "data_base64": "" }),
        json!({ "width": 4_000_000_000_u32, "height": 4_000_000_000_u32, "format": "png", "data_base64": "" }),
        json!({ "width": 2 }),
    ];
    for picture in pictures {
        let shown = picture.to_string();
        let server = Scripted::speaking(move |_, request| vec![ok(request, &picture)]);
        let lab = Lab::bare();
        let _ = server
            .run(&lab, &["screenshot", "a.png"])
            .exits_with(16)
            .says(&["screenshot: the answer is not"]);
        assert!(!lab.path("a.png").exists(), "{shown}");
    }
    let rgba = base64::engine::general_purpose::STANDARD.encode([0; 12]);
    let rgba = json!({ "width": 2, "height": 2, "format": "rgba", "data_base64": rgba });
    let server = Scripted::speaking(move |_, request| vec![ok(request, &rgba)]);
    let _ = server
        .run(&Lab::bare(), &["screenshot", "a", "--rgba"])
        .exits_with(16)
        .says(&["12 bytes are no picture of 2x2 as rgba"]);
}

#[test]
fn wrong_words_are_usage_and_ask_nobody() {
    let lab = Lab::bare();
    insta::assert_snapshot!(lab.run(&["control", "status"]).exits_with(2).text(), @r"
    [stderr]
    error: no control socket is named
    hint: give `--socket PATH`, or set BACKSTAFF_CONTROL_SOCKET
    ");
    // Whoever asked would find nobody, which is another exit code.
    let run = |words: &[&str]| control(&lab, &lab.path("none"), words).exits_with(2);
    insta::assert_snapshot!(run(&["key", "ctrl+entre"]).text(), @r#"
    [stderr]
    error: no key "entre", did you mean "enter"?
    hint: keys have names (enter, f10, page_up, kp_5), the characters of a US keyboard, or codes such as 0xe04b; join those that are held together with +, as in ctrl+alt+delete
    "#);
    insta::assert_snapshot!(run(&["key", "0x9c"]).text(), @r#"
    [stderr]
    error: "0x9c" is no make code: wants 0x01 to 0x7f, alone or after 0xe0, such as 0xe04b
    "#);
    insta::assert_snapshot!(run(&["type", "café"]).text(), @r"
    [stderr]
    error: cannot type 1 character(s) on a US keyboard: U+00E9 'é'
    hint: nothing was typed; `clipboard set` takes any text, if an agent runs in the guest
    ");
    for wrong in [
        &["frobnicate"][..],
        &[],
        &["key"],
        &["key", "a", "--down", "--up"],
        &["key", "a", "--delay", "-1"],
        &["type"],
        &["screenshot"],
        &["screenshot", "a", "--surface", "x"],
        &["events", "--count", "0"],
        &["status", "--timeout", "0"],
        &["clipboard"],
    ] {
        let _ = run(wrong);
    }
}

#[test]
fn no_server_is_said_with_what_is_there_instead() {
    let lab = Lab::bare().file("logs/file", "");
    std::fs::create_dir_all(lab.path("logs")).unwrap();
    let run = |name: &str| control(&lab, &lab.path(name), &["status"]).exits_with(16).text();
    let none = run("none");
    assert!(none.contains("error: no socket at [lab]/none"), "{none}");
    let file = run("logs/file");
    assert!(file.contains("error: [lab]/logs/file is not a socket"), "{file}");
    let long = run(&"x".repeat(200));
    assert!(long.contains("error: "), "{long}");
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let _ = control(&lab, &stale, &["status"]).exits_with(16).says(&["nobody listens on", "was killed"]);
}

#[test]
fn a_server_that_speaks_otherwise_is_no_server() {
    let lab = Lab::bare();
    let says = |line: &'static str| Scripted::new(move |_, _| vec![line.to_owned()]);
    let status = ["status", "--timeout", "1"];
    let _ =
        says("HTTP/1.1 400 Bad Request").run(&lab, &status).exits_with(16).says(&["not a control socket"]);
    let _ = says(r#"{"QMP":{}}"#).run(&lab, &status).exits_with(16).says(&["not a control socket", "QMP"]);
    let _ = says("").run(&lab, &status).exits_with(16).says(&["closed by the server before it answered"]);
    let silent = Scripted::new(|_, _| Vec::new());
    let _ = silent.run(&lab, &status).exits_with(16).says(&["no answer to `hello` within"]);
    let busy = Scripted::new(|_, _| {
        let fault =
            json!({ "ok": false, "error": { "code": "busy", "message": "another client is connected" } });
        vec![fault.to_string(), String::new()]
    });
    let began = Instant::now();
    let _ = busy
        .run(&lab, &status)
        .exits_with(16)
        .says(&["busy with another client for", "one client at a time"]);
    assert!(began.elapsed() > Duration::from_millis(500), "it was not tried again");
    let mute = Scripted::speaking(|_, _| Vec::new());
    let _ = mute.run(&lab, &status).exits_with(16).says(&["status: no answer within 1.0 s"]);
    let lost = Scripted::speaking(|_, _| vec![String::new()]);
    let _ =
        lost.run(&lab, &status).exits_with(16).says(&["status: the control socket was closed by the server"]);
}

#[test]
fn what_a_server_refuses_or_does_not_have_is_a_failure() {
    let lab = Lab::bare();
    let refusing = Scripted::speaking(|_, request| {
        let error = json!({ "code": "internal_error", "message": "the queue is full" });
        vec![json!({ "id": request["id"], "ok": false, "error": error }).to_string()]
    });
    insta::assert_snapshot!(refusing.run(&lab, &["key", "a"]).exits_with(1).text(), @r"
    [stderr]
    error: send_key: the queue is full (internal_error)
    ");
    insta::assert_snapshot!(refusing.run(&lab, &["stats"]).exits_with(1).text(), @r#"
    [stderr]
    error: the server ("scripted", protocol 1.2) has no `stats`
    hint: `backstaff control hello` says what it can do
    "#);
    insta::assert_snapshot!(refusing.run(&lab, &["events", "latncy"]).exits_with(2).text(), @r#"
    [stderr]
    error: no event "latncy", did you mean "latency"?
    hint: this server has latency, paste_completed, paste_failed, dropped, surface_drawn
    "#);
}

#[test]
fn a_paste_fails_aloud() {
    let lab = Lab::bare();
    let telling = |event: &'static str, data: Value| {
        Scripted::speaking(move |_, request| {
            let mut data = data.clone();
            data["request_id"] = request["id"].clone();
            // Somebody else's comes first.
            let other =
                json!({ "event": event, "data": { "request_id": "x", "reason": "?", "chars_sent": 1 } });
            vec![
                ok(request, &json!({})),
                other.to_string(),
                json!({ "event": event, "data": data }).to_string(),
            ]
        })
    };
    let failing = telling("paste_failed", json!({ "reason": "cancelled" }));
    let _ = failing.run(&lab, &["paste", "hello"]).exits_with(1).says(&["error: paste: cancelled\n"]);
    let cutting = telling("paste_completed", json!({ "chars_sent": 3 }));
    let cut = cutting.run(&lab, &["paste", "hello\r\n"]).exits_with(1);
    let _ = cut.says(&["paste: 3 of 6 keys were typed", "4096"]);
    let whole = telling("paste_completed", json!({ "chars_sent": 6 }));
    let _ = whole.run(&lab, &["paste", "hello\r\n"]).exits_with(0).says(&["6 keys typed\n"]);
    let silent = Scripted::speaking(|_, request| vec![ok(request, &json!({}))]);
    let quiet = silent.run(&lab, &["paste", "hello", "--timeout", "0.5", "--delay", "1"]).exits_with(1);
    let _ = quiet.says(&["error: paste: no outcome within 0.5 s", "--enable-paste-as-keystrokes"]);
    let leaving = Scripted::speaking(|_, request| vec![ok(request, &json!({})), String::new()]);
    let _ = leaving.run(&lab, &["paste", "hello"]).exits_with(16).says(&["closed by the server"]);
}

#[test]
fn events_end_with_their_number_their_server_or_their_reader() {
    let lab = Lab::bare();
    let sending = |more: Vec<String>| {
        Scripted::new(move |method, request| match method {
            "hello" => vec![ok(request, &hello())],
            _ => {
                let answer = ok(request, &json!({ "subscribed": request["params"]["events"] }));
                [vec![answer], vec![latency(); 5], more.clone()].concat()
            }
        })
    };
    let line = format!("{}\n", latency());
    let three = sending(Vec::new()).run(&lab, &["events", "--count", "3"]).exits_with(0);
    assert_eq!(three.stdout, line.repeat(3));
    let all = sending(vec![String::new()]).run(&lab, &["events", "latency"]).exits_with(0);
    assert_eq!(all.stdout, line.repeat(5), "the server has closed");

    let flood = sending(vec![latency(); 20_000]);
    let socket = flood.path.to_str().unwrap();
    let head = lab.command(&["control", "--socket", socket, "events"]).read_lines(2);
    assert_eq!(head.run().exits_with(0).stdout, line.repeat(2));

    let staying = sending(Vec::new());
    let socket = staying.path.to_str().unwrap();
    let running = lab.command(&["control", "--socket", socket, "events"]).start();
    // Each is out at once, not when there are enough of them.
    running.wait_for(&line.repeat(5));
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130);
}

#[test]
fn a_key_that_is_down_goes_up_when_we_are_interrupted() {
    let (sender, heard) = std::sync::mpsc::channel();
    let server = Scripted::speaking(move |_, request| {
        sender.send((request["params"]["scancode"].clone(), request["params"]["state"].clone())).unwrap();
        vec![ok(request, &json!({}))]
    });
    let lab = Lab::bare();
    let socket = server.path.to_str().unwrap();
    let running = lab.command(&["control", "--socket", socket, "key", "shift+a", "--delay", "60000"]).start();
    let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!([next(), next()], [(json!(0x2A), json!("down")), (json!(0x1E), json!("down"))]);
    running.signal(Signal::INT);
    let _ = running.finish().exits_with(130);
    assert_eq!([next(), next()], [(json!(0x9E), json!("up")), (json!(0xAA), json!("up"))]);
}

#[test]
fn texts_come_from_standard_input_as_they_are() {
    let (sender, heard) = std::sync::mpsc::channel();
    let server = Scripted::speaking(move |_, request| {
        sender.send(request["params"].clone()).unwrap();
        let done =
            json!({ "event": "paste_completed", "data": { "request_id": request["id"], "chars_sent": 3 } });
        vec![ok(request, &json!({})), done.to_string()]
    });
    let lab = Lab::bare().file("logs/text", "é\n\n").file("logs/wrong", "");
    std::fs::write(lab.path("logs/wrong"), b"ab\xff").unwrap();
    let run = |file: &str| {
        let socket = server.path.to_str().unwrap();
        let mut command = lab.command(&["control", "--socket", socket, "paste", "-"]).into_command();
        command.stdin(std::fs::File::open(lab.path(file)).unwrap()).output().unwrap()
    };
    assert_eq!(run("logs/text").status.code(), Some(0));
    assert_eq!(heard.recv_timeout(Duration::from_secs(60)).unwrap(), json!({ "text": "é\n\n" }));
    let wrong = run("logs/wrong");
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("standard input is not UTF-8 from byte 2 on"), "{said}");
}
