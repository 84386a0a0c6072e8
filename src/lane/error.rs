//! What can go wrong with a lane, and who must act. A machine that ends because its scenario made it end is not
//! among it.

use std::path::PathBuf;
use std::sync::Arc;

use super::attach_error::AttachError;
use super::kvm::KvmProofError;
use super::plan::{FileRole, PlanError};
use super::platform_detect::DetectError;
use super::process::{ExitFacts, SpawnError};
use super::profile::ProfileError;
use super::qmp::{QmpConnectError, QmpError};
use super::serial::SerialError;
use super::sim::InjectError;
use super::unix_socket::ConnectError;
use super::warm::StoreError;
use super::warm::migrate::MigrateError;
use crate::spice::SessionError;
use crate::spice::server::ServeError;

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responsible {
    /// Whoever wrote the profile.
    Author,
    /// Whoever set up this host.
    Host,
    /// Us.
    Backstaff,
}

/// Why a lane is not there, or no more.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum LaneError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Detect(#[from] DetectError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    KvmProof(#[from] KvmProofError),
    #[error("{role} {path:?} cannot be read")]
    Input { path: PathBuf, role: FileRole, source: std::io::Error },
    #[error("prepare {path:?}")]
    Prepare { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("QEMU ended with {facts} while {during}; its log is {log:?}")]
    Ended { during: &'static str, facts: Arc<ExitFacts>, log: PathBuf },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    QmpConnect(#[from] QmpConnectError),
    #[error(transparent)]
    Qmp(#[from] QmpError),
    #[error(transparent)]
    Serial(#[from] SerialError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("open the console")]
    Console(#[from] SessionError),
    #[error("serve the console")]
    Serve(#[from] ServeError),
    #[error("`[[fault]]` of the profile")]
    Inject(#[from] InjectError),
    #[error("gate `{gate}` was not reached: {why}\nseen: {seen}")]
    Gate { gate: &'static str, why: String, seen: String },
    #[error("the machine stopped by itself while coming up (QMP status internal-error)")]
    Stopped,
    #[error("the saved machine cannot be used")]
    Saved(#[from] StoreError),
    #[error("load the saved machine")]
    Migrate(#[from] MigrateError),
    #[error("the restored machine is not as one that was booted: {differences}")]
    Differs { differences: String },
    #[error("cancelled while coming up")]
    Cancelled,
}

impl LaneError {
    /// Returns who must act.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Profile(_) | Self::Input { .. } | Self::Inject(_) => Responsible::Author,
            Self::Plan(error) if error.is_authors() => Responsible::Author,
            Self::Detect(_)
            | Self::Plan(_)
            | Self::KvmProof(_)
            | Self::Prepare { .. }
            | Self::Spawn(_)
            | Self::Ended { .. }
            | Self::Connect(_)
            | Self::Serial(_)
            | Self::Attach(_)
            | Self::Gate { .. }
            | Self::Stopped
            | Self::Saved(_)
            | Self::Migrate(_)
            | Self::Differs { .. }
            | Self::Serve(_)
            | Self::Cancelled => Responsible::Host,
            Self::QmpConnect(_) | Self::Qmp(_) | Self::Console(_) => Responsible::Backstaff,
        }
    }

    /// Returns what to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Profile(error) => error.hint(),
            Self::Detect(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Ended { facts, .. } if facts.last_words.is_empty() => None,
            Self::Ended { facts, .. } => Some(format!("its last words: {}", facts.last_words)),
            Self::Input { role: FileRole::Kernel, .. } => {
                Some("is the kernel built, and is its path right in the profile?".to_owned())
            }
            Self::Input { .. } => Some("the profile names it; paths are relative to the profile".to_owned()),
            Self::Console(error) => error.hint().map(str::to_owned),
            Self::Differs { .. } => Some(
                "does something other than time change on its screen or serial port while the machine is ready? a \
                 later gate in the profile, or `enabled = false` under [warm], helps"
                    .to_owned(),
            ),
            Self::Attach(error) => Some(error.hint()),
            Self::KvmProof(_)
            | Self::Gate { .. }
            | Self::Stopped
            | Self::Saved(_)
            | Self::Migrate(_)
            | Self::Cancelled
            | Self::Prepare { .. }
            | Self::Spawn(_)
            | Self::Connect(_)
            | Self::QmpConnect(_)
            | Self::Qmp(_)
            | Self::Serve(_)
            | Self::Serial(_)
            | Self::Inject(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use super::{LaneError, Responsible};
    use crate::lane::Profile;
    use crate::lane::process::ExitFacts;

    #[test]
    fn a_dead_qemu_is_told_with_its_status_its_log_and_its_last_words() {
        let last_words = "qemu: no such device".to_owned();
        let facts = ExitFacts { code: Some(1), signal: None, ran_for: Duration::from_millis(40), last_words };
        let log = PathBuf::from("logs/run/east/qemu.log");
        let error = LaneError::Ended { during: "waiting for QMP", facts: Arc::new(facts), log };
        assert_eq!(
            error.to_string(),
            "QEMU ended with status 1 after 0.0 s while waiting for QMP; its log is \"logs/run/east/qemu.log\""
        );
        assert_eq!(error.hint().unwrap(), "its last words: qemu: no such device");
        assert_eq!(error.responsible(), Responsible::Host);
    }

    #[test]
    fn a_profile_is_its_authors_business() {
        let (file, root) = (Path::new("/p/east.toml"), Path::new("/p"));
        let error = LaneError::from(Profile::parse("east", "kind = \"vm\"", file, root).unwrap_err());
        assert_eq!(error.to_string(), "/p/east.toml:1:8: unknown value `vm`");
        assert_eq!(error.hint().unwrap(), "known here: qemu, attach, sim");
        assert_eq!(error.responsible(), Responsible::Author);
    }
}
