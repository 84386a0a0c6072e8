//! Finds out what this host offers by looking only: no process, no socket, no file. What QEMU would answer about
//! itself is in the text of its program and in the folder of its modules.
//!
//! A program that shows no version (a script that starts QEMU, say) shows nothing; asking it is
//! [`platform_detect`](super::platform_detect)'s work.

use std::path::{Path, PathBuf};

use super::contents;
use super::kvm_probe;
use super::plan::{Plan, draft, files_read};
use super::platform::{
    ACCELERATORS, DEVICES, HostFacts, KvmDevice, KvmProof, Platform, QemuFacts, QemuVersion,
};
use super::platform_detect::{DetectConfig, DetectError, find_firmware, find_qemu, open_kvm};
use super::profile::{AccelRequest, QemuProfile};
use super::sha256;

impl Platform {
    /// Describes this host as far as looking goes.
    pub fn inspect(config: &DetectConfig) -> HostFacts {
        HostFacts {
            search_path: config.path.to_string_lossy().into_owned(),
            qemu: find_qemu(&config.path).ok().map(look_at),
            kvm_device: open_kvm(&config.system_root),
            firmware: find_firmware(&config.system_root),
        }
    }

    /// Describes this host; asks QEMU only for what looking does not tell, so that most hosts are described as a plan
    /// describes them.
    ///
    /// # Errors
    /// QEMU was asked and did not answer.
    pub async fn inspect_or_detect(config: &DetectConfig) -> Result<HostFacts, DetectError> {
        let facts = Self::inspect(config);
        if facts.qemu.is_none() || facts.platform().is_some() {
            return Ok(facts);
        }
        let sha256 = facts.qemu.and_then(|qemu| qemu.sha256);
        let mut asked = HostFacts::from(&Self::detect(config).await?);
        asked.search_path = facts.search_path;
        if let Some(qemu) = &mut asked.qemu {
            qemu.sha256 = sha256;
        }
        Ok(asked)
    }
}

/// Resolves `profile` on a host of which this much is known: tries KVM if it matters, and looks into the files that
/// the profile names. Has no effect, but takes as long as hashing them does. `proof` is what became of KVM if that is
/// known already.
pub fn plan_on(profile: &QemuProfile, facts: &HostFacts, proof: Option<KvmProof>) -> Plan {
    let proof = proof.or_else(|| try_kvm(profile, facts));
    let contents = contents::look(&files_read(profile, facts));
    draft(profile, facts, proof.as_ref(), &contents)
}

fn try_kvm(profile: &QemuProfile, facts: &HostFacts) -> Option<KvmProof> {
    let accelerators = facts.qemu.as_ref()?.accelerators.as_ref()?;
    let matters = profile.machine.accel != AccelRequest::Tcg
        && facts.kvm_device == KvmDevice::Opens
        && accelerators.iter().any(|name| name == "kvm");
    matters.then(kvm_probe::prove)
}

fn look_at(path: String) -> QemuFacts {
    let Ok(bytes) = std::fs::read(&path) else {
        return untold(path, None);
    };
    let sha256 = Some(sha256::label(&bytes));
    let words = Words::of(&bytes);
    let (true, Some(version)) = (bytes.starts_with(ELF), words.version) else {
        return untold(path, sha256);
    };
    let modules = Modules { folders: module_folders(Path::new(&path), &words.folders), words: &words };
    let has_accelerator = |name: &&str| match *name {
        "tcg" => modules.has("accel-tcg-x86_64", words.has("tcg-accel")),
        "kvm" => words.has("kvm-accel"),
        _ => false,
    };
    let has_device = |name: &&str| match *name {
        "qxl-vga" => modules.has("hw-display-qxl", words.has("qxl-vga")),
        "virtio-vga" => modules.has("hw-display-virtio-vga", words.has("virtio-vga")),
        other => words.has(other),
    };
    let named = |names: &[&str], is_there: &dyn Fn(&&str) -> bool| {
        names.iter().copied().filter(is_there).map(str::to_owned).collect()
    };
    QemuFacts {
        sha256,
        version: Some(version),
        has_spice: Some(modules.has("ui-spice-core", words.has("libspice-server.so.1"))),
        has_sandbox: Some(words.has("libseccomp.so.2")),
        accelerators: Some(named(&ACCELERATORS, &has_accelerator)),
        devices: Some(named(&DEVICES, &has_device)),
        path,
    }
}

fn untold(path: String, sha256: Option<String>) -> QemuFacts {
    QemuFacts {
        path,
        sha256,
        version: None,
        has_spice: None,
        has_sandbox: None,
        accelerators: None,
        devices: None,
    }
}

const ELF: &[u8] = b"\x7fELF";

/// Names that are looked for in the program: types it registers, libraries it needs, modules it knows of.
const NAMES: [&str; 18] = [
    "VGA",
    "e1000e",
    "ide-hd",
    "isa-serial",
    "qemu-xhci",
    "qxl-vga",
    "usb-tablet",
    "virtio-blk-pci",
    "virtio-net-pci",
    "virtio-vga",
    "kvm-accel",
    "tcg-accel",
    "libseccomp.so.2",
    "libspice-server.so.1",
    "accel-tcg-x86_64",
    "hw-display-qxl",
    "hw-display-virtio-vga",
    "ui-spice-core",
];

/// What the text of a program says.
#[derive(Default)]
struct Words {
    version: Option<QemuVersion>,
    found: Vec<&'static str>,
    /// Absolute paths that end in `/qemu`, among which is the modules' folder.
    folders: Vec<PathBuf>,
}

