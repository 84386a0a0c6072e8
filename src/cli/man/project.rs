//! backstaff.toml(5), from what the parser of the file says of its keys.

use super::page::{Page, Writer};
use crate::runner::project::KEYS;

pub(super) fn page() -> Page {
    let mut page = Writer::new("backstaff.toml", "5", "marks a project of backstaff, and says its defaults");
    page.section("DESCRIPTION").text(
        "The nearest file of this name, upwards from the scripts that run, marks a project. It is TOML. All keys are \
         optional, and an empty file is one, too; a key that nobody knows is an error.",
    );
    page.section("KEYS");
    for key in KEYS {
        page.item(key.name, key.what);
    }
    page.section("LANES").text(
        "Lanes are described by profiles, files of their own. `--lane NAME` means the first `NAME.toml` in each \
         `--lane-dir`, in `lanes` beside the first script, in the script's own folder, in `lanes` beside \
         backstaff.toml, and in `scenarios/lanes` of the working directory. `backstaff lane list` shows all that are \
         found, and what is wrong with them; `backstaff init` writes an example.",
    );
    let lines: Vec<String> = KEYS.iter().map(|key| format!("{} = {}", key.name, key.example)).collect();
    page.section("EXAMPLE").code(&lines.join("\n"));
    page.finish(&["backstaff(1)", "backstaff-lane(1)", "backstaff-init(1)"])
}
