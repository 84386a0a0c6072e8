//! Finds out what this host offers: runs QEMU with harmless questions, looks for firmware, opens `/dev/kvm`.
//! It decides nothing; a missing SPICE or firmware is a fact which only a plan may object to.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::firmware::FirmwareFiles;
use super::firmware_find::{below, described};
use super::platform::{
    ACCELERATORS, DEVICES, FirmwareFound, FirmwarePair, INSTALL_HINT, KvmDevice, Platform, QemuVersion,
};

/// Where to look.
#[derive(Debug, Clone)]
pub struct DetectConfig {
    /// The value of `PATH`.
    pub path: OsString,
    /// What firmware paths and `dev/kvm` are below; `/` outside tests.
    pub system_root: PathBuf,
    /// How long QEMU may take to answer each question.
    pub deadline: Duration,
}

impl DetectConfig {
    /// Looks on this host, five seconds for each question.
    pub fn new(path: OsString) -> Self {
        Self { path, system_root: PathBuf::from("/"), deadline: Duration::from_secs(5) }
    }
}

/// Why a platform could not be described.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// There is no QEMU.
    #[error("no executable qemu-system-x86_64 in PATH {path:?}")]
    NoQemu {
        /// What was searched.
        path: String,
    },
    /// QEMU did not run.
    #[error("run {command:?}")]
    Run {
        /// The whole command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// QEMU did not answer.
    #[error("{command:?} gave no answer within {after:?}")]
    Silent {
        /// The whole command.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// QEMU answered something else.
    #[error("{command:?} answered {got:?} ({status}), wanted {wanted}")]
    Odd {
        /// The whole command.
        command: String,
        /// The beginning of the answer.
        got: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it should have been.
        wanted: &'static str,
    },
}

impl DetectError {
    /// Returns the command that would fix it, where there is one.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::NoQemu { .. }).then(|| INSTALL_HINT.to_owned())
    }
}

impl Platform {
    /// Describes this host.
    ///
    /// # Errors
    ///
    /// When there is no QEMU or it does not answer.
    pub async fn detect(config: &DetectConfig) -> Result<Self, DetectError> {
        let qemu = find_qemu(&config.path)?;
        let ask = |question: &'static [&'static str]| ask(&qemu, question, config.deadline);
        let (version, accelerators, spice, sandbox, devices) = tokio::try_join!(
            ask(&["--version"]),
            ask(&["-accel", "help"]),
            ask(&["-spice", "help"]),
            ask(&["-sandbox", "on", "-version"]),
            ask(&["-device", "help"]),
        )?;
        Ok(Self {
            qemu_version: read_version(&qemu, &version)?,
            devices: read_devices(&qemu, &devices)?,
            qemu,
            // The exit status of a list of options differs between versions; the text does not.
            has_spice: text_of(&spice).contains("spice options:"),
            has_sandbox: sandbox.status.success(),
            accelerators: read_accelerators(&text_of(&accelerators)),
            kvm_device: open_kvm(&config.system_root),
            firmware: find_firmware(&config.system_root),
            qemu_sha256: None,
        })
    }
}

pub(super) fn find_qemu(path: &OsStr) -> Result<String, DetectError> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("qemu-system-x86_64"))
        .filter(|file| is_executable(file))
        .find_map(|file| file.into_os_string().into_string().ok())
        .ok_or_else(|| DetectError::NoQemu { path: path.to_string_lossy().into_owned() })
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

pub(super) async fn ask(qemu: &str, question: &[&str], deadline: Duration) -> Result<Output, DetectError> {
    let command = || format!("{qemu} {}", question.join(" "));
    let output = Command::new(qemu).args(question).stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(deadline, output).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(source)) => Err(DetectError::Run { command: command(), source }),
        Err(_) => Err(DetectError::Silent { command: command(), after: deadline }),
    }
}

fn text_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn read_version(qemu: &str, output: &Output) -> Result<QemuVersion, DetectError> {
    let text = text_of(output);
    QemuVersion::parse(&text).ok_or_else(|| DetectError::Odd {
        command: format!("{qemu} --version"),
        got: text.chars().take(200).collect(),
        status: output.status,
        wanted: "\"QEMU emulator version X.Y.Z\"",
    })
}

