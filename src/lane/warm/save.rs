//! A running machine into a folder: stopped for a moment, its memory and its files copied, and on it goes.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Map;

use super::migrate::{self, MigrateError};
use super::seen::Seen;
use super::store::{MEMORY, SCREEN, Staging};
use crate::console::{Console, Screenshot};
use crate::journal::{Body, Cursor, Event, Journal, Source};
use crate::lane::handle::Capability;
use crate::lane::plan::{Plan, SERIAL_LOG};
use crate::lane::qmp::{QmpClient, QmpError};

/// What there is to save.
pub(in crate::lane) struct SaveOptions<'a> {
    pub(in crate::lane) qmp: &'a QmpClient,
    pub(in crate::lane) plan: &'a Plan,
    pub(in crate::lane) folder: &'a Path,
    pub(in crate::lane) journal: &'a Journal,
    pub(in crate::lane) console: Option<&'a dyn Console>,
}

/// Why a machine was not saved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum SaveError {
    #[error("write {path:?}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("the machine does not stop for it")]
    Stop(#[source] QmpError),
    #[error("the machine does not go on after it")]
    Resume(#[source] QmpError),
}

impl SaveError {
    /// Whether the machine is of no more use.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Resume(_))
    }
}

pub(in crate::lane) async fn save(options: SaveOptions<'_>, staging: &Staging) -> Result<Seen, SaveError> {
    if options.plan.capabilities.contains(&Capability::Digest) {
        stop_before_a_refresh(&options).await?;
    } else {
        stop(options.qmp).await?;
    }
    let saved = save_stopped(&options, staging).await;
    options.qmp.execute("cont", Map::new(), ANSWER).await.map_err(SaveError::Resume)?;
    saved
}

async fn stop(qmp: &QmpClient) -> Result<(), SaveError> {
    qmp.execute("stop", Map::new(), ANSWER).await.map(drop).map_err(SaveError::Stop)
}

/// A restored machine shows that it goes on with its next refresh: the sooner that comes, the sooner a scenario starts.
async fn stop_before_a_refresh(options: &SaveOptions<'_>) -> Result<(), SaveError> {
    for _ in 1..TRIES {
        let refreshed = shortly_before_a_refresh(options.journal).await;
        stop(options.qmp).await?;
        let later = options.journal.after(Source::Digest, refreshed);
        if !later.iter().any(|event| matches!(event.body, Body::DigestUpdated { .. })) {
            return Ok(());
        }
        // It came too early: now the next one would be a whole period away.
        options.qmp.execute("cont", Map::new(), ANSWER).await.map_err(SaveError::Resume)?;
    }
    stop(options.qmp).await
}

/// Returns where the last refresh was seen.
async fn shortly_before_a_refresh(journal: &Journal) -> Cursor {
    let mut cursor = Cursor(journal.newest());
    let is_digest = |event: &Event| matches!(event.body, Body::DigestUpdated { .. });
    let waiting = async {
        let before = journal.after(Source::Digest, Cursor::default()).into_iter().rfind(|it| is_digest(it));
        let next = journal.next_match(Source::Digest, &mut cursor, is_digest).await;
        let period = before.map_or(Duration::ZERO, |before| next.at().saturating_sub(before.at()));
        tokio::time::sleep(period.mul_f64(PHASE)).await;
    };
    // A guest that refreshes more rarely is saved whenever it is.
    let _ = tokio::time::timeout(RARE, waiting).await;
    cursor
}

/// The machine's files rest while it is stopped, and QEMU has let go of its disks.
async fn save_stopped(options: &SaveOptions<'_>, staging: &Staging) -> Result<Seen, SaveError> {
    let path = staging.folder().join(MEMORY);
    // For writing only: QEMU looks for just that among the descriptors it was given.
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
    let memory = opened.map_err(|source| SaveError::Write { path, source })?;
    migrate::save(options.qmp, &memory).await?;
    for name in options.plan.private_files().into_iter().chain([SERIAL_LOG.to_owned()]) {
        let path = staging.folder().join(&name);
        match fs::copy(options.folder.join(&name), &path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(SaveError::Write { path, source });
            }
            _ => {}
        }
    }
    let seen = Seen::of(options.journal, options.console);
    if seen.digest.is_none()
        && let Some(shot) = options.console.and_then(Screenshot::take)
    {
        let path = staging.folder().join(SCREEN);
        let written = shot.to_png().map_err(std::io::Error::other).and_then(|png| fs::write(&path, png));
        written.map_err(|source| SaveError::Write { path, source })?;
    }
    Ok(seen)
}

/// Where between two refreshes: as late as is safe.
const PHASE: f64 = 0.93;
/// To hit that moment, on a host that is late now and then.
const TRIES: usize = 4;
const RARE: Duration = Duration::from_secs(3);
/// For an answer of QEMU's.
const ANSWER: Duration = Duration::from_secs(20);
