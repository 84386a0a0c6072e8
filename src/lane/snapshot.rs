//! Named snapshots of a running machine, within the life of its QEMU: memory and devices into an image of their own,
//! what was written to disks and firmware variables inside their overlays.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use visual_digest::ChannelHashes;

use super::qcow2;
use super::qmp::{QmpClient, QmpError};
use crate::near::nearest;

/// The snapshots of one machine.
pub(super) struct Snapshots {
    folder: PathBuf,
    /// Block nodes that belong to the machine's state.
    nodes: Vec<String>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    has_image: bool,
    /// With the hashes of the digest that was seen last before each.
    names: BTreeMap<String, Option<ChannelHashes>>,
    jobs: u32,
}

/// Why there is no snapshot, or none to go back to.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum SnapshotError {
    #[error("a snapshot's name is {got:?}, wanted 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
    Name { got: String },
    #[error("there is no snapshot {name:?}{}", near.as_ref().map(|near| format!(", did you mean {near:?}?")).unwrap_or_default())]
    Unknown { name: String, near: Option<String>, known: Vec<String> },
    #[error("write {path:?}: {reason}")]
    Image { path: PathBuf, reason: String },
    #[error("QEMU gave up: {0}")]
    Failed(String),
    #[error("not done within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

impl Snapshots {
    /// Snapshots below `folder`, QEMU's working directory, of memory and of the block `nodes`, which are qcow2.
    pub(super) fn new(folder: PathBuf, nodes: Vec<String>) -> Self {
        Self { folder, nodes, taken: Mutex::default() }
    }

    /// Takes a snapshot, in place of an earlier one of the same name. The machine rests meanwhile. `hashes` are kept
    /// with it.
    pub(super) async fn save(
        &self,
        qmp: &QmpClient,
        name: &str,
        hashes: Option<ChannelHashes>,
    ) -> Result<(), SnapshotError> {
        let is_name = (1..=64).contains(&name.len())
            && name.chars().all(|char| char.is_ascii_alphanumeric() || "._-".contains(char));
        if !is_name {
            return Err(SnapshotError::Name { got: name.to_owned() });
        }
        let mut taken = self.taken.lock().await;
        if !taken.has_image {
            self.make_image(qmp).await?;
            taken.has_image = true;
        }
        if taken.names.remove(name).is_some() {
            let delete = json!({ "tag": name, "devices": self.devices() });
            self.job(qmp, &mut taken, "snapshot-delete", delete).await?;
        }
        let save = json!({ "tag": name, "vmstate": NODE, "devices": self.devices() });
        self.job(qmp, &mut taken, "snapshot-save", save).await?;
        taken.names.insert(name.to_owned(), hashes);
        Ok(())
    }

    /// What was kept with the snapshot of this name.
    pub(super) async fn hashes_of(&self, name: &str) -> Result<Option<ChannelHashes>, SnapshotError> {
        let names = &self.taken.lock().await.names;
        if let Some(hashes) = names.get(name) {
            return Ok(*hashes);
        }
        let near = nearest(name, names.keys().map(String::as_str)).map(str::to_owned);
        Err(SnapshotError::Unknown { name: name.to_owned(), near, known: names.keys().cloned().collect() })
    }

    /// Puts a paused machine back to a snapshot.
    pub(super) async fn load(&self, qmp: &QmpClient, name: &str) -> Result<(), SnapshotError> {
        let mut taken = self.taken.lock().await;
        let load = json!({ "tag": name, "vmstate": NODE, "devices": self.devices() });
        self.job(qmp, &mut taken, "snapshot-load", load).await
    }

    fn devices(&self) -> Vec<&str> {
        std::iter::once(NODE).chain(self.nodes.iter().map(String::as_str)).collect()
    }

    /// The image that holds memory and devices; it grows as it is needed.
    async fn make_image(&self, qmp: &QmpClient) -> Result<(), SnapshotError> {
        let path = self.folder.join(IMAGE);
        let failed = |reason: String| SnapshotError::Image { path: path.clone(), reason };
        let image = qcow2::overlay(IMAGE_BYTES).ok_or_else(|| failed("too large".to_owned()))?;
        tokio::fs::write(&path, image).await.map_err(|error| failed(error.to_string()))?;
        let node = json!({
            "driver": "qcow2",
            "node-name": NODE,
            "file": { "driver": "file", "filename": IMAGE },
        });
        execute(qmp, "blockdev-add", node).await?;
        Ok(())
    }

    /// Runs a job to its end.
    async fn job(
        &self,
        qmp: &QmpClient,
        taken: &mut Taken,
        command: &str,
        mut arguments: Value,
    ) -> Result<(), SnapshotError> {
        taken.jobs += 1;
        let id = format!("snapshot{}", taken.jobs);
        arguments["job-id"] = json!(id);
        execute(qmp, command, arguments).await?;
        let concluded = async {
            loop {
                let jobs = execute(qmp, "query-jobs", json!({})).await?;
                let ours = jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["id"] == id.as_str()));
                match ours {
                    Some(job) if job["status"] == "concluded" => break Ok(job["error"].clone()),
                    Some(_) => {}
                    None => break Err(SnapshotError::Failed("it forgot its job".to_owned())),
                }
                // It takes some forty milliseconds, and the event about it names a status that may be gone again.
                tokio::time::sleep(POLL).await;
            }
        };
        let error = tokio::time::timeout(JOB, concluded).await.map_err(|_| SnapshotError::Timeout(JOB))??;
        execute(qmp, "job-dismiss", json!({ "id": id })).await?;
        match error.as_str() {
            Some(error) => Err(SnapshotError::Failed(error.to_owned())),
            None => Ok(()),
        }
    }
}

async fn execute(qmp: &QmpClient, command: &str, arguments: Value) -> Result<Value, QmpError> {
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    qmp.execute(command, arguments, ANSWER).await
}

/// The image in the lane's folder.
pub(super) const IMAGE: &str = "snapshots.qcow2";
const NODE: &str = "snapshots";
/// What the guest could see of it if it were a disk. Snapshots lie beyond it.
const IMAGE_BYTES: u64 = 1_024 * 1_024;
/// For an answer of QEMU's.
const ANSWER: Duration = Duration::from_secs(20);
/// For a whole snapshot. A gigabyte takes seconds.
const JOB: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);
