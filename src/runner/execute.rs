//! One attempt: a folder, a lane, the scenario, and the lane down again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::record::Recordings;
use super::warm::{LaneRequest, WarmLanes};
use super::{AttemptReport, RunEvent, RunOptions, Verdict, tell, verdict_of};
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
    AttachEnvironment, AttachSettings, AttachedLane, LaneError, Plan, Platform, Profile, SimLane,
};
use crate::script::{AttemptOptions, Failure, FailureKind, Lanes, Outcome, Scenario, Script, run_attempt};

/// Runs attempts on fresh lanes of one profile.
pub(super) struct Executor {
    profile: Profile,
    folder: PathBuf,
    params: serde_json::Value,
    search_path: OsString,
    /// Where runs put their folders, as it was asked for.
    artifacts: PathBuf,
    attach: AttachEnvironment,
    attach_memory: AttachMemory,
    cancel: CancellationToken,
    /// The same for every attempt of a run, once it was found.
    plan: Option<Plan>,
    warm: WarmLanes,
    recordings: Recordings,
    attempts: usize,
}

/// What is played, and where it is noted.
#[derive(Clone, Copy)]
struct Part<'a> {
    script: &'a Script,
    scenario: &'a Scenario,
    journal: &'a Journal,
    folder: &'a Path,
}

/// Why an attempt did not pass, and how many expectations did not hold.
struct Missed(Failure, usize);

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self(failure, 1)
    }
}

impl From<LaneError> for Missed {
    fn from(error: LaneError) -> Self {
        lane_failure(&error).into()
    }
}

impl Executor {
    pub(super) fn new(
        profile: Profile,
        folder: PathBuf,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Self {
        let params = options.params.clone().into();
        let limit = options.project.warm_limit_mib.map_or(DEFAULT_LIMIT_BYTES, |mib| u64::from(mib) * MIB);
        let store = WarmStore::new(&options.artifacts, limit);
        Self {
            profile,
            folder,
            params,
            search_path: options.search_path.clone(),
            artifacts: options.artifacts.clone(),
            attach: options.attach.clone(),
            attach_memory: AttachMemory::default(),
            cancel,
            plan: None,
            warm: WarmLanes::new(options.warm, store),
            recordings: Recordings::new(options.record.clone()),
            attempts: 0,
        }
    }

    pub(super) async fn attempt(
        &mut self,
        script: Script,
        scenario: Scenario,
        events: &mpsc::UnboundedSender<RunEvent>,
    ) -> AttemptReport {
        let began = Instant::now();
        self.attempts += 1;
        let folder = self
            .folder
            .join(format!("{:02}-{}", self.attempts, folder_name(&scenario.name)))
            .join("attempt-1");
        let journal =
            std::fs::create_dir_all(&folder).and_then(|()| Journal::create(&folder.join("journal.ndjson")));
        let (journal, mut failure) = match journal {
            Ok(journal) => (journal, None),
            Err(error) => {
                let message = format!("the attempt's folder {} cannot be used: {error}", folder.display());
                (Journal::new(), Some((Failure::new(FailureKind::LaneLost, message), 1)))
            }
        };
        let file = script.path.display().to_string();
        journal.append(
            Source::Runner,
            Body::AttemptBegan {
                scenario: scenario.name.clone(),
                file,
                line: scenario.place.line,
                lane: self.profile.name().to_owned(),
                attempt: 1,
            },
        );
        tell(events, RunEvent::AttemptBegan { scenario: scenario.clone(), journal: journal.clone() });
        if failure.is_none() {
            let part = Part { script: &script, scenario: &scenario, journal: &journal, folder: &folder };
            let played = match self.profile.clone() {
                Profile::Qemu(profile) => self.on_lane(&profile, part).await,
                Profile::Attach(profile) => {
                    let settings = AttachSettings::resolve(&profile, &self.attach);
                    self.on_attached_lane(&settings, part).await
                }
                Profile::Sim(profile) => self.on_sim_lane(&profile, part).await,
            };
            failure = played.err().map(|Missed(failure, count)| (failure, count));
        }
        // As without its journal: what was asked for and is not there is no pass.
        if let Err(lost) = self.recordings.end().await {
            failure.get_or_insert((lost, 1));
        }
        let mut verdict = failure.as_ref().map_or(Verdict::Passed, |(failure, _)| verdict_of(failure));
        journal.append(
            Source::Runner,
            Body::AttemptEnded {
                verdict: verdict.name().to_owned(),
                reason: failure.as_ref().map(|(failure, _)| failure.to_string()),
                failure: failure.as_ref().map(|(failure, _)| Box::new(failure.note())),
            },
        );
        let closing = journal.clone();
        let _ = tokio::task::spawn_blocking(move || closing.close()).await;
        // A pass without its evidence is none.
        if failure.is_none()
            && let Some(why) = journal.disk_failed()
        {
            verdict = Verdict::LaneFailed;
            failure = Some((Failure::new(FailureKind::LaneLost, why), 1));
        }
        let further_misses = failure.as_ref().map_or(0, |(_, count)| count.saturating_sub(1));
        AttemptReport {
            script,
            scenario,
            verdict,
            failure: failure.map(|(failure, _)| failure),
            further_misses,
            took: began.elapsed(),
            folder,
            journal,
        }
    }

    /// On a machine that is booted, or put back, for it.
    async fn on_lane(&mut self, profile: &QemuProfile, part: Part<'_>) -> Result<(), Missed> {
        let Part { scenario, journal, folder, .. } = part;
        let plan = self.plan(profile, journal, false).await?;
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
            return Err(Failure::new(FailureKind::Skip, reason).into());
        }
        self.recordings.begin(self.attempts)?;
        let request = LaneRequest {
            plan: &plan,
            folder,
            journal,
            cancel: &self.cancel,
            may_restore: scenario.warm,
            recorder: self.recordings.current(),
        };
        let mut up = self.warm.up(request).await;
        let may_emulate = plan.acceleration.requested == AccelRequest::Auto
            && plan.acceleration.resolved == Some(Accelerator::Kvm);
        if matches!(up, Err(LaneError::Stopped)) && may_emulate {
            // The proof ran a guest for a second; this one needed something that KVM lacks here.
            up = match self.plan(profile, journal, true).await {
                Ok(plan) => {
                    let (cancel, recorder) = (&self.cancel, self.recordings.current());
                    let may_restore = false;
                    LaneRequest { plan: &plan, folder, journal, cancel, may_restore, recorder }.boot().await
                }
                Err(error) => Err(error),
            };
        }
        let lane = up?;
        let played = self.play(part, lane.handle()).await;
        lane.down(TeardownConfig::default()).await;
        played
    }

