//! One client: its requests in order, its pastes in the background, its events as they come.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::lines::LineBuffer;
use super::super::protocol::{
    Call, ClipboardGetResult, Code, DEFAULT_CHAR_DELAY_MS, Envelope, Event, EventKind, EventNames, Fault,
    HelloParams, Method, PASTE_LIMIT, PasteParams, RequestId, Response, ScreenshotParams, ScreenshotResult,
    SubscribeResult, UnsubscribeResult, VERSION, Version,
};
use super::outbox::Outbox;
use super::{Desk, GOODBYE, Paste, Shared};

/// Talks to a client until it goes, the server stops, or there is nothing sensible to be had from it.
pub(super) async fn run(stream: UnixStream, shared: &Arc<Shared>, stop: &CancellationToken) {
    let outbox = Arc::new(Outbox::default());
    let membership = shared.hub.join(&outbox);
    let (mut read, write) = stream.into_split();
    let (pastes, waiting) = mpsc::channel(PASTES);
    let connection = Connection { shared, outbox: &outbox, pastes, has_said_hello: false };
    let mut sending = Box::pin(send(write, &outbox));
    // Cancel safety: nothing goes on after one of these has ended, but what waits to be sent.
    let end = tokio::select! {
        end = connection.serve(&mut read) => end,
        () = type_pastes(waiting, shared, &outbox) => End::Gone,
        _ = &mut sending => return finish(membership, shared),
        () = stop.cancelled() => End::Gone,
    };
    finish(membership, shared);
    outbox.close();
    let farewell = async {
        let Some(mut write) = sending.await else { return };
        if matches!(end, End::Refused) {
            // What it has sent is read, or it would see an error in place of our last line.
            let _ = write.shutdown().await;
            let mut ignored = [0; 4_096];
            while matches!(read.read(&mut ignored).await, Ok(1..)) {}
        }
    };
    // Whoever does not listen misses it.
    let _ = tokio::time::timeout(GOODBYE, farewell).await;
}

fn finish(membership: super::hub::Membership, shared: &Shared) {
    drop(membership);
    shared.desk.subscriptions_changed();
}

/// How a connection ends.
enum End {
    /// There is nobody to hear more.
    Gone,
    /// The last response said why.
    Refused,
}

struct Connection<'a> {
    shared: &'a Shared,
    outbox: &'a Outbox,
    pastes: mpsc::Sender<(RequestId, Paste)>,
    has_said_hello: bool,
}

impl Connection<'_> {
    async fn serve(mut self, read: &mut OwnedReadHalf) -> End {
        let mut lines = LineBuffer::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let has_begun = !lines.rest().is_empty();
            let reading = read.read(&mut chunk);
            let count = match within(has_begun.then_some(self.shared.options.patience), reading).await {
                Some(Ok(count @ 1..)) => count,
                Some(Ok(0) | Err(_)) => return End::Gone,
                None => {
                    let patience = self.shared.options.patience;
                    return self.refuse(format!("half a line, and then nothing for {patience:?}")).await;
                }
            };
            lines.push(&chunk[..count]);
            while let Some(line) = lines.next_line() {
                if line.len() > limit_of(line) {
                    return self.refuse(too_long(line)).await;
                }
                let request = Envelope::parse(line);
                if let Some(end) = self.handle(request).await {
                    return end;
                }
            }
            let rest = lines.rest();
            if rest.len() > limit_of(rest) {
                return self.refuse(too_long(rest)).await;
            }
        }
    }

    async fn refuse(&self, message: String) -> End {
        tracing::info!(message, "control socket: a client is sent away");
        self.respond(None, Err(Fault::bad_params(message))).await;
        End::Refused
    }

    async fn respond(&self, id: Option<RequestId>, outcome: Result<Value, Fault>) {
        self.outbox.push_response(Response { id, outcome }.line()).await;
    }

    async fn handle(&mut self, request: Result<Envelope, Fault>) -> Option<End> {
        let request = match request {
            Ok(request) => request,
            Err(fault) => {
                self.respond(None, Err(fault)).await;
                return None;
            }
        };
        let id = request.id.clone();
        if !self.has_said_hello && request.method != Method::Hello.name() {
            let fault = Fault::new(Code::NO_HELLO_YET, "the first request is hello");
            self.respond(Some(id), Err(fault)).await;
            return None;
        }
        match request.call() {
            Ok(Call::Hello(params)) => return self.hello(id, &params).await,
            Ok(Call::Paste(params)) => self.paste(id, params).await,
            Ok(Call::Screenshot(params)) => {
                let line = screenshot(Arc::clone(&self.shared.desk), id, params).await;
                self.outbox.push_response(line).await;
            }
            Ok(call) => {
                let outcome = self.answer(call);
                self.respond(Some(id), outcome).await;
            }
            Err(fault) => self.respond(Some(id), Err(fault)).await,
        }
        None
    }

    async fn hello(&mut self, id: RequestId, params: &HelloParams) -> Option<End> {
        let outcome = params.protocol_version.parse::<Version>().and_then(|version| {
            if version.major == VERSION.major {
                return Ok(version);
            }
            let message = format!("this server speaks {VERSION}, the client {version}");
            Err(Fault::new(Code::PROTOCOL_VERSION_MISMATCH, message))
        });
        let end = outcome.as_ref().is_err_and(|fault| fault.code == Code::PROTOCOL_VERSION_MISMATCH);
        if outcome.is_ok() && !self.has_said_hello {
            self.has_said_hello = true;
            self.shared.clients.fetch_add(1, Ordering::AcqRel);
            tracing::info!(client = ?params.client_name, version = params.protocol_version, "control socket: hello");
        }
        self.respond(Some(id), outcome.and_then(|_| result(&self.shared.hello))).await;
        end.then_some(End::Refused)
    }

    /// What is answered at once.
    fn answer(&self, call: Call) -> Result<Value, Fault> {
        let desk = &self.shared.desk;
        match call {
            Call::Status => result(&desk.status()),
            Call::SendKey(params) => {
                desk.send_key(params.scancode, params.key_state()?)?;
                Ok(json!({}))
            }
            Call::Subscribe(names) => result(&SubscribeResult {
                subscribed: self.change_subscriptions(names, |kind| {
                    self.outbox.subscribe(kind);
                    true
                }),
            }),
            Call::Unsubscribe(names) => result(&UnsubscribeResult {
                unsubscribed: self.change_subscriptions(names, |kind| self.outbox.unsubscribe(kind)),
            }),
            Call::ClipboardSet(params) => desk.clipboard_set(params.text).map(|()| json!({})),
            Call::ClipboardGet => result(&ClipboardGetResult { text: desk.clipboard_get() }),
            Call::Resize(size) => result(&desk.resize(size)?),
            Call::Stats => result(&desk.stats()),
            Call::Hello(_) | Call::Paste(_) | Call::Screenshot(_) => {
                Err(Fault::new(Code::INTERNAL_ERROR, "this is answered elsewhere"))
            }
        }
    }

    /// Returns the names for which `change` says so.
    fn change_subscriptions(&self, names: EventNames, change: impl Fn(EventKind) -> bool) -> Vec<String> {
        let known = |name: &String| EventKind::by_name(name).is_some_and(&change);
        let changed = names.events.into_iter().filter(known).collect();
        self.shared.desk.subscriptions_changed();
        changed
    }

    /// Answers that it is queued, and only then queues it: its outcome comes later.
    async fn paste(&self, id: RequestId, params: PasteParams) {
        let Ok(place) = self.pastes.try_reserve() else {
            let fault = Fault::new(Code::QUEUE_FULL, format!("{PASTES} pastes wait to be typed already"));
            return self.respond(Some(id), Err(fault)).await;
        };
        let text: String = params.text.chars().take(PASTE_LIMIT).collect();
        let char_delay = Duration::from_millis(params.char_delay_ms.unwrap_or(DEFAULT_CHAR_DELAY_MS).into());
        self.respond(Some(id.clone()), Ok(json!({}))).await;
        place.send((id, self.shared.desk.paste(text, char_delay)));
    }
}

