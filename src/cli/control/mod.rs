//! `backstaff control`: asks a control socket, for people and shell scripts.
//!
//! One connection per call; every verb is a function of [`Session`]. Start reading at [`run`].

mod keys;
mod paste;
mod picture;
mod text;

use std::cell::OnceCell;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{ColorChoice, parse_seconds};
use super::exit::ExitCode;
use super::run::{chain, complain, look};
use crate::control::client::{Client, ClientEnd, ClientError, ClientOptions};
use crate::control::protocol::{
    Call, ClipboardText, Event, EventNames, Method, StatsResult, StatusResult, SubscribeResult,
};
use crate::near::nearest;
use keys::{KeyCommand, TypeCommand};
use paste::PasteCommand;
use picture::ScreenshotCommand;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 the server refused or a paste failed, 2 usage, 16 no server or a lost \
connection, 128+n ended by a signal.\n\nExamples:\n  export BACKSTAFF_CONTROL_SOCKET=/run/user/1000/console.sock\n  \
backstaff control status\n  backstaff control key ctrl+alt+delete\n  backstaff control type 'root'\n  backstaff \
control key enter\n  backstaff control screenshot screen.png\n  backstaff control events digest_updated --count 1\n  \
git log | backstaff control clipboard set -"
)]
pub(super) struct ControlCommand {
    /// The server's socket.
    #[arg(long, global = true, value_name = "PATH", env = "BACKSTAFF_CONTROL_SOCKET")]
    socket: Option<PathBuf>,
    /// For connecting, for as long as the server is busy with another client, and for each answer.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,
    /// Print results as JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say what the server is and can do.
    Hello,
    /// Say what the console is like now.
    Status,
    /// Press and release keys, one after the other.
    Key(KeyCommand),
    /// Type a text key by key, also where the server cannot paste.
    Type(TypeCommand),
    /// Let the server type a text, and wait until it is typed.
    Paste(PasteCommand),
    /// Write what is on a surface to a file.
    Screenshot(ScreenshotCommand),
    /// Print events as they come, one JSON object a line.
    Events(EventsCommand),
    /// The guest's clipboard, as far as an agent in the guest shares it.
    Clipboard {
        #[command(subcommand)]
        command: ClipboardCommand,
    },
    /// Print what came over the display channel so far.
    Stats,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Goes on until the server closes (exit code 0), until --count events came (0), or until Ctrl-C \
(130). `dropped` may come without being asked for: so many events were lost.\n\nExamples:\n  backstaff control events | \
jq -c 'select(.event == \"latency\").data'\n  backstaff control events paste_completed paste_failed --count 1"
)]
struct EventsCommand {
    /// Which events [default: all that the server has].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// End after so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(Debug, clap::Subcommand)]
enum ClipboardCommand {
    /// Print what the guest copied last.
    Get,
    /// Offer a text to the guest.
    Set {
        /// The text; `-` reads it from standard input, as it is.
        #[arg(value_name = "TEXT", allow_hyphen_values = true)]
        text: String,
    },
}

pub(super) fn run(command: ControlCommand, color: ColorChoice) -> ExitCode {
    let look = look(color);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(look, &format!("cannot start the runtime: {error}"), None);
            return ExitCode::LANE_FAILED;
        }
    };
    match runtime.block_on(command.run()) {
        Ok(code) => code,
        Err(error) => {
            complain(look, &chain(&error), error.hint().as_deref());
            error.code()
        }
    }
}

impl ControlCommand {
    async fn run(self) -> Result<ExitCode, ControlError> {
        // What is wrong with the words is said without a server.
        let verb = self.verb.prepare(self.json)?;
        let path = self.socket.ok_or(ControlError::NoPath)?;
        let options = ClientOptions {
            client_name: CLIENT_NAME.to_owned(),
            deadline: self.timeout,
            answer: self.timeout,
        };
        let connected = OnceCell::new();
        let work = async {
            let (client, events) = Client::connect(&path, options).await?;
            let _ = connected.set(client.clone());
            verb.run(&mut Session { client, events, timeout: self.timeout, json: self.json }).await
        };
        let result = tokio::select! {
            result = work => result,
            number = signalled() => number.map(ExitCode::signal),
        };
        // Whatever is to go up at the end still does, and the server is free for the next client.
        if let Some(client) = connected.get() {
            client.close().await;
        }
        result
    }
}

