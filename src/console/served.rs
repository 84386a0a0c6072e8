//! A console on a control socket: what happens on it is told, what clients want is done.
//!
//! Start reading at [`ServedConsole`]. It hears the console as a [`ConsoleListener`] and is the [`Desk`] of a control
//! server. It exists before the console does, and outlives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::agent::{AgentEvent, ClipboardKind, Selection};
use super::layout::US;
use super::typing::type_keys;
use super::{
    Console, ConsoleEvent, ConsoleListener, DisplayTraffic, Scancode, Screenshot, StreamTraffic, SurfaceFacts,
};
use crate::control::protocol::{
    Code, DecodeStats, DisplayStats, Event, EventKind, Fault, KeyState, PictureFormat, Size, StatsResult,
    StatusResult, StreamStats, SurfaceInfo,
};
use crate::control::server::{CLIPBOARD_LIMIT, Desk, Hub, Paste, Picture};
use crate::journal::ObservedDigest;

/// A console that is offered on a control socket. A clone is another handle.
#[derive(Debug, Clone)]
pub struct ServedConsole {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// INVARIANT: never asked or told while `state` is locked, as it locks itself.
    hub: Hub,
    state: Mutex<State>,
    /// One paste at a time.
    typing: Arc<tokio::sync::Mutex<()>>,
    over: CancellationToken,
}

#[derive(Debug)]
struct State {
    console: Option<Weak<dyn Console>>,
    /// When the console came up: the beginning of the session's clock.
    began: Instant,
    has_agent: bool,
    /// What the guest copied last.
    clipboard: Option<String>,
    /// What a client offers to the guest.
    offered: Option<String>,
    pinged_at: Option<Instant>,
    frame_counter: Option<u32>,
    /// Control, shift and alt keys that clients hold down.
    held: Vec<Scancode>,
    is_probing: bool,
}

