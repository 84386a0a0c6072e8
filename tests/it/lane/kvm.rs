//! `/dev/kvm` that opens proves nothing; a guest that runs does.

use std::time::{Duration, Instant};

use backstaff::lane::kvm::prove_kvm;
use backstaff::lane::platform::{KvmDevice, KvmProof};

use super::support::platform_or_skip;

#[tokio::test]
async fn the_trial_ends_soon_with_an_outcome_or_a_reason() {
    let Some(platform) = platform_or_skip("KVM trial").await else { return };
    if platform.kvm_device != KvmDevice::Opens {
        eprintln!("SKIPPED KVM trial: {:?}", platform.kvm_device);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("kvm");
    let started = Instant::now();
    let proof = prove_kvm(&platform, &scratch, Duration::from_secs(10)).await.unwrap();
    let took = started.elapsed();
    eprintln!("KVM on this host after {took:?}: {proof:?}");
    if let KvmProof::Broken { reason } = &proof {
        assert!(reason.contains("QMP status") || reason.contains("QEMU ended with"), "{reason}");
    }
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!scratch.exists(), "the trial leaves nothing");

    let again = Instant::now();
    assert_eq!(prove_kvm(&platform, &scratch, Duration::ZERO).await.unwrap(), proof);
    assert!(again.elapsed() < Duration::from_millis(50), "the second answer is remembered");
}
