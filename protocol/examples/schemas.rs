//! Writes the JSON Schemas of the wire shapes into the folder named on the command line.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(
        env::args()
            .nth(1)
            .unwrap_or_else(|| "docs/schemas".to_owned()),
    );
    fs::create_dir_all(&folder)?;
    for (name, schema) in swarm_protocol::schemas::all() {
        let mut text = serde_json::to_string_pretty(&schema)?;
        text.push('\n');
        fs::write(folder.join(format!("{name}.json")), text)?;
    }
    Ok(())
}
