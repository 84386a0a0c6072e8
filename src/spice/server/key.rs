//! The server's own key, and what is in the tickets that are encrypted for it.

use std::sync::OnceLock;

use rand::rngs::OsRng;
use rsa::pkcs8::EncodePublicKey;
use rsa::{Oaep, RsaPrivateKey};
use sha1::Sha1;

use crate::spice::ticket::Password;
use crate::spice::wire::link::{PUBLIC_KEY_BYTES, TICKET_BYTES};

/// A key of 1024 bits, as SPICE wants it, no less and no more.
#[derive(Debug)]
pub(super) struct ServerKey {
    private: RsaPrivateKey,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl ServerKey {
    /// The key of this process, made at the first call, which takes a moment.
    pub(super) fn of_process() -> Result<&'static Self, rsa::Error> {
        static KEY: OnceLock<ServerKey> = OnceLock::new();
        if let Some(key) = KEY.get() {
            return Ok(key);
        }
        let key = Self::generate()?;
        Ok(KEY.get_or_init(|| key))
    }

    fn generate() -> Result<Self, rsa::Error> {
        loop {
            let private = RsaPrivateKey::new(&mut OsRng, TICKET_BYTES * 8)?;
            let public = private.to_public_key().to_public_key_der().map_err(|_| rsa::Error::Internal)?;
            // The DER form of a modulus with its highest bit set is always as long as the field for it.
            if let Ok(public) = public.as_bytes().try_into() {
                return Ok(Self { private, public });
            }
        }
    }

    /// DER SubjectPublicKeyInfo.
    pub(super) fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// Whether the ticket opens a server that wants `password`. One that wants none takes every ticket that is one.
    pub(super) fn accepts(&self, ticket: &[u8; TICKET_BYTES], password: Option<&Password>) -> bool {
        let Ok(said) = self.private.decrypt_blinded(&mut OsRng, Oaep::new::<Sha1>(), ticket) else {
            return false;
        };
        let said = said.split(|byte| *byte == 0).next().unwrap_or_default();
        password.is_none_or(|password| is_same(said, password.reveal().as_bytes()))
    }
}

/// Compares in a time that depends on neither text.
fn is_same(said: &[u8], wanted: &[u8]) -> bool {
    // No ticket holds more.
    let mut difference = u8::from(said.len() != wanted.len());
    for at in 0..TICKET_BYTES {
        let byte = |text: &[u8]| text.get(at).copied().unwrap_or(0);
        difference |= std::hint::black_box(byte(said) ^ byte(wanted));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::ticket;

    #[test]
    fn the_right_password_and_no_other_opens() {
        let key = ServerKey::of_process().unwrap();
        let ticket = |text: &str| {
            let password = Password::from(text.to_owned());
            ticket::encrypt((!text.is_empty()).then_some(&password), key.public()).unwrap()
        };
        let wanted = Password::from("secret".to_owned());
        assert!(key.accepts(&ticket("secret"), Some(&wanted)));
        for wrong in ["secre", "secrets", "Secret", "", "terces"] {
            assert!(!key.accepts(&ticket(wrong), Some(&wanted)), "{wrong:?}");
            assert!(key.accepts(&ticket(wrong), None), "{wrong:?}");
        }
        assert!(!key.accepts(&[7; TICKET_BYTES], None), "what does not decrypt is no ticket");
        assert!(std::ptr::eq(key, ServerKey::of_process().unwrap()), "there is one key");
    }
}