impl ServedConsole {
    /// For a console that is not there yet.
    pub fn new() -> Self {
        let state = State {
            console: None,
            began: Instant::now(),
            has_agent: false,
            clipboard: None,
            offered: None,
            pinged_at: None,
            frame_counter: None,
            held: Vec::new(),
            is_probing: false,
        };
        let inner = Inner {
            hub: Hub::default(),
            state: Mutex::new(state),
            typing: Arc::default(),
            over: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where its events are told.
    pub fn hub(&self) -> Hub {
        self.inner.hub.clone()
    }

    /// Cancelled when the console has closed.
    pub fn over(&self) -> CancellationToken {
        self.inner.over.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn console(&self) -> Result<Arc<dyn Console>, Fault> {
        let console = self.state().console.as_ref().and_then(Weak::upgrade);
        console.filter(|_| !self.inner.over.is_cancelled()).ok_or_else(|| {
            let when = if self.inner.over.is_cancelled() { "any more" } else { "yet" };
            Fault::new(Code::INTERNAL_ERROR, format!("there is no console {when}"))
        })
    }

    fn handle_agent(&self, event: &AgentEvent) {
        match event {
            AgentEvent::Connected | AgentEvent::Disconnected => {
                let connected = matches!(event, AgentEvent::Connected);
                let had_agent = std::mem::replace(&mut self.state().has_agent, connected);
                if had_agent != connected {
                    let event = || Event::AgentConnected { connected };
                    self.inner.hub.publish(EventKind::AgentConnected, 1, event);
                }
            }
            AgentEvent::Announced(_) => {
                let offered = self.state().offered.clone();
                offered.into_iter().for_each(|text| self.offer(&text));
            }
            AgentEvent::Offered { selection: Selection::CLIPBOARD, kinds }
                if kinds.contains(&ClipboardKind::TEXT) =>
            {
                if let Ok(console) = self.console()
                    && let Some(agent) = console.agent()
                    && let Err(error) = agent.fetch(Selection::CLIPBOARD)
                {
                    tracing::debug!(%error, "control socket: the guest's clipboard is not fetched");
                }
            }
            AgentEvent::Fetched { selection: Selection::CLIPBOARD, data: Ok(data) } => {
                self.state().clipboard = Some(String::from_utf8_lossy(data).into_owned());
                let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.inner.hub.publish(EventKind::ClipboardChanged, 1, || Event::ClipboardChanged { bytes });
            }
            _ => {}
        }
    }

    /// Offers a text to the guest, if there is an agent that takes it.
    fn offer(&self, text: &str) {
        if let Ok(console) = self.console()
            && let Some(agent) = console.agent()
            && let Err(error) = agent.copy(Selection::CLIPBOARD, text)
        {
            tracing::debug!(%error, "control socket: the guest is not offered a clipboard");
        }
    }

    /// Measures round trips while somebody wants to hear of them, and no longer: it takes input to do so.
    async fn probe(self) {
        loop {
            // Whoever wants it again after this look finds that nobody is probing, or has this look find out.
            self.state().is_probing = false;
            let is_wanted = self.inner.hub.wanted().has(EventKind::InputRtt);
            if !is_wanted || self.inner.over.is_cancelled() {
                return;
            }
            if std::mem::replace(&mut self.state().is_probing, true) {
                return;
            }
            if let Ok(console) = self.console() {
                console.probe_input();
            }
            let _ = tokio::time::timeout(PROBE_INTERVAL, self.inner.over.cancelled()).await;
        }
    }
}

impl Default for ServedConsole {
    fn default() -> Self {
        Self::new()
    }
}

impl ConsoleListener for ServedConsole {
    fn handle_console(&self, console: &Arc<dyn Console>) {
        let mut state = self.state();
        state.console = Some(Arc::downgrade(console));
        state.began = Instant::now();
    }

    fn handle_event(&self, event: &ConsoleEvent) {
        let hub = &self.inner.hub;
        match event {
            ConsoleEvent::Drawn { channel_id, surface_id, draws, at, .. } => {
                let began = self.state().began;
                hub.publish(EventKind::SurfaceDrawn, *draws, || Event::SurfaceDrawn {
                    display_channel_id: *channel_id,
                    surface_id: *surface_id,
                    produced_at_secs: seconds(at.saturating_duration_since(began)),
                    wallclock_us: wallclock_us(),
                });
            }
            ConsoleEvent::Pinged { at } => {
                let before = self.state().pinged_at.replace(*at);
                let Some(before) = before else { return };
                hub.publish(EventKind::Latency, 1, || Event::Latency {
                    sample_ms: milliseconds(at.saturating_duration_since(before)),
                    wallclock_us: wallclock_us(),
                });
            }
            ConsoleEvent::InputRoundTrip { took } => {
                hub.publish(EventKind::InputRtt, 1, || Event::InputRtt {
                    rtt_ms: milliseconds(*took),
                    wallclock_us: wallclock_us(),
                });
            }
            ConsoleEvent::Agent(event) => self.handle_agent(event),
            ConsoleEvent::Closed { .. } => self.inner.over.cancel(),
            _ => {}
        }
    }

    fn handle_digest(&self, digest: &ObservedDigest) {
        let before = self.state().frame_counter.replace(digest.frame_counter);
        if before == Some(digest.frame_counter) {
            return;
        }
        self.inner.hub.publish(EventKind::DigestUpdated, 1, || Event::DigestUpdated {
            frame_counter: digest.frame_counter,
            framebuffer_hash: digest.framebuffer_hash,
            events: digest
                .raw_records
                .iter()
                .filter_map(|record| serde_json::to_value(record).ok())
                .collect(),
            wallclock_us: wallclock_us(),
        });
    }
}

impl Desk for ServedConsole {
    fn status(&self) -> StatusResult {
        let surfaces = self.console().map(|console| console.surfaces()).unwrap_or_default();
        let info = |facts: SurfaceFacts| SurfaceInfo {
            channel_id: facts.channel_id,
            surface_id: facts.surface_id,
            width: facts.width,
            height: facts.height,
        };
        StatusResult {
            spice_connected: !self.inner.over.is_cancelled(),
            agent_connected: self.state().has_agent,
            surfaces: surfaces.into_iter().map(info).collect(),
        }
    }

    fn send_key(&self, scancode: u16, state: KeyState) -> Result<(), Fault> {
        // Clients of old servers set the break bit themselves.
        let code = if state == KeyState::Up { scancode & !BREAK } else { scancode };
        let code = Scancode(code);
        if !code.is_make_code() {
            return Err(Fault::bad_params(format!(
                "scancode: {scancode:#06x} is no make code: wants 0x01 to 0x7f, or 0xe001 to 0xe07f"
            )));
        }
        let console = self.console()?;
        let failed = |error: super::ConsoleError| Fault::new(Code::INTERNAL_ERROR, error.to_string());
        if state != KeyState::Up {
            console.key_down(code).map_err(failed)?;
        }
        if state != KeyState::Down {
            console.key_up(code).map_err(failed)?;
        }
        if MODIFIERS.contains(&code) {
            let held = &mut self.state().held;
            held.retain(|one| *one != code);
            if state == KeyState::Down {
                held.push(code);
            }
        }
        Ok(())
    }

    fn paste(&self, text: String, char_delay: Duration) -> Paste {
        let served = self.clone();
        Box::pin(async move {
            let keys = US.keys(&text).map_err(|unknown| {
                format!("cannot paste: {} unrepresentable character(s): {}", unknown.count, unknown.shown)
            })?;
            let _turn = served.inner.typing.lock().await;
            if keys.is_empty() {
                return Ok(0);
            }
            let console = served.console().map_err(|fault| fault.message)?;
            let lifted = Lifted::lift(&*console, served.state().held.clone());
            let typed = type_keys(&*console, &keys, char_delay).await.map_err(|error| error.to_string());
            drop(lifted);
            typed
        })
    }

    fn screenshot(&self, surface_id: Option<u32>, format: PictureFormat) -> Result<Picture, Fault> {
        let console = self.console().ok();
        let surfaces = console.as_ref().map(|console| console.surfaces()).unwrap_or_default();
        let wanted = |facts: &&SurfaceFacts| surface_id.is_none_or(|id| facts.surface_id == id);
        let mut copy = None;
        if let (Some(console), Some(surface)) = (&console, surfaces.iter().find(wanted)) {
            // A console may have to fetch its picture first.
            tokio::runtime::Handle::current().block_on(console.refreshed());
            console.with_surface(surface, &mut |frame| copy = Some(Screenshot::of(frame)));
        }
        let Some(shot) = copy else {
            let known: Vec<String> = surfaces.iter().map(|facts| facts.surface_id.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let wanted = surface_id.map_or("the screen".to_owned(), |id| format!("surface {id}"));
            let message = format!("{wanted} does not exist now; surfaces there are: {known}");
            return Err(Fault::new(Code::NO_SUCH_SURFACE, message));
        };
        let (width, height) = (shot.width, shot.height);
        let bytes = match format {
            PictureFormat::Png => {
                shot.to_png().map_err(|error| Fault::new(Code::INTERNAL_ERROR, error.to_string()))?
            }
            PictureFormat::Rgba => rgba(shot.pixels),
        };
        Ok(Picture { width, height, bytes })
    }

    fn clipboard_set(&self, text: String) -> Result<(), Fault> {
        if text.len() > CLIPBOARD_LIMIT {
            let got = text.len();
            return Err(Fault::bad_params(format!("text: {got} bytes, at most {CLIPBOARD_LIMIT} are taken")));
        }
        self.offer(&text);
        self.state().offered = Some(text);
        Ok(())
    }

    fn clipboard_get(&self) -> Option<String> {
        self.state().clipboard.clone()
    }

    fn resize(&self, size: Size) -> Result<Size, Fault> {
        let side = |name: &str, side: u32| match side {
            1..=LARGEST_SIDE => Ok((side / 8 * 8).max(8)),
            _ => Err(Fault::bad_params(format!("{name}: wants 1 to {LARGEST_SIDE} pixels, got {side}"))),
        };
        let size = Size { width: side("width", size.width)?, height: side("height", size.height)? };
        if let Ok(console) = self.console()
            && let Some(agent) = console.agent()
            && let Err(error) = agent.resize(size.width, size.height)
        {
            tracing::debug!(%error, "control socket: the guest is not resized");
        }
        Ok(size)
    }

    fn stats(&self) -> StatsResult {
        let traffic = self.console().map(|console| console.display_traffic()).unwrap_or_default();
        let began = self.state().began;
        StatsResult { display: display_stats(traffic, began) }
    }

    fn subscriptions_changed(&self) {
        let is_wanted = self.inner.hub.wanted().has(EventKind::InputRtt);
        if is_wanted && !std::mem::replace(&mut self.state().is_probing, true) {
            tokio::spawn(self.clone().probe());
        }
    }
}

/// Keys that are let go for a while; they go down again when this is dropped.
struct Lifted<'a> {
    console: &'a dyn Console,
    codes: Vec<Scancode>,
}

impl<'a> Lifted<'a> {
    fn lift(console: &'a dyn Console, codes: Vec<Scancode>) -> Self {
        // A console that has closed says so with the first key that is typed.
        codes.iter().for_each(|code| drop(console.key_up(*code)));
        Self { console, codes }
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.codes.iter().for_each(|code| drop(self.console.key_down(*code)));
    }
}

fn display_stats(display: DisplayTraffic, began: Instant) -> DisplayStats {
    let count = |streams: &[StreamTraffic]| u64::try_from(streams.len()).unwrap_or(u64::MAX);
    let stats = |stream: StreamTraffic| stream_stats(&stream, began);
    // What cannot be decoded ends its channel, and with it the session.
    let decoded = |decodes_total| DecodeStats { decodes_total, decode_failures_total: 0 };
    let is_codec = |name: &str| !name.starts_with("FROM_CACHE") && name != "SURFACE";
    DisplayStats {
        channel_id: display.channel_id,
        bytes_in: display.traffic.bytes,
        messages_received: display.traffic.messages,
        marks_received: display.marks,
        streams_active: count(&display.streams),
        streams_created_total: display.streams_created,
        streams_destroyed_total: display.streams_destroyed,
        stream_data_orphan_count: display.orphans,
        stream_reports_sent_total: display.reports,
        decodes: display
            .traffic
            .images
            .into_iter()
            .filter(|(name, _)| is_codec(name))
            .map(|(name, total)| (name.to_lowercase(), decoded(total)))
            .collect(),
        streams: display.streams.into_iter().map(stats).collect(),
        streams_recently_destroyed: display.streams_gone.into_iter().map(stats).collect(),
    }
}

fn stream_stats(stream: &StreamTraffic, began: Instant) -> StreamStats {
    let since = |at: Instant| seconds(at.saturating_duration_since(began));
    let codec = match stream.codec_type {
        1 => "mjpeg",
        2 => "vp8",
        3 => "h264",
        4 => "vp9",
        5 => "h265",
        _ => "unknown",
    };
    StreamStats {
        stream_id: stream.stream_id,
        surface_id: stream.surface_id,
        codec: codec.to_owned(),
        codec_type: stream.codec_type,
        width: stream.width,
        height: stream.height,
        frames_received: stream.received,
        frames_decoded_ok: stream.drawn,
        frames_decode_failed: stream.received - stream.drawn,
        created_at_secs: since(stream.created_at),
        destroyed_at_secs: stream.destroyed_at.map(since),
    }
}

/// B, G, R, 0 becomes R, G, B, 255.
fn rgba(mut pixels: Vec<u8>) -> Vec<u8> {
    for pixel in pixels.chunks_exact_mut(4) {
        pixel.swap(0, 2);
        pixel[3] = 0xFF;
    }
    pixels
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn wallclock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What is let go while a text is typed.
const MODIFIERS: [Scancode; 6] =
    [Scancode::CTRL, Scancode::SHIFT, Scancode::ALT, Scancode(0xE01D), Scancode(0x36), Scancode::ALTGR];
/// What the code of a release has in its last byte.
const BREAK: u16 = 0x80;
/// No screen is larger.
const LARGEST_SIDE: u32 = 16_384;
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use serde_json::{Value, json};

    use super::super::test_console::TestConsole;
    use super::super::{Area, ConsoleListener as _};
    use super::*;
    use crate::console::agent::NotFetched;
    use crate::control::server::{ControlServer, ServerOptions};

    /// A served console and somebody who subscribed to everything.
    struct Lab {
        served: ServedConsole,
        console: Arc<TestConsole>,
        lines: std::io::BufReader<UnixStream>,
        stop: CancellationToken,
        _folder: tempfile::TempDir,
    }

    impl Lab {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control");
            let (served, console) = (ServedConsole::new(), Arc::new(TestConsole::default()));
            let stop = CancellationToken::new();
            let server = ControlServer::bind(&path).unwrap();
            let (desk, hub) = (Arc::new(served.clone()), served.hub());
            tokio::spawn(server.serve(desk, hub, ServerOptions::new("test"), stop.clone()));
            let shared = Arc::clone(&console) as Arc<dyn Console>;
            served.handle_console(&shared);
            let stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut lab =
                Self { served, console, lines: std::io::BufReader::new(stream), stop, _folder: folder };
            lab.ask("hello", json!({ "client_name": "x", "protocol_version": "1.5" })).await;
            let all = EventKind::ALL.map(EventKind::name);
            lab.ask("subscribe", json!({ "events": all })).await;
            lab
        }

        async fn ask(&mut self, method: &str, params: Value) -> Value {
            use std::io::Write as _;
            let line = json!({ "id": 1, "method": method, "params": params });
            writeln!(self.lines.get_mut(), "{line}").unwrap();
            self.line().await
        }

        async fn line(&mut self) -> Value {
            use std::io::BufRead as _;
            // The server needs the thread.
            tokio::task::block_in_place(|| {
                let mut line = String::new();
                self.lines.read_line(&mut line).unwrap();
                serde_json::from_str(&line).unwrap()
            })
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    fn digest(frame_counter: u32) -> ObservedDigest {
        ObservedDigest {
            frame_counter,
            channel_hashes: None,
            raw_records: vec![visual_digest::Record::LineRendered { row: 3, timestamp_ms: 4 }],
            unknown_records: Vec::new(),
            framebuffer_hash: 5,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_happens_is_told_in_order_and_once() {
        let mut lab = Lab::new().await;
        let now = Instant::now();
        let area = Area { left: 0, top: 0, right: 1, bottom: 1 };
        let pinged = |after| ConsoleEvent::Pinged { at: now + Duration::from_millis(after) };
        let (channel_id, surface_id, primary, batch) = (1, 2, false, 0);
        lab.served.handle_event(&pinged(0));
        lab.served.handle_event(&pinged(250));
        lab.served.handle_event(&ConsoleEvent::Drawn {
            channel_id,
            surface_id,
            primary,
            area,
            draws: 2,
            at: now,
            batch,
        });
        lab.served.handle_digest(&digest(7));
        lab.served.handle_digest(&digest(7));
        lab.served.handle_digest(&digest(1));
        lab.served.handle_event(&ConsoleEvent::InputRoundTrip { took: Duration::from_micros(1_500) });
        let latency = lab.line().await;
        assert_eq!((&latency["event"], &latency["data"]["sample_ms"]), (&json!("latency"), &json!(250.0)));
        let drawn = lab.line().await;
        assert_eq!(drawn["event"], "surface_drawn");
        assert_eq!(drawn["data"]["display_channel_id"], 1);
        assert_eq!(drawn["data"]["surface_id"], 2);
        assert_eq!(lab.line().await, drawn, "one for each draw");
        for frame_counter in [7, 1] {
            let told = lab.line().await;
            assert_eq!(told["data"]["frame_counter"], frame_counter);
            assert_eq!(told["data"]["events"], json!([{ "line_rendered": { "row": 3, "timestamp_ms": 4 } }]));
        }
        let round_trip = lab.line().await;
        assert_eq!((&round_trip["event"], &round_trip["data"]["rtt_ms"]), (&json!("input_rtt"), &json!(1.5)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_guest_copies_is_kept_and_its_agent_told_of_on_change_only() {
        let mut lab = Lab::new().await;
        assert_eq!(lab.ask("clipboard_get", json!({})).await["result"], json!({ "text": null }));
        let fetched = |data| AgentEvent::Fetched { selection: Selection::CLIPBOARD, data };
        for event in [
            AgentEvent::Connected,
            AgentEvent::Connected,
            fetched(Ok(Arc::from("h\u{e9}".as_bytes()))),
            fetched(Err(NotFetched::Refused)),
            AgentEvent::Disconnected,
        ] {
            lab.served.handle_event(&ConsoleEvent::Agent(event));
        }
        assert_eq!(lab.line().await["data"], json!({ "connected": true }));
        assert_eq!(lab.line().await, json!({ "event": "clipboard_changed", "data": { "bytes": 3 } }));
        assert_eq!(lab.line().await["data"], json!({ "connected": false }));
        assert_eq!(lab.ask("clipboard_get", json!({})).await["result"], json!({ "text": "h\u{e9}" }));
        assert_eq!(lab.ask("clipboard_set", json!({ "text": "x" })).await["result"], json!({}));
        for (width, height, wanted) in [(1_023, 768, Some((1_016, 768))), (7, 1, Some((8, 8))), (0, 9, None)]
        {
            let answer = lab.ask("resize", json!({ "width": width, "height": height })).await;
            match wanted {
                Some((width, height)) => {
                    assert_eq!(answer["result"], json!({ "width": width, "height": height }));
                }
                None => assert_eq!(answer["error"]["code"], "bad_params"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_go_down_and_up_once_with_the_break_bit_or_without() {
        let mut lab = Lab::new().await;
        for (scancode, state) in
            [(0x1E, "press"), (0x1E, "down"), (0x9E, "up"), (0xE0CB, "up"), (0xE04B, "down")]
        {
            let answer = lab.ask("send_key", json!({ "scancode": scancode, "state": state })).await;
            assert_eq!(answer["result"], json!({}), "{scancode:#x}");
        }
        assert_eq!(lab.console.keys(), ["+1e", "-1e", "+1e", "-1e", "-e04b", "+e04b"]);
        for scancode in [0, 0x9E, 0xE000, 0x1234, 0xFFFF] {
            let answer = lab.ask("send_key", json!({ "scancode": scancode, "state": "down" })).await;
            assert_eq!(answer["error"]["code"], "bad_params", "{scancode:#x}");
        }
        assert_eq!(lab.console.keys().len(), 6);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_paste_lets_go_of_what_is_held_and_presses_it_again() {
        let mut lab = Lab::new().await;
        lab.ask("send_key", json!({ "scancode": 0x1D, "state": "down" })).await;
        lab.ask("paste", json!({ "text": "aB\r\n", "char_delay_ms": 0 })).await;
        assert_eq!(lab.line().await["data"], json!({ "request_id": 1, "chars_sent": 3 }));
        let keys = ["+1d", "-1d", "+1e", "-1e", "+2a", "+30", "-30", "-2a", "+1c", "-1c", "+1d"];
        assert_eq!(lab.console.keys(), keys);
        lab.ask("send_key", json!({ "scancode": 0x1D, "state": "up" })).await;
        lab.ask("paste", json!({ "text": "\u{e9}\u{2022}\u{e9}" })).await;
        let reason = lab.line().await["data"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("cannot paste: 2 unrepresentable character(s): U+00E9"), "{reason}");
        lab.ask("paste", json!({ "text": "" })).await;
        assert_eq!(lab.line().await["data"]["chars_sent"], 0);
        assert_eq!(lab.console.keys().len(), keys.len() + 1, "nothing more was typed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_screen_is_sent_as_it_is() {
        let mut lab = Lab::new().await;
        let off = lab.ask("screenshot", json!({})).await;
        assert_eq!(off["error"]["code"], "no_such_surface");
        assert_eq!(lab.ask("status", json!({})).await["result"]["surfaces"], json!([]));
        let screen = Screenshot { width: 2, height: 1, pixels: vec![1, 2, 3, 0, 4, 5, 6, 0] };
        lab.console.show(screen.clone());
        let rgba = lab.ask("screenshot", json!({ "format": "rgba", "surface_id": 0 })).await;
        let wanted = json!({ "width": 2, "height": 1, "format": "rgba", "data_base64": "AwIB/wYFBP8=" });
        assert_eq!(rgba["result"], wanted);
        use base64::Engine as _;
        let png = lab.ask("screenshot", json!({})).await["result"]["data_base64"].clone();
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap()).unwrap();
        assert_eq!(Screenshot::from_png(&png).unwrap(), screen);
        let other = lab.ask("screenshot", json!({ "surface_id": 7 })).await;
        assert_eq!(other["error"]["message"], "surface 7 does not exist now; surfaces there are: 0");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn when_the_console_closes_everything_says_so() {
        let mut lab = Lab::new().await;
        lab.served.handle_event(&ConsoleEvent::Closed { reason: "over".to_owned() });
        assert!(lab.served.over().is_cancelled());
        assert_eq!(lab.ask("status", json!({})).await["result"]["spice_connected"], false);
        let key = lab.ask("send_key", json!({ "scancode": 30, "state": "press" })).await;
        assert_eq!(key["error"]["message"], "there is no console any more");
    }
}
