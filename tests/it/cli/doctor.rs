//! `backstaff doctor`: what it says, how it ends, and that it leaves nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::lab::{Finished, Invocation, Lab};

/// Whoever looks must change nothing at all.
fn examined(invocation: Invocation<'_>, code: i32) -> Finished {
    invocation.may_make("nothing").run().exits_with(code)
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

fn capability<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["capabilities"].as_array().unwrap();
    all.iter().find(|capability| capability["name"] == name).unwrap()
}

/// A QEMU that answers questions and, asked to run a guest, does what `runs` says.
fn with_qemu(lab: Lab, spice: &str, runs: &str) -> Lab {
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo 'QEMU emulator version 9.2.3' ;;\n\
         '-accel help') printf 'tcg\\nkvm\\n' ;;\n'-spice help') echo '{spice}' ;;\n\
         '-device help') for name in VGA qxl-vga isa-serial; do echo \"name \\\"$name\\\", bus any\"; done ;;\n\
         *accel=kvm*) {runs} ;;\nesac\n"
    );
    let lab = lab.file("bin/script", &script);
    // Copied by another process: what a thread here had open for writing may be busy when it is to be run.
    let install = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([lab.path("bin/script"), lab.path("bin/qemu-system-x86_64")])
        .status();
    assert!(install.unwrap().success());
    lab
}

fn kvm_opens() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

