//! `backstaff lane plan`: the same bytes wherever and whoever, and no effect at all.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use super::lab::{Invocation, Lab, files, skipped};

/// Every profile of the repository, and those that the goldens are made of, in a folder of their own.
fn lab_with_every_profile(test: &str) -> Option<(Lab, Vec<String>)> {
    let mut lab = Lab::with_guest(test)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    for folder in FOLDERS {
        for (path, _) in files(&root.join(folder)) {
            let (name, text) = (path.file_stem().unwrap(), std::fs::read_to_string(&path).unwrap());
            let name = name.to_str().unwrap().to_owned();
            lab = lab.file(&format!("{folder}/{name}.toml"), &text);
            names.push(name);
        }
    }
    let guest = lab.path("fixtures/guest");
    std::fs::create_dir_all(&guest).unwrap();
    std::fs::copy(root.join("fixtures/guest/sextant.efi"), guest.join("sextant.efi")).unwrap();
    assert!(names.len() >= 7, "{names:?}");
    Some((lab, names))
}

/// As text and as JSON.
fn both<'a>(arguments: &[String], invocation: &dyn Fn(&[&str]) -> Invocation<'a>) -> (String, String) {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = invocation(&arguments).may_make("nothing").run().stdout;
    arguments.push("--json");
    (text, invocation(&arguments).may_make("nothing").run().stdout)
}

#[test]
fn every_profile_gives_the_same_bytes_twice_in_two_folders_and_for_two_users() {
    let test = "plans of two folders and two users";
    // One after the other: each holds leave to boot a machine.
    let mut plans: Vec<BTreeMap<String, (String, String)>> = Vec::new();
    for folder in ["here", "further/down/there"] {
        let Some((lab, names)) = lab_with_every_profile(test) else { return };
        let lab = lab.file(&format!("{folder}/keep"), "");
        let folders: Vec<_> = FOLDERS.iter().map(|folder| lab.path(folder)).collect();
        let arguments = |name: &str| {
            let mut arguments = vec!["lane".to_owned(), "plan".to_owned(), name.to_owned()];
            for folder in &folders {
                arguments.extend(["--lane-dir".to_owned(), folder.display().to_string()]);
            }
            arguments
        };
        // From the outermost folder the first time, from one below it the second.
        for within in [".", folder] {
            let invocation = |arguments: &[&str]| lab.command(arguments).within(within);
            plans.push(names.iter().map(|it| (it.clone(), both(&arguments(it), &invocation))).collect());
        }
        if !rustix::process::geteuid().is_root() {
            skipped(test, "only root can become somebody else");
        } else if lab.command_as_nobody(test, &[]).is_some() {
            let invocation = |arguments: &[&str]| lab.command_as_nobody(test, arguments).unwrap();
            plans.push(names.iter().map(|it| (it.clone(), both(&arguments(it), &invocation))).collect());
        }
    }
    let (first, others) = plans.split_first().unwrap();
    for other in others {
        for (name, plan) in first {
            assert_eq!(plan, &other[name], "{name}");
        }
    }
    // They are plans, not the same refusal each time.
    for (name, state) in [("sextant", "validated"), ("ovmf", "validated"), ("attached", "draft")] {
        let plan: Value = serde_json::from_str(&first[name].1).unwrap();
        assert_eq!(plan["state"], state, "{name}: {plan:#}");
        assert!(first[name].0.contains(state), "{name}: {}", first[name].0);
    }
    for (name, (_, json)) in first {
        let plan: Value =
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{name}: {error}: {json}"));
        assert!(plan["profile_hash"].as_str().unwrap().starts_with("sha256:"), "{name}: {plan:#}");
    }
}

#[test]
fn a_plan_has_no_effect_on_files_and_processes() {
    let Some(lab) = Lab::with_guest("a plan without effect") else { return };
    for arguments in [&["lane", "plan", "sextant"][..], &["lane", "plan", "sextant", "--json"]] {
        let before = inodes(&lab.path("."));
        let seen = watched(&lab, arguments);
        assert_eq!(seen.exit, Some(0));
        assert_eq!(inodes(&lab.path(".")), before, "neither made, changed nor removed, also in between");
        assert_eq!((seen.children, seen.child_faults, seen.sockets), (false, 0, false), "{arguments:?}");
    }
    // What looks at processes finds those of a command that has some.
    let seen = watched(&lab, &["doctor"]);
    assert!(seen.children && seen.child_faults > 0, "{} faults", seen.child_faults);
}

/// What was seen of a command while it ran.
struct Effects {
    exit: Option<i32>,
    /// Whether it had a child at any look.
    children: bool,
    /// Page faults of its children, however short they lived: none without any.
    child_faults: u64,
    /// Whether it had a socket at any look.
    sockets: bool,
}

fn watched(lab: &Lab, arguments: &[&str]) -> Effects {
    let mut command = lab.command(arguments).into_command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let (children, sockets, over) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let child_faults = std::thread::scope(|scope| {
        let _watch = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if !children_of(&process).is_empty() {
                    children.store(true, Ordering::Relaxed);
                }
                if has_socket(&process) {
                    sockets.store(true, Ordering::Relaxed);
                }
            }
        });
        // It stays where it can be looked at until it is waited for.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = waitid(WaitId::Pid(pid), options).unwrap();
        over.store(true, Ordering::Relaxed);
        let stat = std::fs::read_to_string(process.join("stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // proc(5): field 11, `cminflt`; the first here is field 3.
        fields.split(' ').nth(11 - 3).unwrap().parse().unwrap()
    });
    let exit = child.wait().unwrap().code();
    Effects { exit, children: children.into_inner(), child_faults, sockets: sockets.into_inner() }
}

fn children_of(process: &Path) -> String {
    let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect()
}

fn has_socket(process: &Path) -> bool {
    let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|target| target.to_string_lossy().starts_with("socket:"))
}

/// Everything below a folder, and the folder, with what changes when it does: for folders also when an entry came and went.
fn inodes(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let change = (metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.len());
        found.insert(path, change);
    }
    found
}

const FOLDERS: [&str; 2] = ["scenarios/lanes", "fixtures/argv/profiles"];
