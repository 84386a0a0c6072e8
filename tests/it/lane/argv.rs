//! The argv of every profile in `fixtures/argv` on every platform there is the one that was looked at.
//!
//! `BACKSTAFF_UPDATE_GOLDEN=1` writes the goldens anew; a missing one fails.

use std::fs;
use std::path::{Path, PathBuf};

use backstaff::lane::handle::Capability;
use backstaff::lane::plan::{Accelerator, Need, resolve_acceleration};
use backstaff::lane::platform::{KvmProof, Platform};
use backstaff::lane::profile::{AccelRequest, QemuProfile};
use backstaff::lane::{Plan, Profile, plan};
use proptest::prelude::{Just, Strategy, any, proptest};

use super::support::root;

fn fixtures() -> PathBuf {
    root().join("fixtures/argv")
}

fn names(folder: &str, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn platform(name: &str) -> Platform {
    let text = fs::read_to_string(fixtures().join("platforms").join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn profile_text(name: &str) -> String {
    fs::read_to_string(fixtures().join("profiles").join(format!("{name}.toml"))).unwrap()
}

/// As if the profile lay in a project that is nowhere on this host.
fn profile(name: &str, text: &str) -> QemuProfile {
    let file = format!("/project/scenarios/lanes/{name}.toml");
    Profile::parse(name, text, Path::new(&file), Path::new("/project")).unwrap().qemu().unwrap()
}

fn plan_of(profile: &QemuProfile, platform: &Platform) -> Plan {
    let acceleration = resolve_acceleration(profile.machine.accel, platform, None).unwrap();
    plan(profile, platform, &acceleration).unwrap()
}

#[test]
fn argvs_match_their_goldens() {
    let update = std::env::var_os("BACKSTAFF_UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut compared = 0;
    for profile_name in names("profiles", "toml") {
        let profile = profile(&profile_name, &profile_text(&profile_name));
        for platform_name in names("platforms", "json") {
            let plan = plan_of(&profile, &platform(&platform_name));
            let observed = format!("{}\n", plan.argv.join("\n"));
            let golden = fixtures().join("golden").join(format!("{profile_name}.{platform_name}.argv"));
            if update {
                fs::write(&golden, &observed).unwrap();
            }
            let expected = fs::read_to_string(&golden)
                .unwrap_or_else(|error| panic!("{error}: {golden:?}; BACKSTAFF_UPDATE_GOLDEN=1 writes it"));
            assert_eq!(observed, expected, "{golden:?}");
            compared += 1;
        }
    }
    assert!(compared >= 6, "only {compared} goldens were compared");
}

#[test]
fn a_plan_is_the_same_bytes_every_time() {
    let everything = profile("everything", &profile_text("everything"));
    let bytes = || serde_json::to_vec(&plan_of(&everything, &platform("debian-12"))).unwrap();
    assert_eq!(bytes(), bytes());
}

#[test]
fn what_qemu_makes_is_relative_and_what_it_reads_is_absolute() {
    let plan = plan_of(&profile("everything", &profile_text("everything")), &platform("debian-12"));
    let made: Vec<&str> =
        plan.files.iter().map(|file| file.path.as_str()).filter(|path| !path.starts_with('/')).collect();
    let expected =
        ["firmware-vars.fd", "disk0.qcow2", "disk2.raw", "disk3.raw", "spice.ticket", "qmp.sock", "qemu.log"];
    assert_eq!(made, expected);
    let copied: Vec<_> = plan
        .needs
        .iter()
        .map(|need| match need {
            Need::Copy { from, to } => (from.as_str(), to.as_str()),
            Need::Ticket { to } => ("(ticket)", to.as_str()),
        })
        .collect();
    assert_eq!(
        copied,
        [
            ("/srv/firmware/vars.fd", "firmware-vars.fd"),
            ("/project/fixtures/disks/a, with a comma.qcow2", "disk0.qcow2"),
            ("/project/scenarios/lanes/old.img", "disk2.raw"),
            ("/project/scenarios/lanes/older.img", "disk3.raw"),
            ("(ticket)", "spice.ticket"),
        ]
    );
}

#[test]
fn capabilities_are_what_the_profile_gives() {
    let capabilities =
        |name: &str| plan_of(&profile(name, &profile_text(name)), &platform("debian-12")).capabilities;
    let (digest, keyboard, qmp) = (Capability::Digest, Capability::Keyboard, Capability::Qmp);
    assert_eq!(capabilities("kernel"), [digest, keyboard, qmp, Capability::Screen, Capability::Serial]);
    assert_eq!(capabilities("headless"), [keyboard, qmp, Capability::Serial]);
    assert_eq!(capabilities("everything"), [keyboard, qmp, Capability::Screen]);
}

#[test]
fn hashes_tell_profiles_and_platforms_apart() {
    let kernel = profile("kernel", &profile_text("kernel"));
    let (here, there) = (plan_of(&kernel, &platform("debian-12")), plan_of(&kernel, &platform("pair-only")));
    assert_eq!(here.profile_hash, there.profile_hash);
    assert_ne!(here.argv_hash, there.argv_hash);
    assert!(here.argv_hash.starts_with("sha256:"));
}

#[test]
fn auto_takes_kvm_only_where_nothing_speaks_against_it() {
    let (closed, open) = (platform("debian-12"), platform("pair-only"));
    let auto = |platform, proof| resolve_acceleration(AccelRequest::Auto, platform, proof).unwrap();
    let broken = KvmProof::Broken { reason: "QMP status internal-error".to_owned() };

    assert_eq!(auto(&closed, None).resolved, Accelerator::Tcg);
    assert_eq!(auto(&open, None).resolved, Accelerator::Kvm);
    assert_eq!(auto(&open, Some(&KvmProof::Works)).resolved, Accelerator::Kvm);
    let fallen_back = auto(&open, Some(&broken));
    assert_eq!(fallen_back.resolved, Accelerator::Tcg);
    assert!(fallen_back.why.contains("internal-error"), "{}", fallen_back.why);
}

#[test]
fn insisting_on_kvm_where_there_is_none_names_the_obstacle() {
    let error = resolve_acceleration(AccelRequest::Kvm, &platform("debian-12"), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the profile asks for KVM, /dev/kvm does not open (Permission denied (os error 13))"
    );
    assert!(error.hint().unwrap().contains("accel = \"auto\""));
}

#[test]
fn what_the_platform_lacks_is_named_with_its_remedy() {
    let kernel = profile("kernel", &profile_text("kernel"));
    let complaint = |change: fn(&mut Platform)| {
        let mut platform = platform("debian-12");
        change(&mut platform);
        let acceleration = resolve_acceleration(AccelRequest::Tcg, &platform, None).unwrap();
        let error = plan(&kernel, &platform, &acceleration).unwrap_err();
        (error.to_string(), error.hint().unwrap())
    };
    let (message, hint) = complaint(|platform| platform.has_spice = false);
    assert_eq!(message, "/usr/bin/qemu-system-x86_64 7.2.22 has no SPICE");
    assert!(hint.contains("qemu-system-modules-spice"));
    let (message, hint) = complaint(|platform| {
        platform.firmware.single = None;
        platform.firmware.pair = None;
    });
    assert_eq!(message, "no OVMF image on this host");
    assert!(hint.contains("edk2-ovmf"));
    let (message, _) = complaint(|platform| platform.qemu_version.major = 4);
    assert_eq!(message, "/usr/bin/qemu-system-x86_64 is version 4.2.22, wanted 5.2.0 or later");
}

/// Sections of a profile in any order, the keys of each in any order.
fn shuffled() -> impl Strategy<Value = String> {
    let sections = vec![
        ("machine", vec!["cpus = 2", "memory_mib = 128", "accel = \"tcg\"", "cpu = \"max\""]),
        ("spice", vec!["compression = \"glz\"", "jpeg = \"auto\"", "ticket = true"]),
        ("display", vec!["device = \"std\""]),
        ("boot", vec!["kernel = \"k.efi\""]),
        ("serial", vec!["log = true"]),
    ];
    Just(sections).prop_shuffle().prop_flat_map(|sections| {
        sections
            .into_iter()
            .map(|(name, keys)| {
                (Just(keys).prop_shuffle(), any::<bool>()).prop_map(move |(keys, comment)| {
                    let comment = if comment { "# a remark\n" } else { "" };
                    format!("[{name}]\n{comment}{}\n", keys.join("\n"))
                })
            })
            .collect::<Vec<_>>()
            .prop_map(|sections| format!("kind = \"qemu\"\n{}", sections.concat()))
    })
}

proptest! {
    #[test]
    fn the_order_of_keys_changes_nothing(left in shuffled(), right in shuffled()) {
        let debian = platform("debian-12");
        let (left, right) = (plan_of(&profile("east", &left), &debian), plan_of(&profile("east", &right), &debian));
        assert_eq!(left, right);
    }
}
