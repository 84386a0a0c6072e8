//! Hosts that are made up: a system root with a few files, and a shell script for QEMU.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{AskedLane, Capability, DoctorConfig, GIB, MIB, Report, State, disk_of, examine};
use crate::lane::Profile;
use crate::lane::plan::Accelerator;
use crate::lane::platform_detect::DetectConfig;

/// Has everything but a KVM that works.
const GOOD: &str = r#"#!/bin/sh
case "$*" in
--version) echo "QEMU emulator version 9.2.3 (made up)" ;;
"-accel help") printf 'Accelerators supported in QEMU binary:\ntcg\nkvm\n' ;;
"-device help") for name in VGA qxl-vga isa-serial; do echo "name \"$name\", bus any"; done ;;
"-spice help") echo "spice options:" ;;
"-sandbox on -version") ;;
"-device qxl-vga,help") ;;
*accel=kvm*) echo "no luck" >&2; exit 3 ;;
*) exit 1 ;;
esac
"#;
const FIRMWARE: &str = "usr/share/ovmf/OVMF.fd";

struct Host {
    folder: tempfile::TempDir,
    config: DoctorConfig,
}

impl Host {
    fn new(qemu: Option<&str>, files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        if let Some(script) = qemu {
            // By another process: what a thread here had open for writing may be busy when it is to be run.
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script])
                .arg(root.join("qemu-system-x86_64"))
                .status();
            assert!(status.unwrap().success());
        }
        let detect = DetectConfig {
            path: root.as_os_str().to_owned(),
            system_root: root.to_owned(),
            deadline: Duration::from_secs(20),
        };
        let config = DoctorConfig { detect, artifacts: root.join("project/logs"), cores: 2 };
        let host = Self { folder, config };
        fs::create_dir(host.path("project")).unwrap();
        std::os::unix::fs::symlink("/proc", host.path("proc")).unwrap();
        for file in files {
            host.file(file, "");
        }
        host
    }

    fn good() -> Self {
        Self::new(Some(GOOD), &[FIRMWARE, "dev/kvm"])
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Describes a pair of flash images.
    fn descriptor(&self, name: &str, code: &str, features: &str) {
        let text = format!(
            r#"{{"interface-types": ["uefi"], "features": [{features}],
            "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*"]}}],
            "mapping": {{"device": "flash", "executable": {{"filename": "{code}", "format": "raw"}},
            "nvram-template": {{"filename": "/vars.fd", "format": "raw"}}}}}}"#
        );
        self.file(&format!("usr/share/qemu/firmware/{name}"), &text);
    }

    /// A profile in the root, of this text.
    fn lane(&self, text: &str) -> AskedLane {
        let file = self.path("east.toml");
        let profile = Profile::parse("east", text, &file, self.folder.path()).unwrap();
        AskedLane::Profile(Box::new(profile.qemu().unwrap()))
    }

    async fn examine(&self, asked: &AskedLane) -> Report {
        let report = examine(&self.config, asked, &CancellationToken::new()).await.unwrap();
        assert_eq!(fs::read_dir(self.path("project")).unwrap().count(), 0, "something was left");
        report
    }

    async fn any(&self) -> Report {
        self.examine(&AskedLane::Any { hint: Some("name one".to_owned()) }).await
    }
}

impl Report {
    fn of(&self, name: &str) -> &Capability {
        self.capabilities.iter().find(|capability| capability.name == name).unwrap()
    }
}

impl Capability {
    fn words(&self) -> String {
        let remedy = self.remedy.clone().unwrap_or_default();
        let remedies = [remedy.any, remedy.debian, remedy.fedora, remedy.arch];
        let words = [self.found.clone(), self.why.clone()].into_iter().chain(remedies).flatten();
        words.collect::<Vec<_>>().join(" | ")
    }
}

#[tokio::test]
async fn a_good_host_runs_any_lane_under_emulation() {
    let host = Host::good();
    let report = host.any().await;
    assert!(report.can_run && report.lane.is_none(), "{report:#?}");
    assert_eq!(report.accelerator, Some(Accelerator::Tcg));
    let proven = report.capabilities.iter().filter(|capability| capability.state == State::Proven);
    let names: Vec<&str> = proven.map(|capability| capability.name).collect();
    let wanted =
        ["qemu", "spice", "graphics", "sandbox", "firmware", "tcg", "capacity", "socket_paths", "disk"];
    assert_eq!(names, wanted);
    let kvm = report.of("kvm");
    assert_eq!(kvm.state, State::Broken);
    assert!(kvm.words().contains("QEMU ended with status 3") && kvm.words().contains("no luck"), "{kvm:?}");
    assert_eq!(report.of("lane").state, State::Missing);
    assert_eq!(report.of("capacity").room.as_ref().unwrap().cores, 2);
}

