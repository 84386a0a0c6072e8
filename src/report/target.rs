//! `KIND=FILE`: which reports are written, and where to.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::story::Story;
use super::{junit, ndjson, subunit, tap};
use crate::journal::run::RunRecord;
use crate::near::nearest;

/// Writes a story in one format.
type Render = fn(&Story<'_>, &mut dyn Write) -> std::io::Result<()>;

/// The formats.
const KINDS: &[(&str, Render)] = &[
    ("junit", junit::render),
    ("tap", tap::render),
    ("ndjson", ndjson::render),
    ("subunit", subunit::render),
    ("html", |story, mut out| super::html::render(story.run, &mut out)),
];

/// A report to write.
#[derive(Debug, Clone)]
pub struct ReportTarget {
    kind: &'static str,
    render: Render,
    /// None: standard output.
    file: Option<PathBuf>,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is no `=`, or nothing behind it.
    #[error("wants KIND=FILE, such as junit=report.xml")]
    Form,
    /// No format is called so.
    #[error("unknown report `{kind}`{}; there are {}", did_you_mean(.near), kinds().join(", "))]
    Kind {
        /// What was asked for.
        kind: String,
        /// What may have been meant.
        near: Option<&'static str>,
    },
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
#[error("write the {kind} report {}", path.display())]
pub struct WriteError {
    /// The format.
    pub kind: &'static str,
    /// The file, `-` for standard output.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl ReportTarget {
    /// A report of a kind to a file; `-` is standard output.
    ///
    /// # Errors
    /// No kind is called so.
    pub fn new(kind: &str, file: &Path) -> Result<Self, TargetError> {
        let found = KINDS.iter().find(|(name, _)| *name == kind);
        let &(kind, render) = found.ok_or_else(|| TargetError::Kind {
            kind: kind.to_owned(),
            near: nearest(kind, kinds()).and_then(|near| kinds().into_iter().find(|kind| *kind == near)),
        })?;
        let file = Some(file.to_owned()).filter(|file| file != Path::new("-"));
        Ok(Self { kind, render, file })
    }

    /// The name of its format.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.file.is_none()
    }
}

impl FromStr for ReportTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once('=') {
            Some((kind, file)) if !file.is_empty() => Self::new(kind, Path::new(file)),
            _ => Err(TargetError::Form),
        }
    }
}

/// The names of the formats.
pub fn kinds() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default()
}

/// Writes reports of a run. A file is there as a whole or as it was before; folders on its way are made.
///
/// # Errors
/// A report cannot be written; those before it are.
pub fn write(run: &RunRecord, targets: &[ReportTarget], stdout: &mut dyn Write) -> Result<(), WriteError> {
    let story = Story::of(run);
    for target in targets {
        let fill = |out: &mut dyn Write| (target.render)(&story, out);
        let written = match &target.file {
            None => fill(stdout).and_then(|()| stdout.flush()),
            Some(file) => replace(file, fill),
        };
        written.map_err(|source| WriteError {
            kind: target.kind,
            path: target.file.clone().unwrap_or_else(|| "-".into()),
            source,
        })?;
    }
    Ok(())
}

/// Fills a file beside `path` and puts it in its place. What is no ordinary file (a device, a pipe) is written to.
///
/// # Errors
/// The file cannot be made, filled or put there.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    // A link stays one.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let mut out = BufWriter::new(File::options().write(true).open(path)?);
        return fill(&mut out).and_then(|()| out.flush());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let beside = folder.join(format!(".backstaff-{}-{number}.part", std::process::id()));
    let filled = File::create_new(&beside).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    let placed = filled.and_then(|()| std::fs::rename(&beside, path));
    if placed.is_err() {
        // It may not even be there.
        let _ = std::fs::remove_file(&beside);
    }
    placed
}

/// Two reports at once have files of their own.
static NEXT: AtomicU32 = AtomicU32::new(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_kind_and_a_file() {
        let target: ReportTarget = "junit=out/a=b.xml".parse().unwrap();
        assert_eq!((target.kind(), target.is_stdout()), ("junit", false));
        assert_eq!(target.file.as_deref(), Some(Path::new("out/a=b.xml")));
        assert!("tap=-".parse::<ReportTarget>().unwrap().is_stdout());
        let message = |text: &str| text.parse::<ReportTarget>().unwrap_err().to_string();
        assert!(
            message("jnuit=a")
                .starts_with("unknown report `jnuit`, did you mean `junit`?; there are junit, ")
        );
        assert!(message("pdf=a").starts_with("unknown report `pdf`; there are junit, tap, "));
        for text in ["junit", "junit=", ""] {
            assert_eq!(message(text), "wants KIND=FILE, such as junit=report.xml");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/report");
        replace(&file, |out| out.write_all(b"first")).unwrap();
        let broken = replace(&file, |out| {
            out.write_all(b"half of the sec")?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert!(broken.is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"first");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, |out| out.write_all(b"third")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"third");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        assert!(replace(folder.path(), |_| Ok(())).is_err());
        replace(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }
}
