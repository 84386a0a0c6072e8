//! The lanes of a run: what their profiles come to on this host, and machines brought up from them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::execute::{chain, keep_plan};
use super::record::Recording;
use super::warm::{LaneRequest, WarmLanes};
use super::{Project, ProjectError, RunOptions};
use crate::journal::{Body, Journal, Source};
use crate::lane::attach::{AttachMemory, Observers};
use crate::lane::handle::{Capability, LaneHandle};
use crate::lane::inspect::plan_on;
use crate::lane::plan::{Accelerator, log_root};
use crate::lane::plan_sim::SimPlan;
use crate::lane::platform::KvmProof;
use crate::lane::platform_detect::DetectConfig;
use crate::lane::profile::{AccelRequest, QemuProfile, SimProfile};
use crate::lane::sim::SimOptions;
use crate::lane::teardown::TeardownConfig;
use crate::lane::warm::WarmStore;
use crate::lane::warm::store::DEFAULT_LIMIT_BYTES;
use crate::lane::{
    AttachEnvironment, AttachSettings, AttachedLane, Lane, LaneError, Plan, Platform, Profile, SimLane,
};
use crate::script::{Failure, FailureKind, Scenario};

/// The name of the lane that is no machine: for scenarios that only judge values.
pub const NO_LANE: &str = "none";

/// The lanes that a run's tests name.
pub(super) struct RunLanes {
    by_name: BTreeMap<String, RunLane>,
    search_path: OsString,
    /// Where runs put their folders, as it was asked for.
    artifacts: PathBuf,
    attach: AttachEnvironment,
}

/// One lane of a run.
struct RunLane {
    /// None: there is no machine.
    profile: Option<Profile>,
    /// The same for every attempt of a run, once it was found.
    plan: Mutex<Option<Plan>>,
    warm: WarmLanes,
    attach_memory: Mutex<AttachMemory>,
}

/// What a machine is brought up for.
#[derive(Clone, Copy)]
pub(super) struct LanePart<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) journal: &'a Journal,
    pub(super) folder: &'a Path,
    pub(super) cancel: &'a CancellationToken,
    pub(super) recording: &'a Recording<'a>,
}

/// A machine that is up.
pub(super) enum UpLane {
    Qemu(Box<Lane>),
    Attached(Box<AttachedLane>),
    Sim(Box<SimLane>),
    None(LaneHandle),
}

impl UpLane {
    pub(super) fn handle(&self) -> LaneHandle {
        match self {
            Self::Qemu(lane) => lane.handle(),
            Self::Attached(lane) => lane.handle(),
            Self::Sim(lane) => lane.handle(),
            Self::None(handle) => handle.clone(),
        }
    }

    pub(super) async fn down(self) {
        match self {
            Self::Qemu(lane) => lane.down(TeardownConfig::default()).await,
            Self::Attached(lane) => lane.down().await,
            Self::Sim(lane) => lane.down().await,
            Self::None(_) => {}
        }
    }
}