/// Those that lanes use; a build may have more.
fn read_accelerators(text: &str) -> Vec<String> {
    let has = |name: &&str| text.lines().any(|line| line.trim() == *name);
    ACCELERATORS.into_iter().filter(has).map(str::to_owned).collect()
}

fn read_devices(qemu: &str, output: &Output) -> Result<Vec<String>, DetectError> {
    let text = text_of(output);
    let known: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("name \"")?.split('"').next()).collect();
    if known.is_empty() {
        return Err(DetectError::Odd {
            command: format!("{qemu} -device help"),
            got: text.chars().take(200).collect(),
            status: output.status,
            wanted: "lines of the form \"name \\\"VGA\\\", …\"",
        });
    }
    Ok(DEVICES.into_iter().filter(|device| known.contains(device)).map(str::to_owned).collect())
}

pub(super) fn open_kvm(system_root: &Path) -> KvmDevice {
    match OpenOptions::new().read(true).write(true).open(system_root.join("dev/kvm")) {
        Ok(_) => KvmDevice::Opens,
        Err(error) => KvmDevice::Unusable { reason: error.to_string() },
    }
}

/// Single images, below the system's root, the likeliest first.
pub(super) const SINGLES: [&str; 5] = [
    "usr/share/ovmf/OVMF.fd",
    "usr/share/OVMF/OVMF.fd",
    "usr/share/edk2/x64/OVMF.4m.fd",
    "usr/share/edk2-ovmf/x64/OVMF.fd",
    "usr/share/qemu/ovmf-x86_64.bin",
];

