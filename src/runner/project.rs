//! Where profiles come from: `--lane-dir`, beside the scripts, and the project that a `backstaff.toml` marks. What a
//! profile extends comes from there as well.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::lane::Profile;
use crate::lane::profile::{Extends, MOST_SOURCES, ProfileError, ProfileErrorKind, ProfileSource};
use crate::near::nearest;

/// The name of the project file.
pub const PROJECT_FILE: &str = "backstaff.toml";
/// The lane that is there without a profile, for runs where nothing names one. A profile of this name takes its place.
pub const BUILT_IN_LANE: &str = "sim";

/// A project: defaults, and folders with profiles.
#[derive(Debug, Clone)]
pub struct Project {
    /// Lane to use where none is asked for.
    pub default_lane: Option<String>,
    /// What saved machines may take together, in MiB.
    pub warm_limit_mib: Option<u32>,
    /// The tree that profiles' paths may not leave; absolute.
    root: Option<PathBuf>,
    /// Where profiles are, nearest first.
    lane_folders: Vec<LaneFolder>,
}

/// A folder with profiles.
#[derive(Debug, Clone)]
struct LaneFolder {
    /// Absolute.
    path: PathBuf,
    /// Whether other TOML files are to be expected in it as well.
    is_mixed: bool,
}

impl LaneFolder {
    fn of_profiles(path: PathBuf) -> Self {
        Self { path, is_mixed: false }
    }

    /// Whether this file, which is in the folder, is meant as a profile.
    fn has_profile(&self, file: &Path) -> bool {
        file.is_file() && (!self.is_mixed || looks_like_a_profile(file))
    }
}

/// A profile, and what became of reading and planning it.
#[derive(Debug)]
pub struct ListedLane {
    /// Its name.
    pub name: String,
    /// Its file; absolute.
    pub file: PathBuf,
    /// `qemu`, `attach` or `sim`, if it loads.
    pub kind: Option<&'static str>,
    /// The hash of its canonical form, if it loads.
    pub profile_hash: Option<String>,
    /// Whether it is the lane for runs that name none.
    pub is_default: bool,
    /// The file that is found instead of this one.
    pub shadowed_by: Option<PathBuf>,
    /// What it is good for.
    pub state: LaneState,
}

/// How far a profile comes on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneState {
    /// It does not load.
    Broken {
        /// Why, with file, line and column where that is known.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It loads, and something it needs is not there.
    Draft {
        /// What.
        unresolved: Vec<String>,
    },
    /// It loads, and everything it needs is there.
    Validated,
}

impl LaneState {
    /// The name on disk.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Broken { .. } => "broken",
            Self::Draft { .. } => "draft",
            Self::Validated => "validated",
        }
    }
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

/// A key of the project file, for people.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// A value in TOML.
    pub example: &'static str,
    /// What it does, and what holds without it.
    pub what: &'static str,
}

