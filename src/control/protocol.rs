//! What is said over a control socket, protocol 1.5 (control-socket protocol, sections 1 to 9). Pure; both ends use it.
//!
//! Start reading at [`Envelope`] for what clients say and at [`ServerLine`] for what servers say. Servers are strict
//! and take a line apart in two steps, because what may be asked depends on what was asked before. Clients are lenient:
//! what they do not know they skip, as servers of other minor versions say other things.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What this program speaks.
pub const VERSION: Version = Version { major: 1, minor: 5 };

/// `major.minor`. Only the major numbers of both ends must be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What it takes to understand each other.
    pub major: u32,
    /// What is known beyond that.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        };
        let version = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: number(major)?, minor: number(minor)? }));
        version.ok_or_else(|| {
            Fault::bad_params(format!(
                "protocol_version: wants two numbers such as \"{VERSION}\", got {text:?}"
            ))
        })
    }
}

/// What a request is known by. It is echoed as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer.
    Number(i64),
    /// A string.
    Text(String),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A request whose parameters were not looked at yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the response will carry.
    pub id: RequestId,
    /// The name of a [`Method`], as far as the client knows.
    pub method: String,
    /// An object, as far as the client knows.
    pub params: Value,
}

impl Envelope {
    /// Takes a line apart.
    ///
    /// # Errors
    /// It is no request; the response to it has no id.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        let line = str::from_utf8(line)
            .map_err(|error| Fault::bad_params(format!("failed to parse request: not UTF-8: {error}")))?;
        serde_json::from_str(line)
            .map_err(|error| Fault::bad_params(format!("failed to parse request: {error}")))
    }

    /// Looks at method and parameters.
    ///
    /// # Errors
    /// There is no such method, or it wants other parameters.
    pub fn call(self) -> Result<Call, Fault> {
        let method = Method::by_name(&self.method).ok_or_else(|| {
            let known = Method::ALL.map(Method::name);
            let meant =
                crate::near::nearest(&self.method, known).map(|name| format!(", did you mean {name:?}?"));
            Fault::new(
                Code::UNKNOWN_METHOD,
                format!("no method {:?}{}", self.method, meant.unwrap_or_default()),
            )
        })?;
        Call::parse(method, self.params)
    }

    /// The line that asks for `call`, with its end.
    pub fn line(id: RequestId, call: &Call) -> String {
        let envelope = Self { id, method: call.method().name().to_owned(), params: call.params() };
        line_of(&envelope)
    }
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is documented where its parameters are")]
pub enum Method {
    Hello,
    Status,
    SendKey,
    Paste,
    Screenshot,
    Subscribe,
    Unsubscribe,
    ClipboardSet,
    ClipboardGet,
    Resize,
    Stats,
}

impl Method {
    /// All of them, in the order in which `hello` lists them.
    pub const ALL: [Self; 11] = [
        Self::Hello,
        Self::Status,
        Self::SendKey,
        Self::Paste,
        Self::Screenshot,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::ClipboardSet,
        Self::ClipboardGet,
        Self::Resize,
        Self::Stats,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Status => "status",
            Self::SendKey => "send_key",
            Self::Paste => "paste",
            Self::Screenshot => "screenshot",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::ClipboardSet => "clipboard_set",
            Self::ClipboardGet => "clipboard_get",
            Self::Resize => "resize",
            Self::Stats => "stats",
        }
    }

    /// Finds a method by its name on the wire.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What is asked, with its parameters (section 6).
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Who is there? Comes first.
    Hello(HelloParams),
    /// What is the console like now?
    Status,
    /// Press or release a key.
    SendKey(SendKeyParams),
    /// Type a text.
    Paste(PasteParams),
    /// What is on a surface?
    Screenshot(ScreenshotParams),
    /// Tell of these events from now on.
    Subscribe(EventNames),
    /// Do not tell of these events any more.
    Unsubscribe(EventNames),
    /// Offer a text to the guest.
    ClipboardSet(ClipboardText),
    /// Which text did the guest copy last?
    ClipboardGet,
    /// Ask the guest for a screen of this size.
    Resize(Size),
    /// What has come over the display channel?
    Stats,
}

