//! Where the programs are that the tests drive.

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository is there")
}

/// A binary of this workspace, as built with the same profile as the tests.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built: `make test` builds it",
        path.display()
    );
    path
}

/// A tool that `scripts/setup test` installs.
#[must_use]
pub fn installed(name: &str) -> PathBuf {
    let folder = std::env::var_os("SWARM_TEST_TOOLS")
        .map_or_else(|| repository().join(".tools/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not installed: `scripts/setup test` installs it",
        path.display()
    );
    path
}