/// The number of the first signal that wants us to end.
async fn signalled() -> Result<u8, ControlError> {
    let watch = |kind| signal(kind).map_err(|source| ControlError::Signals { source });
    let (mut interrupt, mut terminate, mut hangup) =
        (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?, watch(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(2),
        _ = terminate.recv() => Ok(15),
        _ = hangup.recv() => Ok(1),
    }
}

/// A verb whose words are known to be right.
enum Prepared {
    Hello,
    Status,
    Keys(keys::Keys),
    Paste(paste::Paste),
    Screenshot(ScreenshotCommand),
    Events(EventsCommand),
    ClipboardGet,
    ClipboardSet(String),
    Stats,
}

impl Verb {
    fn prepare(self, json: bool) -> Result<Prepared, ControlError> {
        Ok(match self {
            Self::Hello => Prepared::Hello,
            Self::Status => Prepared::Status,
            Self::Key(command) => Prepared::Keys(command.keys()?),
            Self::Type(command) => Prepared::Keys(command.keys()?),
            Self::Paste(command) => Prepared::Paste(command.paste()?),
            Self::Screenshot(command) => {
                command.check(json)?;
                Prepared::Screenshot(command)
            }
            Self::Events(command) => Prepared::Events(command),
            Self::Clipboard { command: ClipboardCommand::Get } => Prepared::ClipboardGet,
            Self::Clipboard { command: ClipboardCommand::Set { text } } => {
                Prepared::ClipboardSet(given(text)?)
            }
            Self::Stats => Prepared::Stats,
        })
    }
}

impl Prepared {
    async fn run(self, session: &mut Session) -> Result<ExitCode, ControlError> {
        match self {
            Self::Hello => session.hello(),
            Self::Status => {
                let status: StatusResult = session.call(Call::Status).await?;
                session.print(&json!(status), &text::status(&status))
            }
            Self::Keys(keys) => keys.send(session).await,
            Self::Paste(paste) => paste.send(session).await,
            Self::Screenshot(command) => command.take(session).await,
            Self::Events(command) => session.events(command).await,
            Self::ClipboardGet => session.clipboard().await,
            Self::ClipboardSet(text) => {
                let result: Value = session.call(Call::ClipboardSet(ClipboardText { text })).await?;
                session.print(&result, "")
            }
            Self::Stats => {
                let stats: StatsResult = session.call(Call::Stats).await?;
                session.print(&json!(stats), &text::stats(&stats))
            }
        }
    }
}

/// A connection, and how its results are printed.
struct Session {
    client: Client,
    events: mpsc::Receiver<Event>,
    timeout: Duration,
    json: bool,
}

impl Session {
    /// Asks, if the server says that it can answer.
    async fn call<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T, ControlError> {
        let method = call.method();
        if !self.client.has_method(method) {
            return Err(ControlError::NoMethod { method, server: self.server() });
        }
        Ok(self.client.call(call).await?)
    }

    /// Who answers, for messages.
    fn server(&self) -> String {
        let hello = self.client.hello();
        format!("{:?}, protocol {}", hello.server_name, hello.protocol_version)
    }

    /// Prints a result: the object on a line, or text that is made for people.
    fn print(&self, result: &Value, text: &str) -> Result<ExitCode, ControlError> {
        match self.json {
            true => put(&format!("{result}\n"))?,
            false => put(text)?,
        };
        Ok(ExitCode::PASSED)
    }

    fn hello(&self) -> Result<ExitCode, ControlError> {
        let hello = self.client.hello();
        self.print(&json!(hello), &text::hello(hello))
    }

    async fn clipboard(&self) -> Result<ExitCode, ControlError> {
        let result: crate::control::protocol::ClipboardGetResult = self.call(Call::ClipboardGet).await?;
        let text = result.text.as_deref().map(|text| format!("{text}\n"));
        self.print(&json!(result), &text.unwrap_or_default())
    }

    /// Subscribes to all of these.
    async fn subscribe(&self, names: Vec<String>) -> Result<(), ControlError> {
        let wanted = names.clone();
        let answer: SubscribeResult = self.call(Call::Subscribe(EventNames { events: names })).await?;
        match wanted.into_iter().find(|name| !answer.subscribed.contains(name)) {
            Some(name) => Err(ControlError::NotSubscribed { name, server: self.server() }),
            None => Ok(()),
        }
    }

    async fn events(&mut self, command: EventsCommand) -> Result<ExitCode, ControlError> {
        let supported = self.client.hello().supported_events.clone();
        if let Some(name) = command.names.iter().find(|name| !supported.contains(name)) {
            return Err(ControlError::NoEvent {
                name: name.clone(),
                meant: nearest(name, supported.iter().map(String::as_str)).map(str::to_owned),
                known: supported.join(", "),
            });
        }
        let names = if command.names.is_empty() { supported } else { command.names };
        self.subscribe(names).await?;
        for _ in 0..command.count.unwrap_or(u64::MAX) {
            let Some(event) = self.events.recv().await else { return self.ended() };
            if !put(&event.line())? {
                break;
            }
        }
        Ok(ExitCode::PASSED)
    }

    /// The events have ended: a server that closes has nothing more to tell, which is no failure.
    fn ended(&self) -> Result<ExitCode, ControlError> {
        match self.client.end() {
            Some(end @ ClientEnd::Broken { .. }) => Err(ControlError::Lost { end }),
            _ => Ok(ExitCode::PASSED),
        }
    }
}

/// Writes to standard output at once; says whether somebody still reads.
fn put(text: &str) -> Result<bool, ControlError> {
    put_bytes(text.as_bytes())
}

fn put_bytes(bytes: &[u8]) -> Result<bool, ControlError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // As `| head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(ControlError::Write { file: "standard output".to_owned(), source }),
    }
}

