//! The profiles that come with backstaff load, and QEMU accepts what they come to.

use std::fs;
use std::time::Instant;

use backstaff::lane::plan::{QEMU_LOG, QMP_SOCKET, resolve_acceleration};
use backstaff::lane::prepare::prepare;
use backstaff::lane::profile::AccelRequest;
use backstaff::lane::profile::QemuProfile;
use backstaff::lane::qmp::QmpClient;
use backstaff::lane::teardown::{Rung, TeardownConfig, teardown};
use backstaff::lane::{Platform, Profile, plan};

use serde_json::{Map, Value, json};

use super::support::{PATIENCE, boardless, connect, platform_or_skip, root, spawn};

fn bundled() -> Vec<QemuProfile> {
    let profile = |name: &str| {
        let file = root().join("scenarios/lanes").join(name).with_extension("toml");
        Profile::parse(name, &fs::read_to_string(&file).unwrap(), &file, &root()).unwrap().qemu().unwrap()
    };
    ["sextant", "ovmf"].map(profile).into()
}

#[test]
fn bundled_profiles_load() {
    let kernels: Vec<_> = bundled().into_iter().map(|profile| profile.kernel).collect();
    let sextant = root().join("fixtures/guest/sextant.efi").to_str().unwrap().to_owned();
    assert_eq!(kernels, [Some(sextant), None]);
}

#[tokio::test]
async fn qemu_accepts_the_argv_of_bundled_profiles_and_waits_for_us() {
    let Some(platform) = platform_or_skip("bundled profiles under QEMU").await else { return };
    for mut profile in bundled() {
        // The kernel need not have been built for QEMU to accept everything else.
        profile.kernel = profile.kernel.filter(|kernel| fs::exists(kernel).unwrap());
        start_and_quit(&profile, &platform).await;
    }
}

/// What the goldens of this QEMU's version are made of, with files in place of those which their profiles name.
#[tokio::test]
async fn qemu_accepts_the_argvs_of_the_golden_profiles() {
    let Some(platform) = platform_or_skip("golden profiles under QEMU").await else { return };
    let Some(pair) = &platform.firmware.pair else {
        return eprintln!("SKIPPED golden profiles under QEMU: no OVMF pair");
    };
    let project = tempfile::tempdir().unwrap();
    let lanes = project.path().join("scenarios/lanes");
    fs::create_dir_all(&lanes).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = project.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let (raw, qcow2) = (vec![0; 1_024 * 1_024], empty_qcow2(&platform).await);
    file("fixtures/guest/a,b.efi", &fs::read(root().join("fixtures/guest/sextant.efi")).unwrap());
    file("fixtures/firmware/code.fd", &fs::read(&pair.code).unwrap());
    file("fixtures/firmware/vars.fd", &fs::read(&pair.vars).unwrap());
    file("fixtures/firmware/ovmf.fd", &vec![0; 65_536]);
    for name in ["a, with a comma.qcow2", "b.qcow2", "system.qcow2", "data.qcow2"] {
        file(&format!("fixtures/disks/{name}"), &qcow2);
    }
    for name in ["a.img", "c.img", "d.img", "tools \"quoted\".img"] {
        file(&format!("fixtures/disks/{name}"), &raw);
    }
    for name in ["old.img", "older.img"] {
        file(&format!("scenarios/lanes/{name}"), &raw);
    }
    for name in ["everything", "headless", "kernel", "pc-bios", "pc-flash"] {
        let text =
            fs::read_to_string(root().join("fixtures/argv/profiles").join(format!("{name}.toml"))).unwrap();
        let text = text
            .replace("/srv/images", project.path().join("fixtures/disks").to_str().unwrap())
            .replace("/srv/firmware", project.path().join("fixtures/firmware").to_str().unwrap())
            .replace("port = 5910", &format!("port = {}", free_port()));
        let file = lanes.join(format!("{name}.toml"));
        let profile = Profile::parse(name, &text, &file, project.path()).unwrap().qemu().unwrap();
        start_and_quit(&profile, &platform).await;
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A disk image of 1 MiB as QEMU itself makes it.
async fn empty_qcow2(platform: &Platform) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&boardless(platform, &[]), folder.path()).await;
    let (qmp, _events) = connect(folder.path()).await;
    let do_it = async |command: &str, arguments: Value| {
        let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
        qmp.execute(command, arguments, PATIENCE).await.unwrap()
    };
    for (job, options) in [
        ("file", json!({ "driver": "file", "filename": "image", "size": 0 })),
        ("image", json!({ "driver": "qcow2", "file": "file", "size": 1_048_576 })),
    ] {
        do_it("blockdev-create", json!({ "job-id": job, "options": options })).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = do_it("query-jobs", json!({})).await;
            if jobs[0]["status"] == "concluded" {
                assert!(jobs[0].get("error").is_none(), "{jobs}");
                break;
            }
            assert!(Instant::now() < deadline, "{jobs}");
        }
        do_it("job-dismiss", json!({ "id": job })).await;
        if job == "file" {
            do_it("blockdev-add", json!({ "driver": "file", "node-name": "file", "filename": "image" }))
                .await;
        }
    }
    teardown(&process, Some(&qmp), folder.path(), &[QMP_SOCKET], TeardownConfig::default()).await;
    fs::read(folder.path().join("image")).unwrap()
}

