//! The data directory of `swarm up`: one at a time uses it, and it holds the passwords of the NATS users.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use swarm_bus::connection::{USERS, password_variable_of};
use swarm_protocol::Code;
use uuid::Uuid;

use crate::connect::read_credentials;
use crate::data_dir::CREDENTIALS;
use crate::exit::{Failure, USAGE};

/// The lock, which holds the process id of who has it.
const LOCK: &str = "up.pid";

/// A data directory that belongs to this process.
pub(super) struct Home {
    path: PathBuf,
    credentials: BTreeMap<String, String>,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Home {
    /// Takes the directory, which is made when it is not there.
    ///
    /// # Errors
    /// When another `swarm up` has it, or it cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error| unusable(path, &error);
        std::fs::create_dir_all(path).map_err(unusable)?;
        let lock = take_lock(path)?;
        let credentials = credentials(&path.join(CREDENTIALS)).map_err(unusable)?;
        Ok(Self {
            path: path.to_path_buf(),
            credentials,
            _lock: lock,
        })
    }

    /// A file or folder in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let file = self.join(name);
        std::fs::write(&file, text).map_err(|error| unusable(&self.path, &error))?;
        Ok(file)
    }

    /// The passwords by their variables.
    pub(super) fn credentials(&self) -> &BTreeMap<String, String> {
        &self.credentials
    }

    /// Takes all passwords out of the environment of a child.
    pub(super) fn forget_passwords(&self, command: &mut tokio::process::Command) {
        for name in self.credentials.keys() {
            command.env_remove(name);
        }
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!(
        "{}: the data directory cannot be used: {error}; SWARM_DATA_DIR names another",
        path.display()
    );
    Failure::new(USAGE, Code::Unavailable, message)
}

/// The process that has a data directory, if one has.
pub(crate) fn holder(path: &Path) -> Option<i32> {
    let mut file = File::open(path.join(LOCK)).ok()?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut pid = String::new();
    file.read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok()
}

fn take_lock(path: &Path) -> Result<File, Failure> {
    let failed = |detail: String| {
        Failure::new(
            USAGE,
            Code::Unavailable,
            format!("{}: {detail}", path.display()),
        )
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK));
    let mut file = opened.map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).unwrap_or_default();
            return Err(failed(format!(
                "another `swarm up` uses this data directory, process {}",
                pid.trim()
            )));
        }
        Err(TryLockError::Error(error)) => {
            return Err(failed(format!(
                "the data directory cannot be locked: {error}"
            )));
        }
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| unusable(path, &error))?;
    Ok(file)
}

/// The passwords: from the environment, from the file, else made now and written there.
fn credentials(file: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let stored = if file.is_file() {
        read_credentials(file)?
    } else {
        Default::default()
    };
    let mut all = BTreeMap::new();
    let mut made = false;
    for user in USERS {
        let name = password_variable_of(user);
        let known = std::env::var(&name)
            .ok()
            .or_else(|| stored.get(&name).cloned());
        made |= known.is_none();
        // A letter first: the server reads digits as a number.
        let password = known.unwrap_or_else(|| format!("p{}", Uuid::new_v4().simple()));
        all.insert(name, password);
    }
    if made {
        let mut text = "# Passwords of the NATS users of this swarm, made by `swarm up`. Keep this file to yourself.\n".to_owned();
        all.iter()
            .for_each(|(name, password)| text.push_str(&format!("{name}={password}\n")));
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn passwords_are_made_once_and_kept_to_the_user() {
        let folder = std::env::temp_dir().join(format!("swarm-home-{}", Uuid::new_v4()));
        let first = Home::open(&folder).unwrap().credentials().clone();
        assert_eq!(first.len(), USERS.len());
        assert!(first.values().all(|password| password.starts_with('p')));
        let mode = std::fs::metadata(folder.join(CREDENTIALS))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(*Home::open(&folder).unwrap().credentials(), first);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_second_one_is_told_who_has_it() {
        let folder = std::env::temp_dir().join(format!("swarm-home-{}", Uuid::new_v4()));
        let _first = Home::open(&folder).unwrap();
        let second = Home::open(&folder)
            .err()
            .and_then(|failure| failure.error)
            .unwrap();
        assert!(
            second
                .message
                .ends_with(&format!("process {}", std::process::id())),
            "{}",
            second.message
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
