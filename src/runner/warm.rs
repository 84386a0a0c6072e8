//! Whether a scenario's machine boots or is restored. What goes wrong with a saved machine is noted and costs a boot,
//! never a verdict; only `verify` is asked to be loud.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::execute::chain;
use crate::journal::{Body, Journal, Source};
use crate::lane::bringup::{Start, UpOptions};
use crate::lane::plan::{
    Accelerator, MONITOR_SOCKET, QEMU_LOG, QMP_SOCKET, SERIAL_LOG, SPICE_SOCKET, TICKET_FILE,
};
use crate::lane::teardown::TeardownConfig;
use crate::lane::warm::{SavedMachine, Seen, WarmKey, WarmMode, WarmStore};
use crate::lane::{Lane, LaneError, Plan};
use crate::spice::Recorder;

/// Brings up the lanes of a run, from saved machines where that is possible.
pub(super) struct WarmLanes {
    mode: WarmMode,
    store: WarmStore,
    /// A saved machine that did not come to life is not tried again in the same run.
    is_given_up: AtomicBool,
    /// What was seen of the machine that was booted for comparison.
    booted: Mutex<Option<(WarmKey, Seen)>>,
    /// Held by who boots the machine that is saved; the others wait for it and are put back in a moment.
    saving: Mutex<()>,
}

/// Where one lane comes from.
#[derive(Clone, Copy)]
pub(super) struct LaneRequest<'a> {
    pub(super) plan: &'a Plan,
    /// The lane's folder, which exists.
    pub(super) folder: &'a Path,
    pub(super) journal: &'a Journal,
    pub(super) cancel: &'a CancellationToken,
    /// Whether the scenario may start from a saved machine.
    pub(super) may_restore: bool,
    /// Where the console is recorded.
    pub(super) recorder: Option<&'a Recorder>,
}

impl LaneRequest<'_> {
    pub(super) async fn boot(self) -> Result<Lane, LaneError> {
        self.start(Start::Boot).await
    }

    async fn start(self, start: Start<'_>) -> Result<Lane, LaneError> {
        let Self { plan, folder, recorder, .. } = self;
        let options = UpOptions { plan, folder, start, is_joinable: false, recorder, listener: None };
        Lane::up_with(options, self.journal, self.cancel).await
    }
}

impl WarmLanes {
    pub(super) fn new(mode: WarmMode, store: WarmStore) -> Self {
        Self {
            mode,
            store,
            is_given_up: AtomicBool::new(false),
            booted: Mutex::default(),
            saving: Mutex::default(),
        }
    }

    /// Brings a lane up: restored if there is a saved machine, otherwise booted, and then saved for the next.
    pub(super) async fn up(&self, request: LaneRequest<'_>) -> Result<Lane, LaneError> {
        let LaneRequest { plan, journal, cancel, may_restore, .. } = request;
        let possible = self.mode != WarmMode::Off && may_restore && plan.is_warmable();
        if !possible || self.is_given_up() {
            return request.boot().await;
        }
        let key = WarmKey::of(plan, &processor(plan));
        if let Some(saved) = self.find(&key, journal).await {
            return self.restore_or_boot(&saved, &key, request).await;
        }
        let saving = cancel.run_until_cancelled(self.saving.lock()).await.ok_or(LaneError::Cancelled)?;
        // Somebody else may have booted and saved it meanwhile, or found that it cannot be done.
        if self.is_given_up() {
            drop(saving);
            return request.boot().await;
        }
        if let Some(saved) = self.find(&key, journal).await {
            drop(saving);
            return self.restore_or_boot(&saved, &key, request).await;
        }
        let lane = request.boot().await?;
        self.save(lane, &key, request).await
    }

