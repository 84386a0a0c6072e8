//! What the doctor found, as text for people and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::failure::printable;
use super::style::{Look, Tone};
use crate::lane::doctor::{Capability, FirmwareImage, Remedy, Report, State};
use crate::lane::plan::Accelerator;

/// Returns the report as a table with a summary below it; every line ends with a line feed.
pub fn text(report: &Report, look: Look) -> String {
    let mut text = String::new();
    let widest = report.capabilities.iter().map(|capability| capability.name.len()).max().unwrap_or_default();
    let table = Table { look, name_width: widest };
    for capability in &report.capabilities {
        table.write(&mut text, capability);
    }
    let tone = if report.can_run { Tone::Good } else { Tone::Bad };
    text.push('\n');
    for line in wrap(&summary(report), look.width) {
        text.push_str(&look.paint(tone, line));
        text.push('\n');
    }
    text
}

/// Returns the report as one JSON document; it ends with a line feed.
pub fn json(report: &Report) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        format: &'static str,
        version: u32,
        #[serde(flatten)]
        report: &'a Report,
    }
    let document = Document { format: "backstaff-doctor", version: 1, report };
    let mut json = serde_json::to_string_pretty(&document).expect("names, texts and numbers are always JSON");
    json.push('\n');
    json
}

/// What it comes to, in one sentence.
fn summary(report: &Report) -> String {
    let lane = match &report.lane {
        Some(name) => format!("lane \"{}\"", printable(name)),
        None => "a QEMU lane".to_owned(),
    };
    if report.can_run {
        return match report.accelerator {
            Some(Accelerator::Kvm) => format!("{lane} can run here, under KVM"),
            Some(Accelerator::Tcg) => format!("{lane} can run here, under TCG (emulation)"),
            None => format!("{lane} can run here"),
        };
    }
    let obstacles = || report.obstacles().filter(|capability| capability.name != "lane");
    let of = |state: State, word: &str| {
        let names: Vec<String> =
            obstacles().filter(|capability| capability.state == state).map(label).collect();
        match names.len() {
            0 => None,
            1 => Some(format!("{} is {word}", names[0])),
            _ => Some(format!("{} are {word}", names.join(", "))),
        }
    };
    let parts: Vec<String> =
        [of(State::Missing, "missing"), of(State::Broken, "broken")].into_iter().flatten().collect();
    match parts.is_empty() {
        true => format!("{lane} cannot run here: see `lane`"),
        false => format!("{lane} cannot run here: {}", parts.join("; ")),
    }
}

fn label(capability: &Capability) -> String {
    capability.name.replace('_', " ")
}

struct Table {
    look: Look,
    name_width: usize,
}

impl Table {
    fn write(&self, text: &mut String, capability: &Capability) {
        let Self { look, name_width } = *self;
        let (word, tone) = match (capability.state, capability.is_obstacle()) {
            (State::Proven, _) => ("proven", Tone::Good),
            (State::Missing, true) => ("missing", Tone::Bad),
            (State::Missing, false) => ("missing", Tone::Warn),
            (State::Broken, true) => ("broken", Tone::Bad),
            (State::Broken, false) => ("broken", Tone::Warn),
            (State::Unknown, _) => ("unknown", Tone::Warn),
        };
        let beside = STATE_WIDTH + name_width + 4;
        let is_narrow = look.width < beside + LEAST_BODY;
        let indent = if is_narrow { NARROW_INDENT } else { beside };
        let body = self.body(capability, look.width.saturating_sub(indent));
        let head = format!(
            "{}  {}",
            look.paint(tone, format!("{word:STATE_WIDTH$}")),
            look.paint(Tone::Strong, format!("{:name_width$}", label(capability)))
        );
        let mut lines = body.into_iter();
        match is_narrow {
            true => text.push_str(head.trim_end()),
            false => {
                let _ = write!(text, "{head}  {}", lines.next().unwrap_or_default());
            }
        }
        text.push('\n');
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }

    /// The lines beside a capability's name.
    fn body(&self, capability: &Capability, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(found) = &capability.found {
            lines.extend(wrap(found, width));
        }
        if let Some(why) = &capability.why {
            // What is proven and still has a remedy is only just enough.
            let is_fine = capability.state == State::Proven && capability.remedy.is_none();
            let tone = if is_fine { Tone::Faint } else { Tone::Warn };
            lines.extend(wrap(why, width).into_iter().map(|line| self.look.paint(tone, line)));
        }
        for image in &capability.images {
            let tone = if image.chosen { Tone::Place } else { Tone::Faint };
            let hung = hang("- ", 2, &image_line(image), width);
            lines.extend(hung.into_iter().map(|line| self.look.paint(tone, line)));
        }
        if let Some(remedy) = &capability.remedy {
            lines.extend(self.remedy(remedy, width));
        }
        lines
    }

