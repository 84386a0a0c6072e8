//! A folder for a trial that is gone afterwards, with every folder that was made to hold it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// A folder of ours. It stays until [`Scratch::remove`].
pub(super) struct Scratch {
    folder: PathBuf,
    /// Folders above it that were not there before, the deepest first.
    made: Vec<PathBuf>,
}

impl Scratch {
    /// Makes a folder in `parent`, and that if need be.
    pub(super) async fn make(parent: &Path) -> io::Result<Self> {
        let folder = parent.join(format!(".doctor-{}", std::process::id()));
        let missing: Vec<&Path> = parent.ancestors().take_while(|above| !above.exists()).collect();
        let mut scratch = Self { folder, made: Vec::new() };
        match scratch.fill(&missing) {
            Ok(()) => Ok(scratch),
            Err(error) => {
                scratch.remove().await;
                Err(error)
            }
        }
    }

    fn fill(&mut self, missing: &[&Path]) -> io::Result<()> {
        for above in missing.iter().rev() {
            match fs::create_dir(above) {
                Ok(()) => self.made.insert(0, above.to_path_buf()),
                // Somebody else made it meanwhile, so it is theirs.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        fs::create_dir(&self.folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes the folder with all in it, and those above it that were made for it and hold nothing else.
    pub(super) async fn remove(self) {
        let limit = Instant::now() + PATIENCE;
        loop {
            match fs::remove_dir_all(&self.folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && Instant::now() < limit => {}
                _ => break,
            }
            // A QEMU that is being killed may still make a file, and there is no event for its last one.
            tokio::time::sleep(RETRY).await;
        }
        for above in &self.made {
            let _ = fs::remove_dir(above);
        }
    }
}

const RETRY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[tokio::test]
    async fn what_was_made_goes_and_what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(&root.path().join("a/b")).await.unwrap();
        assert!(scratch.path().is_dir());
        std::fs::write(scratch.path().join("qemu.log"), "").unwrap();
        scratch.remove().await;
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);

        std::fs::create_dir(root.path().join("a")).unwrap();
        let scratch = Scratch::make(&root.path().join("a/b")).await.unwrap();
        std::fs::write(root.path().join("a/b/of somebody else"), "").unwrap();
        scratch.remove().await;
        assert!(root.path().join("a/b/of somebody else").is_file());
    }

    #[tokio::test]
    async fn a_file_in_the_way_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(Scratch::make(&root.path().join("file/logs")).await.is_err());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