#[tokio::test]
async fn each_thing_that_qemu_lacks_is_named_with_its_packages() {
    let cases = [
        ("\"-spice help\"", "spice", State::Missing, false, "qemu-system-modules-spice"),
        ("\"-device qxl-vga,help\"", "graphics", State::Missing, false, "qemu-device-display-qxl"),
        ("\"-sandbox on -version\"", "sandbox", State::Missing, true, "built with seccomp"),
        ("ntcg", "tcg", State::Missing, false, "no emulation, only kvm"),
        ("nkvm", "kvm", State::Missing, true, "built without KVM"),
        ("9.2.3", "qemu", State::Broken, false, "version 5.1.0, wanted 5.2.0 or later"),
        ("QEMU emulator", "qemu", State::Broken, false, "wanted \"QEMU emulator version X.Y.Z\""),
    ];
    for (gone, name, state, can_run, words) in cases {
        let by = if gone == "9.2.3" { "5.1.0" } else { "n" };
        let host = Host::new(Some(&GOOD.replace(gone, by)), &[FIRMWARE, "dev/kvm"]);
        let report = host.any().await;
        let capability = report.of(name);
        assert_eq!((capability.state, report.can_run), (state, can_run), "{gone}: {report:#?}");
        assert!(capability.words().contains(words), "{gone}: {}", capability.words());
    }
}

#[tokio::test]
async fn without_a_qemu_there_are_packages_for_three_families_and_no_guesses() {
    let report = Host::new(None, &[FIRMWARE, "dev/kvm"]).any().await;
    assert!(!report.can_run);
    let qemu = report.of("qemu");
    assert_eq!(qemu.state, State::Missing);
    for words in ["apt-get install qemu-system-x86 ", "dnf install qemu-system-x86-core ", "pacman -S qemu"] {
        assert!(qemu.words().contains(words), "{}", qemu.words());
    }
    for name in ["spice", "graphics", "sandbox", "tcg", "kvm"] {
        assert_eq!(report.of(name).state, State::Unknown, "{name}");
    }
    assert_eq!(report.of("firmware").state, State::Proven);
}

#[tokio::test]
async fn a_qemu_that_never_answers_is_broken() {
    let mut host = Host::new(Some("#!/bin/sh\nexec sleep 60\n"), &[FIRMWARE]);
    host.config.detect.deadline = Duration::from_millis(200);
    let report = host.any().await;
    assert!(report.of("qemu").words().contains("gave no answer"), "{report:#?}");
    assert_eq!((report.of("qemu").state, report.can_run), (State::Broken, false));
}

#[tokio::test]
async fn firmware_is_listed_with_sizes_and_why_it_is_left_alone() {
    let host = Host::new(Some(GOOD), &[]);
    let report = host.any().await;
    assert_eq!((report.of("firmware").state, report.can_run), (State::Missing, false));
    assert!(report.of("firmware").words().contains("dnf install edk2-ovmf"));

    host.file("code.fd", "program");
    host.file("vars.fd", "variables");
    host.descriptor("40-secure.json", "/code.fd", "\"enrolled-keys\"");
    host.descriptor("50-gone.json", "/gone.fd", "");
    host.file("usr/share/qemu/firmware/60-broken.json", "{");
    let report = host.any().await;
    let firmware = report.of("firmware");
    assert_eq!((firmware.state, report.can_run), (State::Broken, false), "{firmware:#?}");
    let unfit: Vec<&str> =
        firmware.images.iter().map(|image| image.unfit.as_deref().unwrap_or("fit")).collect();
    assert_eq!(unfit[0], "enforces Secure Boot");
    assert!(unfit[1].ends_with("/gone.fd, which is not there"), "{unfit:?}");
    assert!(unfit[2].contains("EOF while parsing"), "{unfit:?}");

    host.descriptor("70-good.json", "/code.fd", "");
    let firmware = host.any().await.of("firmware").clone();
    let good = &firmware.images[3];
    assert!(firmware.state == State::Proven && good.chosen && good.unfit.is_none(), "{firmware:#?}");
    let sizes: Vec<_> = good.files.iter().map(|file| (file.size_bytes, file.readable)).collect();
    assert_eq!(sizes, [(Some(7), true), (Some(9), true)]);

    // One image starts faster than a pair, so it goes first.
    host.file(FIRMWARE, "");
    let firmware = host.any().await.of("firmware").clone();
    let chosen: Vec<bool> = firmware.images.iter().map(|image| image.chosen).collect();
    assert_eq!(chosen, [false, false, false, false, true], "{firmware:#?}");
}

#[tokio::test]
async fn a_kvm_device_that_is_not_there_is_told_from_one_that_does_not_open() {
    let host = Host::new(Some(GOOD), &[FIRMWARE]);
    let report = host.any().await;
    assert_eq!((report.of("kvm").state, report.can_run), (State::Missing, true));
    assert!(report.of("kvm").words().contains("--device /dev/kvm"));

    // A folder does not open for writing, whoever asks.
    fs::create_dir_all(host.path("dev/kvm")).unwrap();
    let report = host.any().await;
    let kvm = report.of("kvm");
    assert_eq!((kvm.state, report.can_run), (State::Broken, true));
    for words in ["does not open", "add yourself to the group kvm", "chmod 660"] {
        assert!(kvm.words().contains(words), "{}", kvm.words());
    }
}

