//! Which attempt may begin beside those that run: what its lanes take must fit into what the host has. PURE.

use std::collections::BTreeMap;

use super::host::Room;
use crate::lane::Profile;

/// What an attempt takes of the host while it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Demand {
    pub(super) memory_mib: u64,
    pub(super) cpus: f64,
    /// Machines of which there is only one: those of somebody else's.
    pub(super) exclusive: Vec<String>,
}

impl Demand {
    /// Of a lane of this profile; without one it is only the script.
    pub(super) fn of_lane(name: &str, profile: Option<&Profile>) -> Self {
        match profile {
            None => Self { memory_mib: SCRIPT_MIB, cpus: 1.0, exclusive: Vec::new() },
            Some(Profile::Qemu(profile)) => {
                let machine = &profile.machine;
                // QEMU itself, its translated code, and our copies of its screen.
                let memory_mib = u64::from(machine.memory_mib) + QEMU_MIB;
                Self { memory_mib, cpus: f64::from(machine.cpus) * QEMU_SHARE, exclusive: Vec::new() }
            }
            Some(Profile::Sim(_)) => Self { memory_mib: SIM_MIB, cpus: SIM_CPUS, exclusive: Vec::new() },
            Some(Profile::Attach(_)) => {
                Self { memory_mib: SCRIPT_MIB, cpus: SIM_CPUS, exclusive: vec![name.to_owned()] }
            }
        }
    }

    /// Of several lanes together.
    pub(super) fn sum(demands: impl IntoIterator<Item = Self>) -> Self {
        demands.into_iter().fold(Self::default(), |mut sum, demand| {
            sum.memory_mib += demand.memory_mib;
            sum.cpus += demand.cpus;
            sum.exclusive.extend(demand.exclusive);
            sum
        })
    }
}

/// What is taken of the host.
#[derive(Debug)]
pub(super) struct Admission {
    room: Room,
    /// How many attempts may run at once; when somebody says how many, processors are their matter.
    jobs: Option<u32>,
    running: u32,
    memory_mib: u64,
    cpus: f64,
    exclusive: BTreeMap<String, u32>,
}

impl Admission {
    pub(super) fn new(room: Room, jobs: Option<u32>) -> Self {
        Self { room, jobs, running: 0, memory_mib: 0, cpus: 0.0, exclusive: BTreeMap::new() }
    }

    /// How many of these would run at once.
    pub(super) fn most_at_once(&self, demands: &[Demand]) -> u32 {
        let mut trial = Self::new(self.room, self.jobs);
        let mut smallest: Vec<&Demand> = demands.iter().collect();
        smallest.sort_by(|a, b| a.cpus.total_cmp(&b.cpus).then(a.memory_mib.cmp(&b.memory_mib)));
        let admitted = smallest.into_iter().take_while(|demand| trial.admit(demand)).count();
        u32::try_from(admitted).unwrap_or(u32::MAX)
    }

    /// Takes what an attempt needs, if it fits. When nothing runs everything fits: it would never fit better.
    pub(super) fn admit(&mut self, demand: &Demand) -> bool {
        let is_taken = demand.exclusive.iter().any(|name| self.exclusive.contains_key(name));
        let fits = self.memory_mib + demand.memory_mib <= self.room.memory_mib
            && match self.jobs {
                Some(jobs) => self.running < jobs,
                None => self.running < MOST_JOBS && self.cpus + demand.cpus <= self.room.cpus + ROUNDING,
            };
        if is_taken || !(fits || self.running == 0) {
            return false;
        }
        self.running += 1;
        self.memory_mib += demand.memory_mib;
        self.cpus += demand.cpus;
        for name in &demand.exclusive {
            *self.exclusive.entry(name.clone()).or_default() += 1;
        }
        true
    }

    /// Gives back what an attempt took.
    pub(super) fn release(&mut self, demand: &Demand) {
        self.running -= 1;
        self.memory_mib -= demand.memory_mib;
        self.cpus -= demand.cpus;
        for name in &demand.exclusive {
            if let Some(count) = self.exclusive.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.exclusive.remove(name);
                }
            }
        }
    }
}

const SCRIPT_MIB: u64 = 16;
/// The simulated guest waits most of the time.
const SIM_MIB: u64 = 32;
const SIM_CPUS: f64 = 0.125;
const QEMU_MIB: u64 = 160;
/// Half of what a host was measured to bear: all boot at once in the beginning.
const QEMU_SHARE: f64 = 0.5;
const MOST_JOBS: u32 = 256;
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { memory_mib: 1_000, cpus: 2.0 };

    fn machine(memory_mib: u64, cpus: f64) -> Demand {
        Demand { memory_mib, cpus, exclusive: Vec::new() }
    }

    #[test]
    fn lanes_run_beside_each_other_while_they_fit() {
        let mut admission = Admission::new(ROOM, None);
        assert!(admission.admit(&machine(400, 1.0)));
        assert!(!admission.admit(&machine(700, 0.5)), "too little memory is left");
        assert!(!admission.admit(&machine(100, 1.5)), "too few processors are left");
        assert!(admission.admit(&machine(100, 1.0)));
        admission.release(&machine(400, 1.0));
        assert!(admission.admit(&machine(700, 1.0)));
        assert_eq!(Admission::new(ROOM, None).most_at_once(&vec![machine(64, 0.125); 50]), 15);
        assert_eq!(Admission::new(ROOM, None).most_at_once(&vec![machine(64, 1.0); 50]), 2);
    }

    #[test]
    fn who_says_how_many_gets_as_many_as_memory_holds() {
        let mut admission = Admission::new(ROOM, Some(3));
        assert!((0..3).all(|_| admission.admit(&machine(100, 4.0))));
        assert!(!admission.admit(&machine(1, 0.0)));
        assert_eq!(Admission::new(ROOM, Some(8)).most_at_once(&vec![machine(300, 1.0); 8]), 3);
    }

    #[test]
    fn what_never_fits_runs_alone() {
        let mut admission = Admission::new(ROOM, None);
        assert!(admission.admit(&machine(5_000, 16.0)));
        assert!(!admission.admit(&machine(1, 0.0)));
        admission.release(&machine(5_000, 16.0));
        assert!(admission.admit(&machine(1, 0.0)));
    }

    #[test]
    fn a_machine_of_somebody_elses_is_used_by_one_at_a_time() {
        let theirs = Demand { exclusive: vec!["theirs".to_owned()], ..machine(1, 0.1) };
        let mut admission = Admission::new(ROOM, Some(9));
        assert!(admission.admit(&theirs) && !admission.admit(&theirs));
        assert!(admission.admit(&machine(1, 0.1)));
        admission.release(&theirs);
        assert!(admission.admit(&theirs));
    }
}
