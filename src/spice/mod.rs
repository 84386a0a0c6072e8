//! The SPICE client: pixels out of a machine's console, keys into it.
//!
//! [`Session::connect`] opens all channels a console needs and keeps them served until the last handle is
//! dropped; [`SessionEvent`]s say what happens, [`Session::with_surface`] shows the pixels,
//! [`Session::key_down`] and [`Session::key_up`] type. Nothing here judges, retries or knows about Lua, lanes
//! or QEMU.
//!
//! Layers, of which all but the last are pure (no IO, no clock):
//!
//! - [`wire`]: bytes and messages; [`codec`]: encoded images and pixels; [`surface`]: pixels and drawing.
//! - [`address`], [`vv`]: where a console is, as people and files say it.
//! - [`channel`]: one state machine per channel, fed with messages and drained of frames and events.
//! - [`recording`]: what arrived, as a file; [`replay`]: the same channels again, fed from one.
//! - [`recorder`], `transport`, [`tls`], [`proxy`], `link`, `driver`, [`session`]: sockets, handshakes, one task per channel,
//!   the session.
//!
//! Start with [`session`], then [`channel`].

pub mod address;
pub mod channel;
pub mod codec;
mod driver;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod link;
pub mod pace;
mod progress;
mod proxy;
pub mod recorder;
pub mod recording;
pub mod replay;
pub mod server;
pub mod session;
mod supervisor;
pub mod surface;
mod ticket;
pub mod tls;
mod transport;
pub mod vv;
pub mod wire;

pub use address::{ConnectionTarget, ProxyUrl, TargetError, TlsEndpoint};
pub use channel::{AgentError, AgentEvent, AgentState, NotFetched, SoundCount, capability_names};
pub use channel::{
    Compression, Counters, CursorState, KeyCode, KeyCodeError, Monitor, Motion, StreamFacts, StreamLog,
};
pub use limits::Limits;
pub use link::LinkError;
pub use recorder::{Recorder, RecorderError, RecorderOptions};
pub use session::{
    ChannelStats, CloseReason, MovedTo, PrimaryInfo, Session, SessionError, SessionEvent, SessionOptions,
    SessionStats, SurfaceFacts,
};
pub use surface::{CursorShape, Surface};
pub use ticket::{Password, TicketError};
pub use tls::{CertificateProblem, Identity, TlsError};
pub use transport::Endpoint;
pub use wire::agent::{ClipboardKind, Selection};
pub use wire::base::Severity;
pub use wire::link::{ChannelId, ChannelType};
pub use wire::types::Rect;