impl Words {
    fn of(program: &[u8]) -> Self {
        let mut words = Self::default();
        for piece in program.split(|byte| *byte == 0) {
            words.read(piece);
        }
        words
    }

    fn read(&mut self, piece: &[u8]) {
        // Literals with the same ending may be stored as one, so a name is what a piece ends with.
        for name in NAMES {
            if piece.ends_with(name.as_bytes()) && !self.has(name) {
                self.found.push(name);
            }
        }
        if piece.starts_with(b"QEMU emulator version ") && self.version.is_none() {
            self.version = std::str::from_utf8(piece).ok().and_then(QemuVersion::parse);
        }
        if piece.starts_with(b"/")
            && piece.ends_with(b"/qemu")
            && let Ok(path) = std::str::from_utf8(piece)
        {
            self.folders.push(PathBuf::from(path));
        }
    }

    fn has(&self, name: &str) -> bool {
        self.found.contains(&name)
    }
}

/// The parts of QEMU that may be packaged apart.
struct Modules<'a> {
    folders: Vec<PathBuf>,
    words: &'a Words,
}

impl Modules<'_> {
    /// Whether a part is there: as a file if the program knows it as a module, otherwise in the program itself.
    fn has(&self, module: &str, is_built_in: bool) -> bool {
        match self.words.has(module) {
            true => self.folders.iter().any(|folder| folder.join(format!("{module}.so")).is_file()),
            false => is_built_in,
        }
    }
}

/// Where this program looks for its modules. A QEMU that was moved takes its whole tree along: it replaces the prefix
/// it was built for by the folder above its own.
fn module_folders(program: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
    let real = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let Some(prefix) = real.parent().and_then(Path::parent) else { return Vec::new() };
    let relocated = |folder: &PathBuf| {
        if folder.starts_with(prefix) && prefix != Path::new("/") {
            return Some(folder.clone());
        }
        let built_for = ["/usr/local", "/usr"].into_iter().find(|it| folder.starts_with(it))?;
        Some(prefix.join(folder.strip_prefix(built_for).ok()?))
    };
    named.iter().filter_map(relocated).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{look_at, module_folders};
    use crate::lane::platform::{QemuFacts, QemuVersion};

    /// A program with these words, and modules beside it as in a tree of its own.
    fn looked_at(words: &[&str], modules: &[&str]) -> QemuFacts {
        let tree = tempfile::tempdir().unwrap();
        let bin = tree.path().join("bin");
        let folder = tree.path().join("lib/qemu");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        for module in modules {
            std::fs::write(folder.join(format!("{module}.so")), "").unwrap();
        }
        let program = bin.join("qemu-system-x86_64");
        std::fs::write(&program, format!("\u{7f}ELF\0{}\0", words.join("\0"))).unwrap();
        look_at(program.into_os_string().into_string().unwrap())
    }

    const VERSION: &str = "QEMU emulator version 9.2.3 (Debian)\nCopyright";
    const FOLDER: &str = "/usr/lib/qemu";

    #[test]
    fn a_qemu_of_one_piece_has_what_it_names() {
        let facts = looked_at(
            &[
                VERSION,
                "kvm-accel",
                "tcg-accel",
                "libspice-server.so.1",
                "libseccomp.so.2",
                "x-VGA",
                "qxl-vga",
            ],
            &[],
        );
        assert_eq!(facts.version, Some(QemuVersion { major: 9, minor: 2, micro: 3 }));
        assert_eq!(facts.accelerators.unwrap(), ["kvm", "tcg"]);
        assert_eq!((facts.has_spice, facts.has_sandbox), (Some(true), Some(true)));
        assert_eq!(facts.devices.unwrap(), ["VGA", "qxl-vga"]);
    }

    #[test]
    fn a_qemu_of_modules_has_what_lies_in_its_folder() {
        let words = [
            VERSION,
            FOLDER,
            "tcg-accel",
            "accel-tcg-x86_64",
            "ui-spice-core",
            "hw-display-qxl",
            "hw-display-virtio-vga",
            "qxl-vga",
        ];
        let none = looked_at(&words, &[]);
        assert_eq!((none.has_spice, none.has_sandbox), (Some(false), Some(false)));
        assert!(none.accelerators.unwrap().is_empty());
        assert!(none.devices.unwrap().is_empty());
        let some = looked_at(&words, &["ui-spice-core", "accel-tcg-x86_64", "hw-display-qxl"]);
        assert_eq!(some.has_spice, Some(true));
        assert_eq!(some.accelerators.unwrap(), ["tcg"]);
        assert_eq!(some.devices.unwrap(), ["qxl-vga"]);
    }

    #[test]
    fn what_shows_no_version_shows_nothing() {
        let facts = looked_at(&["kvm-accel", "libspice-server.so.1"], &[]);
        let nothing = (facts.version, facts.has_spice, facts.has_sandbox, facts.accelerators, facts.devices);
        assert_eq!(nothing, (None, None, None, None, None));
        assert!(facts.sha256.unwrap().starts_with("sha256:"));
    }

    #[test]
    fn modules_move_with_their_program() {
        let named = ["/usr/lib/x86_64-linux-gnu/qemu", "/etc/qemu"].map(PathBuf::from);
        let folders = |program: &str| module_folders(Path::new(program), &named);
        assert_eq!(folders("/usr/nowhere/qemu"), [PathBuf::from("/usr/lib/x86_64-linux-gnu/qemu")]);
        let moved = folders("/nowhere/qemu/bin/qemu-system-x86_64");
        assert_eq!(moved, [PathBuf::from("/nowhere/qemu/lib/x86_64-linux-gnu/qemu")]);
    }
}