#[tokio::test]
async fn without_proc_sockets_cannot_be_reached_and_memory_is_not_known() {
    let host = Host::good();
    fs::remove_file(host.path("proc")).unwrap();
    let report = host.any().await;
    assert_eq!((report.of("socket_paths").state, report.can_run), (State::Broken, false));
    assert_eq!(report.of("capacity").state, State::Unknown);
    host.file("proc/meminfo", "MemAvailable: 1000 kB\n");
    let report = host.any().await;
    assert_eq!(report.of("capacity").state, State::Broken);
    assert!(report.of("capacity").words().contains("memory_mib"));
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let mut host = Host::good();
    host.config.artifacts = host.path("project").join("d".repeat(120));
    let report = host.any().await;
    assert!(report.can_run, "{report:#?}");
    assert!(report.of("socket_paths").words().contains("longer than the 107"), "{report:#?}");
}

#[tokio::test]
async fn artifacts_that_cannot_be_made_are_an_obstacle() {
    let mut host = Host::good();
    host.file("file", "");
    host.config.artifacts = host.path("file/logs");
    let report = host.examine(&host.lane("kind = \"qemu\"")).await;
    assert!(!report.can_run);
    assert_eq!(report.of("disk").state, State::Broken);
    assert!(report.of("disk").words().contains("--artifacts DIR"));
    assert_eq!(report.of("kvm").state, State::Unknown);
    assert!(report.of("lane").words().contains("the trial could not be held"), "{report:#?}");
}

#[test]
fn little_room_on_the_disk_is_said_before_it_is_an_obstacle() {
    let of = |bytes| (disk_of(bytes).state, disk_of(bytes).remedy.is_some());
    assert_eq!(of(GIB), (State::Proven, false));
    assert_eq!(of(GIB - 1), (State::Proven, true));
    assert_eq!(of(100 * MIB), (State::Proven, true));
    assert_eq!(of(100 * MIB - 1), (State::Broken, true));
}

#[tokio::test]
async fn what_the_lane_asks_for_decides_what_is_needed() {
    let host = Host::new(Some(&GOOD.replace("\"-device qxl-vga,help\"", "n")), &["dev/kvm", "own.fd"]);
    let own = "kind = \"qemu\"\n[firmware]\nbios = \"own.fd\"\n[display]\ndevice = \"none\"\n";
    let report = host.examine(&host.lane(own)).await;
    assert!(report.can_run && report.lane.as_deref() == Some("east"), "{report:#?}");
    assert!(report.of("lane").words().contains("KVM is broken on this host"), "{report:#?}");

    let insists = format!("{own}[machine]\naccel = \"kvm\"\n");
    let report = host.examine(&host.lane(&insists)).await;
    assert!(!report.can_run && report.accelerator.is_none(), "{report:#?}");
    let obstacles: Vec<&str> = report.obstacles().map(|capability| capability.name).collect();
    assert_eq!(obstacles, ["kvm", "lane"]);
    assert!(report.of("lane").words().contains("accel = \"auto\""), "{report:#?}");

    let gone = format!("{own}[boot]\nkernel = \"gone.efi\"\n");
    let report = host.examine(&host.lane(&gone)).await;
    let lane = report.of("lane");
    assert_eq!((lane.state, report.can_run), (State::Broken, false));
    assert!(
        lane.words().contains("gone.efi\" cannot be read") && lane.words().contains("is the kernel built")
    );
}

#[tokio::test]
async fn a_profile_that_does_not_load_is_broken_with_its_hint() {
    let (why, hint) = ("east.toml:1:8: unknown value `vm`".to_owned(), Some("known here: qemu".to_owned()));
    let asked = AskedLane::Unloadable { name: Some("east".to_owned()), why, hint };
    let report = Host::good().examine(&asked).await;
    assert!(!report.can_run && report.lane.as_deref() == Some("east"));
    assert_eq!(report.of("lane").words(), "east.toml:1:8: unknown value `vm` | known here: qemu");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_in_the_middle_of_the_trial_it_leaves_nothing() {
    let hangs = GOOD.replace("echo \"no luck\" >&2; exit 3", "exec sleep 60");
    let host = Host::new(Some(&hangs), &[FIRMWARE, "dev/kvm"]);
    let cancel = CancellationToken::new();
    let began = {
        let (logs, cancel) = (host.path("project/logs"), cancel.clone());
        tokio::spawn(async move {
            while !has_log(&logs) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            cancel.cancel();
        })
    };
    let asked = AskedLane::Any { hint: None };
    assert_eq!(examine(&host.config, &asked, &cancel).await, None);
    began.await.unwrap();
    assert_eq!(fs::read_dir(host.path("project")).unwrap().count(), 0, "something was left");
}

/// Whether the trial has come as far as QEMU's log.
fn has_log(logs: &Path) -> bool {
    let folders = fs::read_dir(logs).into_iter().flatten().flatten();
    folders.into_iter().any(|folder| folder.path().join("qemu.log").exists())
}
