//! From the paths on the command line to scripts.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

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
/// Hidden entries, folders named `lanes`, `logs` or `target`, and what `.gitignore`, `.ignore` or `.backstaffignore`
/// files leave out are not searched.
///
/// # Errors
/// A path cannot be read, or a folder holds no script.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DiscoveryError> {
    let mut scripts = Vec::new();
    for path in paths {
        let found = scripts.len();
        search(path, &mut scripts)?;
        if scripts.len() == found {
            return Err(DiscoveryError::Empty { path: path.display().to_string() });
        }
    }
    let mut seen = std::collections::HashSet::new();
    // `a.lua` and `./a.lua` are one script.
    scripts.retain(|script| seen.insert(std::fs::canonicalize(script).unwrap_or_else(|_| script.clone())));
    Ok(scripts)
}

fn search(path: &Path, scripts: &mut Vec<PathBuf>) -> Result<(), DiscoveryError> {
    let failed = |source| DiscoveryError::Read { path: path.display().to_string(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        scripts.push(path.to_owned());
        return Ok(());
    }
    let walk = WalkBuilder::new(path)
        .add_custom_ignore_filename(".backstaffignore")
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0 || !is_folder || !SKIPPED.iter().any(|name| entry.file_name() == *name)
        })
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| {
            let path =
                error_path(&error).map_or_else(|| path.to_owned(), Path::to_owned).display().to_string();
            let text = error.to_string();
            let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other(text));
            DiscoveryError::Read { path, source }
        })?;
        let is_script = entry.path().extension().is_some_and(|extension| extension == "lua");
        if is_script && entry.file_type().is_some_and(|kind| !kind.is_dir()) {
            scripts.push(entry.into_path());
        }
    }
    Ok(())
}

fn error_path(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => error_path(err),
        _ => None,
    }
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
        let found = discover(&[folder.path().to_owned(), folder.path().join("a/../b.lua")]).unwrap();
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