#[tokio::test]
async fn qemu_accepts_every_kind_of_option_and_awkward_paths() {
    let Some(platform) = platform_or_skip("awkward profile under QEMU").await else { return };
    let Some(pair) = &platform.firmware.pair else {
        eprintln!("SKIPPED awkward profile under QEMU: no OVMF pair");
        return;
    };
    let project = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = project.path().join(name);
        fs::write(&path, vec![0; 1_024 * 1_024]).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (kernel, image) = (file("a,b =\"c\".efi"), file("-disk, 'one' \"two\" \u{e9}.img"));
    let text = format!(
        r#"
kind = "qemu"
allow_outside = true
machine = {{ type = "q35", cpus = 2, memory_mib = 128, cpu = "qemu64,+sse4.2" }}
firmware = {{ code = {:?}, vars = {:?} }}
boot.kernel = {kernel:?}
disk = [{{ path = {image:?}, readonly = true }}, {{ path = {image:?} }}, {{ path = {image:?}, bus = "ide" }}]
network = [{{}}, {{ model = "e1000e", restrict = false }}]
display.device = "virtio"
spice = {{ compression = "auto_glz", jpeg = "always", zlib_glz = "auto", streaming = "filter", ticket = true }}
reset.policy = "restart"
"#,
        pair.code, pair.vars
    );
    let profile = Profile::parse("awkward", &text, &project.path().join("p.toml"), project.path()).unwrap();
    let profile = profile.qemu().unwrap();
    start_and_quit(&profile, &platform).await;
    assert_eq!(fs::read(&image).unwrap(), vec![0; 1_024 * 1_024], "images are never written");
}

/// Starts what `profile` comes to, finds it waiting with its endpoints up and nothing to complain, and ends it.
async fn start_and_quit(profile: &QemuProfile, platform: &Platform) {
    let acceleration = resolve_acceleration(AccelRequest::Tcg, platform, None).unwrap();
    let plan = match plan(profile, platform, &acceleration) {
        Ok(plan) => plan,
        Err(error) => return eprintln!("SKIPPED profile {}: {error}", profile.name),
    };
    let folder = tempfile::tempdir().unwrap();
    prepare(&plan, folder.path()).unwrap();
    let process = spawn(&plan.argv, folder.path()).await;
    let connected = QmpClient::connect(folder.path(), QMP_SOCKET, PATIENCE);
    let (qmp, _events) = tokio::select! {
        connected = connected => connected.unwrap(),
        facts = process.exited() => panic!("{}: {facts}: {}", profile.name, facts.last_words),
    };
    let status = qmp.execute("query-status", serde_json::Map::new(), PATIENCE).await.unwrap();
    assert_eq!(status["status"], "prelaunch", "{}", profile.name);
    for file in &plan.files {
        assert!(folder.path().join(&file.path).exists(), "{}: {file:?}", profile.name);
    }
    let gone = plan.transient_names();
    let report = teardown(&process, Some(&qmp), folder.path(), &gone, TeardownConfig::default()).await;
    assert_eq!(report.rung, Rung::Quit);
    assert_eq!(fs::read_to_string(folder.path().join(QEMU_LOG)).unwrap(), "");
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file(), "{}: {entry:?} was left", profile.name);
    }
}
