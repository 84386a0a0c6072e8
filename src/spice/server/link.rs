//! The server's side of the handshake: what a client wants, whether it may, and the answer.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::key::ServerKey;
use crate::spice::ticket::Password;
use crate::spice::transport::Stream;
use crate::spice::wire::WireError;
use crate::spice::wire::header::HeaderForm;
use crate::spice::wire::link::{
    Capabilities, ChannelType, LinkCode, LinkHeader, LinkMess, LinkReply, MAGIC, PUBLIC_KEY_BYTES,
    TICKET_BYTES, VERSION_MAJOR, capability,
};
use crate::spice::wire::{Field, Reader, display, inputs, main};

/// Why a client was turned away.
#[derive(Debug, Error)]
pub(super) enum TurnedAway {
    #[error("socket failed")]
    Io(#[from] io::Error),
    #[error("link message")]
    Malformed(#[from] WireError),
    #[error("refused with {0}")]
    Refused(LinkCode),
    #[error("refused the mechanism {0}")]
    Mechanism(u32),
}

/// A client that has shown its ticket and waits for the result.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) stream: Stream,
    pub(super) mess: LinkMess,
    pub(super) form: HeaderForm,
}

/// Takes a client up to its ticket. The caller has set a deadline.
pub(super) async fn receive(
    mut stream: Stream,
    key: &'static ServerKey,
    password: Option<&Password>,
) -> Result<Guest, TurnedAway> {
    let mut header = [0; LinkHeader::LENGTH];
    stream.read_exact(&mut header).await?;
    let header = match LinkHeader::decode_checked(&header, LinkMess::FIXED_LENGTH) {
        Ok(header) => header,
        Err(error) => return Err(refuse(stream, code_for(&header), error).await),
    };
    let mut body = vec![0; usize::try_from(header.size).expect("checked against the size limit")];
    stream.read_exact(&mut body).await?;
    let mess = match LinkMess::decode(&body) {
        Ok(mess) => mess,
        Err(error) => return Err(refuse(stream, LinkCode::INVALID_DATA, error).await),
    };
    let Some(channel_caps) = capabilities(mess.channel.channel_type).filter(|_| mess.channel.id == 0) else {
        let code = LinkCode::CHANNEL_NOT_AVAILABLE;
        send(&mut stream, &reply(code, [0; PUBLIC_KEY_BYTES], Capabilities::default())).await?;
        return Err(TurnedAway::Refused(code));
    };
    send(&mut stream, &reply(LinkCode::OK, *key.public(), channel_caps)).await?;
    if mess.common.has(capability::AUTH_SELECTION) {
        let mut mechanism = [0; 4];
        stream.read_exact(&mut mechanism).await?;
        let mechanism = u32::from_le_bytes(mechanism);
        if mechanism != capability::AUTH_SPICE {
            let whole = reply(LinkCode::INVALID_DATA, [0; PUBLIC_KEY_BYTES], Capabilities::default());
            send(&mut stream, &whole).await?;
            return Err(TurnedAway::Mechanism(mechanism));
        }
    }
    let mut ticket = [0; TICKET_BYTES];
    stream.read_exact(&mut ticket).await?;
    if !key.accepts(&ticket, password) {
        answer(&mut stream, LinkCode::PERMISSION_DENIED).await?;
        return Err(TurnedAway::Refused(LinkCode::PERMISSION_DENIED));
    }
    let form = if mess.common.has(capability::MINI_HEADER) { HeaderForm::Mini } else { HeaderForm::Full };
    Ok(Guest { stream, mess, form })
}

/// Sends the link result.
pub(super) async fn answer(stream: &mut Stream, code: LinkCode) -> io::Result<()> {
    send(stream, &code.0.to_le_bytes()).await
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn refuse(mut stream: Stream, code: LinkCode, error: WireError) -> TurnedAway {
    // Whoever speaks another protocol may not listen to the answer.
    let _ = send(&mut stream, &reply(code, [0; PUBLIC_KEY_BYTES], Capabilities::default())).await;
    error.into()
}

/// What is wrong with a header that was not taken.
fn code_for(header: &[u8]) -> LinkCode {
    match LinkHeader::decode(&mut Reader::new(header)) {
        Ok(header) if header.magic != MAGIC => LinkCode::INVALID_MAGIC,
        Ok(header) if header.major_version != VERSION_MAJOR => LinkCode::VERSION_MISMATCH,
        _ => LinkCode::INVALID_DATA,
    }
}

fn reply(error: LinkCode, public_key: [u8; PUBLIC_KEY_BYTES], channel_caps: Capabilities) -> Vec<u8> {
    let common =
        Capabilities::of(&[capability::AUTH_SELECTION, capability::AUTH_SPICE, capability::MINI_HEADER]);
    LinkReply { error, public_key, common, channel_caps }.encode()
}

/// What this server can do on a channel; nothing when it has no such channel.
fn capabilities(channel: ChannelType) -> Option<Capabilities> {
    Some(match channel {
        ChannelType::MAIN => Capabilities::of(&[main::capability::NAME_AND_UUID]),
        ChannelType::DISPLAY => {
            Capabilities::of(&[display::capability::MONITORS_CONFIG, display::capability::PREF_COMPRESSION])
        }
        ChannelType::INPUTS => Capabilities::of(&[inputs::capability::KEY_SCANCODE]),
        ChannelType::CURSOR => Capabilities::default(),
        _ => return None,
    })
}