    async fn restore_or_boot(
        &self,
        saved: &SavedMachine,
        key: &WarmKey,
        request: LaneRequest<'_>,
    ) -> Result<Lane, LaneError> {
        match self.restore(saved, key, request).await {
            Err(error) if !matches!(error, LaneError::Cancelled | LaneError::Differs { .. }) => {
                note(request.journal, "booted", key, Some(chain(&error)), Duration::ZERO);
                self.discard(key).await;
                self.boot_anew(request).await
            }
            result => result,
        }
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Boots a machine in place of one that was lost on the way to or from the store.
    async fn boot_anew(&self, request: LaneRequest<'_>) -> Result<Lane, LaneError> {
        self.give_up();
        request.journal.forget_machine();
        clear(request.folder);
        request.boot().await
    }

    async fn find(&self, key: &WarmKey, journal: &Journal) -> Option<Arc<SavedMachine>> {
        let (store, wanted) = (self.store.clone(), key.clone());
        // Forty megabytes are read and summed up.
        let found = tokio::task::spawn_blocking(move || store.find(&wanted)).await.ok()?;
        match found {
            Ok(found) => found.map(Arc::new),
            Err(error) => {
                note(journal, "booted", key, Some(chain(&error)), Duration::ZERO);
                self.discard(key).await;
                None
            }
        }
    }

    async fn discard(&self, key: &WarmKey) {
        let (store, key) = (self.store.clone(), key.clone());
        let _ = tokio::task::spawn_blocking(move || store.discard(&key)).await;
    }

    async fn restore(
        &self,
        saved: &SavedMachine,
        key: &WarmKey,
        request: LaneRequest<'_>,
    ) -> Result<Lane, LaneError> {
        let LaneRequest { journal, .. } = request;
        if self.mode == WarmMode::Verify {
            self.boot_for_comparison(key, request).await?;
        }
        let began = Instant::now();
        let lane = request.start(Start::Restore(saved)).await?;
        note(journal, "restored", key, None, began.elapsed());
        let booted = self.booted.lock().await;
        if let Some((_, booted)) = booted.as_ref().filter(|(of, _)| of == key) {
            let restored = Seen::of(journal, lane.handle().console.as_deref());
            let differences = booted.differences(&restored);
            if !differences.is_empty() {
                lane.down(TeardownConfig::default()).await;
                self.discard(key).await;
                return Err(LaneError::Differs { differences: differences.join("; ") });
            }
            note(journal, "verified", key, None, Duration::ZERO);
        }
        Ok(lane)
    }

    /// Boots a machine only to see what its oracles see, once a run.
    async fn boot_for_comparison(&self, key: &WarmKey, request: LaneRequest<'_>) -> Result<(), LaneError> {
        let mut booted = self.booted.lock().await;
        if booted.as_ref().is_some_and(|(of, _)| of == key) {
            return Ok(());
        }
        let folder = request.folder.join(COMPARED);
        let failed = |source| LaneError::Prepare { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let journal = Journal::create(&folder.join("journal.ndjson")).map_err(failed)?;
        let lane = Lane::up(request.plan, &folder, &journal, request.cancel).await?;
        let console = lane.handle().console;
        // Something may blink: both of its looks count.
        tokio::time::sleep(BLINK).await;
        let seen = Seen::of(&journal, console.as_deref());
        lane.down(TeardownConfig::default()).await;
        let _ = tokio::task::spawn_blocking(move || journal.close()).await;
        *booted = Some((key.clone(), seen));
        Ok(())
    }

    /// Saves a machine that has just become ready. One that does not go on afterwards is given up for another.
    async fn save(&self, lane: Lane, key: &WarmKey, request: LaneRequest<'_>) -> Result<Lane, LaneError> {
        let began = Instant::now();
        let LaneRequest { plan, journal, cancel, .. } = request;
        let staging = match self.store.begin() {
            Ok(staging) => staging,
            Err(error) => {
                self.give_up();
                note(journal, "not_saved", key, Some(chain(&error)), began.elapsed());
                return Ok(lane);
            }
        };
        let seen = tokio::select! {
            seen = lane.save(plan, &staging) => seen,
            () = cancel.cancelled() => {
                lane.down(TeardownConfig::default()).await;
                return Err(LaneError::Cancelled);
            }
        };
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.give_up();
                note(journal, "not_saved", key, Some(chain(&error)), began.elapsed());
                if error.is_fatal() {
                    lane.down(TeardownConfig::default()).await;
                    return self.boot_anew(request).await;
                }
                return Ok(lane);
            }
        };
        let (store, of, profile) = (self.store.clone(), key.clone(), plan.profile.clone());
        let published =
            tokio::task::spawn_blocking(move || store.publish(staging, &of, &profile, seen)).await;
        match published {
            Ok(Ok(())) => note(journal, "saved", key, None, began.elapsed()),
            Ok(Err(error)) => {
                self.give_up();
                note(journal, "not_saved", key, Some(chain(&error)), began.elapsed());
            }
            Err(error) => note(journal, "not_saved", key, Some(error.to_string()), began.elapsed()),
        }
        Ok(lane)
    }
}

/// What of this host's processor the guest sees: under emulation nothing.
fn processor(plan: &Plan) -> String {
    if plan.acceleration.resolved == Some(Accelerator::Tcg) {
        return String::new();
    }
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("model name") || line.starts_with("flags")).take(2).collect()
}

/// Removes what a lane that did not come up left in its folder and another one would trip over.
fn clear(folder: &Path) {
    for name in [QMP_SOCKET, MONITOR_SOCKET, SPICE_SOCKET, TICKET_FILE] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    for name in [SERIAL_LOG, QEMU_LOG] {
        let kept = folder.join(format!("given-up-{name}"));
        let _ = std::fs::rename(folder.join(name), kept);
    }
}

fn note(journal: &Journal, outcome: &str, key: &WarmKey, why: Option<String>, took: Duration) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let body = Body::Warm { outcome: outcome.to_owned(), key: Some(key.short().to_owned()), why, took_ms };
    journal.append(Source::Runner, body);
}

/// The folder of the machine that is booted for comparison, in the lane's.
const COMPARED: &str = "booted-for-comparison";
/// Longer than a blink of anything.
const BLINK: Duration = Duration::from_millis(1_500);
