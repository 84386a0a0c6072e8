//! Firmware descriptors: what the firmware on a host says about itself, in the form of QEMU's
//! `docs/interop/firmware.json`. Pure: text in, values out; [`firmware_find`](super::firmware_find) reads the files.
//!
//! The sets of that form are open: a device, mode or feature that is not known here survives and makes a firmware
//! unfit only where lanes would not know how to start it.

use serde::Deserialize;

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Descriptor {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `uefi`, `bios` and others.
    pub interface_types: Vec<String>,
    /// How QEMU is to be given it.
    pub mapping: Mapping,
    /// Which machines can run it.
    pub targets: Vec<Target>,
    /// What it supports, and what it demands.
    #[serde(default)]
    pub features: Vec<String>,
}

/// How QEMU is to be given a firmware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "device", rename_all = "kebab-case")]
pub enum Mapping {
    /// In flash chips.
    #[serde(rename_all = "kebab-case")]
    Flash {
        /// `split` into program and variables (where nothing is said), `combined` or `stateless`.
        #[serde(default = "split")]
        mode: String,
        /// The program.
        executable: FlashFile,
        /// The variables, to be copied for each machine.
        nvram_template: Option<FlashFile>,
    },
    /// In memory: `-bios`.
    Memory {
        /// The image.
        filename: String,
    },
    /// As a kernel, or in a way that is not known here.
    #[serde(other)]
    Other,
}

/// A file for a flash chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FlashFile {
    /// Absolute.
    pub filename: String,
    /// `raw`, `qcow2`.
    pub format: String,
}

/// Machines that can run a firmware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// QEMU's name of the processor's family.
    pub architecture: String,
    /// Names of boards, or patterns for them.
    pub machines: Vec<String>,
}

/// The files of a firmware that a lane can start; absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirmwareFiles {
    /// One image, for `-bios`.
    Bios(String),
    /// Program and variable template, for flash.
    Flash {
        /// The program.
        code: String,
        /// The template.
        vars: String,
    },
}

fn split() -> String {
    "split".to_owned()
}

impl Descriptor {
    /// Reads a descriptor.
    ///
    /// # Errors
    ///
    /// When it is not JSON or lacks what every descriptor has; in the parser's words, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns whether it is UEFI for the x86-64 boards `q35` or `pc`. Others are nobody's business here.
    pub fn is_for_pc(&self) -> bool {
        self.interface_types.iter().any(|interface| interface == "uefi")
            && (self.runs_on("pc-q35-") || self.runs_on("pc-i440fx-"))
    }

    /// Returns the files that QEMU is to be given.
    ///
    /// # Errors
    ///
    /// Why lanes leave this firmware alone, in words.
    pub fn fit_files(&self) -> Result<FirmwareFiles, String> {
        if let Some((_, why)) = UNFIT.iter().find(|(unfit, _)| self.features.iter().any(|has| has == unfit)) {
            return Err((*why).to_owned());
        }
        if !self.runs_on("pc-q35-") {
            return Err("is not for q35".to_owned());
        }
        match &self.mapping {
            Mapping::Memory { filename } => Ok(FirmwareFiles::Bios(filename.clone())),
            Mapping::Flash { mode, executable, nvram_template: Some(vars) } if mode == "split" => {
                match [executable, vars].into_iter().find(|file| file.format != "raw") {
                    Some(file) => Err(format!("has the format {}, lanes take raw", file.format)),
                    None => Ok(FirmwareFiles::Flash {
                        code: executable.filename.clone(),
                        vars: vars.filename.clone(),
                    }),
                }
            }
            Mapping::Flash { mode, .. } if mode == "split" => Err("has no variable template".to_owned()),
            Mapping::Flash { mode, .. } => Err(format!("is for flash of the kind {mode}")),
            Mapping::Other => Err("is neither for flash nor for memory".to_owned()),
        }
    }

    /// Returns all files it names, fit or not.
    pub fn named_files(&self) -> Vec<&str> {
        match &self.mapping {
            Mapping::Flash { executable, nvram_template, .. } => {
                let files = std::iter::once(executable).chain(nvram_template);
                files.map(|file| &*file.filename).collect()
            }
            Mapping::Memory { filename } => vec![filename],
            Mapping::Other => Vec::new(),
        }
    }

    /// Whether some board whose name begins with `family` can run it.
    fn runs_on(&self, family: &str) -> bool {
        let targets = self.targets.iter().filter(|target| target.architecture == "x86_64");
        targets.flat_map(|target| &target.machines).any(|machine| {
            let fixed = machine.split(['*', '?', '[']).next().unwrap_or_default();
            fixed.starts_with(family) || fixed.len() < machine.len() && family.starts_with(fixed)
        })
    }
}

