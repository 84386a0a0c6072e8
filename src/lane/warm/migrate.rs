//! A machine's memory and devices into a file and back, as a migration through a file descriptor that is handed over
//! on the monitor: QEMU's sandbox forbids it to run programs, and needs no path to anything.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::lane::qmp::{QmpClient, QmpError};

/// Why a machine's memory was not carried over.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum MigrateError {
    #[error(transparent)]
    Qmp(#[from] QmpError),
    #[error("the descriptor of the state cannot be used: {0}")]
    Descriptor(String),
    #[error("QEMU gave up: {0}")]
    Failed(String),
    #[error("not carried over within {0:?}")]
    Timeout(Duration),
}

/// How a state travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As a stream: every QEMU can.
    Stream,
    /// Every page of memory at its own place in the file, QEMU 9.0 and later.
    MappedRam,
}

/// Writes the state of a stopped machine to `file`, which is empty.
pub(in crate::lane) async fn save(qmp: &QmpClient, file: &File) -> Result<(), MigrateError> {
    let way = prepare(qmp, file).await?;
    let unlimited = json!({ "max-bandwidth": i64::MAX });
    execute(qmp, "migrate-set-parameters", unlimited).await?;
    execute(qmp, "migrate", json!({ "uri": way.uri() })).await?;
    finished(qmp, |status| match status["status"].as_str() {
        Some("completed") => Some(Ok(())),
        Some("failed" | "cancelled") => Some(Err(reason(status))),
        _ => None,
    })
    .await?;
    release(qmp, way).await
}

/// Puts the state in `file` into a machine that was started with `-incoming defer`. It is paused afterwards.
pub(in crate::lane) async fn load(qmp: &QmpClient, file: &File) -> Result<(), MigrateError> {
    let way = prepare(qmp, file).await?;
    execute(qmp, "migrate-incoming", json!({ "uri": way.uri() })).await?;
    finished(qmp, |status| match status["status"].as_str() {
        Some("completed") => Some(Ok(())),
        Some("failed") => Some(Err(reason(status))),
        _ => None,
    })
    .await?;
    release(qmp, way).await
}

/// Hands the file over and agrees on the way.
async fn prepare(qmp: &QmpClient, file: &File) -> Result<Way, MigrateError> {
    let known = execute(qmp, "query-migrate-capabilities", json!({})).await?;
    let has_mapped_ram = known
        .as_array()
        .is_some_and(|known| known.iter().any(|capability| capability["capability"] == "mapped-ram"));
    let descriptor = file.try_clone().map_err(|error| MigrateError::Descriptor(error.to_string()))?;
    let descriptor = Arc::new(OwnedFd::from(descriptor));
    let hand_over = async |command: &str, arguments: Value| {
        qmp.execute_with_descriptor(command, object(arguments), Arc::clone(&descriptor), ANSWER).await
    };
    if has_mapped_ram {
        set_mapped_ram(qmp, true).await?;
        hand_over("add-fd", json!({ "fdset-id": FDSET })).await?;
        return Ok(Way::MappedRam);
    }
    hand_over("getfd", json!({ "fdname": FDNAME })).await?;
    Ok(Way::Stream)
}

/// Lets QEMU forget the descriptor, so that it can be given another one later, and the way, which named snapshots
/// cannot take.
async fn release(qmp: &QmpClient, way: Way) -> Result<(), MigrateError> {
    if way == Way::MappedRam {
        execute(qmp, "remove-fd", json!({ "fdset-id": FDSET })).await?;
        set_mapped_ram(qmp, false).await?;
    }
    Ok(())
}

async fn set_mapped_ram(qmp: &QmpClient, state: bool) -> Result<(), MigrateError> {
    let capabilities = json!({ "capabilities": [{ "capability": "mapped-ram", "state": state }] });
    execute(qmp, "migrate-set-capabilities", capabilities).await?;
    Ok(())
}

impl Way {
    fn uri(self) -> String {
        match self {
            Self::Stream => format!("fd:{FDNAME}"),
            Self::MappedRam => format!("file:/dev/fdset/{FDSET}"),
        }
    }
}

async fn finished(
    qmp: &QmpClient,
    verdict: impl Fn(&Value) -> Option<Result<(), MigrateError>>,
) -> Result<(), MigrateError> {
    let polling = async {
        loop {
            let status = execute(qmp, "query-migrate", json!({})).await?;
            if let Some(verdict) = verdict(&status) {
                return verdict;
            }
            // It takes some twenty milliseconds in all; QEMU sends events about it only after more questions.
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(CARRY, polling).await.map_err(|_| MigrateError::Timeout(CARRY))?
}

fn reason(status: &Value) -> MigrateError {
    MigrateError::Failed(status["error-desc"].as_str().unwrap_or("it does not say why").to_owned())
}

async fn execute(qmp: &QmpClient, command: &str, arguments: Value) -> Result<Value, QmpError> {
    qmp.execute(command, object(arguments), ANSWER).await
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

const FDNAME: &str = "state";
const FDSET: u32 = 1;
/// For an answer of QEMU's.
const ANSWER: Duration = Duration::from_secs(20);
/// For a whole state. A gigabyte takes seconds.
const CARRY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
