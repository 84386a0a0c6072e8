//! When attempts begin: as soon as what they take fits, in the order of the list; those that are tried again first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Demand};
use super::execute::{self, Executor};
use super::host::Room;
use super::lanes::RunLanes;
use super::{AttemptReport, List, Repeat, RunEvent, RunOptions, Test, Verdict, millis, tell};
use crate::journal::Journal;
use crate::journal::run::{AttemptNote, RunBody};
use crate::script::{Failure, FailureKind};

/// Tests that wait, and attempts that run.
pub(super) struct Schedule<'a> {
    executor: Arc<Executor>,
    options: &'a RunOptions,
    tests: &'a [Test],
    admission: Admission,
    /// How many attempts run at once, at most.
    pub(super) jobs: u32,
    waiting: VecDeque<Job>,
    running: JoinSet<AttemptReport>,
    jobs_by_task: HashMap<tokio::task::Id, Job>,
    pub(super) verdicts: Vec<Verdict>,
    /// How many tests got a folder.
    numbered: usize,
    round: u32,
    pub(super) is_stopped: bool,
}

/// One test on its way.
#[derive(Debug, Clone)]
struct Job {
    test: Test,
    demand: Demand,
    /// The test's folder below the run's.
    folder: String,
    /// 1 for the first try.
    attempt: u32,
    /// Time of earlier attempts.
    spent: Duration,
    /// How many began before it although they were behind it.
    overtaken: u32,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(list: &'a List, executor: Executor, options: &'a RunOptions) -> Self {
        let demands: Vec<Demand> = list.tests.iter().map(|test| demand(test, &executor.lanes)).collect();
        let admission = Admission::new(Room::of_host(), options.jobs);
        let jobs = admission.most_at_once(&demands).max(1);
        let mut schedule = Self {
            executor: Arc::new(executor),
            options,
            tests: &list.tests,
            admission,
            jobs,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            jobs_by_task: HashMap::new(),
            verdicts: Vec::new(),
            numbered: 0,
            round: 0,
            is_stopped: false,
        };
        match options.repeat {
            Repeat::Once => schedule.add_round(|test| test.clone()),
            Repeat::Times(_) | Repeat::UntilFailure(_) => schedule.add_round(|test| test.repeated(1)),
        }
        schedule
    }

    fn add_round(&mut self, test: impl Fn(&Test) -> Test) {
        self.round += 1;
        // As many digits as the names need to be in order.
        let width = self.tests.len().to_string().len().max(2);
        for test in self.tests.iter().map(test) {
            self.numbered += 1;
            let folder = format!("{:0width$}-{}", self.numbered, execute::folder_name(&test.title()));
            let demand = demand(&test, &self.executor.lanes);
            self.waiting.push_back(Job {
                test,
                demand,
                folder,
                attempt: 1,
                spent: Duration::ZERO,
                overtaken: 0,
            });
        }
    }

    pub(super) fn note_selected(&self) {
        self.executor.log.append(self.waiting.iter().map(|job| RunBody::TestSelected(job.test.note())));
    }

    pub(super) async fn run(&mut self, cancel: &CancellationToken) {
        loop {
            let may_begin =
                !self.is_stopped && !cancel.is_cancelled() && self.executor.log.failed().is_none();
            if may_begin {
                self.begin_what_fits();
                // One round after the other, and no pause between them: a million of them are not made at once.
                while self.waiting.is_empty()
                    && matches!(self.options.repeat, Repeat::Times(_))
                    && self.add_next_round()
                {
                    self.begin_what_fits();
                }
            }
            let Some(ended) = self.running.join_next_with_id().await else {
                if may_begin && self.add_next_round() {
                    continue;
                }
                break;
            };
            let (id, report) = match ended {
                Ok((id, report)) => (id, Ok(report)),
                Err(error) => (error.id(), Err(error)),
            };
            let job = self.jobs_by_task.remove(&id).expect("every task has its job");
            self.admission.release(&job.demand);
            match report {
                Ok(report) => self.attempt_ended(job, report, cancel),
                Err(error) => self.attempt_broke(job, &error.to_string()),
            }
        }
        // What never began is part of what became of the run.
        for job in std::mem::take(&mut self.waiting) {
            self.test_ended(&job, Verdict::Cancelled, job.attempt - 1, job.spent);
        }
    }

