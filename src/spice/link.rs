//! The handshake that opens a channel: link messages, ticket, result. Every step has a deadline.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::ticket::{self, Password, TicketError};
use super::transport::Stream;
use super::wire::WireError;
use super::wire::link::{
    Capabilities, ChannelId, LinkCode, LinkHeader, LinkMess, LinkReply, MAGIC, capability,
};

/// Why a channel was not opened.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The server hung up.
    #[error("the server closed the connection instead of sending its {step}")]
    Closed {
        /// What was awaited.
        step: &'static str,
    },
    /// The server is silent.
    #[error("no {step} within {after:?}")]
    Timeout {
        /// What was awaited.
        step: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The server wants TLS, and this side has begun without.
    #[error("the server speaks TLS at this port")]
    SpeaksTls,
    /// The socket failed.
    #[error("socket failed at the {step}")]
    Io {
        /// What was read or written.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The server said something that is not SPICE.
    #[error("the server's {step} is malformed")]
    Malformed {
        /// What was read.
        step: &'static str,
        /// What is wrong with it.
        source: WireError,
    },
    /// The server said no.
    #[error("the server refused with {0}")]
    Refused(LinkCode),
    /// The server does not want tickets but says so only after one.
    #[error("the server rejected the ticket mechanism")]
    MechanismRejected,
    /// The server wants SASL.
    #[error("the server wants SASL, which is not spoken here")]
    SaslRequired,
    /// The server is older than 0.10.
    #[error("the server does not offer mini headers")]
    NoMiniHeader,
    /// There is no ticket to send.
    #[error("no ticket can be made")]
    Ticket(#[from] TicketError),
}

impl LinkError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Closed { .. } => Some(
                "servers close without a word when they lack the channel, want TLS, or are no SPICE servers",
            ),
            Self::SpeaksTls => Some("name the port as the TLS port: `tls-port`, or spice+tls://HOST:PORT"),
            Self::Timeout { .. } => Some("is this a SPICE server, and is its machine process still alive?"),
            Self::Refused(LinkCode::NEED_SECURED) => Some(
                "name the server's TLS port as well, or allow the channel on the plain one (QEMU: plaintext-channel)",
            ),
            Self::Refused(LinkCode::NEED_UNSECURED) => Some(
                "name the server's plain port as well, or allow the channel on the TLS one (QEMU: tls-channel)",
            ),
            Self::Refused(LinkCode::PERMISSION_DENIED) => {
                Some("the password is wrong, missing on either side, or expired")
            }
            Self::Refused(LinkCode::BAD_CONNECTION_ID) => Some("another client has taken over the session"),
            Self::MechanismRejected | Self::SaslRequired => {
                Some("let the server take tickets: QEMU without `sasl=on`, libvirt with `spice_sasl = 0`")
            }
            _ => None,
        }
    }
}

/// What to ask for.
#[derive(Debug)]
pub(super) struct LinkRequest {
    pub(super) connection_id: u32,
    pub(super) channel: ChannelId,
    pub(super) channel_caps: Capabilities,
    /// For each step.
    pub(super) timeout: Duration,
}

/// A handshake whose server has answered and waits for the ticket.
#[derive(Debug)]
pub(super) struct PendingLink {
    stream: Stream,
    reply: LinkReply,
    timeout: Duration,
}

/// Exchanges link messages.
pub(super) async fn begin(mut stream: Stream, request: &LinkRequest) -> Result<PendingLink, LinkError> {
    let message = LinkMess {
        connection_id: request.connection_id,
        channel: request.channel,
        common: common_capabilities(),
        channel_caps: request.channel_caps.clone(),
    };
    let timeout = request.timeout;
    write(&mut stream, "link message", timeout, &message.encode()).await?;
    let step = "link reply";
    let malformed = |source| LinkError::Malformed { step, source };
    let header = read_header(&mut stream, step, timeout).await?;
    // Only the fixed part is sure to be there when the server refuses.
    let header = LinkHeader::decode_checked(&header, 4).map_err(malformed)?;
    let mut body = vec![0; usize::try_from(header.size).expect("checked against the size limit")];
    read(&mut stream, step, timeout, &mut body).await?;
    if let Some(code) = body.first_chunk().map(|code| LinkCode(u32::from_le_bytes(*code)))
        && code != LinkCode::OK
    {
        return Err(LinkError::Refused(code));
    }
    let reply = LinkReply::decode(&body).map_err(malformed)?;
    if !reply.common.has(capability::AUTH_SPICE) && reply.common.has(capability::AUTH_SASL) {
        return Err(LinkError::SaslRequired);
    }
    if !reply.common.has(capability::MINI_HEADER) {
        return Err(LinkError::NoMiniHeader);
    }
    Ok(PendingLink { stream, reply, timeout })
}

