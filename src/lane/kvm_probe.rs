//! Proves KVM in a moment and without a process: a guest of a few instructions is run in this one.
//!
//! The guest uses the floating-point unit. There are hosts on which `/dev/kvm` opens, makes machines and runs plain
//! instructions, and gives up at the first one of these, which firmware has among its first.

use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use super::platform::KvmProof;

/// How long the guest may take for its six instructions.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the guest, the first time; later calls return what came out then. What holds, holds for the host and for
/// who may use `/dev/kvm` there. Makes no process, no socket and no file.
pub(super) fn prove() -> KvmProof {
    static PROOF: OnceLock<KvmProof> = OnceLock::new();
    let proof = PROOF.get_or_init(|| match within(PATIENCE, guest::run) {
        Ok(()) => KvmProof::Works,
        Err(reason) => KvmProof::Broken { reason },
    });
    proof.clone()
}

/// Runs `trial` on a thread which is given up when it takes too long: it owns all that the guest uses, so nothing is
/// freed under a guest that still runs.
fn within(
    limit: Duration,
    trial: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().name("kvm-probe".to_owned());
    let spawned = thread.spawn(move || {
        // Nobody waits any more when it took too long.
        let _ = sender.send(trial());
    });
    spawned.map_err(|error| format!("no thread to try it on: {error}"))?;
    match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("the guest did not end within {limit:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("the trial ended without an outcome".to_owned()),
    }
}

#[cfg(target_arch = "x86_64")]
mod guest {
    use kvm_bindings::kvm_userspace_memory_region;
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

    const START: u64 = 0x1000;
    const MEMORY_BYTES: usize = 0x4000;
    const PORT: u16 = 0x3f8;
    const SAID: u8 = 0x2a;
    /// The interface's version, which has not changed since 2007.
    const KVM_API: i32 = 12;

    /// Real mode. The first two are the floating-point ones.
    const CODE: [u8; 10] = [
        0x9b, // fwait
        0xdb, 0xe3, // fninit
        0xba, 0xf8, 0x03, // mov dx, PORT
        0xb0, SAID, // mov al, SAID
        0xee, // out dx, al
        0xf4, // hlt
    ];

    /// What the guest has for memory: whole pages, as KVM wants them.
    #[repr(align(4096))]
    struct Memory([u8; MEMORY_BYTES]);

    /// A machine and its memory. INVARIANT: the fields are dropped in this order, so that the memory outlives
    /// whatever could still write to it.
    struct Machine {
        vcpu: VcpuFd,
        _vm: VmFd,
        _memory: Box<Memory>,
    }

    /// Runs the guest to its end.
    pub(super) fn run() -> Result<(), String> {
        let mut machine = Machine::new()?;
        machine.expect("out", |exit| matches!(exit, VcpuExit::IoOut(PORT, [SAID])))?;
        machine.expect("hlt", |exit| matches!(exit, VcpuExit::Hlt))
    }

    impl Machine {
        fn new() -> Result<Self, String> {
            let kvm = Kvm::new().map_err(|error| format!("/dev/kvm does not open ({error})"))?;
            let version = kvm.get_api_version();
            if version != KVM_API {
                return Err(format!("/dev/kvm speaks version {version}, wanted {KVM_API}"));
            }
            let failed = |what: &'static str| move |error| format!("{what}: {error}");
            let vm = kvm.create_vm().map_err(failed("KVM makes no machine"))?;
            let mut memory = Box::new(Memory([0; MEMORY_BYTES]));
            memory.0[..CODE.len()].copy_from_slice(&CODE);
            map(&vm, &mut memory).map_err(failed("KVM takes no memory"))?;
            let vcpu = vm.create_vcpu(0).map_err(failed("KVM makes no processor"))?;
            set_registers(&vcpu).map_err(failed("KVM takes no registers"))?;
            Ok(Self { vcpu, _vm: vm, _memory: memory })
        }

        fn expect(
            &mut self,
            instruction: &str,
            is_wanted: impl Fn(&VcpuExit<'_>) -> bool,
        ) -> Result<(), String> {
            match self.vcpu.run() {
                Ok(exit) if is_wanted(&exit) => Ok(()),
                Ok(VcpuExit::InternalError) => {
                    Err("KVM gave up on a guest within its first instructions".to_owned())
                }
                Ok(exit) => Err(format!("a guest did {exit:?}, wanted its {instruction} instruction")),
                Err(error) => Err(format!("KVM does not run a guest: {error}")),
            }
        }
    }

    #[expect(unsafe_code, reason = "lending memory to a guest cannot be expressed in types")]
    fn map(vm: &VmFd, memory: &mut Box<Memory>) -> Result<(), kvm_ioctls::Error> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: START,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: memory.0.as_mut_ptr() as u64,
        };
        // SAFETY: the region is exactly the box's allocation, which is page-aligned and writable. The caller keeps
        // the box beside the machine and drops it last, and nobody reads or writes it through Rust any more.
        unsafe { vm.set_user_memory_region(region) }
    }

    fn set_registers(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
        let mut special = vcpu.get_sregs()?;
        special.cs.base = 0;
        special.cs.selector = 0;
        vcpu.set_sregs(&special)?;
        let mut general = vcpu.get_regs()?;
        general.rip = START;
        // The bit that is always set, and no interrupts.
        general.rflags = 2;
        vcpu.set_regs(&general)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod guest {
    pub(super) fn run() -> Result<(), String> {
        Err("this processor runs no x86 guests".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{KvmProof, prove, within};

    #[test]
    fn the_proof_takes_a_moment_and_gives_a_reason() {
        let started = Instant::now();
        let proof = prove();
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        if let KvmProof::Broken { reason } = &proof {
            assert!(reason.contains("KVM") || reason.contains("kvm"), "{reason}");
        }
        assert_eq!(prove(), proof, "the second answer is remembered");
    }

    #[test]
    fn a_guest_that_never_ends_is_given_up() {
        let endless = || {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let reason = within(Duration::from_millis(50), endless).unwrap_err();
        assert_eq!(reason, "the guest did not end within 50ms");
    }
}