/// Features that keep a lane from starting a firmware, or its guest from being started by it.
const UNFIT: [(&str, &str); 4] = [
    ("enrolled-keys", "enforces Secure Boot"),
    ("requires-smm", "wants flash that only system management code may write (requires-smm)"),
    ("secure-boot", "is built for Secure Boot"),
    ("intel-tdx", "is built for confidential machines"),
];

#[cfg(test)]
mod tests {
    use super::{Descriptor, FirmwareFiles};

    /// Debian's, with one thing replaced by another.
    fn descriptor(what: &str, by: &str) -> Descriptor {
        let text = r#"{
            "description": "UEFI firmware for x86_64",
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "executable": {"filename": "/f/CODE.fd", "format": "raw"},
                "nvram-template": {"filename": "/f/VARS.fd", "format": "raw"}
            },
            "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
            "features": ["acpi-s3", "amd-sev", "verbose-dynamic"],
            "tags": []
        }"#;
        assert!(text.contains(what), "{what}");
        Descriptor::parse(&text.replace(what, by)).unwrap()
    }

    #[test]
    fn a_plain_pair_is_fit() {
        let pair = FirmwareFiles::Flash { code: "/f/CODE.fd".to_owned(), vars: "/f/VARS.fd".to_owned() };
        let plain = descriptor("", "");
        assert!(plain.is_for_pc());
        assert_eq!(plain.fit_files(), Ok(pair.clone()));
        assert_eq!(plain.named_files(), ["/f/CODE.fd", "/f/VARS.fd"]);
        // Keys that later versions of the form add change nothing.
        assert_eq!(descriptor("\"tags\"", "\"later\": {}, \"tags\"").fit_files(), Ok(pair.clone()));
        let named = descriptor("\"device\"", "\"mode\": \"split\", \"device\"");
        assert_eq!(named.fit_files(), Ok(pair));
    }

    #[test]
    fn an_image_for_memory_is_fit() {
        let flash = &["\"flash\"", "\"memory\", \"filename\": \"/f/OVMF.fd\""];
        let memory = descriptor(flash[0], flash[1]);
        assert_eq!(memory.fit_files(), Ok(FirmwareFiles::Bios("/f/OVMF.fd".to_owned())));
        assert_eq!(memory.named_files(), ["/f/OVMF.fd"]);
    }

    #[test]
    fn what_a_lane_could_not_start_says_why() {
        let cases = [
            ("acpi-s3", "enrolled-keys", "enforces Secure Boot"),
            ("acpi-s3", "requires-smm", "requires-smm"),
            ("acpi-s3", "secure-boot", "Secure Boot"),
            ("acpi-s3", "intel-tdx", "confidential"),
            ("pc-q35-*", "microvm", "is not for q35"),
            ("\"raw\"", "\"qcow2\"", "has the format qcow2, lanes take raw"),
            ("nvram-template", "other-template", "has no variable template"),
            ("\"flash\"", "\"flash\", \"mode\": \"stateless\"", "is for flash of the kind stateless"),
            ("\"flash\"", "\"igvm\"", "is neither for flash nor for memory"),
        ];
        for (what, by, wanted) in cases {
            let unfit = descriptor(what, by);
            assert!(unfit.is_for_pc(), "{by}");
            let why = unfit.fit_files().unwrap_err();
            assert!(why.contains(wanted), "{by}: {why}");
        }
    }

    #[test]
    fn other_machines_and_interfaces_are_nobodys_business() {
        let others = [("\"uefi\"", "\"bios\""), ("x86_64\", \"m", "aarch64\", \"m")];
        for (what, by) in others {
            assert!(!descriptor(what, by).is_for_pc(), "{by}");
        }
        let machines = "\"pc-i440fx-*\", \"pc-q35-*\"";
        for (by, wanted) in [
            ("\"microvm\"", false),
            ("\"pc-q35-9.2\"", true),
            ("\"pc*\"", true),
            ("\"*\"", true),
            ("\"pc-q35-[89].*\"", true),
            ("\"virt-*\"", false),
            ("", false),
        ] {
            assert_eq!(descriptor(machines, by).is_for_pc(), wanted, "{by}");
        }
    }

    #[test]
    fn what_is_no_descriptor_is_refused_with_its_place() {
        for text in ["", "{", "[]", "{\"description\": 1}", "{\"mapping\": {\"device\": \"flash\"}}"] {
            let error = Descriptor::parse(text).unwrap_err().to_string();
            assert!(error.contains("line 1"), "{text}: {error}");
        }
    }
}
