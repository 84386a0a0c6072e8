//! `docs/reference.md` is what `lua/meta` says.
//!
//! `BACKSTAFF_UPDATE_GOLDEN=1` writes the page anew; a missing one fails.

use std::path::Path;

use backstaff::reference::{FILES, page, reference};

#[test]
fn the_page_is_what_the_types_say() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let made = page(reference());
    if std::env::var_os("BACKSTAFF_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&golden, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&golden)
        .unwrap_or_else(|error| panic!("{error}: {golden:?}; BACKSTAFF_UPDATE_GOLDEN=1 writes it"));
    let differs = made.lines().zip(kept.lines()).zip(1..).find(|((made, kept), _)| made != kept);
    assert!(
        made == kept,
        "docs/reference.md differs from lua/meta, first at {differs:?}; BACKSTAFF_UPDATE_GOLDEN=1 writes it anew"
    );
}

#[test]
fn every_file_of_the_folder_is_embedded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua/meta");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".lua"))
        .collect();
    names.sort();
    assert_eq!(names, FILES.iter().map(|file| file.0).collect::<Vec<_>>());
}