    /// On a machine of somebody else's, which goes on afterwards.
    async fn on_attached_lane(&mut self, settings: &AttachSettings, part: Part<'_>) -> Result<(), Missed> {
        if let Some(reason) = settings.why_not(&part.scenario.needs) {
            return Err(Failure::new(FailureKind::Skip, reason).into());
        }
        self.recordings.begin(self.attempts)?;
        let observers = Observers { recorder: self.recordings.current(), listener: None };
        let memory = &mut self.attach_memory;
        let up = AttachedLane::up_observed(settings, memory, part.journal, &self.cancel, observers);
        let lane = up.await?;
        let played = self.play(part, lane.handle()).await;
        lane.down().await;
        played
    }

    /// In this process.
    async fn on_sim_lane(&mut self, profile: &SimProfile, part: Part<'_>) -> Result<(), Missed> {
        let Part { scenario, journal, folder, .. } = part;
        let plan = SimPlan(profile);
        keep_plan(&plan, folder)?;
        if let Some(reason) = scenario.needs.iter().find_map(|need| plan.why_not(*need)) {
            return Err(Failure::new(FailureKind::Skip, reason).into());
        }
        self.recordings.begin(self.attempts)?;
        let options = SimOptions {
            profile,
            folder,
            is_joinable: false,
            recorder: self.recordings.current(),
            listener: None,
        };
        let lane = SimLane::up(options, journal, &self.cancel).await?;
        let played = self.play(part, lane.handle()).await;
        lane.down().await;
        played
    }

    /// Runs the scenario on a lane that is up.
    async fn play(&self, part: Part<'_>, lane: LaneHandle) -> Result<(), Missed> {
        let Part { script, scenario, journal, folder } = part;
        let outcome = run_attempt(AttemptOptions {
            script: script.clone(),
            scenario: scenario.clone(),
            journal: journal.clone(),
            lanes: Lanes::One(lane),
            folder: folder.to_owned(),
            params: self.params.clone(),
            cancel: self.cancel.clone(),
        })
        .await;
        match outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed(failure, count) => Err(Missed(*failure, count)),
        }
    }

    /// Resolves the profile on this host. KVM is proven by running a guest, once, before anything relies on it.
    async fn plan(
        &mut self,
        profile: &QemuProfile,
        journal: &Journal,
        kvm_gave_up: bool,
    ) -> Result<Plan, LaneError> {
        let plan = match &self.plan {
            Some(plan) if !kvm_gave_up => plan.clone(),
            _ => self.new_plan(profile, kvm_gave_up).await?,
        };
        journal.append(
            Source::Lane,
            Body::Acceleration {
                requested: plan.acceleration.requested.as_str().to_owned(),
                resolved: plan.acceleration.resolved.map_or("none", Accelerator::as_str).to_owned(),
                why: plan.acceleration.reason().to_owned(),
            },
        );
        self.plan = Some(plan.clone());
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

/// `outer: inner: cause`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn keep_plan(plan: &impl serde::Serialize, folder: &Path) -> Result<(), Failure> {
    store_plan(plan, folder).map_err(|error| {
        let message = format!("the plan cannot be written to {}: {error}", folder.display());
        Failure::new(FailureKind::LaneLost, message)
    })
}

/// Writes `plan.json` into `folder`.
///
/// # Errors
/// It cannot be written.
pub fn store_plan(plan: &impl serde::Serialize, folder: &Path) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(plan)?;
    std::fs::write(folder.join("plan.json"), text + "\n")
}

fn folder_name(name: &str) -> String {
    let words: Vec<String> = name
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut joined = words.join("-");
    joined.truncate(FOLDER_NAME_CHARS);
    let joined = joined.trim_end_matches('-');
    // A name in another script leaves nothing; the number before it tells them apart.
    if joined.is_empty() { "scenario".to_owned() } else { joined.to_owned() }
}

const FOLDER_NAME_CHARS: usize = 48;
const MIB: u64 = 1_024 * 1_024;

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn names_of_scenarios_become_folder_names_that_are_never_empty() {
        assert_eq!(folder_name("Logs in, twice"), "logs-in-twice");
        assert_eq!(folder_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(folder_name("起動する 🚀"), "scenario");
        assert_eq!(folder_name(&"abc ".repeat(20)), "abc-".repeat(11) + "abc");
    }
}