impl Call {
    /// Whose parameters these are.
    pub const fn method(&self) -> Method {
        match self {
            Self::Hello(_) => Method::Hello,
            Self::Status => Method::Status,
            Self::SendKey(_) => Method::SendKey,
            Self::Paste(_) => Method::Paste,
            Self::Screenshot(_) => Method::Screenshot,
            Self::Subscribe(_) => Method::Subscribe,
            Self::Unsubscribe(_) => Method::Unsubscribe,
            Self::ClipboardSet(_) => Method::ClipboardSet,
            Self::ClipboardGet => Method::ClipboardGet,
            Self::Resize(_) => Method::Resize,
            Self::Stats => Method::Stats,
        }
    }

    /// The parameters as they are on the wire.
    pub fn params(&self) -> Value {
        match self {
            Self::Hello(params) => json!(params),
            Self::SendKey(params) => json!(params),
            Self::Paste(params) => json!(params),
            Self::Screenshot(params) => json!(params),
            Self::Subscribe(params) | Self::Unsubscribe(params) => json!(params),
            Self::ClipboardSet(params) => json!(params),
            Self::Resize(params) => json!(params),
            Self::Status | Self::ClipboardGet | Self::Stats => json!({}),
        }
    }

    /// Reads the parameters of a method. Keys that it does not know are left alone.
    ///
    /// # Errors
    /// Something is missing or of another type.
    pub fn parse(method: Method, params: Value) -> Result<Self, Fault> {
        Ok(match method {
            Method::Hello => Self::Hello(read(method, params)?),
            Method::Status => read::<Map<_, _>>(method, params).map(|_| Self::Status)?,
            Method::SendKey => Self::SendKey(read(method, params)?),
            Method::Paste => Self::Paste(read(method, params)?),
            Method::Screenshot => Self::Screenshot(read(method, params)?),
            Method::Subscribe => Self::Subscribe(read(method, params)?),
            Method::Unsubscribe => Self::Unsubscribe(read(method, params)?),
            Method::ClipboardSet => Self::ClipboardSet(read(method, params)?),
            Method::ClipboardGet => read::<Map<_, _>>(method, params).map(|_| Self::ClipboardGet)?,
            Method::Resize => Self::Resize(read(method, params)?),
            Method::Stats => read::<Map<_, _>>(method, params).map(|_| Self::Stats)?,
        })
    }
}

fn read<T: DeserializeOwned>(method: Method, params: Value) -> Result<T, Fault> {
    let kind = match &params {
        Value::Object(_) => None,
        Value::Null => Some("null"),
        Value::Bool(_) => Some("a boolean"),
        Value::Number(_) => Some("a number"),
        Value::String(_) => Some("a string"),
        Value::Array(_) => Some("an array"),
    };
    let name = method.name();
    if let Some(kind) = kind {
        return Err(Fault::bad_params(format!("{name}: params: wants an object, got {kind}")));
    }
    serde_json::from_value(params).map_err(|error| Fault::bad_params(format!("{name}: params: {error}")))
}

/// Of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloParams {
    /// Whoever asks; for logs.
    pub client_name: String,
    /// What they speak, see [`Version`].
    pub protocol_version: String,
}

/// Of `send_key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendKeyParams {
    /// The AT set 1 make code; an extended key has 0xE0 in the high byte.
    pub scancode: u16,
    /// The name of a [`KeyState`].
    pub state: String,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It goes down.
    Down,
    /// It goes up.
    Up,
    /// It goes down and up.
    Press,
}

impl KeyState {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Press => "press",
        }
    }
}

impl SendKeyParams {
    /// Reads the state.
    ///
    /// # Errors
    /// It is another word.
    pub fn key_state(&self) -> Result<KeyState, Fault> {
        let known = [KeyState::Down, KeyState::Up, KeyState::Press];
        known.into_iter().find(|known| known.name() == self.state).ok_or_else(|| {
            let message = format!("state: wants \"down\", \"up\" or \"press\", got {:?}", self.state);
            Fault::new(Code::BAD_STATE, message)
        })
    }
}

/// Of `paste`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasteParams {
    /// What to type on a US keyboard.
    pub text: String,
    /// Milliseconds per character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub char_delay_ms: Option<u32>,
}

/// When a paste does not say how long its characters take.
pub const DEFAULT_CHAR_DELAY_MS: u32 = 10;
/// More characters of a paste are not typed.
pub const PASTE_LIMIT: usize = 4_096;

