//! Where profiles come from: `--lane-dir`, beside the scripts, and the project that a `backstaff.toml` marks.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::lane::Profile;
use crate::lane::profile::ProfileError;
use crate::near::nearest;

/// The name of the project file.
pub const PROJECT_FILE: &str = "backstaff.toml";

/// A project: defaults, and folders with profiles.
#[derive(Debug, Clone)]
pub struct Project {
    /// Lane to use where none is asked for.
    pub default_lane: Option<String>,
    /// The tree that profiles' paths may not leave; absolute.
    root: Option<PathBuf>,
    /// Folders with profiles, nearest first; absolute.
    lane_folders: Vec<PathBuf>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The project file is wrong.
    #[error("{path}: {message}")]
    ProjectFile {
        /// The file.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// No lane was asked for and none is configured.
    #[error("no lane was named, and no `{PROJECT_FILE}` names a default one")]
    NoLane {
        /// Names of the lanes there are.
        known: Vec<String>,
    },
    /// There is no such profile.
    #[error("no lane profile named \"{name}\"{}", near.as_ref().map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default())]
    UnknownLane {
        /// What was asked for.
        name: String,
        /// The nearest known name.
        near: Option<String>,
        /// Names of the lanes there are.
        known: Vec<String>,
        /// Where they were looked for.
        searched: Vec<String>,
    },
    /// The profile is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl ProjectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Profile(error) => error.hint(),
            Self::NoLane { known } => Some(format!("name one with `--lane NAME`; {}", list(known))),
            Self::UnknownLane { known, searched, .. } => {
                let searched = searched.iter().map(|folder| format!("\n  {folder}")).collect::<String>();
                Some(format!("{}; searched for `*.toml` in{searched}", list(known)))
            }
            Self::Read { .. } | Self::ProjectFile { .. } => None,
        }
    }
}

fn list(known: &[String]) -> String {
    match known {
        [] => "there are no profiles".to_owned(),
        known => format!("known lanes: {}", known.join(", ")),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    /// Lane to use where none is asked for.
    lane: Option<String>,
    /// The tree that profiles' paths may not leave, relative to this file; default is its folder.
    root: Option<PathBuf>,
}

impl Project {
    /// Finds the project of `script`: the nearest folder upwards with a `backstaff.toml`. `lane_dirs` are searched
    /// for profiles before all others. `cwd` is absolute.
    ///
    /// # Errors
    /// The project file cannot be read or is wrong.
    pub fn find(script: &Path, lane_dirs: &[PathBuf], cwd: &Path) -> Result<Self, ProjectError> {
        let script = cwd.join(script);
        let beside = if script.is_dir() { script } else { script.parent().unwrap_or(cwd).to_owned() };
        let beside = normalized(&beside);
        let mut project = Self { default_lane: None, root: None, lane_folders: Vec::new() };
        project.lane_folders.extend(lane_dirs.iter().map(|folder| normalized(&cwd.join(folder))));
        project.lane_folders.push(beside.join("lanes"));
        for folder in beside.ancestors() {
            let file = folder.join(PROJECT_FILE);
            if file.is_file() {
                project.read(&file)?;
                project.lane_folders.push(folder.join("lanes"));
                break;
            }
        }
        project.lane_folders.push(cwd.join("scenarios/lanes"));
        let mut seen = std::collections::HashSet::new();
        project.lane_folders.retain(|folder| seen.insert(folder.clone()));
        Ok(project)
    }

    fn read(&mut self, path: &Path) -> Result<(), ProjectError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProjectError::Read { path: shown.clone(), source })?;
        let file: ProjectFile = toml::from_str(&text)
            .map_err(|error| ProjectError::ProjectFile { path: shown, message: error.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.default_lane = file.lane;
        self.root = Some(normalized(&folder.join(file.root.unwrap_or_default())));
        Ok(())
    }

    /// Loads a profile by its name.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn profile(&self, name: &str) -> Result<Profile, ProjectError> {
        let path = self
            .lane_folders
            .iter()
            .map(|folder| folder.join(format!("{name}.toml")))
            .find(|path| path.is_file());
        // A name is a name, not a way out of the folder.
        let Some(path) = path.filter(|_| !name.contains('/')) else {
            let known = self.lanes();
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let searched = self.lane_folders.iter().map(|folder| folder.display().to_string()).collect();
            return Err(ProjectError::UnknownLane { name: name.to_owned(), near, known, searched });
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ProjectError::Read { path: path.display().to_string(), source })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let root = self.root.as_deref().filter(|root| path.starts_with(root)).unwrap_or(folder);
        Ok(Profile::parse(name, &text, &path, root)?)
    }

    /// Names of all profiles, sorted.
    pub fn lanes(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .lane_folders
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Resolves `.` and `..` by text, without following links.
fn normalized(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)], script: &str) -> (tempfile::TempDir, Result<Project, ProjectError>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let project = Project::find(Path::new(script), &[], folder.path());
        (folder, project)
    }

    #[test]
    fn a_project_file_upwards_gives_default_lane_root_and_profiles() {
        let files = [
            ("p/backstaff.toml", "lane = \"east\"\nroot = \"..\"\n"),
            ("p/lanes/east.toml", "kind = \"qemu\"\n[boot]\nkernel = \"../../k.efi\"\n"),
            ("p/deep/a.lua", ""),
        ];
        let (folder, project) = project(&files, "p/deep/a.lua");
        let project = project.unwrap();
        assert_eq!(project.default_lane.as_deref(), Some("east"));
        let kernel = project.profile("east").unwrap().qemu().unwrap().kernel.unwrap();
        assert_eq!(Path::new(&kernel), folder.path().join("k.efi"));
    }

    #[test]
    fn an_unknown_lane_names_the_near_one() {
        let (_folder, project) = project(&[("lanes/east.toml", "kind = \"qemu\"")], "a.lua");
        let error = project.unwrap().profile("esat").unwrap_err();
        assert_eq!(error.to_string(), "no lane profile named \"esat\", did you mean \"east\"?");
        assert!(error.hint().unwrap().contains("known lanes: east"));
    }

    #[test]
    fn a_wrong_key_in_the_project_file_is_an_error_with_its_line() {
        let (_folder, project) = project(&[("backstaff.toml", "lain = \"east\"")], "a.lua");
        assert!(project.unwrap_err().to_string().contains("line 1"));
    }
}