/// All keys of the project file. A test compares them with what the parser takes.
pub const KEYS: [Key; 3] = [
    Key {
        name: "lane",
        example: "\"sim\"",
        what: "The lane for runs that name none with `--lane` or `BACKSTAFF_LANE`. Default: `sim`, which is built in.",
    },
    Key {
        name: "root",
        example: "\"..\"",
        what: "Profiles may name files below this folder, relative to backstaff.toml. Default: the folder of that file.",
    },
    Key {
        name: "warm_limit_mib",
        example: "4096",
        what: "What saved machines may take together, in MiB, below `warm` in the folder of runs.",
    },
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    /// Lane to use where none is asked for.
    lane: Option<String>,
    /// The tree that profiles' paths may not leave, relative to this file; default is its folder.
    root: Option<PathBuf>,
    /// What saved machines may take together.
    warm_limit_mib: Option<u32>,
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
        let mut project =
            Self { default_lane: None, warm_limit_mib: None, root: None, lane_folders: Vec::new() };
        let given = lane_dirs.iter().map(|folder| LaneFolder::of_profiles(normalized(&cwd.join(folder))));
        project.lane_folders.extend(given);
        project.lane_folders.push(LaneFolder::of_profiles(beside.join("lanes")));
        project.lane_folders.push(LaneFolder { path: beside.clone(), is_mixed: true });
        for folder in beside.ancestors() {
            let file = folder.join(PROJECT_FILE);
            if file.is_file() {
                project.read(&file)?;
                project.lane_folders.push(LaneFolder::of_profiles(folder.join("lanes")));
                break;
            }
        }
        project.lane_folders.push(LaneFolder::of_profiles(normalized(&cwd.join("scenarios/lanes"))));
        project.drop_repeated_folders();
        Ok(project)
    }

    /// Finds the project of somebody who names no script: that of the folder `scenarios`, if there is one, otherwise
    /// that of the working directory.
    ///
    /// # Errors
    /// The project file cannot be read or is wrong.
    pub fn find_here(lane_dirs: &[PathBuf], cwd: &Path) -> Result<Self, ProjectError> {
        let scenarios = cwd.join("scenarios");
        let folder = if scenarios.is_dir() { &*scenarios } else { cwd };
        Self::find(folder, lane_dirs, cwd)
    }

    fn drop_repeated_folders(&mut self) {
        let all = std::mem::take(&mut self.lane_folders);
        for folder in all {
            match self.lane_folders.iter_mut().find(|known| known.path == folder.path) {
                Some(known) => known.is_mixed &= folder.is_mixed,
                None => self.lane_folders.push(folder),
            }
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), ProjectError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProjectError::Read { path: shown.clone(), source })?;
        let file: ProjectFile = toml::from_str(&text)
            .map_err(|error| ProjectError::ProjectFile { path: shown, message: error.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.default_lane = file.lane;
        self.warm_limit_mib = file.warm_limit_mib;
        self.root = Some(normalized(&folder.join(file.root.unwrap_or_default())));
        Ok(())
    }

    /// The lane of a run: the one that was asked for, the project's, or the one that is built in.
    pub fn lane(&self, asked: Option<String>) -> String {
        asked.or_else(|| self.default_lane.clone()).unwrap_or_else(|| BUILT_IN_LANE.to_owned())
    }

    /// What to do for another lane than the built-in one.
    pub fn how_to_name_a_lane(&self) -> String {
        format!("name one with `--lane NAME`; {}", list(&self.lanes()))
    }

    /// Loads a profile by its name, with what it extends.
    ///
    /// # Errors
    /// There is none, or it or one that it extends is wrong.
    pub fn profile(&self, name: &str) -> Result<Profile, ProjectError> {
        let Some(path) = self.locate(name) else {
            let known = self.known_lanes();
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let searched = self.lane_folders.iter().map(|folder| folder.path.display().to_string()).collect();
            return Err(ProjectError::UnknownLane { name: name.to_owned(), near, known, searched });
        };
        self.load(name, &path)
    }

    /// Says why no scenario can run on the lane of this name; nothing when one can.
    ///
    /// # Errors
    /// As [`Self::profile`].
    pub fn check_lane(&self, name: &str) -> Result<(), ProjectError> {
        match self.profile(name) {
            Err(ProjectError::UnknownLane { .. }) if name == super::NO_LANE => Ok(()),
            result => result.map(drop),
        }
    }

    /// Names of all profiles, sorted.
    pub fn lanes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.files().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The same with the lane that is built in.
    fn known_lanes(&self) -> Vec<String> {
        let mut names = self.lanes();
        names.extend([BUILT_IN_LANE, super::NO_LANE].map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }

    /// Loads every profile there is and asks `planner` about those that load. Sorted by name; of one name, the one that
    /// is found first comes first.
    pub fn list(&self, planner: &dyn Fn(&Profile) -> LaneState) -> Vec<ListedLane> {
        let mut listed: Vec<ListedLane> = Vec::new();
        for (name, file) in self.files() {
            let nearer = listed.iter().find(|lane| lane.name == name);
            let shadowed_by = nearer.map(|lane| lane.file.clone());
            let loaded = self.load(&name, &file);
            listed.push(ListedLane {
                kind: loaded.as_ref().ok().map(Profile::kind),
                profile_hash: loaded.as_ref().ok().map(|profile| profile.profile_hash().to_owned()),
                is_default: shadowed_by.is_none() && self.default_lane.as_ref() == Some(&name),
                state: match loaded {
                    Ok(profile) => planner(&profile),
                    Err(error) => LaneState::Broken { message: chain_of(&error), hint: error.hint() },
                },
                shadowed_by,
                name,
                file,
            });
        }
        listed.sort_by(|left, right| left.name.cmp(&right.name));
        listed
    }

    /// Returns the file of a profile.
    fn locate(&self, name: &str) -> Option<PathBuf> {
        let file = format!("{name}.toml");
        // A name is a name, not a way out of the folder.
        if name.contains('/') || file == PROJECT_FILE {
            return None;
        }
        let found = |folder: &&LaneFolder| folder.has_profile(&folder.path.join(&file));
        // One that does not look like a profile is read only to say what is wrong with it.
        let folder = self.lane_folders.iter().find(found);
        let folder = folder.or_else(|| self.lane_folders.iter().find(|it| it.path.join(&file).is_file()));
        let built_in = (name == BUILT_IN_LANE).then(|| PathBuf::from(BUILT_IN_FILE));
        folder.map(|folder| folder.path.join(&file)).or(built_in)
    }

    /// Names and files of all profiles, those found first first, also such that are never found for their name.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let mut all = Vec::new();
        for folder in &self.lane_folders {
            let entries = std::fs::read_dir(&folder.path).into_iter().flatten();
            let mut files: Vec<(String, PathBuf)> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
                .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
                .filter(|(name, path)| {
                    !name.starts_with('.') && !path.ends_with(PROJECT_FILE) && folder.has_profile(path)
                })
                .collect();
            files.sort();
            all.extend(files);
        }
        all
    }

    fn load(&self, name: &str, path: &Path) -> Result<Profile, ProjectError> {
        let mut texts = vec![self.read_text(name, path)?];
        while let Some(extends) = texts.last().and_then(|text| Profile::extends_of(&text.text)) {
            let base = self.locate_base(&texts, &extends)?;
            texts.push(self.read_text(&extends.name, &base)?);
        }
        let sources: Vec<ProfileSource<'_>> = texts
            .iter()
            .map(|text| ProfileSource { text: &text.text, file: &text.file, root: &text.root })
            .collect();
        Ok(Profile::parse_chain(name, &sources, &|path| path.canonicalize().ok())?)
    }

    fn read_text(&self, name: &str, path: &Path) -> Result<ProfileText, ProjectError> {
        let text = match path == Path::new(BUILT_IN_FILE) {
            true => BUILT_IN_TEXT.to_owned(),
            false => std::fs::read_to_string(path)
                .map_err(|source| ProjectError::Read { path: path.display().to_string(), source })?,
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let root = match self.root.as_deref().filter(|root| path.starts_with(root)) {
            Some(root) => root.to_owned(),
            // A profile that was fetched from another project belongs to that project's tree.
            None => root_above(folder).unwrap_or_else(|| folder.to_owned()),
        };
        Ok(ProfileText { name: name.to_owned(), file: path.to_owned(), root, text })
    }

    /// Finds what the last of `texts` extends.
    fn locate_base(&self, texts: &[ProfileText], extends: &Extends) -> Result<PathBuf, ProfileError> {
        let name = &extends.name;
        let names = texts.iter().map(|text| &text.name);
        let chain = || names.clone().chain([name]).cloned().collect();
        let kind = if names.clone().any(|known| known == name) {
            ProfileErrorKind::Circle { chain: chain() }
        } else if texts.len() == MOST_SOURCES {
            ProfileErrorKind::TooDeep { chain: chain(), limit: MOST_SOURCES }
        } else if let Some(path) = self.locate(name) {
            return Ok(path);
        } else {
            let known = self.known_lanes();
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            ProfileErrorKind::NoSuchBase { name: name.clone(), near, known }
        };
        let file = texts.last().map(|text| text.file.clone()).unwrap_or_default();
        Err(ProfileError { file, line: extends.line, column: extends.column, kind })
    }
}

/// Where the built-in lane is said to be written down.
const BUILT_IN_FILE: &str = "/built-in/sim.toml";
const BUILT_IN_TEXT: &str = include_str!("../../scenarios/lanes/sim.toml");

/// The text of a profile, or of one that it extends.
struct ProfileText {
    name: String,
    file: PathBuf,
    root: PathBuf,
    text: String,
}

/// Whether a file in a folder that has other TOML files too says `kind` or `extends` before its first table.
fn looks_like_a_profile(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(str::trim_start).take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split_once('='))
        .any(|(key, _)| ["kind", "extends"].contains(&key.trim_end()))
}

