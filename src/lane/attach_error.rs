//! What can be wrong with what somebody said about their machine. Each error names the variable or key that said it.

use std::io;
use std::path::PathBuf;

use super::attach_settings::{CA, HOST_SUBJECT, Origin, PASSWORD, PASSWORD_FILE, QMP, SERIAL_LOG, SPICE, VV};
use super::qmp::{QmpConnectError, QmpError};
use super::serial::SerialError;
use crate::control::client::ClientError;
use crate::control::protocol::Version;
use crate::spice::address::AddressError;
use crate::spice::vv::VvError;
use crate::spice::{CertificateProblem, LinkError, SessionError, TargetError, TlsError};

/// Why a lane is not attached. Passwords are in none of it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum AttachError {
    #[error("{first} and {second} both say where the console is")]
    TwoConsoles { first: Origin, second: Origin },
    #[error("{first} and {second} both say what the ticket is")]
    TwoPasswords { first: Origin, second: Origin },
    #[error(
        "{about} is about opening a console, and the one behind the control socket that {origin} names is open"
    )]
    NotThroughControl { origin: Origin, about: Origin },
    #[error("what comes through the control socket that {origin} names cannot be recorded")]
    NotRecorded { origin: Origin },
    #[error("attach to the control socket that {origin} names")]
    Control { origin: Origin, source: ClientError },
    #[error(
        "the lane wants digests, and the control server {server:?} at {path:?} ({origin}, protocol {version}) does not \
         tell `digest_updated`"
    )]
    NoDigest { origin: Origin, path: PathBuf, server: String, version: Version },
    #[error("{origin} is no address")]
    Address { origin: Origin, source: AddressError },
    #[error("read the connection file {path:?} ({origin})")]
    VvRead { origin: Origin, path: PathBuf, source: io::Error },
    #[error("{path:?} ({origin}) is no connection file")]
    Vv { origin: Origin, path: PathBuf, source: VvError },
    #[error("delete the connection file {path:?} ({origin}), as it asks for")]
    VvDelete { origin: Origin, path: PathBuf, source: io::Error },
    #[error("the console that {origin} names cannot be opened")]
    Target { origin: Origin, source: TargetError },
    #[error("{origin} is no URL of an HTTP proxy")]
    Proxy { origin: Origin, source: AddressError },
    #[error("{origin} is about TLS, and the console has no TLS port")]
    NoTls { origin: Origin },
    #[error("read the certificate authority from {path:?} ({origin})")]
    Authority { origin: Origin, path: PathBuf, source: io::Error },
    #[error("read the ticket from {path:?} ({origin})")]
    PasswordFile { origin: Origin, path: PathBuf, source: io::Error },
    #[error("open the console that {origin} names")]
    Console { origin: Origin, source: SessionError },
    #[error("the serial log that {origin} names")]
    SerialLog { origin: Origin, source: SerialError },
    #[error("attach to QMP at {path:?} ({origin})")]
    Qmp { origin: Origin, path: PathBuf, source: QmpConnectError },
}

impl AttachError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::TwoConsoles { .. } | Self::TwoPasswords { .. } => "unset one of them".to_owned(),
            Self::NotThroughControl { .. } => {
                "give it to the program that offers the control socket, and leave it out here".to_owned()
            }
            Self::NotRecorded { .. } => {
                format!("leave `--record` out, or name the machine's own console with {SPICE} or {VV}")
            }
            Self::Control { source, .. } => source.hint().unwrap_or_else(|| IS_IT_CONTROL.to_owned()),
            Self::NoDigest { .. } => {
                "build that server with what reads digests (ryll: `cargo install ryll --features digest-decode`; \
                 published binaries lack it), or set `digest = false` under `[oracle]` in the profile"
                    .to_owned()
            }
            Self::Address { source, .. } => source.hint().to_owned(),
            Self::VvRead { .. } => {
                "is the path right? viewers delete such a file once they have read it; fetch a new one".to_owned()
            }
            Self::Vv { .. } => {
                "it begins with `[virt-viewer]` and has `type=spice`, a `host`, and a `port`".to_owned()
            }
            Self::VvDelete { .. } => {
                "it holds a password and says `delete-this-file=1`; let its folder be written to".to_owned()
            }
            Self::Target { source, .. } => source.hint().to_owned(),
            Self::Proxy { .. } => "known form: http://[USER:PASSWORD@]HOST[:PORT]".to_owned(),
            Self::NoTls { .. } => {
                "name it, spice+tls://HOST:PORT or spice://HOST?tls-port=…, or leave this out".to_owned()
            }
            Self::Authority { .. } => {
                format!("{CA} and `ca` under `[attach]` name a PEM file (QEMU: ca-cert.pem in its x509-dir)")
            }
            Self::PasswordFile { .. } => format!("{PASSWORD_FILE} or `password_file` under `[attach]` names a file that holds the ticket and nothing else"),
            Self::Console { source: error @ SessionError::Link { source, .. }, .. } => match source {
                LinkError::Refused(code) if *code == crate::spice::wire::link::LinkCode::PERMISSION_DENIED => format!(
                    "the ticket is wrong, missing, or expired; it comes from {PASSWORD}, {PASSWORD_FILE}, `password_file` \
                     under `[attach]`, `password=` of the address, or the connection file"
                ),
                _ => error.hint().unwrap_or(IS_IT_THERE).to_owned(),
            },
            Self::Console { source: error @ SessionError::Tls { source, .. }, .. } => {
                let hint = error.hint().unwrap_or(IS_IT_THERE);
                match source {
                    TlsError::NoAuthority
                    | TlsError::Authority { .. }
                    | TlsError::Certificate(CertificateProblem::Untrusted { .. }) => {
                        format!("{hint}; {CA} or `ca` under `[attach]` names its file")
                    }
                    TlsError::Certificate(CertificateProblem::Name { .. } | CertificateProblem::Subject { .. }) => {
                        format!("{hint}; {HOST_SUBJECT} or `host_subject` under `[attach]` says which")
                    }
                    _ => hint.to_owned(),
                }
            }
            Self::Console { source, .. } => source.hint().unwrap_or(IS_IT_THERE).to_owned(),
            Self::SerialLog { .. } => format!(
                "the file must be there, and be readable, before the lane is attached (QEMU: `-serial file:PATH`); \
                 without {SERIAL_LOG} scenarios that need it are skipped"
            ),
            Self::Qmp { source: QmpConnectError::Negotiate(QmpError::Timeout { .. }), .. } => {
                "QEMU talks to one client at a time on a QMP socket, and somebody else seems to be connected to this \
                 one; start the machine with a second `-qmp`"
                    .to_owned()
            }
            Self::Qmp { .. } => format!(
                "is the machine running, with `-qmp unix:PATH,server=on,wait=off`? without {QMP} scenarios that need \
                 it are skipped"
            ),
        }
    }
}

const IS_IT_CONTROL: &str = "is the program that offers this socket well? its own log may tell more";
const IS_IT_THERE: &str = "is the machine running, and is this its SPICE address?";
