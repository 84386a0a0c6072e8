//! The argv of every profile in `fixtures/argv` on every platform there, with and without KVM, is the one that was
//! looked at.
//!
//! `BACKSTAFF_UPDATE_GOLDEN=1` writes the goldens anew; a missing one fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstaff::lane::handle::Capability;
use backstaff::lane::plan::{
    Accelerator, Content, Contents, Need, PlanError, draft, files_read, resolve_acceleration,
};
use backstaff::lane::platform::{HostFacts, KvmDevice, KvmProof, Platform};
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
    plan_with(profile, platform, None)
}

fn plan_with(profile: &QemuProfile, platform: &Platform, proof: Option<&KvmProof>) -> Plan {
    let acceleration = resolve_acceleration(profile.machine.accel, platform, proof).unwrap();
    plan(profile, platform, &acceleration).unwrap()
}

fn broken() -> KvmProof {
    KvmProof::Broken { reason: "the guest made of it what it could".to_owned() }
}

#[test]
fn argvs_match_their_goldens() {
    let update = std::env::var_os("BACKSTAFF_UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut wanted = BTreeSet::new();
    for profile_name in names("profiles", "toml") {
        let profile = profile(&profile_name, &profile_text(&profile_name));
        for platform_name in names("platforms", "json") {
            for (accelerator, proof) in [("kvm", KvmProof::Works), ("tcg", broken())] {
                let plan = plan_with(&profile, &platform(&platform_name), Some(&proof));
                assert_eq!(plan.acceleration.resolved.unwrap().as_str(), accelerator);
                let observed = format!("{}\n", plan.argv.join("\n"));
                let name = format!("{profile_name}.{platform_name}.{accelerator}");
                let golden = fixtures().join("golden").join(format!("{name}.argv"));
                if update {
                    fs::write(&golden, &observed).unwrap();
                }
                let expected = fs::read_to_string(&golden).unwrap_or_else(|error| {
                    panic!("{error}: {golden:?}; BACKSTAFF_UPDATE_GOLDEN=1 writes it")
                });
                assert_eq!(observed, expected, "{golden:?}");
                wanted.insert(name);
            }
        }
    }
    assert_eq!(wanted, names("golden", "argv").into_iter().collect(), "goldens of nothing");
    assert!(wanted.len() >= 40, "only {} goldens were compared", wanted.len());
}

/// What the goldens are for: each of these together with each board, accelerator and kind of firmware.
#[test]
fn the_goldens_cover_boards_accelerators_and_kinds_of_firmware() {
    let mut seen = BTreeSet::new();
    for name in names("golden", "argv") {
        let argv = fs::read_to_string(fixtures().join("golden").join(format!("{name}.argv"))).unwrap();
        let board = argv.lines().skip_while(|line| *line != "-machine").nth(1).unwrap();
        let board_name = if board.contains("q35") { "q35" } else { "pc" };
        let firmware = if argv.contains("-bios") { "bios" } else { "split" };
        let (platform, accelerator) = name.split_once(".qemu-").unwrap().1.rsplit_once('.').unwrap();
        assert!(board.contains(&format!("accel={accelerator}")), "{name}");
        seen.insert((platform.to_owned(), board_name, accelerator.to_owned(), firmware));
    }
    let platforms: BTreeSet<&str> = seen.iter().map(|(platform, ..)| platform.as_str()).collect();
    assert_eq!(platforms.into_iter().collect::<Vec<_>>(), ["10.0", "7.2", "8.2", "9.2"]);
    for board in ["q35", "pc"] {
        for accelerator in ["kvm", "tcg"] {
            for firmware in ["bios", "split"] {
                let on =
                    seen.iter().filter(|it| (it.1, it.2.as_str(), it.3) == (board, accelerator, firmware));
                assert!(on.count() >= 2, "{board} {accelerator} {firmware}");
            }
        }
    }
}

#[test]
fn a_plan_is_the_same_bytes_every_time() {
    let everything = profile("everything", &profile_text("everything"));
    let bytes = || serde_json::to_vec(&plan_of(&everything, &platform("qemu-7.2"))).unwrap();
    assert_eq!(bytes(), bytes());
}

#[test]
fn nothing_in_a_plan_says_where_the_project_lies() {
    for name in names("profiles", "toml") {
        let text = profile_text(&name);
        let in_folder = |root: &str| {
            let file = format!("{root}/scenarios/lanes/{name}.toml");
            let profile =
                Profile::parse(&name, &text, Path::new(&file), Path::new(root)).unwrap().qemu().unwrap();
            serde_json::to_string_pretty(&plan_of(&profile, &platform("qemu-7.2"))).unwrap()
        };
        let (here, there) = (in_folder("/project"), in_folder("/srv/some where/else"));
        assert_eq!(here, there);
        assert!(!here.contains("/project"), "{here}");
    }
}

#[test]
fn what_lies_in_the_project_is_linked_and_what_is_written_is_an_overlay() {
    let made = |name: &str| {
        let plan = plan_of(&profile(name, &profile_text(name)), &platform("qemu-7.2"));
        let needs: Vec<String> = plan
            .needs
            .iter()
            .map(|need| match need {
                Need::Link { from, to, source } => {
                    assert_eq!(source, &Path::new("/project").join(from));
                    format!("{to} -> {from}")
                }
                Need::Overlay { backing, format, to } => format!("{to} over {backing} {}", format.as_str()),
                Need::Ticket { to } => format!("{to} (secret)"),
            })
            .collect();
        (needs, plan.transient_names().into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (needs, transient) = made("everything");
    assert_eq!(
        needs,
        [
            "disk0.base -> fixtures/disks/a, with a comma.qcow2",
            "disk2.base -> scenarios/lanes/old.img",
            "disk3.base -> scenarios/lanes/older.img",
            "firmware-vars.qcow2 over /srv/firmware/vars.fd raw",
            "disk0.qcow2 over disk0.base qcow2",
            "disk2.qcow2 over disk2.base raw",
            "disk3.qcow2 over disk3.base raw",
            "spice.ticket (secret)",
        ]
    );
    assert_eq!(
        transient,
        ["spice.ticket", "qmp.sock", "monitor.sock", "disk0.base", "disk2.base", "disk3.base"]
    );
    let (needs, transient) = made("pc-flash");
    assert_eq!(
        needs,
        [
            "firmware-code -> fixtures/firmware/code.fd",
            "firmware-vars.base -> fixtures/firmware/vars.fd",
            "disk0.base -> fixtures/disks/system.qcow2",
            "disk1.base -> fixtures/disks/data.qcow2",
            "firmware-vars.qcow2 over firmware-vars.base raw",
            "disk1.qcow2 over disk1.base qcow2",
            "spice.ticket (secret)",
        ]
    );
    assert!(transient.contains(&"spice.sock".to_owned()) && transient.contains(&"firmware-code".to_owned()));
}

#[test]
fn files_are_what_lies_in_the_lanes_folder() {
    let plan = plan_of(&profile("kernel", &profile_text("kernel")), &platform("qemu-8.2"));
    let files: Vec<&str> = plan.files.iter().map(|file| file.path.as_str()).collect();
    let wanted =
        ["kernel", "firmware-vars.qcow2", "qmp.sock", "monitor.sock", "spice.sock", "serial.log", "qemu.log"];
    assert_eq!(files, wanted);
    let outside: Vec<&str> =
        plan.firmware.iter().chain(&plan.inputs).map(|file| file.path.as_str()).collect();
    let firmware = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
    assert_eq!(outside, [firmware[0], firmware[1], "fixtures/guest/a,b.efi"]);
}

#[test]
fn capabilities_are_what_the_profile_gives() {
    let capabilities =
        |name: &str| plan_of(&profile(name, &profile_text(name)), &platform("qemu-7.2")).capabilities;
    use Capability::{Digest, Keyboard, Mouse, Qmp, Screen, Serial, Snapshot};
    assert_eq!(capabilities("kernel"), [Digest, Keyboard, Mouse, Qmp, Screen, Serial, Snapshot]);
    assert_eq!(capabilities("headless"), [Keyboard, Mouse, Qmp, Serial, Snapshot]);
    assert_eq!(capabilities("everything"), [Keyboard, Mouse, Qmp, Screen, Snapshot]);
}

#[test]
fn a_machine_can_be_saved_unless_the_profile_or_qemu_is_against_it() {
    let mut kernel = profile("kernel", &profile_text("kernel"));
    let warmable = |profile: &QemuProfile, platform: &Platform| plan_of(profile, platform).warmable;
    let mut old = platform("qemu-7.2");
    old.qemu_version.major = 5;
    assert_eq!(warmable(&kernel, &platform("qemu-7.2")).restore_argv, ["-incoming", "defer"]);
    let too_old = warmable(&kernel, &old);
    assert_eq!(too_old.reason.unwrap(), "QEMU is version 5.2.22, wanted 6.0.0 or later");
    assert!(!too_old.possible && too_old.restore_argv.is_empty());
    kernel.warm = false;
    let plan = plan_of(&kernel, &platform("qemu-7.2"));
    assert_eq!(plan.warmable.reason.unwrap(), "the profile says `warm = false`");
    assert!(!plan.capabilities.contains(&Capability::Snapshot));
}

#[test]
fn hashes_tell_profiles_and_platforms_apart() {
    let kernel = profile("kernel", &profile_text("kernel"));
    let (here, there) = (plan_of(&kernel, &platform("qemu-7.2")), plan_of(&kernel, &platform("qemu-9.2")));
    assert_eq!(here.profile_hash, there.profile_hash);
    assert_ne!(here.argv_hash, there.argv_hash);
    assert!(here.argv_hash.starts_with("sha256:"));
}

#[test]
fn auto_takes_kvm_only_where_nothing_speaks_against_it() {
    let open = platform("qemu-7.2");
    let mut closed = open.clone();
    closed.kvm_device = KvmDevice::Unusable { reason: "Permission denied (os error 13)".to_owned() };
    let auto = |platform, proof| resolve_acceleration(AccelRequest::Auto, platform, proof).unwrap();

    assert_eq!(auto(&open, None).resolved, Some(Accelerator::Kvm));
    assert_eq!(auto(&open, Some(&KvmProof::Works)).resolved, Some(Accelerator::Kvm));
    let (not_mine, nobodys) = (auto(&closed, None), auto(&open, Some(&broken())));
    assert_eq!((not_mine.resolved, nobodys.resolved), (Some(Accelerator::Tcg), Some(Accelerator::Tcg)));
    assert_eq!(not_mine.why, nobodys.why, "plans are the same for everybody on a host");
    assert_eq!(not_mine.reason(), "/dev/kvm does not open (Permission denied (os error 13))");
    assert_eq!(nobodys.reason(), "KVM is broken on this host (the guest made of it what it could)");
}

#[test]
fn insisting_on_kvm_where_there_is_none_names_the_obstacle() {
    let open = platform("qemu-7.2");
    let error = resolve_acceleration(AccelRequest::Kvm, &open, Some(&broken())).unwrap_err();
    let why = "the profile asks for KVM, KVM runs no guest here; `backstaff doctor` says why";
    assert_eq!(error.why(), why);
    let detail = "(KVM is broken on this host (the guest made of it what it could))";
    assert_eq!(error.to_string(), format!("{why} {detail}"));
    assert!(error.hint().unwrap().contains("accel = \"auto\""));
}

#[test]
fn what_the_platform_lacks_is_named_with_its_remedy() {
    let kernel = profile("kernel", &profile_text("kernel"));
    let complaint = |change: fn(&mut Platform)| {
        let mut platform = platform("qemu-7.2");
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
    let (message, hint) = complaint(|platform| platform.devices.retain(|device| device != "qxl-vga"));
    assert_eq!(message, "/usr/bin/qemu-system-x86_64 has no device \"qxl-vga\"");
    assert!(hint.contains("device = \"std\""));
}

#[test]
fn a_board_must_not_be_newer_than_qemu() {
    let complaint = |board: &str| {
        let text = format!("kind = \"qemu\"\nmachine.type = {board:?}");
        let facts = HostFacts::from(&platform("qemu-8.2"));
        draft(&profile("east", &text), &facts, None, &Contents::default()).unresolved
    };
    for board in ["q35", "pc", "pc-q35-8.2", "pc-i440fx-2.9"] {
        assert_eq!(complaint(board), [], "{board}");
    }
    let newer = complaint("pc-i440fx-9.0");
    assert!(matches!(&newer[..], [PlanError::NewMachine { machine, .. }] if machine == "pc-i440fx-9.0"));
}

#[test]
fn a_board_takes_as_many_ide_disks_as_it_has_ports() {
    let unresolved = |board: &str, disks: usize| {
        let disk = "[[disk]]\npath = \"d.img\"\nbus = \"ide\"\n";
        let text = format!("kind = \"qemu\"\n[machine]\ntype = {board:?}\n{}", disk.repeat(disks));
        let facts = HostFacts::from(&platform("qemu-7.2"));
        draft(&profile("east", &text), &facts, None, &Contents::default()).unresolved
    };
    for (board, limit) in [("q35", 6), ("pc", 4)] {
        assert_eq!(unresolved(board, limit), []);
        assert_eq!(unresolved(board, limit + 1), [PlanError::TooManyIdeDisks { got: limit + 1, limit }]);
    }
}

#[test]
fn a_draft_names_everything_that_is_missing_and_keeps_what_is_known() {
    let mut facts = HostFacts::from(&platform("qemu-7.2"));
    facts.firmware.single = None;
    facts.firmware.pair = None;
    let qemu = facts.qemu.as_mut().unwrap();
    qemu.has_spice = Some(false);
    qemu.devices = Some(vec!["isa-serial".to_owned()]);
    qemu.accelerators = Some(vec!["xen".to_owned()]);
    let kernel = profile("kernel", &profile_text("kernel"));
    let mut contents = Contents::default();
    for file in files_read(&kernel, &facts) {
        contents.0.insert(file.source, Content::Unusable("cannot be read: gone".to_owned()));
    }
    let plan = draft(&kernel, &facts, None, &contents);
    let document = serde_json::to_value(&plan).unwrap();
    let whats: Vec<&str> =
        document["unresolved"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["SPICE", "device", "acceleration", "firmware", "kernel"]);
    for entry in document["unresolved"].as_array().unwrap() {
        assert!(entry["why"].is_string() && entry["remedy"].is_string(), "{entry}");
    }
    assert_eq!(document["state"], "draft");
    assert_eq!(document["qemu"]["version"], "7.2.22");
    assert_eq!(document["profile_hash"], kernel.profile_hash());
    assert_eq!(document["inputs"][0]["path"], "fixtures/guest/a,b.efi");
    assert_eq!(document["gates"][0]["kind"], "qmp");
    assert!(document["argv"].is_null() && document["argv_hash"].is_null());
    assert!(document["acceleration_resolved"].is_null());
    assert!(plan.validated().is_err());
}

#[test]
fn a_draft_without_qemu_or_with_something_that_starts_it_says_how_to_get_on() {
    let kernel = profile("kernel", &profile_text("kernel"));
    let mut facts = HostFacts::from(&platform("qemu-7.2"));
    let qemu = facts.qemu.as_mut().unwrap();
    (qemu.version, qemu.has_spice, qemu.has_sandbox) = (None, None, None);
    (qemu.accelerators, qemu.devices) = (None, None);
    let plan = draft(&kernel, &facts, None, &Contents::default());
    let whats: Vec<String> = plan.unresolved.iter().map(PlanError::what).collect();
    assert_eq!(whats, ["version", "SPICE", "sandbox", "devices", "accelerators"]);
    assert!(plan.unresolved[0].hint().unwrap().contains("`backstaff run`"));
    facts.qemu = None;
    facts.search_path = "/nowhere".to_owned();
    let plan = draft(&kernel, &facts, None, &Contents::default());
    assert_eq!(plan.unresolved, [PlanError::NoQemu { path: "/nowhere".to_owned() }]);
    assert_eq!(plan.firmware.len(), 1, "what is known is there");
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

/// Disks and networks that differ from each other, in some order.
fn devices() -> impl Strategy<Value = Vec<String>> {
    let disks = (0..4).map(|index| format!("[[disk]]\npath = \"{index}.img\"\n"));
    let networks = ["virtio", "e1000e"].into_iter().map(|model| format!("[[network]]\nmodel = {model:?}\n"));
    Just(disks.chain(networks).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn the_order_of_keys_changes_no_byte(left in shuffled(), right in shuffled()) {
        let debian = platform("qemu-7.2");
        let bytes = |text: &str| serde_json::to_string(&plan_of(&profile("east", text), &debian)).unwrap();
        assert_eq!(bytes(&left), bytes(&right));
    }

    #[test]
    fn the_order_of_devices_changes_the_argv(left in devices(), right in devices()) {
        let debian = platform("qemu-7.2");
        let plan = |devices: &[String]| {
            plan_of(&profile("east", &format!("kind = \"qemu\"\n{}", devices.concat())), &debian)
        };
        // Disks and networks are numbered apart: only the order among their own kind is an order of devices.
        let of_kind = |devices: &[String], kind: &str| -> Vec<String> {
            devices.iter().filter(|device| device.starts_with(kind)).cloned().collect()
        };
        let is_same = ["[[disk]]", "[[network]]"].into_iter().all(|kind| of_kind(&left, kind) == of_kind(&right, kind));
        let (left, right) = (plan(&left), plan(&right));
        // The disks' links have the same names in every order; what they lead to has not.
        let told = |plan: &Plan| (plan.needs.clone(), plan.argv.clone());
        assert_eq!(told(&left) == told(&right), is_same);
    }
}
