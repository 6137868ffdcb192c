//! Writes the pages that are made from data into the folder named on the command line.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "docs".to_owned()));
    for (file, text) in swarm_tests::reference::pages() {
        fs::write(folder.join(file), text)?;
    }
    Ok(())
}