    fn remedy(&self, remedy: &Remedy, width: usize) -> Vec<String> {
        let systems = [
            ("", &remedy.any),
            ("Debian, Ubuntu: ", &remedy.debian),
            ("Fedora: ", &remedy.fedora),
            ("Arch: ", &remedy.arch),
        ];
        let known = systems.into_iter().filter_map(|(system, what)| Some((system, what.as_ref()?)));
        let mut lines = Vec::new();
        for (system, what) in known {
            for line in what.lines() {
                let head = if lines.is_empty() { "hint: " } else { "      " };
                // What belongs to one system's command is further in than the next system.
                let indent = if system.is_empty() { head.len() } else { head.len() + 2 };
                lines.extend(hang(head, indent, &format!("{system}{}", line.trim_start()), width));
            }
        }
        if let Some(first) = lines.first_mut() {
            *first = first.replacen("hint:", &self.look.paint(Tone::Warn, "hint:"), 1);
        }
        lines
    }
}

fn image_line(image: &FirmwareImage) -> String {
    let folder = image.files.first().and_then(|file| Path::new(&file.path).parent());
    let mut words: Vec<String> = Vec::new();
    for file in &image.files {
        let size = match file.size_bytes {
            Some(bytes) => format!("({} KiB)", bytes.div_ceil(1024)),
            None => "(not there)".to_owned(),
        };
        // Variables mostly lie beside their program.
        let path = Path::new(&file.path);
        let is_beside = !words.is_empty() && path.parent() == folder;
        let shown = path.file_name().filter(|_| is_beside).map_or(path, Path::new);
        words.push(format!("{} {size}", shown.display()));
    }
    let line = match &image.descriptor {
        Some(descriptor) if image.files.is_empty() => descriptor.clone(),
        _ => words.join(" with "),
    };
    match (&image.unfit, image.chosen) {
        (Some(why), _) if image.files.is_empty() => format!("{line}: {why}"),
        (Some(why), _) => format!("{line}: not used, it {why}"),
        (None, true) => format!("{line}: used"),
        (None, false) => line,
    }
}

/// The text in lines of at most `width` characters, the first behind `head` and the others `indent` columns in.
fn hang(head: &str, indent: usize, text: &str, width: usize) -> Vec<String> {
    let lines = wrap(text, width.saturating_sub(indent.max(head.len()))).into_iter().enumerate();
    lines
        .map(|(at, line)| if at == 0 { format!("{head}{line}") } else { format!("{:indent$}{line}", "") })
        .collect()
}

/// The text in lines of at most `width` characters, except where a single word is longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split_whitespace().map(printable) {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&word);
            used += length;
        }
        lines.push(line);
    }
    lines
}

