//! From the paths on the command line to scripts.

use std::path::{Path, PathBuf};

/// Why a path leads to no script.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The path does not exist or cannot be read.
    #[error("{path}")]
    Read {
        /// The path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without a script.
    #[error("{path} holds no `*.lua` script")]
    Empty {
        /// The folder.
        path: String,
    },
}

/// Returns the scripts under `paths`: files as they are given, folders searched for `*.lua` in order of their names.
/// Hidden entries, and folders named `lanes`, `logs` or `target`, are not searched.
///
/// # Errors
/// A path cannot be read, or a folder holds no script.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DiscoveryError> {
    let mut scripts = Vec::new();
    for path in paths {
        let found = scripts.len();
        search(path, &mut scripts)
            .map_err(|(path, source)| DiscoveryError::Read { path: path.display().to_string(), source })?;
        if scripts.len() == found {
            return Err(DiscoveryError::Empty { path: path.display().to_string() });
        }
    }
    let mut seen = std::collections::HashSet::new();
    scripts.retain(|script| seen.insert(script.clone()));
    Ok(scripts)
}

fn search(path: &Path, scripts: &mut Vec<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    let failed = |source| (path.to_owned(), source);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        scripts.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(failed)?;
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) {
                search(&entry.path(), scripts)?;
            }
        } else if name.ends_with(".lua") {
            scripts.push(entry.path());
        }
    }
    Ok(())
}

const SKIPPED: [&str; 3] = ["lanes", "logs", "target"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_in_order_and_files_taken_as_given() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.lua", "a/c.lua", "a/notes.txt", "lanes/x.lua", ".hidden.lua"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = discover(&[folder.path().to_owned(), folder.path().join("b.lua")]).unwrap();
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        assert_eq!(names, [PathBuf::from("a/c.lua"), PathBuf::from("b.lua")]);
    }

    #[test]
    fn a_missing_path_and_an_empty_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(discover(&[folder.path().join("no")]), Err(DiscoveryError::Read { .. })));
        assert!(matches!(discover(&[folder.path().to_owned()]), Err(DiscoveryError::Empty { .. })));
    }
}
