//! The user's data directory of Swarm: store, credentials and lock of `swarm up`.

use std::path::PathBuf;

use crate::exit::Failure;

/// Passwords of the NATS users, made once.
pub(crate) const CREDENTIALS: &str = "credentials.env";

/// The variable that moves the directory.
pub(crate) const VARIABLE: &str = "SWARM_DATA_DIR";

/// Where it is: `$SWARM_DATA_DIR`, else `swarm` under the user's data directory.
///
/// # Errors
/// When the user has no home directory.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let base = dirs::data_dir()
        .ok_or_else(|| Failure::usage(format!("there is no home directory: set {VARIABLE}")))?;
    Ok(base.join("swarm"))
}