/// Types pastes one after the other, and tells what became of them.
async fn type_pastes(mut waiting: mpsc::Receiver<(RequestId, Paste)>, shared: &Shared, outbox: &Outbox) {
    while let Some((request_id, paste)) = waiting.recv().await {
        let unfinished = Unfinished(&shared.failed_pastes);
        let outcome = paste.await;
        let event = match outcome {
            Ok(chars_sent) => {
                std::mem::forget(unfinished);
                Event::PasteCompleted { request_id, chars_sent }
            }
            Err(reason) => Event::PasteFailed { request_id, reason },
        };
        if outbox.subscribed().has(event.kind()) {
            outbox.push_event(event.line().into());
        }
    }
}

/// Counts a paste as failed when it is dropped: that is also what becomes of those that a client leaves behind.
struct Unfinished<'a>(&'a AtomicU64);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Makes the whole line where it holds nobody up: a large screen is many megabytes of it.
async fn screenshot(desk: Arc<dyn Desk>, id: RequestId, params: ScreenshotParams) -> String {
    let failed_id = id.clone();
    let line = tokio::task::spawn_blocking(move || {
        let outcome = params.picture_format().and_then(|format| {
            let picture = desk.screenshot(params.surface_id, format)?;
            result(&ScreenshotResult {
                width: picture.width,
                height: picture.height,
                format: format.name().to_owned(),
                data_base64: STANDARD.encode(&picture.bytes),
            })
        });
        Response { id: Some(id), outcome }.line()
    });
    match line.await {
        Ok(line) => line,
        Err(error) => Response {
            id: Some(failed_id),
            outcome: Err(Fault::new(Code::INTERNAL_ERROR, error.to_string())),
        }
        .line(),
    }
}

/// Sends until the outbox is closed and empty; nothing comes back when the client cannot be sent to.
async fn send(mut write: OwnedWriteHalf, outbox: &Outbox) -> Option<OwnedWriteHalf> {
    while let Some(line) = outbox.next().await {
        write.write_all(line.as_bytes()).await.ok()?;
    }
    Some(write)
}

async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

fn result(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault::new(Code::INTERNAL_ERROR, error.to_string()))
}

/// How long a line may be. The text of a clipboard may be long, and each of its characters six bytes of JSON.
fn limit_of(line: &[u8]) -> usize {
    let beginning = &line[..line.len().min(4_096)];
    let name = format!("\"{}\"", Method::ClipboardSet.name());
    let is_clipboard =
        line.len() > LINE_LIMIT && beginning.windows(name.len()).any(|part| part == name.as_bytes());
    if is_clipboard { CLIPBOARD_LINE_LIMIT } else { LINE_LIMIT }
}

fn too_long(line: &[u8]) -> String {
    format!("a line of more than {} bytes", limit_of(line))
}

/// Bytes of a request.
const LINE_LIMIT: usize = 1_048_576;
/// The most that a clipboard takes is [`super::CLIPBOARD_LIMIT`].
const CLIPBOARD_LINE_LIMIT: usize = 6 * super::CLIPBOARD_LIMIT + LINE_LIMIT;
/// Pastes of one client that wait.
const PASTES: usize = 16;
const CHUNK: usize = 65_536;