impl PendingLink {
    /// The server's capabilities for this type of channel.
    pub(super) fn server_caps(&self) -> &Capabilities {
        &self.reply.channel_caps
    }

    /// The server's capabilities for any channel.
    pub(super) fn common_caps(&self) -> &Capabilities {
        &self.reply.common
    }

    /// Sends the ticket, awaits the result and sends `greeting`, the channel's first messages.
    ///
    /// Not to be dropped halfway on a display channel: QEMU crashes when such a channel is closed between
    /// its result and INIT. When the result does not come in time the greeting is sent nevertheless, for
    /// the server may have sent the result after all.
    pub(super) async fn finish(
        mut self,
        password: Option<&Password>,
        greeting: &[u8],
    ) -> Result<Stream, LinkError> {
        let ticket = ticket::encrypt(password, &self.reply.public_key)?;
        let mut message = Vec::new();
        if self.reply.common.has(capability::AUTH_SELECTION) {
            message.extend_from_slice(&capability::AUTH_SPICE.to_le_bytes());
        }
        message.extend_from_slice(&ticket);
        write(&mut self.stream, "ticket", self.timeout, &message).await?;
        let mut code = [0; 4];
        let result = read(&mut self.stream, "link result", self.timeout, &mut code).await;
        match (result, LinkCode(u32::from_le_bytes(code))) {
            (Ok(()), LinkCode::OK) => {
                write(&mut self.stream, "first message", self.timeout, greeting).await?;
                Ok(self.stream)
            }
            (Ok(()), LinkCode(MAGIC)) => Err(LinkError::MechanismRejected),
            (Ok(()), code) => Err(LinkError::Refused(code)),
            (Err(error), _) => {
                let _ = write(&mut self.stream, "first message", self.timeout, greeting).await;
                Err(error)
            }
        }
    }
}

/// No SASL: a server that wants it shall say so in its reply.
fn common_capabilities() -> Capabilities {
    Capabilities::of(&[capability::AUTH_SELECTION, capability::AUTH_SPICE, capability::MINI_HEADER])
}

/// Reads a link header. What a server says in TLS to whom it does not understand is shorter.
async fn read_header(
    stream: &mut Stream,
    step: &'static str,
    after: Duration,
) -> Result<[u8; LinkHeader::LENGTH], LinkError> {
    let mut alert = [0; TLS_ALERT.len()];
    read(stream, step, after, &mut alert).await?;
    if alert == TLS_ALERT {
        return Err(LinkError::SpeaksTls);
    }
    let mut header = [0; LinkHeader::LENGTH];
    let (start, rest) = header.split_at_mut(alert.len());
    start.copy_from_slice(&alert);
    read(stream, step, after, rest).await?;
    Ok(header)
}

async fn read(
    stream: &mut Stream,
    step: &'static str,
    after: Duration,
    into: &mut [u8],
) -> Result<(), LinkError> {
    match timeout(after, stream.read_exact(into)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) if is_hang_up(&source) => Err(LinkError::Closed { step }),
        Ok(Err(source)) => Err(LinkError::Io { step, source }),
        Err(_) => Err(LinkError::Timeout { step, after }),
    }
}

async fn write(
    stream: &mut Stream,
    step: &'static str,
    after: Duration,
    bytes: &[u8],
) -> Result<(), LinkError> {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match timeout(after, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(LinkError::Io { step, source }),
        Err(_) => Err(LinkError::Timeout { step, after }),
    }
}

/// Servers that refuse tend to close with our bytes unread, which makes it a reset.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// The type and the major version of a TLS record that says what is wrong.
const TLS_ALERT: [u8; 2] = [21, 3];