/// Of `screenshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenshotParams {
    /// Which surface; the screen when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface_id: Option<u32>,
    /// The name of a [`PictureFormat`]; PNG when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// What a picture is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// A PNG file.
    Png,
    /// Bytes R, G, B, A, the top left pixel first, rows without padding.
    Rgba,
}

impl PictureFormat {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Rgba => "rgba",
        }
    }
}

impl ScreenshotParams {
    /// Reads the format.
    ///
    /// # Errors
    /// It is another word.
    pub fn picture_format(&self) -> Result<PictureFormat, Fault> {
        match self.format.as_deref() {
            None | Some("png") => Ok(PictureFormat::Png),
            Some("rgba") => Ok(PictureFormat::Rgba),
            Some(other) => {
                let message = format!("format: wants \"png\" or \"rgba\", got {other:?}");
                Err(Fault::new(Code::UNSUPPORTED_FORMAT, message))
            }
        }
    }
}

/// Of `subscribe` and `unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventNames {
    /// Names of [`EventKind`]s, and others that are left out.
    pub events: Vec<String>,
}

/// Of `clipboard_set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipboardText {
    /// The text.
    pub text: String,
}

/// Of `resize`, and its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What `hello` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloResult {
    /// The program.
    pub server_name: String,
    /// What it speaks.
    pub protocol_version: String,
    /// Names of methods.
    pub supported_methods: Vec<String>,
    /// Names of events.
    pub supported_events: Vec<String>,
    /// What goes beyond the protocol, such as [`FEATURE_MULTI`]; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// The server talks to several clients at a time.
pub const FEATURE_MULTI: &str = "multi";

/// What `status` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResult {
    /// The session is on, or about to be; false once it has ended.
    pub spice_connected: bool,
    /// An agent runs in the guest.
    pub agent_connected: bool,
    /// All there are now.
    pub surfaces: Vec<SurfaceInfo>,
}

/// A surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurfaceInfo {
    /// Its display channel.
    pub channel_id: u8,
    /// Its id there.
    pub surface_id: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What `screenshot` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenshotResult {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The name of a [`PictureFormat`].
    pub format: String,
    /// The picture, in base64 of the standard alphabet.
    pub data_base64: String,
}

/// What `subscribe` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeResult {
    /// The names that are known, as they were asked for.
    pub subscribed: Vec<String>,
}

/// What `unsubscribe` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsubscribeResult {
    /// The names that were subscribed to.
    pub unsubscribed: Vec<String>,
}

/// What `clipboard_get` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipboardGetResult {
    /// What the guest copied last, if it ever did.
    pub text: Option<String>,
}

/// What `stats` answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsResult {
    /// Of the display channel that shows the screen.
    pub display: DisplayStats,
}

/// Counted since the session began (section 6, `stats`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DisplayStats {
    pub channel_id: u8,
    pub bytes_in: u64,
    pub messages_received: u64,
    pub marks_received: u64,
    pub streams_active: u64,
    pub streams_created_total: u64,
    pub streams_destroyed_total: u64,
    /// Frames for streams that did not exist.
    pub stream_data_orphan_count: u64,
    pub stream_reports_sent_total: u64,
    /// By the name of the codec.
    pub decodes: std::collections::BTreeMap<String, DecodeStats>,
    pub streams: Vec<StreamStats>,
    /// At most 16.
    pub streams_recently_destroyed: Vec<StreamStats>,
}

/// What became of images of one codec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DecodeStats {
    pub decodes_total: u64,
    pub decode_failures_total: u64,
}

/// What became of one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StreamStats {
    pub stream_id: u32,
    pub surface_id: u32,
    pub codec: String,
    /// 1 MJPEG, 2 VP8, 3 H.264, 4 VP9, 5 H.265.
    pub codec_type: u8,
    pub width: u32,
    pub height: u32,
    pub frames_received: u64,
    pub frames_decoded_ok: u64,
    pub frames_decode_failed: u64,
    /// Since the session began.
    pub created_at_secs: f64,
    /// Since the session began.
    pub destroyed_at_secs: Option<f64>,
}

