//! The profiles that come with backstaff load, and QEMU accepts what they come to.

use std::fs;

use backstaff::lane::plan::{Need, QEMU_LOG, QMP_SOCKET, SERIAL_LOG, SPICE_SOCKET, resolve_acceleration};
use backstaff::lane::profile::AccelRequest;
use backstaff::lane::profile::QemuProfile;
use backstaff::lane::qmp::QmpClient;
use backstaff::lane::teardown::{Rung, TeardownConfig, teardown};
use backstaff::lane::{Platform, Profile, plan};

use super::support::{PATIENCE, platform_or_skip, root, spawn};

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
    for need in &plan.needs {
        match need {
            Need::Copy { from, to } => drop(fs::copy(from, folder.path().join(to)).unwrap()),
            Need::Ticket { to } => fs::write(folder.path().join(to), "secret").unwrap(),
        }
    }
    let process = spawn(&plan.argv, folder.path()).await;
    let connected = QmpClient::connect(folder.path(), QMP_SOCKET, PATIENCE);
    let (qmp, _events) = tokio::select! {
        connected = connected => connected.unwrap(),
        facts = process.exited() => panic!("{}: {facts}: {}", profile.name, facts.last_words),
    };
    let status = qmp.execute("query-status", serde_json::Map::new(), PATIENCE).await.unwrap();
    assert_eq!(status["status"], "prelaunch", "{}", profile.name);
    for file in [SPICE_SOCKET, SERIAL_LOG] {
        assert!(folder.path().join(file).exists(), "{}: {file}", profile.name);
    }
    let sockets = [QMP_SOCKET, SPICE_SOCKET];
    let report = teardown(&process, Some(&qmp), folder.path(), &sockets, TeardownConfig::default()).await;
    assert_eq!(report.rung, Rung::Quit);
    assert_eq!(fs::read_to_string(folder.path().join(QEMU_LOG)).unwrap(), "");
}
