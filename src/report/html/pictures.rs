//! Screenshots: each picture once, however often it was taken.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::report::source::is_below;

/// The pictures of a page, as base64 of PNGs.
#[derive(Default)]
pub(super) struct Pictures {
    known: HashMap<[u8; 32], usize>,
    encoded: Vec<String>,
}

impl Pictures {
    /// Takes the picture at `path` in an attempt's folder and returns its number; nothing when there is no PNG, or none
    /// of ours: a journal may come from anywhere.
    pub(super) fn take(&mut self, folder: &Path, path: &str) -> Option<usize> {
        let relative = Path::new(path);
        let file = folder.join(relative);
        let is_ours = || Some(file.canonicalize().ok()?.starts_with(folder.canonicalize().ok()?));
        if !is_below(relative) || is_ours() != Some(true) {
            return None;
        }
        if std::fs::metadata(&file).ok()?.len() > MAX_BYTES {
            return None;
        }
        let bytes = std::fs::read(&file).ok().filter(|bytes| bytes.starts_with(PNG))?;
        let number = *self.known.entry(Sha256::digest(&bytes).into()).or_insert_with(|| {
            self.encoded.push(STANDARD.encode(&bytes));
            self.encoded.len() - 1
        });
        Some(number)
    }

    /// How many bytes they take in the page.
    pub(super) fn len_bytes(&self) -> usize {
        self.encoded.iter().map(String::len).sum()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.encoded.len()
    }

    /// Forgets what was taken since there were `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.encoded.truncate(count);
        self.known.retain(|_, number| *number < count);
    }

    pub(super) fn encoded(&self) -> &[String] {
        &self.encoded
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const MAX_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pngs_within_the_folder_are_taken_and_the_same_one_once() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("attempt-1");
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, rest: &str| {
            std::fs::write(folder.join(name), [PNG, rest.as_bytes()].concat()).unwrap();
        };
        (write("a.png", "1"), write("b.png", "1"), write("c.png", "2"), write("../out.png", "3"));
        std::fs::write(folder.join("d.png"), "text").unwrap();
        std::os::unix::fs::symlink("../out.png", folder.join("e.png")).unwrap();
        let mut pictures = Pictures::default();
        let mut take = |name: &str| pictures.take(&folder, name);
        assert_eq!((take("a.png"), take("b.png"), take("c.png")), (Some(0), Some(0), Some(1)));
        for path in
            ["d.png", "e.png", "../out.png", "none.png", "", outer.path().join("out.png").to_str().unwrap()]
        {
            assert_eq!(take(path), None, "{path}");
        }
        pictures.truncate(1);
        assert_eq!((pictures.count(), pictures.take(&folder, "c.png")), (1, Some(1)));
    }
}