    /// One that does not fit lets others pass, but not for ever: the machines of a large one must come free some time.
    fn begin_what_fits(&mut self) {
        let mut index = 0;
        while let Some(job) = self.waiting.get(index) {
            if !self.admission.admit(&job.demand) {
                if job.overtaken >= PASSED_BY {
                    return;
                }
                index += 1;
                continue;
            }
            self.waiting.iter_mut().take(index).for_each(|overtaken| overtaken.overtaken += 1);
            let job = self.waiting.remove(index).expect("it was just looked at");
            let executor = Arc::clone(&self.executor);
            let (test, attempt) = (job.test.clone(), job.attempt);
            let folder = format!("{}/attempt-{attempt}", job.folder);
            let task = self.running.spawn(async move { executor.attempt(&test, attempt, &folder).await });
            self.jobs_by_task.insert(task.id(), job);
        }
    }

    fn attempt_ended(&mut self, mut job: Job, mut report: AttemptReport, cancel: &CancellationToken) {
        let verdict = report.note.verdict;
        job.spent += report.took;
        report.is_slow = job.spent >= self.options.slow_after;
        let may_retry = !verdict.is_fine() && verdict != Verdict::Cancelled && !cancel.is_cancelled();
        if may_retry && job.attempt <= self.options.retries {
            tell(&self.executor.events, RunEvent::AttemptEnded(Box::new(report)));
            job.attempt += 1;
            self.waiting.push_front(job);
            return;
        }
        let verdict = match verdict {
            Verdict::Passed if job.attempt > 1 => Verdict::Flaky,
            verdict => verdict,
        };
        report.outcome = Some(verdict);
        tell(&self.executor.events, RunEvent::AttemptEnded(Box::new(report)));
        self.test_ended(&job, verdict, job.attempt, job.spent);
    }

    /// A task of ours panicked, which is nobody's fault but ours.
    fn attempt_broke(&mut self, job: Job, why: &str) {
        let failure = Failure::new(FailureKind::Bug, format!("the attempt broke off: {why}"))
            .hint("this is a bug in backstaff; the words of its panic are on stderr");
        let note = AttemptNote {
            id: job.test.id.clone(),
            attempt: job.attempt,
            verdict: Verdict::Bug,
            failure: Some(failure.note()),
            further_misses: 0,
            warnings: Vec::new(),
            host_notes: Vec::new(),
            took_ms: 0,
        };
        self.executor.log.append([RunBody::AttemptEnded(note.clone())]);
        let report = AttemptReport {
            test: job.test.clone(),
            number: job.attempt,
            failure: Some(failure),
            took: Duration::ZERO,
            folder: self.executor.folder.join(&job.folder).join(format!("attempt-{}", job.attempt)),
            note,
            journal: Journal::new(),
            outcome: Some(Verdict::Bug),
            is_slow: false,
        };
        tell(&self.executor.events, RunEvent::AttemptEnded(Box::new(report)));
        self.test_ended(&job, Verdict::Bug, job.attempt, job.spent);
    }

    fn test_ended(&mut self, job: &Job, verdict: Verdict, attempts: u32, took: Duration) {
        self.executor.log.append([RunBody::TestEnded {
            id: job.test.id.clone(),
            verdict,
            attempts,
            took_ms: millis(took),
            is_slow: took >= self.options.slow_after,
        }]);
        self.verdicts.push(verdict);
        let stops = self.options.fail_fast || matches!(self.options.repeat, Repeat::UntilFailure(_));
        let is_flaky = verdict == Verdict::Flaky
            && (self.options.fail_on_flaky || matches!(self.options.repeat, Repeat::UntilFailure(_)));
        self.is_stopped |= stops && (!verdict.is_fine() || is_flaky) && verdict != Verdict::Cancelled;
    }

    /// Where tests are repeated, and are to run again.
    fn add_next_round(&mut self) -> bool {
        let is_over = match self.options.repeat {
            Repeat::Once => true,
            Repeat::Times(times) => self.round >= times,
            // What is skipped will be skipped for ever.
            Repeat::UntilFailure(most) => {
                self.verdicts.iter().all(|verdict| *verdict == Verdict::Skipped)
                    || most.is_some_and(|most| self.round >= most)
            }
        };
        if is_over || self.tests.is_empty() {
            return false;
        }
        let number = self.round + 1;
        self.add_round(|test| test.repeated(number));
        self.note_selected();
        true
    }
}

fn demand(test: &Test, lanes: &RunLanes) -> Demand {
    Demand::sum(test.lanes.iter().map(|(_, name)| Demand::of_lane(name, lanes.profile(name))))
}

/// How many may begin before one that does not fit yet.
const PASSED_BY: u32 = 32;