/// `outer: inner: cause`.
fn chain_of(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The tree of the project that `folder` lies in, if its project file is in order.
fn root_above(folder: &Path) -> Option<PathBuf> {
    let home = folder.ancestors().find(|folder| folder.join(PROJECT_FILE).is_file())?;
    let file: ProjectFile = toml::from_str(&std::fs::read_to_string(home.join(PROJECT_FILE)).ok()?).ok()?;
    Some(normalized(&home.join(file.root.unwrap_or_default())))
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
    fn the_keys_for_people_are_those_that_the_parser_takes() {
        let error = toml::from_str::<ProjectFile>("nobody_knows_me = 1").unwrap_err().message().to_owned();
        let taken: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(taken, KEYS.map(|key| key.name), "{error}");
        let all: Vec<String> = KEYS.iter().map(|key| format!("{} = {}", key.name, key.example)).collect();
        let _: ProjectFile = toml::from_str(&all.join("\n")).unwrap();
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
    fn one_lane_is_built_in_until_a_profile_takes_its_name() {
        let (_folder, bare) = project(&[], "a.lua");
        let bare = bare.unwrap();
        assert_eq!(
            (bare.lane(None), bare.lane(Some("east".to_owned()))),
            ("sim".to_owned(), "east".to_owned())
        );
        let built_in = bare.profile("sim").unwrap();
        assert_eq!((built_in.kind(), built_in.name()), ("sim", "sim"));
        let files = [
            ("lanes/fast.toml", "extends = \"sim\"\n[sim]\ntime_scale = 10\n"),
            ("backstaff.toml", "lane = \"fast\""),
        ];
        let (_folder, extended) = project(&files, "a.lua");
        let extended = extended.unwrap();
        assert_eq!(extended.lane(None), "fast");
        assert!(matches!(extended.profile("fast"), Ok(Profile::Sim(profile)) if profile.time_scale == 10.0));
        let (_folder, taken) = project(&[("lanes/sim.toml", "kind = \"qemu\"")], "a.lua");
        assert_eq!(taken.unwrap().profile("sim").unwrap().kind(), "qemu");
    }

    #[test]
    fn a_profile_is_found_in_the_nearest_folder() {
        let kernel = |name: &str| format!("kind = \"qemu\"\n[boot]\nkernel = {name:?}\n");
        let all = [
            "more/e.toml",
            "p/deep/lanes/e.toml",
            "p/deep/e.toml",
            "p/lanes/e.toml",
            "scenarios/lanes/e.toml",
        ];
        for first in 0..all.len() {
            let texts: Vec<(&str, String)> = all[first..].iter().map(|&file| (file, kernel(file))).collect();
            let mut files: Vec<(&str, &str)> = texts.iter().map(|(file, text)| (*file, &**text)).collect();
            files.extend([("p/backstaff.toml", ""), ("p/deep/a.lua", "")]);
            let (folder, _) = project(&files, "p/deep/a.lua");
            let project = Project::find(Path::new("p/deep/a.lua"), &["more".into()], folder.path()).unwrap();
            let found = project.profile("e").unwrap().qemu().unwrap().kernel.unwrap();
            assert!(found.ends_with(all[first]), "{found} instead of {}", all[first]);
            assert_eq!(project.lanes(), ["e"]);
        }
    }

    #[test]
    fn beside_a_script_only_what_looks_like_a_profile_counts() {
        let files = [
            ("backstaff.toml", "lane = \"east\"\n"),
            ("east.toml", "# why\n kind= \"qemu\"\n"),
            ("west.toml", "extends = \"east\""),
            ("broken.toml", "kind = qemu"),
            ("slip.toml", "knid = \"qemu\""),
            ("Cargo.toml", "[package]\nkind = \"qemu\"\n"),
            (".hidden.toml", "kind = \"qemu\""),
            ("lanes/backstaff.toml", "kind = \"qemu\""),
        ];
        let (_folder, project) = project(&files, "a.lua");
        let project = project.unwrap();
        assert_eq!(project.lanes(), ["broken", "east", "west"]);
        assert!(project.profile("west").is_ok());
        assert!(matches!(project.profile("backstaff"), Err(ProjectError::UnknownLane { .. })));
        let error = project.profile("slip").unwrap_err().to_string();
        assert!(error.contains("slip.toml:1:1: unknown key `knid`, did you mean `kind`?"), "{error}");
    }

    #[test]
    fn what_is_extended_is_found_as_a_lane_is() {
        let files = [
            ("lanes/east.toml", "extends = \"base\"\n[boot]\nkernel = \"k.efi\"\n"),
            (
                "scenarios/lanes/base.toml",
                "kind = \"qemu\"\n[machine]\ncpus = 3\n[firmware]\nbios = \"f.fd\"\n",
            ),
        ];
        let (folder, project) = project(&files, "a.lua");
        let profile = project.unwrap().profile("east").unwrap().qemu().unwrap();
        assert_eq!(profile.machine.cpus, 3);
        assert_eq!(Path::new(&profile.kernel.unwrap()), folder.path().join("lanes/k.efi"));
        let bios = folder.path().join("scenarios/lanes/f.fd").to_str().unwrap().to_owned();
        assert_eq!(profile.firmware, crate::lane::profile::Firmware::Bios(bios));
    }

    /// What is said about the lane `east` of these profiles, from the name of the file on.
    fn complaint(profiles: &[(&str, &str)]) -> String {
        let files: Vec<(String, &str)> =
            profiles.iter().map(|(name, text)| (format!("lanes/{name}.toml"), *text)).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (&**file, *text)).collect();
        let (_folder, project) = project(&files, "a.lua");
        let error = project.unwrap().profile("east").unwrap_err().to_string();
        error.rsplit_once("/lanes/").unwrap().1.to_owned()
    }

    #[test]
    fn a_profile_never_extends_itself() {
        assert_eq!(
            complaint(&[("east", "kind = \"qemu\"\nextends = \"east\"")]),
            "east.toml:2:11: the profile extends itself: east extends east"
        );
        let circle = [("east", "extends = \"a\""), ("a", "extends = \"b\""), ("b", "\n extends = \"a\"")];
        assert_eq!(
            complaint(&circle),
            "b.toml:2:12: the profile extends itself: east extends a extends b extends a"
        );
    }

    #[test]
    fn a_profile_that_is_extended_must_be_there() {
        assert_eq!(
            complaint(&[("east", "extends = \"bsae\""), ("base", "kind = \"qemu\"")]),
            "east.toml:1:11: no lane profile named \"bsae\" to extend, did you mean \"base\"?"
        );
    }

    #[test]
    fn at_most_eight_texts_make_a_profile() {
        let chain = |length: usize| {
            let names: Vec<String> = (1..=length).map(|number| format!("n{number}")).collect();
            let mut files: Vec<(String, String)> = Vec::new();
            for (index, name) in std::iter::once("east").chain(names.iter().map(String::as_str)).enumerate() {
                let text = match names.get(index) {
                    Some(next) => format!("extends = \"{next}\"\n"),
                    None => "kind = \"qemu\"\n".to_owned(),
                };
                files.push((format!("lanes/{name}.toml"), text));
            }
            let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (&**file, &**text)).collect();
            let (_folder, project) = project(&files, "a.lua");
            project.unwrap().profile("east")
        };
        assert!(chain(7).is_ok());
        let error = chain(8).unwrap_err().to_string();
        let wanted = "n7.toml:1:11: more than 8 profiles extend one another: east extends n1 extends n2";
        assert!(error.contains(wanted), "{error}");
    }

    #[test]
    fn a_link_out_of_the_project_is_refused() {
        let text = "kind = \"qemu\"\n[boot]\nkernel = \"inside/k.efi\"\n";
        let (folder, project) = project(&[("p/lanes/east.toml", text), ("elsewhere/k.efi", "")], "p/a.lua");
        let project = project.unwrap();
        let link = |to: &Path| {
            let link = folder.path().join("p/lanes/inside");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(to, link).unwrap();
        };
        link(&folder.path().join("elsewhere"));
        let error = project.profile("east").unwrap_err();
        assert!(error.to_string().contains("east.toml:3:10: path \"inside/k.efi\" leads to "), "{error}");
        assert!(error.hint().unwrap().contains("allow_outside"));
        let allowed = format!("allow_outside = true\n{text}");
        std::fs::write(folder.path().join("p/lanes/east.toml"), allowed).unwrap();
        assert!(project.profile("east").is_ok());
        std::fs::write(folder.path().join("p/lanes/east.toml"), text).unwrap();
        std::fs::create_dir(folder.path().join("p/lanes/real")).unwrap();
        link(Path::new("real"));
        assert!(project.profile("east").is_ok(), "a link within the tree, to a file that is not there yet");
    }

    #[test]
    fn the_list_has_everything_and_says_what_is_used() {
        let files = [
            ("backstaff.toml", "lane = \"east\"\n"),
            ("lanes/east.toml", "kind = \"qemu\""),
            ("lanes/joined.toml", "kind = \"attach\""),
            ("lanes/my lane.toml", "kind = \"qemu\""),
            ("scenarios/lanes/east.toml", "knid = \"qemu\""),
        ];
        let (folder, project) = project(&files, "a.lua");
        let planner = |profile: &Profile| match profile {
            Profile::Qemu(_) => LaneState::Validated,
            Profile::Sim(_) => LaneState::Validated,
            Profile::Attach(_) => LaneState::Draft { unresolved: vec!["an address".to_owned()] },
        };
        let listed = project.unwrap().list(&planner);
        let rows: Vec<_> = listed
            .iter()
            .map(|lane| {
                (&*lane.name, lane.kind, lane.is_default, lane.shadowed_by.is_some(), lane.state.name())
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("east", Some("qemu"), true, false, "validated"),
                ("east", None, false, true, "broken"),
                ("joined", Some("attach"), false, false, "draft"),
                ("my lane", None, false, false, "broken"),
            ]
        );
        assert_eq!(listed[1].shadowed_by.as_deref(), Some(&*folder.path().join("lanes/east.toml")));
    }

    #[test]
    fn a_wrong_key_in_the_project_file_is_an_error_with_its_line() {
        let (_folder, project) = project(&[("backstaff.toml", "lain = \"east\"")], "a.lua");
        assert!(project.unwrap_err().to_string().contains("line 1"));
    }
}
