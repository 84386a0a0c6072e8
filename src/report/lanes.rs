//! The list of lane profiles, for people and as JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::failure::printable;
use super::style::{Look, Tone};
use crate::runner::project::{BUILT_IN_LANE, LaneState, ListedLane};

/// Returns a row for each profile and, below it, what is wrong. Files in `cwd` are named from there.
pub fn text(lanes: &[ListedLane], default_lane: Option<&str>, cwd: &Path, look: Look) -> String {
    let mut text = String::new();
    let name_width = lanes.iter().map(|lane| printable(&lane.name).chars().count()).max().unwrap_or(0);
    for lane in lanes {
        push_row(&mut text, lane, name_width, cwd, look);
        if let Some(nearer) = &lane.shadowed_by {
            push_wrapped(&mut text, &format!("not used: {} comes first", shown(nearer, cwd)), look);
        }
        match &lane.state {
            LaneState::Validated => {}
            LaneState::Draft { unresolved } => {
                unresolved.iter().for_each(|what| push_wrapped(&mut text, what, look));
            }
            LaneState::Broken { message, hint } => {
                // The place comes first.
                let here = format!("{}/", cwd.display());
                push_wrapped(&mut text, message.strip_prefix(&here).unwrap_or(message), look);
                if let Some(hint) = hint {
                    push_wrapped(&mut text, &format!("hint: {hint}"), look);
                }
            }
        }
    }
    if lanes.is_empty() {
        text.push_str("there are no profiles\n");
    }
    match default_lane {
        Some(_) if lanes.iter().any(|lane| lane.is_default) => {
            text.push_str(&look.paint(Tone::Faint, "* the lane for runs that name none"));
        }
        Some(BUILT_IN_LANE) => {
            let note = format!("the lane for runs that name none, \"{BUILT_IN_LANE}\", is built in");
            text.push_str(&look.paint(Tone::Faint, note));
        }
        Some(missing) => {
            let note = format!("the lane for runs that name none, \"{}\", is not there", printable(missing));
            text.push_str(&look.paint(Tone::Warn, note));
        }
        None => text.push_str(&look.paint(Tone::Faint, "no lane is set for runs that name none")),
    }
    text.push('\n');
    text
}

fn push_row(text: &mut String, lane: &ListedLane, name_width: usize, cwd: &Path, look: Look) {
    let tone = match lane.state {
        LaneState::Broken { .. } => Tone::Bad,
        LaneState::Draft { .. } => Tone::Warn,
        LaneState::Validated => Tone::Good,
    };
    let mark = if lane.is_default { '*' } else { ' ' };
    let name = format!("{:name_width$}", printable(&lane.name));
    let (kind, state) = (lane.kind.unwrap_or("-"), format!("{:STATE_WIDTH$}", lane.state.name()));
    let file = shown(&lane.file, cwd);
    text.push_str(&format!(
        "{mark} {}  {kind:KIND_WIDTH$}  {}",
        look.paint(Tone::Strong, name),
        look.paint(tone, state)
    ));
    let before_file = 2 + name_width + 2 + KIND_WIDTH + 2 + STATE_WIDTH + 2;
    if before_file + file.chars().count() <= look.width {
        text.push_str("  ");
    } else {
        text.push_str(&format!("\n{INDENT}"));
    }
    text.push_str(&look.paint(Tone::Place, file));
    text.push('\n');
}

const KIND_WIDTH: usize = "attach".len();
const STATE_WIDTH: usize = "validated".len();
const INDENT: &str = "    ";

/// Appends `message` indented, in lines that fit; a word that is longer than a line stays whole.
fn push_wrapped(text: &mut String, message: &str, look: Look) {
    for line in message.lines() {
        let mut column = 0;
        for word in printable(line).split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > look.width {
                text.push('\n');
                column = 0;
            }
            text.push_str(if column == 0 { INDENT } else { " " });
            column += if column == 0 { INDENT.len() } else { 1 } + width;
            text.push_str(word);
        }
        text.push('\n');
    }
}

fn shown(file: &Path, cwd: &Path) -> String {
    printable(&file.strip_prefix(cwd).unwrap_or(file).display().to_string())
}

/// Returns the list as one JSON object.
pub fn json(lanes: &[ListedLane], default_lane: Option<&str>) -> String {
    let lanes: Vec<Value> = lanes.iter().map(lane_json).collect();
    let list =
        json!({ "format": "backstaff-lanes", "version": 1, "default_lane": default_lane, "lanes": lanes });
    format!("{list:#}\n")
}

fn lane_json(lane: &ListedLane) -> Value {
    let mut row = json!({
        "name": lane.name,
        "kind": lane.kind,
        "file": lane.file.to_string_lossy(),
        "profile_hash": lane.profile_hash,
        "default": lane.is_default,
        "shadowed_by": lane.shadowed_by.as_ref().map(|file| file.to_string_lossy()),
        "state": lane.state.name(),
    });
    match &lane.state {
        LaneState::Validated => {}
        LaneState::Draft { unresolved } => row["unresolved"] = json!(unresolved),
        LaneState::Broken { message, hint } => {
            row["message"] = json!(message);
            row["hint"] = json!(hint);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::text;
    use crate::report::style::Look;
    use crate::runner::project::{LaneState, ListedLane};

    fn lane(name: &str, state: LaneState) -> ListedLane {
        ListedLane {
            name: name.to_owned(),
            file: Path::new("/p/lanes").join(name).with_extension("toml"),
            kind: Some("qemu"),
            profile_hash: None,
            is_default: name == "east",
            shadowed_by: None,
            state,
        }
    }

    #[test]
    fn rows_are_aligned_and_no_line_is_longer_than_the_screen() {
        let unresolved = vec!["no OVMF image on this host, ".repeat(5), "\u{1b}[2J".to_owned()];
        let mut deep = lane("deep", LaneState::Validated);
        deep.file = PathBuf::from("/p").join("a-folder-with-a-long-name/".repeat(2)).join("deep.toml");
        deep.shadowed_by = Some("/elsewhere/deep.toml".into());
        let lanes = [
            deep,
            lane("east", LaneState::Validated),
            lane("a-longer-name", LaneState::Draft { unresolved }),
        ];
        let look = Look { color: false, live: false, width: 80 };
        let text = text(&lanes, Some("east"), Path::new("/p"), look);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
          deep           qemu    validated
            a-folder-with-a-long-name/a-folder-with-a-long-name/deep.toml
            not used: /elsewhere/deep.toml comes first
        * east           qemu    validated  lanes/east.toml
          a-longer-name  qemu    draft      lanes/a-longer-name.toml
            no OVMF image on this host, no OVMF image on this host, no OVMF image on
            this host, no OVMF image on this host, no OVMF image on this host,
            �[2J
        * the lane for runs that name none
        ");
    }
}
