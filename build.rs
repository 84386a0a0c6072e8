//! Notes the commit that a release is built from. A development build has none: everything would be compiled again for
//! every commit. Nothing here fails where there is no git, no checkout or no network.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BACKSTAFF_COMMIT");
    let given = std::env::var("BACKSTAFF_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_release { checked_out() } else { None });
    println!("cargo::rustc-env=BACKSTAFF_COMMIT={}", commit.as_deref().unwrap_or("unknown").trim());
}

/// The commit of the checkout that this is the root of.
fn checked_out() -> Option<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()?;
    // Sources that were unpacked into somebody else's checkout are not of its commit.
    if Path::new(&git(&root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root {
        return None;
    }
    // Every commit and checkout is noted in one of these; what is not there would be looked at every time.
    for file in ["logs/HEAD", "HEAD"] {
        let path = root.join(git(&root, &["rev-parse", "--git-path", file])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    println!("cargo::rerun-if-changed=src");
    let commit = git(&root, &["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&root, &["status", "--porcelain", "--untracked-files=no", "--", "src", "lua", "Cargo.lock"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, with changes") })
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}
