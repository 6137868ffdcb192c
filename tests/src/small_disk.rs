//! A disk that can be used up.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Process, eventually, holds};

/// What is not there when no disk comes about.
const NEEDS: &str = "a small disk is mounted in a user namespace; where those are not permitted: `sysctl user.max_user_namespaces=10000` \
                     as root, and `kernel.unprivileged_userns_clone=1`, `kernel.apparmor_restrict_unprivileged_userns=0` where there are these";

/// A file system in memory, of a size that can be used up. It lives in a mount namespace of its own, which needs no rights.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Process,
    at: PathBuf,
}

impl SmallDisk {
    /// One of so many MiB, where a server with this folder keeps its store.
    ///
    /// # Panics
    /// When this machine permits no user namespaces.
    pub async fn of(mib: u32, folder: &Path) -> Self {
        let at = folder.join("store");
        std::fs::create_dir_all(&at).unwrap();
        let mut command = Command::new("unshare");
        let mount = format!(
            "mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && exec sleep infinity"
        );
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &mount])
            .arg(&at);
        let holder = Process::start("small-disk", command, folder);
        eventually(NEEDS, Duration::from_secs(10), || async {
            holds(holder.out().contains("mounted"))
        })
        .await;
        Self { holder, at }
    }

    /// A file on it, as seen from here.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        let at = self.at.strip_prefix("/").unwrap();
        root.join(at).join(name)
    }

    /// Uses up what is free.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.file("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }

    /// The beginning of a command that runs where the disk is.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.holder.pid().to_string());
        command
    }
}