const STATE_WIDTH: usize = "missing".len();
/// Beside the names there is room for this, or the text goes below them.
const LEAST_BODY: usize = 40;
const NARROW_INDENT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::doctor::FirmwareFile;

    fn capability(name: &'static str, state: State) -> Capability {
        Capability {
            name,
            state,
            found: None,
            why: None,
            remedy: None,
            needed: true,
            images: Vec::new(),
            room: None,
        }
    }

    fn report() -> Report {
        let command = |text: &str| Some(text.to_owned());
        let remedy = Remedy {
            any: None,
            debian: command(
                "apt-get install qemu-system-x86 (from Debian 13 on also qemu-system-modules-spice)",
            ),
            fedora: command("dnf install qemu-system-x86-core"),
            arch: command("pacman -S qemu-system-x86"),
        };
        let file =
            FirmwareFile { path: "/f/OVMF.fd".to_owned(), size_bytes: Some(2_097_152), readable: true };
        let image = FirmwareImage { files: vec![file], descriptor: None, chosen: true, unfit: None };
        Report {
            can_run: false,
            lane: Some("east".to_owned()),
            accelerator: None,
            capabilities: vec![
                Capability {
                    why: Some("no executable qemu-system-x86_64 in PATH \"/a\u{1b}[2J\"".to_owned()),
                    remedy: Some(remedy),
                    ..capability("qemu", State::Missing)
                },
                Capability {
                    found: Some("lanes use /f/OVMF.fd".to_owned()),
                    images: vec![image],
                    ..capability("firmware", State::Proven)
                },
                Capability {
                    why: Some("no memory information on this system".to_owned()),
                    ..capability("socket_paths", State::Unknown)
                },
            ],
        }
    }

    #[test]
    fn wide_it_is_a_table() {
        let look = Look { color: false, live: false, width: 80 };
        insta::assert_snapshot!(text(&report(), look), @r#"
        missing  qemu          no executable qemu-system-x86_64 in PATH "/a�[2J"
                               hint: Debian, Ubuntu: apt-get install qemu-system-x86
                                       (from Debian 13 on also
                                       qemu-system-modules-spice)
                                     Fedora: dnf install qemu-system-x86-core
                                     Arch: pacman -S qemu-system-x86
        proven   firmware      lanes use /f/OVMF.fd
                               - /f/OVMF.fd (2048 KiB): used
        unknown  socket paths  no memory information on this system

        lane "east" cannot run here: qemu is missing
        "#);
    }

    #[test]
    fn narrow_the_text_goes_below_the_names() {
        let look = Look { color: false, live: false, width: 40 };
        insta::assert_snapshot!(text(&report(), look), @r#"
        missing  qemu
          no executable qemu-system-x86_64 in
          PATH "/a�[2J"
          hint: Debian, Ubuntu: apt-get
                  install qemu-system-x86 (from
                  Debian 13 on also
                  qemu-system-modules-spice)
                Fedora: dnf install
                  qemu-system-x86-core
                Arch: pacman -S
                  qemu-system-x86
        proven   firmware
          lanes use /f/OVMF.fd
          - /f/OVMF.fd (2048 KiB): used
        unknown  socket paths
          no memory information on this system

        lane "east" cannot run here: qemu is
        missing
        "#);
    }

    #[test]
    fn colours_add_nothing_but_escapes() {
        let look = Look { color: true, live: false, width: 80 };
        let coloured = text(&report(), look);
        let plain = regex_lite::Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(&coloured, "");
        assert_ne!(coloured, plain);
        assert_eq!(plain, text(&report(), Look { color: false, ..look }));
    }

    #[test]
    fn json_keeps_its_order_and_its_form() {
        insta::assert_snapshot!(json(&report()), @r#"
        {
          "format": "backstaff-doctor",
          "version": 1,
          "can_run": false,
          "lane": "east",
          "accelerator": null,
          "capabilities": [
            {
              "name": "qemu",
              "state": "missing",
              "found": null,
              "why": "no executable qemu-system-x86_64 in PATH \"/a\u001b[2J\"",
              "remedy": {
                "any": null,
                "debian": "apt-get install qemu-system-x86 (from Debian 13 on also qemu-system-modules-spice)",
                "fedora": "dnf install qemu-system-x86-core",
                "arch": "pacman -S qemu-system-x86"
              },
              "needed": true
            },
            {
              "name": "firmware",
              "state": "proven",
              "found": "lanes use /f/OVMF.fd",
              "why": null,
              "remedy": null,
              "needed": true,
              "images": [
                {
                  "files": [
                    {
                      "path": "/f/OVMF.fd",
                      "size_bytes": 2097152,
                      "readable": true
                    }
                  ],
                  "descriptor": null,
                  "chosen": true,
                  "unfit": null
                }
              ]
            },
            {
              "name": "socket_paths",
              "state": "unknown",
              "found": null,
              "why": "no memory information on this system",
              "remedy": null,
              "needed": true
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_summary_says_how_it_runs_or_what_is_in_the_way() {
        let said = |can_run, accelerator, states: &[State]| {
            let names = ["qemu", "spice", "disk"];
            let capabilities = names.iter().zip(states).map(|(name, state)| capability(name, *state));
            summary(&Report { can_run, lane: None, accelerator, capabilities: capabilities.collect() })
        };
        use State::{Broken, Missing, Unknown};
        assert_eq!(said(true, Some(Accelerator::Kvm), &[]), "a QEMU lane can run here, under KVM");
        let tcg = said(true, Some(Accelerator::Tcg), &[]);
        assert_eq!(tcg, "a QEMU lane can run here, under TCG (emulation)");
        let two = said(false, None, &[Missing, Missing, Broken]);
        assert_eq!(two, "a QEMU lane cannot run here: qemu, spice are missing; disk is broken");
        let none = said(false, None, &[Unknown]);
        assert_eq!(none, "a QEMU lane cannot run here: see `lane`");
    }
}
