//! Our client: how it connects, whom it refuses, and what becomes of requests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use backstaff::control::client::{Client, ClientEnd, ClientError, ClientOptions};
use backstaff::control::protocol::{
    Call, Event, EventKind, EventNames, Method, RequestId, StatusResult, SubscribeResult, Version,
};
use serde_json::{Value, json};

use super::played::{Manners, PATIENCE, Played, drawn, listen, stale};

fn options() -> ClientOptions {
    ClientOptions { client_name: "test".to_owned(), deadline: PATIENCE, answer: PATIENCE }
}

async fn refused(path: &Path, deadline: Duration) -> ClientError {
    Client::connect(path, ClientOptions { deadline, ..options() }).await.unwrap_err()
}

/// Answers `hello` as a server of this version.
fn say_hello(stream: &mut UnixStream, version: &str) -> BufReader<UnixStream> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let request = request(&mut reader);
    let hello = json!({
        "server_name": "s", "protocol_version": version, "supported_methods": [], "supported_events": [],
    });
    writeln!(stream, "{}", json!({"id": request["id"], "ok": true, "result": hello})).unwrap();
    reader
}

fn request(reader: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Reads until the client closes.
fn wait_for_end(mut stream: impl std::io::Read) {
    let _ = stream.read_to_end(&mut Vec::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_what_it_can_do_and_only_its_major_version_counts() {
    for (version, minor) in [("1.0", 0), ("1.2", 2), ("1.99", 99)] {
        let server = Played::new(Manners { version, ..Manners::default() });
        let (client, _events) = Client::connect(&server.path, options()).await.unwrap();
        assert_eq!(client.version(), Version { major: 1, minor });
        assert_eq!(client.hello().server_name, "played");
        assert!(client.has_method(Method::SendKey) && !client.has_method(Method::Stats));
        assert!(client.has_event(EventKind::DigestUpdated) && !client.has_event(EventKind::InputRtt));
        let names = EventNames { events: vec!["weather".to_owned(), "surface_drawn".to_owned()] };
        let known: SubscribeResult = client.call(Call::Subscribe(names)).await.unwrap();
        assert_eq!(known.subscribed, ["surface_drawn"]);
        let hello = &server.requests("hello")[0];
        assert_eq!(hello["params"], json!({"client_name": "test", "protocol_version": "1.5"}));
        client.close().await;
        assert_eq!(client.end(), Some(ClientEnd::Us));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_find_their_requests_in_any_order_and_between_events() {
    let (_folder, path) = listen(|mut stream| {
        let mut reader = say_hello(&mut stream, "1.5");
        let ids: Vec<Value> = (0..2).map(|_| request(&mut reader)["id"].clone()).collect();
        let answer = |id: &Value, text: &str| json!({"id": id, "ok": true, "result": {"text": text}});
        let all = format!(
            "\n{}\r\n{}\n{}\n{}\n",
            json!({"event": "weather", "data": {"wind": 1}}),
            answer(&ids[1], &"x".repeat(3_000_000)),
            drawn(),
            answer(&ids[0], "first"),
        );
        let (one, other) = all.split_at(all.len() - 9);
        stream.write_all(one.as_bytes()).unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(other.as_bytes()).unwrap();
        wait_for_end(reader);
    });
    let (client, mut events) = Client::connect(&path, options()).await.unwrap();
    let (first, second) = (client.send(Call::ClipboardGet), client.send(Call::ClipboardGet));
    assert_eq!(second.id(), &RequestId::Number(2));
    let (first, second) = tokio::join!(first.answer::<Value>(), second.answer::<Value>());
    assert_eq!(first.unwrap()["text"], "first");
    assert_eq!(second.unwrap()["text"].as_str().unwrap().len(), 3_000_000);
    assert_eq!(events.recv().await.unwrap().kind(), EventKind::SurfaceDrawn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_until_the_deadline() {
    let server = Played::new(Manners { busy: 2, ..Manners::default() });
    let began = Instant::now();
    let (client, _events) = Client::connect(&server.path, options()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(server.connections(), 3);
    let _: StatusResult = client.call(Call::Status).await.unwrap();

    let server = Played::new(Manners { busy: usize::MAX, ..Manners::default() });
    let error = refused(&server.path, Duration::from_millis(700)).await;
    assert!(matches!(error, ClientError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("busy with another client for 0."), "{error}");
    assert!(error.hint().unwrap().contains("one client at a time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_live_socket_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    let began = Instant::now();
    let missing = refused(&path("none.sock"), PATIENCE).await;
    assert!(missing.to_string().starts_with("no socket at /"), "{missing}");
    let file = refused(&path("file"), PATIENCE).await;
    assert!(file.to_string().ends_with("/file is not a socket"), "{file}");
    let stale = refused(&stale(folder.path()), PATIENCE).await;
    assert!(stale.to_string().starts_with("nobody listens on /"), "{stale}");
    assert!(stale.hint().unwrap().contains("leaves its socket behind"), "{stale}");
    assert!(began.elapsed() < PATIENCE / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_longer_than_an_address_is_no_obstacle_but_a_name_is() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let short = folder.path().join("s");
    std::os::unix::fs::symlink(&deep, &short).unwrap();
    let listener = UnixListener::bind(short.join("c.sock")).unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        wait_for_end(say_hello(&mut stream, "1.5"));
    });
    let (client, _events) = Client::connect(&deep.join("c.sock"), options()).await.unwrap();
    assert_eq!(client.hello().server_name, "s");

    let long = "n".repeat(100);
    let near = UnixListener::bind(short.join("near.sock")).unwrap();
    std::fs::rename(short.join("near.sock"), deep.join(&long)).unwrap();
    let error = refused(&deep.join(&long), PATIENCE).await;
    assert!(error.to_string().contains("the name is 100 bytes long"), "{error}");
    drop(near);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_something_else_is_refused() {
    let says = |text: &'static str| {
        listen(move |mut stream| {
            stream.write_all(text.as_bytes()).unwrap();
            wait_for_end(stream);
        })
    };
    let deadline = Duration::from_millis(300);
    let (_folder, path) = says("{\"QMP\": {\"version\": {}}}\r\n");
    let error = refused(&path, PATIENCE).await;
    assert!(error.to_string().contains("not a control socket: neither a response nor an event"), "{error}");
    assert!(error.hint().unwrap().contains("QMP"));
    let (_folder, path) = says("SSH-2.0-OpenSSH_10\n");
    let error = refused(&path, PATIENCE).await;
    assert!(error.to_string().contains("the line began \"SSH-2.0-OpenSSH_10\""), "{error}");
    let (_folder, path) = says("{\"id\":0,\"ok\":tr");
    let error = refused(&path, deadline).await;
    assert!(error.to_string().contains("no answer to `hello` within 0."), "{error}");

    let (_folder, path) = listen(|mut stream| wait_for_end(say_hello(&mut stream, "2.0")));
    let error = refused(&path, PATIENCE).await;
    assert!(error.to_string().contains("wants a server of protocol 1.x, got one of \"2.0\""), "{error}");
    let (_folder, path) = listen(|mut stream| wait_for_end(say_hello(&mut stream, "1.4.0")));
    assert!(matches!(refused(&path, PATIENCE).await, ClientError::Version { .. }));
    let (_folder, path) = says(
        "{\"id\":0,\"ok\":false,\"error\":{\"code\":\"protocol_version_mismatch\",\"message\":\"I speak 2.0\"}}\n",
    );
    let error = refused(&path, PATIENCE).await;
    assert!(error.to_string().contains("I speak 2.0"), "{error}");

    let (_folder, path) = listen(drop);
    assert!(matches!(refused(&path, PATIENCE).await, ClientError::ClosedAtHello { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_given_up_and_later_ones_come() {
    let server = Played::new(Manners { deaf_to: "screenshot", refuses: "send_key", ..Manners::default() });
    let patient = ClientOptions { answer: Duration::from_secs(2), ..options() };
    let (client, _events) = Client::connect(&server.path, patient).await.unwrap();
    let error = client.call::<Value>(Call::Screenshot(Default::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "screenshot: no answer within 2.0 s");
    let _: StatusResult = client.call(Call::Status).await.unwrap();
    let key =
        Call::SendKey(backstaff::control::protocol::SendKeyParams { scancode: 1, state: "down".to_owned() });
    let error = client.call::<Value>(key).await.unwrap_err();
    assert_eq!(error.to_string(), "send_key: the input queue is full (internal_error)");
    let error = client.call::<SubscribeResult>(Call::Status).await.unwrap_err();
    assert!(error.to_string().starts_with("status: the answer is not what it should be: missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_answers_whoever_waits() {
    let server = Played::new(Manners { deaf_to: "screenshot", ..Manners::default() });
    let (client, mut events) = Client::connect(&server.path, options()).await.unwrap();
    let pending = client.send(Call::Screenshot(Default::default()));
    server.wait(|server| !server.requests("screenshot").is_empty());
    server.hang_up();
    let error = pending.answer::<Value>().await.unwrap_err();
    assert_eq!(error.to_string(), "screenshot: the control socket was closed by the server");
    assert_eq!(events.recv().await, None);
    assert_eq!(client.closed().await, ClientEnd::Server { complaint: None });
    let error = client.call::<Value>(Call::Status).await.unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error}");

    let server = Played::new(Manners::default());
    let (client, _events) = Client::connect(&server.path, options()).await.unwrap();
    server.say("no JSON at all");
    let end = client.closed().await.to_string();
    assert!(end.contains("expected ident") && end.contains("the line began \"no JSON at all\""), "{end}");

    let server = Played::new(Manners::default());
    let (client, _events) = Client::connect(&server.path, options()).await.unwrap();
    server.say(r#"{"ok":false,"error":{"code":"bad_params","message":"the line is too long"}}"#);
    server.hang_up();
    let end = client.closed().await.to_string();
    assert_eq!(end, "closed by the server, which said: the line is too long (bad_params)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_without_an_id_is_the_answer_to_the_only_request() {
    let server = Played::new(Manners { deaf_to: "status", ..Manners::default() });
    let (client, _events) = Client::connect(&server.path, options()).await.unwrap();
    let pending = client.send(Call::Status);
    server.wait(|server| !server.requests("status").is_empty());
    server.say(r#"{"ok":false,"error":{"code":"bad_params","message":"failed to parse request"}}"#);
    let error = pending.answer::<Value>().await.unwrap_err();
    assert_eq!(error.to_string(), "status: failed to parse request (bad_params)");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_events_is_told_how_many_were_lost() {
    const TOLD: u32 = 20_000;
    let (_folder, path) = listen(|mut stream| {
        let mut reader = say_hello(&mut stream, "1.5");
        let all = format!("{}\n", drawn()).repeat(TOLD as usize - 1);
        stream.write_all(all.as_bytes()).unwrap();
        writeln!(stream, "{}", json!({"event": "dropped", "data": {"count": 5}})).unwrap();
        let id = &request(&mut reader)["id"];
        writeln!(stream, "{}", json!({"id": id, "ok": true, "result": {}})).unwrap();
        wait_for_end(reader);
    });
    let (client, mut events) = Client::connect(&path, options()).await.unwrap();
    // An answer comes through however many events nobody reads.
    let _: Value = client.call(Call::Stats).await.unwrap();
    let (mut delivered, mut dropped) = (0, 0);
    while delivered + dropped < TOLD + 4 {
        match events.recv().await.unwrap() {
            Event::Dropped { count } => dropped += count,
            _ => delivered += 1,
        }
    }
    assert_eq!(delivered + dropped, TOLD - 1 + 5);
    assert!(dropped > TOLD / 2 && delivered > 1_000, "{delivered} delivered, {dropped} dropped");
}
