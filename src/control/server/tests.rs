//! A server with an invented console, and clients that do what they like.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::control::protocol::{Event, EventKind, SurfaceInfo};

/// Remembers keys, types nothing, shows one pixel.
#[derive(Debug, Default)]
struct TestDesk {
    keys: Mutex<Vec<(u16, KeyState)>>,
    /// Texts whose paste was begun, and how many of them were dropped.
    pastes: Mutex<Vec<String>>,
    dropped: Arc<AtomicUsize>,
}

impl Desk for TestDesk {
    fn status(&self) -> StatusResult {
        let surfaces = vec![SurfaceInfo { channel_id: 0, surface_id: 0, width: 1, height: 1 }];
        StatusResult { spice_connected: true, agent_connected: false, surfaces }
    }

    fn send_key(&self, scancode: u16, state: KeyState) -> Result<(), Fault> {
        self.keys.lock().unwrap().push((scancode, state));
        Ok(())
    }

    /// "ok" is typed at once, "no" cannot be, anything else never ends.
    fn paste(&self, text: String, _char_delay: Duration) -> Paste {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.pastes.lock().unwrap().push(text.clone());
        let dropped = Dropped(Arc::clone(&self.dropped));
        Box::pin(async move {
            let _dropped = dropped;
            match &*text {
                "ok" => Ok(2),
                "no" => Err("cannot".to_owned()),
                // A paste that goes on until it is dropped, which the test looks for.
                _ => std::future::pending().await,
            }
        })
    }

    fn screenshot(&self, surface_id: Option<u32>, format: PictureFormat) -> Result<Picture, Fault> {
        match (surface_id, format) {
            (Some(13), _) => panic!("a bug of ours"),
            (None | Some(0), PictureFormat::Rgba) => {
                Ok(Picture { width: 1, height: 1, bytes: vec![1, 2, 3, 255] })
            }
            _ => Err(Fault::new(Code::NO_SUCH_SURFACE, "no")),
        }
    }

    fn clipboard_set(&self, text: String) -> Result<(), Fault> {
        assert!(text.len() > 1_000_000, "only long ones are set here");
        Ok(())
    }

    fn clipboard_get(&self) -> Option<String> {
        None
    }

    fn resize(&self, size: Size) -> Result<Size, Fault> {
        Ok(size)
    }

    fn stats(&self) -> StatsResult {
        StatsResult::default()
    }
}

struct Lab {
    desk: Arc<TestDesk>,
    hub: Hub,
    stop: CancellationToken,
    path: PathBuf,
    serving: tokio::task::JoinHandle<std::io::Result<Served>>,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new(clients: usize) -> Self {
        Self::with(ServerOptions { clients, ..ServerOptions::new("lab") })
    }

    fn with(options: ServerOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (desk, hub, stop) = (Arc::new(TestDesk::default()), Hub::default(), CancellationToken::new());
        let server = ControlServer::bind(&path).unwrap();
        let offered = Arc::clone(&desk) as Arc<dyn Desk>;
        let serving = tokio::spawn(server.serve(offered, hub.clone(), options, stop.clone()));
        Self { desk, hub, stop, path, serving, _folder: folder }
    }

    async fn client(&self) -> Client {
        let (read, write) = UnixStream::connect(&self.path).await.unwrap().into_split();
        Client { lines: BufReader::new(read), write, next_id: 0 }
    }

    /// Where the one before may still be leaving.
    async fn next_client(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = self.client().await;
            client.send(&json!({ "id": 0, "method": "hello", "params": hello() }).to_string()).await;
            match client.line().await {
                Some(line) if line.contains("\"ok\":true") => return client,
                line => assert!(Instant::now() < deadline, "{line:?}"),
            }
        }
    }

    async fn end(self) -> Served {
        self.stop.cancel();
        let served = tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap().unwrap();
        assert!(!self.path.exists());
        served
    }
}

fn hello() -> Value {
    json!({ "client_name": "test", "protocol_version": "1.5" })
}

struct Client {
    lines: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    next_id: i64,
}

impl Client {
    async fn send(&mut self, line: &str) {
        // A server that has closed is known by what it said.
        let _ = self.write.write_all(format!("{line}\n").as_bytes()).await;
    }