#[test]
fn on_this_machine_the_guest_can_run_and_kvm_is_what_it_is() {
    let Some(lab) = Lab::with_guest("doctor on this machine") else { return };
    let finished = examined(lab.command(&["doctor", "--json"]), 0);
    let report = json(&finished);
    assert_eq!((&report["can_run"], &report["lane"]), (&true.into(), &"sextant".into()), "{report:#}");
    for name in ["qemu", "spice", "graphics", "firmware", "tcg", "capacity", "socket_paths", "disk", "lane"] {
        assert_eq!(capability(&report, name)["state"], "proven", "{report:#}");
    }
    let kvm = capability(&report, "kvm");
    let state = kvm["state"].as_str().unwrap();
    eprintln!("KVM here: {kvm:#}");
    match (Path::new("/dev/kvm").exists(), kvm_opens()) {
        (false, _) => assert_eq!(state, "missing"),
        (true, false) => assert_eq!(state, "broken"),
        (true, true) => assert!(["broken", "proven"].contains(&state), "{kvm:#}"),
    }
    if state != "proven" {
        assert!(kvm["why"].is_string() && kvm["remedy"]["any"].is_string(), "{kvm:#}");
    }
    let finished = examined(lab.command(&["doctor"]), 0);
    assert!(finished.stdout.ends_with("\nlane \"sextant\" can run here, under TCG (emulation)\n"));
    let wide = finished.stdout.lines().filter(|line| line.chars().count() > 80 && line.contains("  "));
    // A single word may be longer than the room it has, as a path is.
    let wide: Vec<&str> = wide.filter(|line| !line.contains('/')).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn without_qemu_it_names_the_packages_of_three_families() {
    let lab =
        Lab::bare().file("lanes/east.toml", "kind = \"qemu\"\n").file("backstaff.toml", "lane = \"east\"\n");
    let finished = examined(lab.command(&["doctor"]).env("PATH", lab.path("home")), 16);
    let finished = finished.says(&[
        "missing  qemu          no executable qemu-system-x86_64 in PATH",
        "hint: Debian, Ubuntu: apt-get install qemu-system-x86",
        "Fedora: dnf install qemu-system-x86-core",
        "Arch: pacman -S qemu-system-x86",
        "unknown  spice",
        "broken   lane          east",
        "lane \"east\" cannot run here: qemu",
    ]);
    assert_eq!(finished.stderr, "");
}

#[test]
fn the_document_has_a_fixed_form() {
    let lab = with_qemu(Lab::bare(), "there is no option group", "exit 1");
    let report = json(&examined(lab.command(&["doctor", "--json"]).env("PATH", lab.path("bin")), 16));
    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!((&report["format"], &report["version"]), (&"backstaff-doctor".into(), &1.into()));
    // A parsed object sorts its keys; that their order in the text is fixed is shown where it is written.
    assert_eq!(keys(&report), ["accelerator", "can_run", "capabilities", "format", "lane", "version"]);
    let names: Vec<&str> = report["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|capability| capability["name"].as_str().unwrap())
        .collect();
    let wanted = [
        "qemu",
        "spice",
        "graphics",
        "sandbox",
        "firmware",
        "tcg",
        "kvm",
        "capacity",
        "socket_paths",
        "disk",
        "lane",
    ];
    assert_eq!(names, wanted);
    let spice = capability(&report, "spice");
    assert_eq!(keys(spice), ["found", "name", "needed", "remedy", "state", "why"]);
    assert_eq!((&spice["state"], &report["can_run"]), (&"missing".into(), &false.into()));
    let debian = spice["remedy"]["debian"].as_str().unwrap();
    assert!(debian.starts_with("apt-get install qemu-system-modules-spice"), "{debian}");
    assert_eq!(spice["remedy"]["fedora"], "dnf install qemu-ui-spice-core");
    assert_eq!(spice["remedy"]["arch"], "pacman -S qemu-ui-spice-core");
}

#[test]
fn a_lane_that_does_not_load_is_reported_like_the_rest() {
    let lab =
        Lab::bare().file("lanes/east.toml", "kind = \"vm\"\n").file("more/west.toml", "kind = \"qemu\"\n");
    let lane = |arguments: &[&str]| {
        let report = json(&examined(lab.command(&[&["doctor", "--json"], arguments].concat()), 16));
        (report["lane"].clone(), capability(&report, "lane").clone())
    };
    let (name, capability) = lane(&["--lane", "east"]);
    assert_eq!((name, &capability["state"]), ("east".into(), &"broken".into()));
    assert!(capability["why"].as_str().unwrap().ends_with("lanes/east.toml:1:8: unknown value `vm`"));
    assert_eq!(capability["remedy"]["any"], "known here: qemu, attach, sim");
    let (_, capability) = lane(&["--lane", "wets", "--lane-dir", "more"]);
    assert_eq!(capability["why"], "no lane profile named \"wets\", did you mean \"west\"?");
    let lab = lab.file("backstaff.toml", "lain = \"east\"\n");
    let report = json(&examined(lab.command(&["doctor", "--json"]), 16));
    let why = self::capability(&report, "lane")["why"].as_str().unwrap();
    assert!(why.contains("backstaff.toml") && why.contains("unknown field"), "{why}");
}

#[test]
fn usage_errors_and_help_are_as_elsewhere() {
    let lab = Lab::bare();
    let finished = examined(lab.command(&["doctor", "--jsno"]), 2);
    assert!(finished.stderr.contains("a similar argument exists: '--json'"), "{}", finished.stderr);
    let _ = examined(lab.command(&["doctor", "extra"]), 2);
    let help = examined(lab.command(&["doctor", "--help"]), 0).stdout;
    for word in ["--json", "--lane-dir", "--artifacts", "Examples:", "backstaff doctor --json | jq"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn narrow_terminals_get_lines_that_fit() {
    let lab = Lab::bare();
    let invocation = lab.command(&["doctor"]).env("PATH", lab.path("home")).env("COLUMNS", "40");
    let finished = examined(invocation, 16);
    let wide: Vec<&str> = finished.stdout.lines().filter(|line| line.chars().count() > 40).collect();
    // What is longer is a single word.
    assert!(wide.iter().all(|line| line.trim_start_matches(['-', ' ']).split(' ').count() == 1), "{wide:#?}");
}

#[test]
fn an_interrupt_during_the_trial_leaves_nothing() {
    if !kvm_opens() {
        return eprintln!("SKIPPED an interrupt during the KVM trial: /dev/kvm does not open");
    }
    let lab = with_qemu(Lab::bare(), "spice options:", "while :; do sleep 0.1; done");
    let path = format!("{}:/usr/bin:/bin", lab.path("bin").display());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let running = lab.command(&["doctor"]).env("PATH", &path).may_make("nothing").start();
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while lab.qemus().is_empty() || !lab.path("logs").exists() {
            assert!(std::time::Instant::now() < limit, "the trial never began");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        running.signal(signal);
        let finished = running.finish().exits_with(code).within(60);
        assert_eq!((&*finished.stdout, &*finished.stderr), ("", "error: interrupted\n"));
        assert!(!lab.path("logs").exists());
    }
}

#[test]
fn a_user_without_rights_is_told_about_the_group_and_the_folder() {
    let test = "a user without rights";
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED {test}: only root can become somebody else");
    }
    let Some(lab) = Lab::with_rom(test) else { return };
    let Some(invocation) = lab.command_as_nobody(test, &["doctor", "--json"]) else { return };
    // The folder belongs to root: nobody can look, and not write.
    let report = json(&examined(invocation, 16));
    let disk = capability(&report, "disk");
    assert_eq!(disk["state"], "broken", "{report:#}");
    assert!(disk["why"].as_str().unwrap().contains("cannot be written to: Permission denied"), "{disk:#}");

    std::fs::create_dir(lab.path("own")).unwrap();
    std::fs::set_permissions(lab.path("own"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let arguments = ["doctor", "--json", "--artifacts", "own/logs"];
    let report = json(&examined(lab.command_as_nobody(test, &arguments).unwrap(), 0));
    assert_eq!(capability(&report, "disk")["state"], "proven", "{report:#}");
    let kvm = capability(&report, "kvm");
    let mode = std::fs::metadata("/dev/kvm").map(|device| device.permissions().mode());
    match mode {
        Err(_) => assert_eq!(kvm["state"], "missing"),
        Ok(mode) if mode & 0o006 == 0o006 => eprintln!("SKIPPED {test}, KVM: the device is everybody's"),
        Ok(_) => {
            assert_eq!(kvm["state"], "broken", "{kvm:#}");
            assert!(kvm["why"].as_str().unwrap().contains("Permission denied"), "{kvm:#}");
            let remedy = kvm["remedy"]["any"].as_str().unwrap();
            assert!(remedy.contains("add yourself to the group kvm"), "{remedy}");
        }
    }
}
