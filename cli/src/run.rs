//! `swarm run`: submit, show progress, print the answer.

use std::collections::BTreeMap;
use std::io::Read as _;

use swarm_client::Client;
use swarm_protocol::{RunId, Submission};

use crate::args::RunArgs;
use crate::exit::{Failure, USAGE};
use crate::output::{self, Format};
use crate::watch;

/// What a command line asks for, checked.
pub(crate) struct Task {
    submission: Submission,
    detach: bool,
}

impl Task {
    /// Reads it, from stdin and files where the command line says so.
    ///
    /// # Errors
    /// When something cannot be read, or the coordinator would reject it.
    pub(crate) fn read(args: RunArgs) -> Result<Self, Failure> {
        let detach = args.detach;
        let submission = submission(args)?;
        submission.check().map_err(|error| Failure {
            code: USAGE,
            error: Some(error),
        })?;
        Ok(Self { submission, detach })
    }
}

/// Submits a task and follows it to its end.
pub(crate) async fn run(client: &Client, task: Task, format: Format) -> Result<(), Failure> {
    let run = RunId::random();
    client.submit(run, &task.submission, None).await?;
    if !task.detach {
        return watch::to_the_end(client, run, format).await;
    }
    match format {
        Format::Text => output::data(&run.to_string()),
        Format::Json => output::document(&serde_json::json!({ "run": run })),
    }
    Ok(())
}

fn submission(args: RunArgs) -> Result<Submission, Failure> {
    let task = if args.task == "-" {
        read_stdin()?
    } else {
        args.task
    };
    let context = args.context_file.map(|path| {
        std::fs::read_to_string(&path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    });
    Ok(Submission {
        task: Some(task),
        agents: args.agents,
        aggregate: args.aggregate.map(Into::into),
        min_answers: args.min_answers,
        context: context.transpose()?,
        timeout: args.timeout,
        labels: labels(&args.labels)?,
        ..Submission::default()
    })
}

fn labels(pairs: &[String]) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let split = |pair: &String| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!(
            "--label {pair}: write it as name=value"
        ))),
    };
    let labels: BTreeMap<String, String> = pairs.iter().map(split).collect::<Result<_, _>>()?;
    Ok((!labels.is_empty()).then_some(labels))
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("the task cannot be read from stdin: {error}")))?;
    Ok(text)
}
