//! `swarm run`: submit, show progress, print the answer.

use std::collections::BTreeMap;
use std::io::Read as _;

use swarm_client::Client;
use swarm_protocol::{RunId, Submission};

use crate::args::RunArgs;
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::watch;

/// Submits a task and follows it to its end.
pub(crate) async fn run(client: &Client, args: RunArgs, format: Format) -> Result<(), Failure> {
    let detach = args.detach;
    let submission = submission(args)?;
    // The same words as the coordinator's, before anything is stored.
    submission.check().map_err(|error| Failure {
        code: crate::exit::USAGE,
        error: Some(error),
    })?;
    let run = RunId::random();
    client.submit(run, &submission, None).await?;
    if detach {
        match format {
            Format::Text => output::data(&run.to_string()),
            Format::Json => output::document(&serde_json::json!({ "run": run })),
        }
        return Ok(());
    }
    watch::to_the_end(client, run, format).await
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