impl RunLanes {
    /// Loads the profiles of these lanes. A wrong profile must be said before anything is made on disk.
    pub(super) fn load<'a>(
        names: impl IntoIterator<Item = &'a str>,
        options: &RunOptions,
    ) -> Result<Self, ProjectError> {
        let limit = options.project.warm_limit_mib.map_or(DEFAULT_LIMIT_BYTES, |mib| u64::from(mib) * MIB);
        let mut by_name = BTreeMap::new();
        for name in names {
            if by_name.contains_key(name) {
                continue;
            }
            let lane = RunLane {
                profile: profile(&options.project, name)?,
                plan: Mutex::default(),
                warm: WarmLanes::new(options.warm, WarmStore::new(&options.artifacts, limit)),
                attach_memory: Mutex::default(),
            };
            by_name.insert(name.to_owned(), lane);
        }
        Ok(Self {
            by_name,
            search_path: options.search_path.clone(),
            artifacts: options.artifacts.clone(),
            attach: options.attach.clone(),
        })
    }

    /// The profile of a lane; none: there is no machine.
    pub(super) fn profile(&self, name: &str) -> Option<&Profile> {
        self.lane(name).profile.as_ref()
    }

    fn lane(&self, name: &str) -> &RunLane {
        self.by_name.get(name).expect("all lanes that tests name are loaded")
    }

    /// Brings a machine up, or says why the scenario cannot run on it.
    pub(super) async fn up(&self, name: &str, part: LanePart<'_>) -> Result<UpLane, Failure> {
        let lane = self.lane(name);
        match &lane.profile {
            None => no_machine(name, part.scenario),
            Some(Profile::Qemu(profile)) => self.up_qemu(lane, profile, part).await,
            Some(Profile::Attach(profile)) => {
                let settings = AttachSettings::resolve(profile, &self.attach);
                up_attached(lane, &settings, part).await
            }
            Some(Profile::Sim(profile)) => up_sim(profile, part).await,
        }
    }

    /// A machine that is booted, or put back.
    async fn up_qemu(
        &self,
        lane: &RunLane,
        profile: &QemuProfile,
        part: LanePart<'_>,
    ) -> Result<UpLane, Failure> {
        let LanePart { scenario, journal, folder, cancel, recording } = part;
        let plan = self.plan(lane, profile, journal, false).await.map_err(|error| lane_failure(&error))?;
        keep_plan(&plan, folder)?;
        let missing = scenario.needs.iter().find(|need| !plan.capabilities.contains(need));
        if let Some(need) = missing {
            let lane = &plan.profile;
            let reason = match need {
                Capability::Faults => {
                    format!("lane \"{lane}\" has no faults: that takes a lane of kind \"sim\"")
                }
                need => format!("lane \"{lane}\" is not configured for {need}"),
            };
            return Err(Failure::new(FailureKind::Skip, reason));
        }
        let recorder = recording.begin()?;
        let may_restore = scenario.warm;
        let request =
            LaneRequest { plan: &plan, folder, journal, cancel, may_restore, recorder: recorder.as_ref() };
        let mut up = lane.warm.up(request).await;
        let may_emulate = plan.acceleration.requested == AccelRequest::Auto
            && plan.acceleration.resolved == Some(Accelerator::Kvm);
        if matches!(up, Err(LaneError::Stopped)) && may_emulate {
            // The proof ran a guest for a second; this one needed something that KVM lacks here.
            up = match self.plan(lane, profile, journal, true).await {
                Ok(plan) => LaneRequest { plan: &plan, may_restore: false, ..request }.boot().await,
                Err(error) => Err(error),
            };
        }
        up.map(|lane| UpLane::Qemu(Box::new(lane))).map_err(|error| lane_failure(&error))
    }

    /// Resolves the profile on this host. KVM is proven by running a guest, once, before anything relies on it.
    async fn plan(
        &self,
        lane: &RunLane,
        profile: &QemuProfile,
        journal: &Journal,
        kvm_gave_up: bool,
    ) -> Result<Plan, LaneError> {
        let plan = {
            let mut known = lane.plan.lock().await;
            match &*known {
                Some(plan) if !kvm_gave_up => plan.clone(),
                _ => known.insert(self.new_plan(profile, kvm_gave_up).await?).clone(),
            }
        };
        journal.append(
            Source::Lane,
            Body::Acceleration {
                requested: plan.acceleration.requested.as_str().to_owned(),
                resolved: plan.acceleration.resolved.map_or("none", Accelerator::as_str).to_owned(),
                why: plan.acceleration.reason().to_owned(),
            },
        );
        Ok(plan)
    }

    async fn new_plan(&self, profile: &QemuProfile, kvm_gave_up: bool) -> Result<Plan, LaneError> {
        let config = DetectConfig::new(self.search_path.clone());
        let facts = Platform::inspect_or_detect(&config).await?;
        let proof = kvm_gave_up.then(|| KvmProof::Broken { reason: LaneError::Stopped.to_string() });
        let mut plan = plan_on(profile, &facts, proof).validated()?;
        plan.development_log_root = log_root(&self.artifacts, &profile.root);
        Ok(plan)
    }
}

fn profile(project: &Project, name: &str) -> Result<Option<Profile>, ProjectError> {
    match project.profile(name) {
        // A profile of this name takes its place.
        Err(ProjectError::UnknownLane { .. }) if name == NO_LANE => Ok(None),
        result => result.map(Some),
    }
}

fn no_machine(name: &str, scenario: &Scenario) -> Result<UpLane, Failure> {
    if let Some(need) = scenario.needs.first() {
        let reason = format!("lane \"{name}\" is no machine and has no {need}");
        return Err(Failure::new(FailureKind::Skip, reason));
    }
    Ok(UpLane::None(LaneHandle::none(name)))
}

/// A machine of somebody else's, which goes on afterwards.
async fn up_attached(
    lane: &RunLane,
    settings: &AttachSettings,
    part: LanePart<'_>,
) -> Result<UpLane, Failure> {
    if let Some(reason) = settings.why_not(&part.scenario.needs) {
        return Err(Failure::new(FailureKind::Skip, reason));
    }
    let recorder = part.recording.begin()?;
    let observers = Observers { recorder: recorder.as_ref(), listener: None };
    let mut memory = lane.attach_memory.lock().await;
    let up = AttachedLane::up_observed(settings, &mut memory, part.journal, part.cancel, observers).await;
    up.map(|lane| UpLane::Attached(Box::new(lane))).map_err(|error| lane_failure(&error))
}

/// A machine in this process.
async fn up_sim(profile: &SimProfile, part: LanePart<'_>) -> Result<UpLane, Failure> {
    let LanePart { scenario, journal, folder, cancel, recording } = part;
    let plan = SimPlan(profile);
    keep_plan(&plan, folder)?;
    if let Some(reason) = scenario.needs.iter().find_map(|need| plan.why_not(*need)) {
        return Err(Failure::new(FailureKind::Skip, reason));
    }
    let recorder = recording.begin()?;
    let options =
        SimOptions { profile, folder, is_joinable: false, recorder: recorder.as_ref(), listener: None };
    let up = SimLane::up(options, journal, cancel).await;
    up.map(|lane| UpLane::Sim(Box::new(lane))).map_err(|error| lane_failure(&error))
}

fn lane_failure(error: &LaneError) -> Failure {
    let kind = match error {
        LaneError::Cancelled => FailureKind::Cancelled,
        _ => FailureKind::LaneLost,
    };
    let failure = Failure::new(kind, chain(error));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

const MIB: u64 = 1_024 * 1_024;
