//! `swarm doctor`: looks for what is wrong, and says what mends it.

use serde::Serialize;
use serde_json::json;
use swarm_bus::connection::without_credentials;

use crate::args::Global;
use crate::config;
use crate::config::Config;
use crate::connect::{server_url, url_of};
use crate::data_dir;
use crate::exit::{FAILED, Failure};
use crate::output::{self, Format};
use crate::up::{self, board, holder};

mod models;
mod server;
mod work;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// In order.
    Ok,
    /// Worth knowing.
    Note,
    /// Wrong.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at: `server`, `models`.
    check: &'static str,
    message: String,
    /// A command, or what else is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            check,
            message: message.into(),
            mend: None,
        }
    }

    fn note(check: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            mend: Some(mend.into()),
            ..Self::ok(check, message)
        }
    }

    fn problem(check: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::note(check, message, mend)
        }
    }
}

/// Looks at everything. Whatever is wrong makes the command fail.
pub(crate) async fn doctor(global: &Global) -> Result<(), Failure> {
    let findings = look(global).await;
    match global.output {
        Format::Json => output::document(&json!({ "findings": findings })),
        Format::Text => show(&findings),
    }
    if count(&findings, Level::Problem) == 0 {
        Ok(())
    } else {
        Err(Failure::silent(FAILED))
    }
}

async fn look(global: &Global) -> Vec<Finding> {
    let loaded = match config::load(global.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let lines = mistakes.lines();
            let finding = |line| {
                Finding::problem("configuration", line, "edit it; `swarm config check` again")
            };
            return lines.into_iter().map(finding).collect();
        }
    };
    let file = loaded.file.as_ref();
    let mut findings = vec![Finding::ok(
        "configuration",
        file.map_or_else(
            || "no file, the defaults hold".to_owned(),
            |file| format!("{} is in order", file.display()),
        ),
    )];
    let config = &loaded.config;
    findings.extend(left_over());
    let stack = own_stack(global, config);
    let url = stack.as_ref().map(|stack| url_of(global, config, stack));
    let global = match url {
        Some(Ok(url)) => Global {
            nats: Some(url),
            ..global.clone()
        },
        _ => global.clone(),
    };
    let simulated = stack.is_some_and(|stack| stack.simulated);
    let (server, models) = tokio::join!(
        server::look(&global, config),
        models::look(config, simulated)
    );
    let (seen, about_server) = server;
    findings.extend(about_server);
    findings.extend(models);
    if let Some(seen) = seen {
        findings.extend(work::look(&seen, config).await);
    }
    findings
}

/// The stack that `swarm up` runs from this data directory, unless another server was named.
fn own_stack(global: &Global, config: &Config) -> Option<board::Stack> {
    let directory = data_dir::path().ok()?;
    holder(&directory)?;
    let stack = board::read(&directory)?;
    let named = global.nats.is_some() || global.context.is_some();
    let url = server_url(global, config).ok()?;
    (!named || without_credentials(&url) == stack.url).then_some(stack)
}

/// What a `swarm up` left that was killed.
fn left_over() -> Vec<Finding> {
    let left = data_dir::path().map(|directory| up::left_over(&directory));
    let finding = |left| {
        let message = format!("left over by a `swarm up` that was killed: {left}");
        Finding::problem("processes", message, "`swarm down` ends it")
    };
    left.unwrap_or_default().into_iter().map(finding).collect()
}

fn show(findings: &[Finding]) {
    for finding in findings {
        let Finding {
            level,
            check,
            message,
            mend,
        } = finding;
        let level = match level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        output::data(&format!("{level:<8} {check}: {message}"));
        if let Some(mend) = mend {
            output::data(&format!("{:<8}   -> {mend}", ""));
        }
    }
    output::data("");
    output::data(&match count(findings, Level::Problem) {
        0 => "nothing is wrong".to_owned(),
        1 => "1 problem".to_owned(),
        several => format!("{several} problems"),
    });
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}