    /// The next line; nothing at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line)).await.unwrap().unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await.unwrap()).unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        self.send(&json!({ "id": self.next_id, "method": method, "params": params }).to_string()).await;
        let answer = self.json().await;
        assert_eq!(answer["id"], self.next_id, "{answer}");
        answer
    }

    async fn subscribe(&mut self, events: &[&str]) {
        let answer = self.ask("subscribe", json!({ "events": events })).await;
        assert_eq!(answer["result"]["subscribed"], json!(events));
    }
}

#[tokio::test]
async fn the_second_client_is_told_unasked_and_the_first_goes_on() {
    let lab = Lab::new(1);
    let mut first = lab.next_client().await;
    let mut second = lab.client().await;
    second.send("nonsense that nobody reads").await;
    assert_eq!(
        second.line().await.unwrap(),
        r#"{"ok":false,"error":{"code":"busy","message":"another client is connected"}}"#
    );
    assert_eq!(second.line().await, None);
    assert_eq!(first.ask("status", json!({})).await["ok"], true);
    drop(first);
    lab.next_client().await;
    assert_eq!(lab.end().await, Served { clients: 2, failed_pastes: 0 });
}

#[tokio::test]
async fn several_clients_have_queues_and_subscriptions_of_their_own() {
    let lab = Lab::new(2);
    let (mut one, mut two) = (lab.client().await, lab.client().await);
    let features = one.ask("hello", hello()).await["result"]["features"].clone();
    assert_eq!(features, json!(["multi"]));
    two.ask("hello", hello()).await;
    let mut third = lab.client().await;
    assert!(third.line().await.unwrap().contains("\"busy\""));
    one.subscribe(&["latency"]).await;
    two.subscribe(&["clipboard_changed"]).await;
    lab.hub.publish(EventKind::ClipboardChanged, 1, || Event::ClipboardChanged { bytes: 1 });
    lab.hub.publish(EventKind::Latency, 2, || Event::Latency { sample_ms: 0.5, wallclock_us: 7 });
    lab.hub.publish(EventKind::Dropped, 1, || panic!("nobody wants it"));
    for _ in 0..2 {
        let latency = r#"{"event":"latency","data":{"sample_ms":0.5,"wallclock_us":7}}"#;
        assert_eq!(one.line().await.unwrap(), latency);
    }
    assert_eq!(two.line().await.unwrap(), r#"{"event":"clipboard_changed","data":{"bytes":1}}"#);
    assert!(lab.hub.wanted().has(EventKind::Latency));
    drop(one);
    two.ask("paste", json!({ "text": "ok" })).await;
    let answer = two.ask("unsubscribe", json!({ "events": ["latency", "clipboard_changed"] })).await;
    assert_eq!(answer["result"], json!({ "unsubscribed": ["clipboard_changed"] }));
    lab.end().await;
}

#[tokio::test]
async fn one_client_alone_is_offered_no_features() {
    let lab = Lab::new(1);
    let answer = lab.client().await.ask("hello", hello()).await;
    let keys: Vec<&String> = answer["result"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["protocol_version", "server_name", "supported_events", "supported_methods"]);
    lab.end().await;
}

#[tokio::test]
async fn pastes_are_typed_one_after_the_other_and_end_with_their_client() {
    let lab = Lab::new(1);
    let mut client = lab.next_client().await;
    client.subscribe(&["paste_completed", "paste_failed"]).await;
    for (id, text) in [("\"a\"", "ok"), ("7", "no"), ("8", "for ever"), ("9", "ok")] {
        client.send(&format!(r#"{{"id":{id},"method":"paste","params":{{"text":"{text}"}}}}"#)).await;
    }
    let mut lines = Vec::new();
    for _ in 0..6 {
        lines.push(client.line().await.unwrap());
    }
    let completed = r#"{"event":"paste_completed","data":{"request_id":"a","chars_sent":2}}"#;
    let failed = r#"{"event":"paste_failed","data":{"request_id":7,"reason":"cannot"}}"#;
    let at = |line: &str| lines.iter().position(|known| known == line).unwrap();
    assert!(at(r#"{"id":"a","ok":true,"result":{}}"#) < at(completed), "{lines:?}");
    assert!(at(completed) < at(failed) && at(r#"{"id":7,"ok":true,"result":{}}"#) < at(failed), "{lines:?}");
    let long = "x".repeat(5_000);
    client.ask("paste", json!({ "text": long })).await;
    assert_eq!(lab.desk.pastes.lock().unwrap().last().unwrap().len(), 4_096);
    let mut refused = Value::Null;
    for _ in 0..20 {
        refused = client.ask("paste", json!({ "text": "more" })).await;
    }
    assert_eq!(refused["error"]["code"], "queue_full");
    assert_eq!(lab.desk.dropped.load(Ordering::Acquire), 2);
    drop(client);
    lab.next_client().await;
    let begun = lab.desk.pastes.lock().unwrap().len();
    assert_eq!(lab.desk.dropped.load(Ordering::Acquire), begun, "all of them are over");
    assert_eq!(lab.end().await.failed_pastes, 2, "one that could not be, one that was left behind");
}

#[tokio::test]
async fn what_makes_no_sense_closes_or_is_refused_and_the_next_client_is_served() {
    let lab = Lab::new(1);
    let mut client = lab.next_client().await;
    client.write.write_all(b"\xff\xfe\n").await.unwrap();
    assert_eq!(client.json().await["error"]["code"], "bad_params");
    assert_eq!(client.ask("status", json!({})).await["ok"], true, "it stays open");
    client.send(&"x".repeat(2_000_000)).await;
    let refused = client.json().await;
    assert!(refused["id"].is_null() && refused["error"]["message"].as_str().unwrap().contains("1048576"));
    assert_eq!(client.line().await, None);
    let mut client = lab.next_client().await;
    let long = client.ask("status", json!({ "more": "y".repeat(1_048_000) })).await;
    assert_eq!(long["ok"], true, "a long line is no harm");
    let text = "z".repeat(3_000_000);
    assert_eq!(client.ask("clipboard_set", json!({ "text": text })).await["ok"], true);
    let bug = client.ask("screenshot", json!({ "surface_id": 13 })).await;
    assert_eq!(bug["error"]["code"], "internal_error");
    let shot = client.ask("screenshot", json!({ "surface_id": null, "format": "rgba" })).await;
    assert_eq!(
        shot["result"],
        json!({ "width": 1, "height": 1, "format": "rgba", "data_base64": "AQID/w==" })
    );
    let mismatch = client.ask("hello", json!({ "client_name": "x", "protocol_version": "2.0" })).await;
    assert_eq!(mismatch["error"]["code"], "protocol_version_mismatch");
    assert_eq!(client.line().await, None);
    lab.end().await;
}

#[tokio::test]
async fn half_a_line_and_then_silence_is_not_waited_for() {
    let patience = Duration::from_millis(50);
    let lab = Lab::with(ServerOptions { patience, ..ServerOptions::new("lab") });
    let mut idle = lab.next_client().await;
    tokio::time::sleep(patience * 3).await;
    assert_eq!(idle.ask("status", json!({})).await["ok"], true, "silence between lines is fine");
    idle.write.write_all(b"{\"id\":1,\"meth").await.unwrap();
    let refused = idle.json().await;
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("half a line"), "{refused}");
    assert_eq!(idle.line().await, None);
    lab.next_client().await;
    lab.end().await;
}

#[tokio::test]
async fn what_was_told_before_the_end_still_arrives() {
    let lab = Lab::new(1);
    let mut client = lab.next_client().await;
    client.subscribe(&["clipboard_changed"]).await;
    for bytes in 0..200 {
        lab.hub.publish(EventKind::ClipboardChanged, 1, || Event::ClipboardChanged { bytes });
    }
    lab.end().await;
    for bytes in 0..200 {
        assert_eq!(client.json().await["data"]["bytes"], bytes);
    }
    assert_eq!(client.line().await, None, "no word of farewell");
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_holds_up_nobody() {
    let lab = Lab::new(2);
    let mut rude = lab.next_client().await;
    let request = format!("{}\n", json!({ "id": 1, "method": "screenshot", "params": { "format": "rgba" } }));
    // Until neither the socket nor the queue take any more.
    let writing = async {
        loop {
            rude.write.write_all(request.as_bytes()).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_millis(500), writing).await.unwrap_err();
    let mut polite = lab.next_client().await;
    assert_eq!(polite.ask("send_key", json!({ "scancode": 30, "state": "press" })).await["ok"], true);
    assert_eq!(*lab.desk.keys.lock().unwrap(), [(30, KeyState::Press)]);
    drop(rude);
    lab.end().await;
}

const PATIENCE: Duration = Duration::from_secs(30);