/// A line of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerLine {
    /// An answer.
    Response(Response),
    /// Something happened.
    Event(Event),
    /// An event that this version does not know, or of another shape than it knows.
    Unknown {
        /// Its name.
        event: String,
    },
}

impl ServerLine {
    /// Takes a line apart.
    ///
    /// # Errors
    /// It is neither a response nor an event: this is no control socket. Says what is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line {
            id: Option<RequestId>,
            ok: Option<bool>,
            result: Option<Value>,
            error: Option<Fault>,
            event: Option<String>,
            data: Option<Value>,
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if let Some(event) = line.event {
            let whole = json!({ "event": event, "data": line.data });
            return Ok(serde_json::from_value(whole).map_or(Self::Unknown { event }, Self::Event));
        }
        let outcome = match (line.ok, line.error) {
            (Some(true), _) => Ok(line.result.unwrap_or_else(|| json!({}))),
            (Some(false), Some(fault)) => Err(fault),
            _ => return Err("neither a response nor an event".to_owned()),
        };
        Ok(Self::Response(Response { id: line.id, outcome }))
    }
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Whose; none when it could not be told.
    pub id: Option<RequestId>,
    /// The result, or what was wrong.
    pub outcome: Result<Value, Fault>,
}

impl Response {
    /// The line, with its end.
    pub fn line(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a RequestId>,
            ok: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            result: Option<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a Fault>,
        }
        let (result, error) = (self.outcome.as_ref().ok(), self.outcome.as_ref().err());
        line_of(&Line { id: self.id.as_ref(), ok: result.is_some(), result, error })
    }
}

/// What was wrong with a request. Only the code is for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Fault {
    /// Which kind of fault.
    pub code: Code,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request is not what it should be.
    pub fn bad_params(message: impl Into<String>) -> Self {
        Self::new(Code::BAD_PARAMS, message)
    }
}

/// A kind of fault (section 9). Open: an unknown one is a plain failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub Cow<'static, str>);

#[expect(missing_docs, reason = "the names say it, the protocol explains them")]
impl Code {
    pub const NO_HELLO_YET: Self = Self(Cow::Borrowed("no_hello_yet"));
    pub const PROTOCOL_VERSION_MISMATCH: Self = Self(Cow::Borrowed("protocol_version_mismatch"));
    pub const BUSY: Self = Self(Cow::Borrowed("busy"));
    pub const UNKNOWN_METHOD: Self = Self(Cow::Borrowed("unknown_method"));
    pub const BAD_PARAMS: Self = Self(Cow::Borrowed("bad_params"));
    pub const BAD_STATE: Self = Self(Cow::Borrowed("bad_state"));
    pub const NO_SUCH_SURFACE: Self = Self(Cow::Borrowed("no_such_surface"));
    pub const UNSUPPORTED_FORMAT: Self = Self(Cow::Borrowed("unsupported_format"));
    pub const QUEUE_FULL: Self = Self(Cow::Borrowed("queue_full"));
    pub const INTERNAL_ERROR: Self = Self(Cow::Borrowed("internal_error"));
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server tells without being asked (section 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The interval between two PINGs of the SPICE server. It is not a round trip.
    Latency {
        /// Milliseconds.
        sample_ms: f64,
        /// Microseconds since 1970.
        wallclock_us: u64,
    },
    /// An agent in the guest came or went.
    AgentConnected {
        /// Whether it is there now.
        connected: bool,
    },
    /// A paste was typed.
    PasteCompleted {
        /// Of the paste.
        request_id: RequestId,
        /// Keys.
        chars_sent: u32,
    },
    /// A paste was refused, or not typed to its end.
    PasteFailed {
        /// Of the paste.
        request_id: RequestId,
        /// For people.
        reason: String,
    },
    /// Events were lost to this client since it was told so last.
    Dropped {
        /// How many.
        count: u32,
    },
    /// A draw command changed a surface.
    SurfaceDrawn {
        /// The display channel.
        display_channel_id: u8,
        /// The surface.
        surface_id: u32,
        /// Since the session began.
        produced_at_secs: f64,
        /// Microseconds since 1970.
        wallclock_us: u64,
    },
    /// A visual digest with another frame counter than the one before was read from the screen.
    DigestUpdated {
        /// Of the digest.
        frame_counter: u32,
        /// Of the digest.
        framebuffer_hash: u32,
        /// The newest records, oldest first: objects with one key (visual-digest format, section 7).
        events: Vec<Value>,
        /// Microseconds since 1970.
        wallclock_us: u64,
    },
    /// The guest copied text.
    ClipboardChanged {
        /// Of the text.
        bytes: u64,
    },
    /// A round trip on the inputs channel.
    InputRtt {
        /// Milliseconds.
        rtt_ms: f64,
        /// Microseconds since 1970.
        wallclock_us: u64,
    },
}

impl Event {
    /// Which kind of event.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Latency { .. } => EventKind::Latency,
            Self::AgentConnected { .. } => EventKind::AgentConnected,
            Self::PasteCompleted { .. } => EventKind::PasteCompleted,
            Self::PasteFailed { .. } => EventKind::PasteFailed,
            Self::Dropped { .. } => EventKind::Dropped,
            Self::SurfaceDrawn { .. } => EventKind::SurfaceDrawn,
            Self::DigestUpdated { .. } => EventKind::DigestUpdated,
            Self::ClipboardChanged { .. } => EventKind::ClipboardChanged,
            Self::InputRtt { .. } => EventKind::InputRtt,
        }
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        line_of(self)
    }
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is documented at `Event`")]
pub enum EventKind {
    Latency,
    AgentConnected,
    PasteCompleted,
    PasteFailed,
    Dropped,
    SurfaceDrawn,
    ClipboardChanged,
    InputRtt,
    DigestUpdated,
}