/// A text from the command line; `-` is what is on standard input.
fn given(text: String) -> Result<String, ControlError> {
    if text != "-" {
        return Ok(text);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(TEXT_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ControlError::Input { source })?;
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(ControlError::LongInput);
    }
    String::from_utf8(bytes)
        .map_err(|error| ControlError::NotText { offset: error.utf8_error().valid_up_to() })
}

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("no control socket is named")]
    NoPath,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("watch for signals")]
    Signals { source: std::io::Error },
    #[error("the server ({server}) has no `{}`", .method.name())]
    NoMethod { method: Method, server: String },
    #[error("no event \"{name}\"{}", .meant.as_ref().map(|meant| format!(", did you mean \"{meant}\"?")).unwrap_or_default())]
    NoEvent { name: String, meant: Option<String>, known: String },
    #[error("the server ({server}) did not subscribe us to \"{name}\"")]
    NotSubscribed { name: String, server: String },
    #[error("the control socket was {end}")]
    Lost { end: ClientEnd },
    #[error("no key \"{name}\"{}", .meant.as_ref().map(|meant| format!(", did you mean \"{meant}\"?")).unwrap_or_default())]
    NoKey { name: String, meant: Option<String> },
    #[error("\"{word}\" is no make code: wants 0x01 to 0x7f, alone or after 0xe0, such as 0xe04b")]
    NoScancode { word: String },
    #[error(transparent)]
    Untypable(#[from] crate::console::layout::Unrepresentable),
    #[error("paste: {reason}")]
    PasteFailed { reason: String },
    #[error("paste: no outcome within {:.1} s", .after.as_secs_f64())]
    PasteSilent { after: Duration },
    #[error("paste: {typed} of {wanted} keys were typed")]
    PasteCut { typed: u32, wanted: usize },
    #[error("screenshot: the answer is not what it should be: {reason}")]
    Picture { reason: String },
    #[error("a picture is bytes, and standard output is a terminal")]
    Terminal,
    #[error("`--json` and the picture cannot both go to standard output")]
    TwoOutputs,
    #[error("read standard input")]
    Input { source: std::io::Error },
    #[error("standard input is longer than {} bytes", TEXT_LIMIT)]
    LongInput,
    #[error("standard input is not UTF-8 from byte {offset} on")]
    NotText { offset: usize },
    #[error("write {file}")]
    Write { file: String, source: std::io::Error },
}

impl ControlError {
    fn code(&self) -> ExitCode {
        match self {
            Self::Client(ClientError::Refused { .. })
            | Self::NoMethod { .. }
            | Self::NotSubscribed { .. }
            | Self::PasteFailed { .. }
            | Self::PasteSilent { .. }
            | Self::PasteCut { .. } => ExitCode::FAILED,
            Self::Client(_) | Self::Signals { .. } | Self::Lost { .. } | Self::Picture { .. } => {
                ExitCode::LANE_FAILED
            }
            _ => ExitCode::USAGE,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Client(error) => return error.hint(),
            Self::NoEvent { known, .. } => return Some(format!("this server has {known}")),
            Self::NoPath => "give `--socket PATH`, or set BACKSTAFF_CONTROL_SOCKET",
            Self::NoKey { .. } => {
                "keys have names (enter, f10, page_up, kp_5), the characters of a US keyboard, or codes such as \
                 0xe04b; join those that are held together with +, as in ctrl+alt+delete"
            }
            Self::NoMethod { .. } => "`backstaff control hello` says what it can do",
            Self::Untypable(_) => {
                "nothing was typed; `clipboard set` takes any text, if an agent runs in the guest"
            }
            Self::PasteSilent { .. } => {
                "some servers paste only when started for it (`ryll` with `--enable-paste-as-keystrokes`), and lose \
                 what is pasted while another text is typed; `backstaff control type` needs neither"
            }
            Self::PasteCut { .. } => "servers type 4096 characters at most; paste the rest on its own",
            Self::Terminal => "name a file, or redirect the output",
            Self::TwoOutputs => "name a file for the picture",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

const CLIENT_NAME: &str = concat!("backstaff control ", env!("CARGO_PKG_VERSION"));
/// What a server's clipboard takes (control-socket protocol, section 6).
const TEXT_LIMIT: u64 = 100 << 20;