/// Pairs: the 4 MiB builds before the 2 MiB ones. Builds that enforce Secure Boot are left out on purpose.
pub(super) const PAIRS: [(&str, &str); 7] = [
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("usr/share/qemu/ovmf-x86_64-4m-code.bin", "usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("usr/share/qemu/ovmf-x86_64-code.bin", "usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// What the host's firmware descriptors name comes before the paths that are known without them.
pub(super) fn find_firmware(system_root: &Path) -> FirmwareFound {
    let readable = |name: &str| {
        let file = below(system_root, name);
        File::open(&file).ok()?;
        file.into_os_string().into_string().ok()
    };
    let described = described(system_root);
    let single = described.iter().find_map(|files| match files {
        FirmwareFiles::Bios(image) => readable(image),
        FirmwareFiles::Flash { .. } => None,
    });
    let both = |code: &str, vars: &str| Some(FirmwarePair { code: readable(code)?, vars: readable(vars)? });
    let pair = described.iter().find_map(|files| match files {
        FirmwareFiles::Bios(_) => None,
        FirmwareFiles::Flash { code, vars } => both(code, vars),
    });
    FirmwareFound {
        single: single.or_else(|| SINGLES.into_iter().find_map(readable)),
        pair: pair.or_else(|| PAIRS.into_iter().find_map(|(code, vars)| both(code, vars))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::{DetectConfig, DetectError};
    use crate::lane::Platform;
    use crate::lane::platform::{KvmDevice, QemuVersion};

    const ANSWERS: &str = r#"#!/bin/sh
case "$*" in
--version) echo "QEMU emulator version 9.2.3 (made up)" ;;
"-accel help") printf 'Accelerators supported in QEMU binary:\ntcg\nkvm\n' ;;
"-device help") printf 'Display devices:\nname "VGA", bus PCI\nname "x", bus PCI\n' ;;
"-spice help") echo "there is no option group 'spice'" >&2; exit 1 ;;
*) exit 1 ;;
esac
"#;

    fn host(script: Option<&str>, files: &[&str]) -> (tempfile::TempDir, DetectConfig) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(script) = script {
            // Written by another process: a file that any thread here had open for writing while a third
            // one forked would be busy when it is to be run.
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script])
                .arg(folder.path().join("qemu-system-x86_64"))
                .status();
            assert!(status.unwrap().success());
        }
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let config = DetectConfig {
            path: folder.path().as_os_str().to_owned(),
            system_root: folder.path().to_owned(),
            deadline: Duration::from_secs(5),
        };
        (folder, config)
    }

    #[tokio::test]
    async fn facts_come_from_what_qemu_answers_and_what_lies_on_the_disk() {
        let pair = ["usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"];
        let (folder, config) = host(Some(ANSWERS), &pair);
        let platform = Platform::detect(&config).await.unwrap();
        assert_eq!(platform.qemu_version, QemuVersion { major: 9, minor: 2, micro: 3 });
        assert_eq!(platform.accelerators, ["kvm", "tcg"]);
        assert_eq!(platform.devices, ["VGA"]);
        assert!(!platform.has_spice && !platform.has_sandbox);
        assert!(matches!(platform.kvm_device, KvmDevice::Unusable { .. }));
        assert_eq!(platform.firmware.single, None);
        let code = platform.firmware.pair.unwrap().code;
        assert_eq!(Path::new(&code), folder.path().join(pair[0]));
    }

    fn describe(root: &Path, place: &str, mapping: &str, features: &str) {
        let text = format!(
            r#"{{"description": "", "interface-types": ["uefi"], "mapping": {mapping}, "features": [{features}],
            "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*"]}}]}}"#
        );
        let file = root.join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn flash(code: &str) -> String {
        format!(
            r#"{{"device": "flash", "executable": {{"filename": "/{code}", "format": "raw"}},
            "nvram-template": {{"filename": "/vars.fd", "format": "raw"}}}}"#
        )
    }

    #[test]
    fn the_first_fit_descriptor_comes_before_the_known_paths() {
        let known = ["usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"];
        let files = ["a.fd", "b.fd", "c.fd", "d.fd", "vars.fd", "usr/share/ovmf/OVMF.fd", "bios.fd"];
        let (folder, config) = host(None, &[&known[..], &files[..]].concat());
        let root = folder.path();
        let found = || {
            let found = super::find_firmware(&config.system_root);
            let name = |path: String| path.strip_prefix(root.to_str().unwrap()).unwrap().to_owned();
            (name(found.single.unwrap()), name(found.pair.unwrap().code))
        };
        let (single, pair) = ("/usr/share/ovmf/OVMF.fd".to_owned(), format!("/{}", known[0]));
        assert_eq!(found(), (single.clone(), pair));

        let (general, own) = ("usr/share/qemu/firmware", "etc/qemu/firmware");
        describe(root, &format!("{general}/30-secure.json"), &flash("a.fd"), "\"enrolled-keys\"");
        describe(root, &format!("{general}/40-gone.json"), &flash("gone.fd"), "");
        describe(root, &format!("{general}/50-b.json"), &flash("b.fd"), "");
        describe(root, &format!("{general}/60-c.json"), &flash("c.fd"), "");
        fs::write(root.join(general).join("20-broken.json"), "{").unwrap();
        fs::write(root.join(general).join("10-notes.txt"), "none").unwrap();
        assert_eq!(found(), (single.clone(), "/b.fd".to_owned()));

        // Replaced, then hidden, by the administrator's file of the same name.
        describe(root, &format!("{own}/50-b.json"), &flash("d.fd"), "");
        assert_eq!(found(), (single.clone(), "/d.fd".to_owned()));
        fs::write(root.join(own).join("50-b.json"), "").unwrap();
        assert_eq!(found(), (single, "/c.fd".to_owned()));

        let memory = r#"{"device": "memory", "filename": "/bios.fd"}"#;
        describe(root, &format!("{own}/99-memory.json"), memory, "");
        assert_eq!(found(), ("/bios.fd".to_owned(), "/c.fd".to_owned()));
    }

    #[tokio::test]
    async fn a_missing_qemu_names_the_packages() {
        let (_folder, config) = host(None, &[]);
        let error = Platform::detect(&config).await.unwrap_err();
        assert!(matches!(error, DetectError::NoQemu { .. }));
        assert!(error.hint().unwrap().contains("apt-get install qemu-system-x86 ovmf"));
    }

    #[tokio::test]
    async fn a_qemu_that_never_answers_is_given_up() {
        let (_folder, mut config) = host(Some("#!/bin/sh\nexec sleep 60\n"), &[]);
        config.deadline = Duration::from_millis(200);
        let error = Platform::detect(&config).await.unwrap_err();
        assert!(matches!(error, DetectError::Silent { .. }), "{error}");
    }
}
