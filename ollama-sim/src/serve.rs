//! From settings to two open ports, and to the end by a signal.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{self, Sim};
use crate::connection::{Connection, Connections};
use crate::control;
use crate::models::{self, Model};
use crate::options::Options;
use crate::rules::Book;

/// Why the program could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be opened, most often because it is taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The ports file cannot be written.
    #[error("cannot write the ports file {}: {source}", path.display())]
    PortsFile {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The table of models cannot be read.
    #[error("cannot read the table of models: {0}")]
    Models(String),
    /// The rules cannot be read.
    #[error("cannot read the rules {}: {reason}", path.display())]
    Rules {
        /// The file that was asked for.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Signals cannot be received, or a server ended by itself.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// 3 for a port that cannot be opened, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Listen { .. } => ExitCode::from(3),
            Self::PortsFile { .. } | Self::Models(_) | Self::Rules { .. } | Self::Io(_) => {
                ExitCode::FAILURE
            }
        }
    }
}

/// Opens both ports, says so, and serves until SIGINT or SIGTERM. Running answers are cut off then.
///
/// # Errors
/// See [`Error`].
pub async fn run(options: Options) -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let models = models(&options)?;
    let book = book(options.rules.as_deref())?;
    let earlier = options.ports_file.as_deref().and_then(earlier_ports);
    let [listen, control] = [options.listen, options.control];
    let (main, main_address) =
        open(kept(listen, earlier.as_ref().map(|ports| ports.listen))).await?;
    let (side, side_address) =
        open(kept(control, earlier.as_ref().map(|ports| ports.control))).await?;
    if let Some(path) = &options.ports_file {
        let ports = Ports {
            listen: main_address,
            control: side_address,
        };
        write_ports(path, &ports).map_err(|source| Error::PortsFile {
            path: path.clone(),
            source,
        })?;
    }
    crate::say(&format!(
        "SIMULATED Ollama on http://{main_address}, control on http://{side_address}"
    ));

    let sim = Arc::new(Sim::new(&options, models, book));
    tokio::select! {
        ended = serve(main, app::router(Arc::clone(&sim))) => ended?,
        ended = serve(side, control::router(sim)) => ended?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn models(options: &Options) -> Result<Vec<Model>, Error> {
    let extra = match &options.model_table {
        Some(path) => {
            let said = |error: &dyn std::fmt::Display| {
                Error::Models(format!("{}: {error}", path.display()))
            };
            let table = std::fs::read_to_string(path).map_err(|error| said(&error))?;
            models::table(&table).map_err(|error| said(&error))?
        }
        None => Vec::new(),
    };
    models::chosen(&options.models, extra).map_err(Error::Models)
}

fn book(path: Option<&Path>) -> Result<Book, Error> {
    let mut book = Book::default();
    if let Some(path) = path {
        let failed = |reason| Error::Rules {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        book.add(&text).map_err(failed)?;
    }
    Ok(book)
}

async fn open(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let router = router.into_make_service_with_connect_info::<Connection>();
    axum::serve(Connections(listener), router).await
}

/// What stands in the ports file.
#[derive(Serialize, Deserialize)]
struct Ports {
    listen: SocketAddr,
    control: SocketAddr,
}

/// The ports of the process that wrote the file: whoever knows them finds the simulator there after a restart.
fn earlier_ports(file: &Path) -> Option<Ports> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// An address for which any port will do is the one that an earlier process had.
fn kept(wanted: SocketAddr, earlier: Option<SocketAddr>) -> SocketAddr {
    match earlier {
        Some(earlier) if wanted.port() == 0 && earlier.ip() == wanted.ip() => earlier,
        _ => wanted,
    }
}

/// Writes beside the file and renames, so that a reader sees all of it or none.
fn write_ports(path: &Path, ports: &Ports) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}", std::process::id()));
    std::fs::write(&part, serde_json::to_string(ports)?)?;
    std::fs::rename(&part, path)
}
