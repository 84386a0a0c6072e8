//! The password, and the block it becomes on the wire.

use std::fmt;

use rand::rngs::OsRng;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, RsaPublicKey};
use sha1::Sha1;
use thiserror::Error;

use super::wire::link::{PUBLIC_KEY_BYTES, TICKET_BYTES};

/// A SPICE password. Prints as dots, whatever is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// What servers accept, in bytes.
    pub const LIMIT: usize = 60;

    /// The text, for what cannot do without it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why there is no ticket.
#[derive(Debug, Error)]
pub enum TicketError {
    /// The password is too long.
    #[error("password of {bytes} bytes, servers take {limit}", limit = Password::LIMIT)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The server would stop reading at the NUL.
    #[error("password with a NUL in it")]
    Nul,
    /// The server's key is not one.
    #[error("public key of the server")]
    Key(#[source] rsa::pkcs8::spki::Error),
    /// The server's key has another size.
    #[error("public key of {bits} bits, wanted {wanted}", wanted = TICKET_BYTES * 8)]
    KeySize {
        /// Its size.
        bits: usize,
    },
    /// The encryption failed.
    #[error("encryption of the ticket")]
    Encrypt(#[source] rsa::Error),
}

/// Encrypts `password` (or none) for the owner of `public_key`: RSA-OAEP with SHA-1 over the password and a NUL.
pub(super) fn encrypt(
    password: Option<&Password>,
    public_key: &[u8; PUBLIC_KEY_BYTES],
) -> Result<[u8; TICKET_BYTES], TicketError> {
    let password = password.map_or("", |password| password.0.as_str());
    if password.len() > Password::LIMIT {
        return Err(TicketError::TooLong { bytes: password.len() });
    }
    if password.contains('\0') {
        return Err(TicketError::Nul);
    }
    let key = RsaPublicKey::from_public_key_der(public_key).map_err(TicketError::Key)?;
    if key.size() != TICKET_BYTES {
        return Err(TicketError::KeySize { bits: key.n().bits() });
    }
    let message = [password.as_bytes(), &[0]].concat();
    let block = key.encrypt(&mut OsRng, Oaep::new::<Sha1>(), &message).map_err(TicketError::Encrypt)?;
    let bits = block.len() * 8;
    block.try_into().map_err(|_| TicketError::KeySize { bits })
}
