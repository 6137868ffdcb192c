//! From flags, environment, contexts and files to a connection of a role.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use swarm_bus::connection::{Login, password_variable, without_credentials};
use swarm_bus::{Bus, Options, Role};

use crate::args::Global;
use crate::config::Config;
use crate::data_dir;
use crate::exit::Failure;
use crate::up::board::Stack;

/// A role tries this long for its first connection.
pub(crate) const ROLE_PATIENCE: Duration = Duration::from_secs(30);

/// A command that a person waits for tries this long.
pub(crate) const COMMAND_PATIENCE: Duration = Duration::from_secs(2);

/// A context of the nats CLI.
#[derive(Debug, Default, Deserialize)]
struct Context {
    #[serde(default)]
    url: String,
    #[serde(default)]
    creds: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
}

/// Connects a role.
///
/// # Errors
/// When credentials cannot be read, or nothing is reachable.
pub(crate) async fn connect(
    global: &Global,
    config: &Config,
    role: Role,
    patience: Duration,
) -> Result<Bus, Failure> {
    let context = global
        .context
        .as_deref()
        .map(read_context)
        .transpose()?
        .unwrap_or_default();
    let url = url(global, config, &context);
    let login = login(global, config, &context, role, &url)?;
    let name = format!("swarm {}", role.user());
    Ok(Bus::connect(Options {
        url,
        role,
        login,
        name,
        patience,
    })
    .await?)
}

/// The server's URL: flag or NATS_URL, context, configuration.
pub(crate) fn server_url(global: &Global, config: &Config) -> Result<String, Failure> {
    let context = global
        .context
        .as_deref()
        .map(read_context)
        .transpose()?
        .unwrap_or_default();
    Ok(url(global, config, &context))
}

/// The server of a stack that runs here, unless another one was named.
///
/// # Errors
/// As [`server_url`].
pub(crate) fn url_of(global: &Global, config: &Config, stack: &Stack) -> Result<String, Failure> {
    let configured = server_url(global, config)?;
    let named = global.nats.is_some() || without_credentials(&configured) == stack.url;
    Ok(if named { configured } else { stack.url.clone() })
}

fn url(global: &Global, config: &Config, context: &Context) -> String {
    let from_context = (!context.url.is_empty()).then(|| context.url.clone());
    global
        .nats
        .clone()
        .or(from_context)
        .unwrap_or_else(|| config.nats.url.clone())
}

fn login(
    global: &Global,
    config: &Config,
    context: &Context,
    role: Role,
    url: &str,
) -> Result<Login, Failure> {
    let from_context = (!context.creds.is_empty()).then(|| PathBuf::from(&context.creds));
    let configured = config.nats.creds.as_ref().map(PathBuf::from);
    if let Some(path) = global.creds.clone().or(from_context).or(configured) {
        let content = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!(
                "{}: the credentials cannot be read: {error}",
                path.display()
            ))
        })?;
        return Ok(Login::Creds(content));
    }
    if !context.user.is_empty() {
        return Ok(Login::UserPassword(
            context.user.clone(),
            context.password.clone(),
        ));
    }
    if !context.token.is_empty() {
        return Ok(Login::Token(context.token.clone()));
    }
    if url.contains('@') {
        return Ok(Login::Anonymous);
    }
    let variable = password_variable(role);
    let from_environment = std::env::var(&variable).ok();
    let password = from_environment.or_else(|| password_from_file(&variable, role, url));
    Ok(password.map_or(Login::Anonymous, Login::Password))
}

/// The password that `swarm up` made, for a server on this machine only: it is nobody else's.
///
/// A client needs none.
fn password_from_file(variable: &str, role: Role, url: &str) -> Option<String> {
    let local = url.contains("127.0.0.1") || url.contains("localhost") || url.contains("[::1]");
    if role == Role::Client || !local {
        return None;
    }
    let file = data_dir::path().ok()?.join(data_dir::CREDENTIALS);
    read_credentials(&file).ok()?.remove(variable)
}

/// Reads `NAME=value` lines.
pub(crate) fn read_credentials(file: &Path) -> std::io::Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(file)?;
    let pairs = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect())
}

fn read_context(name: &str) -> Result<Context, Failure> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| dirs::home_dir().map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::usage("there is no home directory to look for contexts of the nats CLI in")
    })?;
    let file = base.join("nats/context").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(format!(
            "{}: the context cannot be read: {error}; `nats context ls` lists those there are",
            file.display()
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}
