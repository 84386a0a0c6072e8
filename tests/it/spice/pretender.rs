//! A server that says exactly what a test wants it to say.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use backstaff::spice::wire::base::SetAck;
use backstaff::spice::wire::display::InvalAllPalettes;
use backstaff::spice::wire::header::{MiniHeader, mini_frame};
use backstaff::spice::wire::link::{Capabilities, ChannelId, LinkCode, LinkHeader, LinkMess, LinkReply};
use backstaff::spice::wire::main::{ChannelsList, Init};
use backstaff::spice::wire::{Field, Message, Reader, inputs};
use backstaff::spice::{ChannelType, Endpoint, SessionOptions};
use rsa::pkcs8::EncodePublicKey;
use rsa::{Oaep, RsaPrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

pub(super) const DISPLAY: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };
pub(super) const INPUTS: ChannelId = ChannelId { channel_type: ChannelType::INPUTS, id: 0 };

/// Nothing in these tests takes long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

static KEY: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut rand::rngs::OsRng, 1024).expect("a key"));

pub(super) struct Pretender {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

impl Pretender {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let listener = UnixListener::bind(folder.path().join("spice")).expect("socket");
        Self { listener, folder }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("spice")
    }

    pub(super) fn options(&self) -> SessionOptions {
        SessionOptions::new(Endpoint::Unix(self.path()))
    }

    /// Takes the next connection and its link message.
    pub(super) async fn accept(&self) -> Connection {
        let (mut stream, _) =
            timeout(PATIENCE, self.listener.accept()).await.expect("a client").expect("a connection");
        let header = read(&mut stream, LinkHeader::LENGTH).await;
        let size = LinkHeader::decode(&mut Reader::new(&header)).expect("link header").size;
        let body = read(&mut stream, usize::try_from(size).expect("small")).await;
        Connection { stream, mess: LinkMess::decode(&body).expect("link message") }
    }

    /// Takes the next connection up to its ticket.
    pub(super) async fn accept_to_ticket(&self) -> Connection {
        let mut connection = self.accept().await;
        connection.write(&reply().encode()).await;
        connection.ticket().await;
        connection
    }

    /// Opens the next channel.
    pub(super) async fn open(&self) -> Connection {
        let mut connection = self.accept_to_ticket().await;
        connection.result(LinkCode::OK).await;
        connection
    }

    /// Opens main and lists `channels`.
    pub(super) async fn open_main(&self, channels: &[ChannelId]) -> Connection {
        let mut main = self.open().await;
        assert_eq!((main.mess.channel, main.mess.connection_id), (ChannelId::MAIN, 0));
        main.send(&init()).await;
        assert_eq!(main.receive().await, (104, vec![]), "ATTACH_CHANNELS");
        main.send(&ChannelsList { channels: channels.to_vec() }).await;
        main
    }

    /// Opens main, a display and inputs.
    pub(super) async fn open_console(&self) -> (Connection, Connection, Connection) {
        let main = self.open_main(&[DISPLAY, INPUTS]).await;
        let (first, second) = (self.open().await, self.open().await);
        let (display, mut inputs) =
            if first.mess.channel == DISPLAY { (first, second) } else { (second, first) };
        assert_eq!((display.mess.channel, inputs.mess.channel), (DISPLAY, INPUTS));
        assert_eq!((display.mess.connection_id, inputs.mess.connection_id), (SESSION_ID, SESSION_ID));
        let mut display = display;
        assert_eq!(display.receive().await.0, 101, "INIT");
        display.send(&SetAck { generation: 1, window: 20 }).await;
        assert_eq!(display.receive().await.0, 1, "ACK_SYNC");
        display.send(&InvalAllPalettes {}).await;
        inputs.send(&inputs::Init { modifiers: 0 }).await;
        (main, display, inputs)
    }
}

pub(super) const SESSION_ID: u32 = 0x1234_5678;

fn init() -> Init {
    Init {
        session_id: SESSION_ID,
        display_channels_hint: 1,
        supported_mouse_modes: 1,
        current_mouse_mode: 1,
        agent_connected: 0,
        agent_tokens: 10,
        multi_media_time: 0,
        ram_hint: 0,
    }
}

/// The reply of a server that takes tickets.
pub(super) fn reply() -> LinkReply {
    let key = KEY.to_public_key().to_public_key_der().expect("DER");
    LinkReply {
        error: LinkCode::OK,
        public_key: key.as_bytes().try_into().expect("162 bytes"),
        common: Capabilities::of(&[0, 1, 3]),
        channel_caps: Capabilities::default(),
    }
}

/// One channel's connection.
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) mess: LinkMess,
}

impl Connection {
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client listens");
    }

    /// Returns whether the client still listens.
    pub(super) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Reads mechanism and ticket and returns what is in it.
    pub(super) async fn ticket(&mut self) -> Vec<u8> {
        let bytes = read(&mut self.stream, 4 + 128).await;
        assert_eq!(bytes[..4], [1, 0, 0, 0], "the mechanism is a SPICE ticket");
        KEY.decrypt(Oaep::new::<sha1::Sha1>(), &bytes[4..]).expect("OAEP under our key")
    }

    pub(super) async fn result(&mut self, code: LinkCode) {
        self.write(&code.0.to_le_bytes()).await;
    }

    pub(super) async fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.write(&mini_frame(message)).await;
    }

    /// The client's next message: type and body.
    pub(super) async fn receive(&mut self) -> (u16, Vec<u8>) {
        let header = read(&mut self.stream, 6).await;
        let header = MiniHeader::decode(&mut Reader::new(&header)).expect("header");
        (header.kind, read(&mut self.stream, usize::try_from(header.size).expect("small")).await)
    }

    /// Waits for the client to close and asserts that it said nothing more.
    pub(super) async fn closed(mut self) {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the client closes");
        assert!(end.is_err() || rest.is_empty(), "before closing: {rest:02x?}");
    }
}

async fn read(stream: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("in time").expect("the client speaks");
    bytes
}
