//! QMP against a server made of a few lines, and against QEMU.

use std::time::Duration;

use backstaff::lane::qmp::{QmpClient, QmpEnd, QmpError, QmpEvents};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::support::{PATIENCE, boardless, connect, platform_or_skip, spawn};

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}"#;

struct Server(BufReader<UnixStream>);

impl Server {
    async fn send(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    /// The next command and its id.
    async fn command(&mut self) -> (String, Value) {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        (message["execute"].as_str().unwrap().to_owned(), message["id"].clone())
    }

    async fn answer(&mut self, id: &Value, value: Value) {
        self.send(&json!({ "return": value, "id": id }).to_string()).await;
    }
}

async fn pair() -> (QmpClient, QmpEvents, Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut server = Server(BufReader::new(theirs));
    let serve = async {
        server.send(GREETING).await;
        let (command, id) = server.command().await;
        assert_eq!(command, "qmp_capabilities");
        server.answer(&id, json!({})).await;
    };
    let (connected, ()) = tokio::join!(QmpClient::negotiate(ours, PATIENCE), serve);
    let (client, events) = connected.unwrap();
    (client, events, server)
}

async fn ask(client: &QmpClient, command: &str) -> Result<Value, QmpError> {
    client.execute(command, Map::new(), PATIENCE).await
}

#[tokio::test]
async fn answers_find_their_commands_in_any_order() {
    let (client, _events, mut server) = pair().await;
    let serve = async {
        let (first, first_id) = server.command().await;
        let (second, second_id) = server.command().await;
        server.answer(&second_id, json!(second)).await;
        server.answer(&first_id, json!(first)).await;
    };
    let (left, right, ()) = tokio::join!(ask(&client, "left"), ask(&client, "right"), serve);
    assert_eq!((left.unwrap(), right.unwrap()), (json!("left"), json!("right")));
}

#[tokio::test]
async fn a_refusal_carries_qemus_class_and_words() {
    let (client, _events, mut server) = pair().await;
    let serve = async {
        let (_, id) = server.command().await;
        let error = json!({ "class": "CommandNotFound", "desc": "The command jump has not been found" });
        server.send(&json!({ "error": error, "id": id }).to_string()).await;
    };
    let (answer, ()) = tokio::join!(ask(&client, "jump"), serve);
    let text = answer.unwrap_err().to_string();
    assert_eq!(text, "qmp jump: CommandNotFound: The command jump has not been found");
}

#[tokio::test]
async fn events_between_a_command_and_its_answer_are_kept() {
    let (client, mut events, mut server) = pair().await;
    let serve = async {
        let (_, id) = server.command().await;
        server.send(r#"{"event": "STOP", "timestamp": {"seconds": 2, "microseconds": 5}}"#).await;
        server.send(r#"{"event": "SHUTDOWN", "data": {"guest": true}, "timestamp": {"seconds": -1, "microseconds": -1}}"#).await;
        server.answer(&id, json!({})).await;
    };
    let (answer, ()) = tokio::join!(ask(&client, "cont"), serve);
    answer.unwrap();
    let stop = events.recv().await.unwrap();
    assert_eq!((stop.name.as_str(), stop.timestamp_us), ("STOP", Some(2_000_005)));
    let shutdown = events.recv().await.unwrap();
    assert_eq!((shutdown.data["guest"].clone(), shutdown.timestamp_us), (json!(true), None));
}

#[tokio::test]
async fn a_closed_connection_answers_everybody() {
    let (client, mut events, mut server) = pair().await;
    let serve = async {
        server.command().await;
        server.command().await;
        drop(server);
    };
    let (left, right, ()) = tokio::join!(ask(&client, "left"), ask(&client, "right"), serve);
    let ended = |command: &str| QmpError::Ended { command: command.to_owned(), reason: QmpEnd::Eof };
    assert_eq!((left, right), (Err(ended("left")), Err(ended("right"))));
    assert_eq!(ask(&client, "late").await, Err(ended("late")));
    assert!(events.recv().await.is_err() && client.subscribe().is_none());
}

#[tokio::test]
async fn a_command_without_an_answer_is_given_up_and_does_not_confuse_the_next() {
    let (client, _events, mut server) = pair().await;
    let given_up = client.execute("slow", Map::new(), Duration::from_millis(20)).await;
    assert!(matches!(given_up, Err(QmpError::Timeout { .. })), "{given_up:?}");
    let serve = async {
        let (_, slow) = server.command().await;
        let (_, quick) = server.command().await;
        server.answer(&slow, json!("too late")).await;
        server.answer(&quick, json!("in time")).await;
    };
    let (answer, ()) = tokio::join!(ask(&client, "quick"), serve);
    assert_eq!(answer.unwrap(), json!("in time"));
}

#[tokio::test]
async fn what_is_no_qmp_is_reported_with_its_offset() {
    let (client, _events, mut server) = pair().await;
    let serve = async {
        server.command().await;
        server.send("hello?").await;
    };
    let (answer, ()) = tokio::join!(ask(&client, "x"), serve);
    let Err(QmpError::Ended { reason: QmpEnd::Malformed { offset_bytes, .. }, .. }) = &answer else {
        panic!("{answer:?}")
    };
    let before = GREETING.len() + 2 + r#"{"id":1,"return":{}}"#.len() + 2;
    assert_eq!(usize::try_from(*offset_bytes).unwrap(), before);
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    let (client, _events, mut server) = pair().await;
    let flood = async move {
        server.command().await;
        let chunk = vec![b' '; 1_024 * 1_024];
        while server.0.write_all(&chunk).await.is_ok() {}
    };
    let (answer, ()) = tokio::join!(ask(&client, "x"), flood);
    assert!(matches!(answer, Err(QmpError::Ended { reason: QmpEnd::LineTooLong { .. }, .. })), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_is_none_is_refused() {
    for (line, wanted) in
        [("SSH-2.0-x", "not a QMP message"), ("{}", "no greeting"), ("[1]", "not a QMP message")]
    {
        let (ours, theirs) = UnixStream::pair().unwrap();
        Server(BufReader::new(theirs)).send(line).await;
        let error = QmpClient::negotiate(ours, PATIENCE).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{line}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = QmpClient::negotiate(ours, Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.to_string(), "qmp greeting: no answer within 20ms");
}

#[tokio::test]
async fn qemu_answers_refuses_and_quits() {
    let Some(platform) = platform_or_skip("QMP with QEMU").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&boardless(&platform, &[]), folder.path()).await;
    let (client, mut events) = connect(folder.path()).await;
    let version = ask(&client, "query-version").await.unwrap();
    assert_eq!(version["qemu"]["major"], platform.qemu_version.major);
    assert!(ask(&client, "query-qmp-schema").await.unwrap().as_array().unwrap().len() > 100);
    let refusal = ask(&client, "no-such-command").await.unwrap_err();
    assert!(matches!(&refusal, QmpError::Refused { class, .. } if class == "CommandNotFound"), "{refusal}");
    ask(&client, "quit").await.unwrap();
    assert!(process.exited().await.is_success());
    assert_eq!(events.recv().await.unwrap().name, "SHUTDOWN");
}