impl EventKind {
    /// All of them, in the order in which `hello` lists them.
    pub const ALL: [Self; 9] = [
        Self::Latency,
        Self::AgentConnected,
        Self::PasteCompleted,
        Self::PasteFailed,
        Self::Dropped,
        Self::SurfaceDrawn,
        Self::ClipboardChanged,
        Self::InputRtt,
        Self::DigestUpdated,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::AgentConnected => "agent_connected",
            Self::PasteCompleted => "paste_completed",
            Self::PasteFailed => "paste_failed",
            Self::Dropped => "dropped",
            Self::SurfaceDrawn => "surface_drawn",
            Self::ClipboardChanged => "clipboard_changed",
            Self::InputRtt => "input_rtt",
            Self::DigestUpdated => "digest_updated",
        }
    }

    /// Finds a kind by its name on the wire.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One line of JSON, with its end.
fn line_of(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("everything here has string keys and finite numbers");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> Fault {
        match Envelope::parse(line.as_bytes()).map(Envelope::call) {
            Err(fault) | Ok(Err(fault)) => fault,
            Ok(Ok(call)) => panic!("{call:?}"),
        }
    }

    fn request(method: &str, params: &str) -> String {
        format!("{{\"id\":1,\"method\":\"{method}\",\"params\":{params}}}")
    }

    #[test]
    fn every_call_is_read_as_it_was_written() {
        let names = || EventNames { events: vec!["latency".to_owned(), "?".to_owned()] };
        let hello = HelloParams { client_name: "me".to_owned(), protocol_version: "1.5".to_owned() };
        let calls = [
            (Call::Hello(hello), r#"{"client_name":"me","protocol_version":"1.5"}"#),
            (Call::Status, "{}"),
            (
                Call::SendKey(SendKeyParams { scancode: 0xE04B, state: "down".to_owned() }),
                r#"{"scancode":57419,"state":"down"}"#,
            ),
            (Call::Paste(PasteParams { text: "é\n".to_owned(), char_delay_ms: None }), r#"{"text":"é\n"}"#),
            (
                Call::Paste(PasteParams { text: String::new(), char_delay_ms: Some(20) }),
                r#"{"char_delay_ms":20,"text":""}"#,
            ),
            (Call::Screenshot(ScreenshotParams::default()), "{}"),
            (
                Call::Screenshot(ScreenshotParams { surface_id: Some(7), format: Some("rgba".to_owned()) }),
                r#"{"format":"rgba","surface_id":7}"#,
            ),
            (Call::Subscribe(names()), r#"{"events":["latency","?"]}"#),
            (Call::Unsubscribe(names()), r#"{"events":["latency","?"]}"#),
            (Call::ClipboardSet(ClipboardText { text: "x".to_owned() }), r#"{"text":"x"}"#),
            (Call::ClipboardGet, "{}"),
            (Call::Resize(Size { width: 8, height: 16 }), r#"{"height":16,"width":8}"#),
            (Call::Stats, "{}"),
        ];
        for (call, params) in calls {
            let line = Envelope::line(RequestId::Number(-3), &call);
            let name = call.method().name();
            assert_eq!(line, format!("{{\"id\":-3,\"method\":\"{name}\",\"params\":{params}}}\n"));
            let envelope = Envelope::parse(line.as_bytes()).unwrap();
            assert_eq!(envelope.id, RequestId::Number(-3));
            assert_eq!(envelope.call().unwrap(), call);
        }
        let null =
            Envelope::parse(request("paste", r#"{"text":"a","char_delay_ms":null}"#).as_bytes()).unwrap();
        let paste = PasteParams { text: "a".to_owned(), char_delay_ms: None };
        assert_eq!(null.call().unwrap(), Call::Paste(paste), "null is absent");
    }

    #[test]
    fn what_is_no_request_has_no_id() {
        let lines = [
            "",
            "{",
            "[1]",
            "7",
            r#"{"method":"status","params":{}}"#,
            r#"{"id":1,"params":{}}"#,
            r#"{"id":1,"method":"status"}"#,
            r#"{"id":null,"method":"status","params":{}}"#,
            r#"{"id":1.0,"method":"status","params":{}}"#,
            r#"{"id":9223372036854775808,"method":"status","params":{}}"#,
            r#"{"id":true,"method":"status","params":{}}"#,
            r#"{"id":1,"method":7,"params":{}}"#,
        ];
        for line in lines {
            let fault = Envelope::parse(line.as_bytes()).unwrap_err();
            assert_eq!(fault.code, Code::BAD_PARAMS, "{line}");
            assert!(fault.message.starts_with("failed to parse request: "), "{line}: {fault}");
        }
        assert!(Envelope::parse(b"\xff{}").unwrap_err().message.contains("UTF-8"));
        let deep = format!("{{\"id\":1,\"method\":\"status\",\"params\":{}", "[".repeat(100_000));
        assert_eq!(Envelope::parse(deep.as_bytes()).unwrap_err().code, Code::BAD_PARAMS);
    }

    #[test]
    fn ids_are_integers_and_strings_and_stay_what_they_are() {
        for id in ["-9223372036854775808", "0", "\"\"", "\"7\"", "\"a \\\" b\""] {
            let line = format!("{{\"params\":{{}},\"id\":{id},\"method\":\"status\",\"more\":1}}");
            let envelope = Envelope::parse(line.as_bytes()).unwrap();
            let response = Response { id: Some(envelope.id), outcome: Ok(json!({})) };
            assert_eq!(response.line(), format!("{{\"id\":{id},\"ok\":true,\"result\":{{}}}}\n"));
        }
    }

    #[test]
    fn wrong_parameters_are_named() {
        let wrong = [
            ("status", "null", "wants an object, got null"),
            ("status", "[]", "wants an object, got an array"),
            ("hello", r#"{"client_name":"x"}"#, "protocol_version"),
            ("send_key", r#"{"scancode":65536,"state":"up"}"#, "u16"),
            ("send_key", r#"{"scancode":-1,"state":"up"}"#, "u16"),
            ("send_key", r#"{"scancode":1.5,"state":"up"}"#, "u16"),
            ("send_key", r#"{"scancode":1}"#, "state"),
            ("paste", r#"{"char_delay_ms":1}"#, "text"),
            ("paste", r#"{"text":"a","char_delay_ms":-1}"#, "u32"),
            ("screenshot", r#"{"surface_id":"0"}"#, "u32"),
            ("subscribe", r#"{"events":"latency"}"#, "sequence"),
            ("resize", r#"{"width":1}"#, "height"),
        ];
        for (method, params, says) in wrong {
            let fault = fault(&request(method, params));
            assert_eq!(fault.code, Code::BAD_PARAMS);
            assert!(fault.message.starts_with(method) && fault.message.contains(says), "{fault}");
        }
        let fault = fault(&request("stauts", "{}"));
        assert_eq!(fault.code, Code::UNKNOWN_METHOD);
        assert!(fault.message.contains("did you mean \"status\"?"), "{fault}");
    }

    #[test]
    fn words_are_what_the_protocol_has() {
        let state = |state: &str| SendKeyParams { scancode: 1, state: state.to_owned() }.key_state();
        assert_eq!(state("press").unwrap(), KeyState::Press);
        assert_eq!(state("Down").unwrap_err().code, Code::BAD_STATE);
        let format = |format: &str| ScreenshotParams { surface_id: None, format: Some(format.to_owned()) };
        assert_eq!(format("rgba").picture_format().unwrap(), PictureFormat::Rgba);
        assert_eq!(format("bmp").picture_format().unwrap_err().code, Code::UNSUPPORTED_FORMAT);
        assert_eq!(ScreenshotParams::default().picture_format().unwrap(), PictureFormat::Png);
        assert!(Method::ALL.into_iter().all(|method| Method::by_name(method.name()) == Some(method)));
        assert!(EventKind::ALL.into_iter().all(|kind| EventKind::by_name(kind.name()) == Some(kind)));
    }

    #[test]
    fn versions_are_two_numbers() {
        assert_eq!("1.20".parse::<Version>().unwrap(), Version { major: 1, minor: 20 });
        for wrong in ["1", "1.0.0", "", ".", "1.", ".5", "+1.5", "1.-5", "a.b", "1. 5", "1.99999999999"] {
            assert_eq!(wrong.parse::<Version>().unwrap_err().code, Code::BAD_PARAMS, "{wrong}");
        }
        assert!("1.10".parse::<Version>().unwrap() > "1.9".parse().unwrap());
        assert_eq!(VERSION.to_string(), "1.5");
    }

    #[test]
    fn events_and_faults_look_as_the_protocol_shows_them() {
        let record = json!({ "line_rendered": { "row": 5, "timestamp_ms": 10_200 } });
        let event = Event::DigestUpdated {
            frame_counter: 157,
            framebuffer_hash: 3_636_734_217,
            events: vec![record],
            wallclock_us: 1_795_243_969_360_624,
        };
        let line = event.line();
        assert_eq!(
            line,
            "{\"event\":\"digest_updated\",\"data\":{\"frame_counter\":157,\"framebuffer_hash\":3636734217,\
             \"events\":[{\"line_rendered\":{\"row\":5,\"timestamp_ms\":10200}}],\"wallclock_us\":1795243969360624}}\n"
        );
        assert_eq!(ServerLine::parse(line.as_bytes()).unwrap(), ServerLine::Event(event));
        let busy = Response { id: None, outcome: Err(Fault::new(Code::BUSY, "another client is connected")) };
        assert_eq!(
            busy.line(),
            "{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"another client is connected\"}}\n"
        );
        assert_eq!(ServerLine::parse(busy.line().as_bytes()).unwrap(), ServerLine::Response(busy));
        assert_eq!(Event::Dropped { count: 3 }.line(), "{\"event\":\"dropped\",\"data\":{\"count\":3}}\n");
    }

    #[test]
    fn a_client_skips_what_it_does_not_know_and_refuses_what_is_no_server() {
        let line = br#"{"event":"weather","data":{"wind":3}}"#;
        assert_eq!(ServerLine::parse(line).unwrap(), ServerLine::Unknown { event: "weather".to_owned() });
        let other = br#"{"event":"digest_updated","data":{"kind":"x","payload":{}}}"#;
        assert_eq!(
            ServerLine::parse(other).unwrap(),
            ServerLine::Unknown { event: "digest_updated".to_owned() }
        );
        let more = br#"{"event":"dropped","data":{"count":1,"since":2}}"#;
        assert_eq!(ServerLine::parse(more).unwrap(), ServerLine::Event(Event::Dropped { count: 1 }));
        let code = br#"{"id":"a","ok":false,"error":{"code":"too_tired","message":"later"}}"#;
        let ServerLine::Response(response) = ServerLine::parse(code).unwrap() else { panic!() };
        assert_eq!(response.outcome.unwrap_err().to_string(), "later (too_tired)");
        for wrong in ["", "HTTP/1.1 400", "{}", "{\"ok\":false}", "[]", "{\"QMP\":{}}"] {
            ServerLine::parse(wrong.as_bytes()).unwrap_err();
        }
    }
}
