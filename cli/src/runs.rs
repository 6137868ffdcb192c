//! `swarm runs …` and `swarm agents …`.

use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use swarm_client::Client;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::{
    AgentsRequest, Explanation, RunsReply, RunsRequest, StateReply, TimeSpent,
};
use swarm_protocol::journal::CallDecision;
use swarm_protocol::summary::{WaitKind, WaitingFor};
use swarm_protocol::{Code, RunRef, RunState, Span, Summary, Timestamp};

use crate::args::{AgentsCommand, RunsCommand};
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::{approvals, watch};

/// Characters of a task in a list.
const TASK_WIDTH: usize = 48;

/// Runs a command about runs.
pub(crate) async fn runs(
    client: &Client,
    command: RunsCommand,
    format: Format,
) -> Result<(), Failure> {
    match command {
        RunsCommand::List {
            state,
            agent,
            label,
            limit,
            after,
        } => {
            let request = RunsRequest {
                state,
                agent,
                label,
                limit: Some(limit),
                after,
            };
            show_list(&client.runs(&request).await?, format);
        }
        RunsCommand::Show { run } => show(client, &run, format).await?,
        RunsCommand::Watch { run } => {
            let run = client.resolve(&run).await?;
            watch::to_the_end(client, run, format).await?;
        }
        RunsCommand::Explain { run } => {
            let explanation = client.explain(&run).await?;
            match format {
                Format::Json => output::document(&explanation),
                Format::Text => tell(&explanation),
            }
        }
        RunsCommand::Delete { run } => {
            let reply = client.delete(&run).await?;
            show_reply(&reply, &format!("{} deleted", reply.run), format);
        }
        RunsCommand::Cancel { run, reason } => {
            show_state(&client.cancel(&run, reason).await?, format);
        }
        RunsCommand::Pause { run, reason } => {
            show_state(&client.pause(&run, reason).await?, format);
        }
        RunsCommand::Resume { run, reason } => {
            show_state(&client.resume(&run, reason).await?, format);
        }
        RunsCommand::Approve(answer) => {
            approvals::decide(client, CallDecision::Approved, answer, format).await?;
        }
        RunsCommand::Deny(answer) => {
            approvals::decide(client, CallDecision::Denied, answer, format).await?;
        }
        RunsCommand::Message { run, to, text } => {
            show_state(&client.message(&run, &to, &text).await?, format);
        }
        RunsCommand::Retry { run } => {
            let reply = client.retry(&run).await?;
            show_reply(&reply, &reply.run.to_string(), format);
        }
    }
    Ok(())
}

fn show_list(reply: &RunsReply, format: Format) {
    if format == Format::Json {
        return output::document(reply);
    }
    list(&reply.items);
    if let Some(next) = &reply.next {
        output::note(&format!("more: swarm runs list --after {next}"));
    }
}

/// What an endpoint replied: the document, or this text.
pub(crate) fn show_reply(reply: &impl serde::Serialize, text: &str, format: Format) {
    match format {
        Format::Json => output::document(reply),
        Format::Text => output::data(text),
    }
}

pub(crate) fn show_state(reply: &StateReply, format: Format) {
    show_reply(reply, &format!("{} {}", reply.run, reply.state), format);
}

/// Runs a command about agents.
pub(crate) async fn agents(
    client: &Client,
    command: AgentsCommand,
    format: Format,
) -> Result<(), Failure> {
    let AgentsCommand::List { agent, capability } = command;
    let reply = client.agents(&AgentsRequest { agent, capability }).await?;
    match format {
        Format::Json => output::document(&reply),
        Format::Text if reply.items.is_empty() => {
            output::note("no agent is running: start one with `swarm agent <name>`")
        }
        Format::Text => cards(&reply.items),
    }
    Ok(())
}

async fn show(client: &Client, run: &RunRef, format: Format) -> Result<(), Failure> {
    match client.result(run, None).await {
        Ok(result) => {
            match format {
                Format::Json => output::document(&result),
                Format::Text => watch::print_result(client, &result).await?,
            }
            Ok(())
        }
        Err(swarm_client::ClientError::Service(error)) if error.code == Code::RunOpen.as_str() => {
            let id = client.resolve(run).await?;
            let page = client
                .runs(&RunsRequest {
                    limit: Some(1000),
                    ..RunsRequest::default()
                })
                .await?;
            let summary = page.items.into_iter().find(|summary| summary.run == id);
            match (format, summary) {
                (Format::Json, Some(summary)) => output::document(&summary),
                (Format::Text, Some(summary)) => {
                    describe(&summary);
                    approvals::describe(&client.approvals(id).await?, id);
                }
                (_, None) => output::note(&error.message),
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A story for a person: a line each with time of day, how long it took, and what.
fn tell(explanation: &Explanation) {
    output::data(&format!("run {}", explanation.run));
    for line in &explanation.story {
        let took = line
            .took_ms
            .map(|ms| coarse(Duration::from_millis(ms)))
            .unwrap_or_default();
        output::data(&format!(
            "{}  {took:>7}  {}",
            line.at.time_of_day(),
            line.what
        ));
    }
    let TimeSpent {
        waiting_ms,
        model_ms,
        tool_ms,
    } = explanation.time;
    let [waiting, model, tool] =
        [waiting_ms, model_ms, tool_ms].map(|ms| coarse(Duration::from_millis(ms)));
    output::data(&format!(
        "waiting {waiting}; in models {model} and in tools {tool}, all tasks added up"
    ));
}

fn describe(summary: &Summary) {
    output::data(&format!("run        {}", summary.run));
    output::data(&format!("task       {}", output::line(&summary.task, 80)));
    output::data(&format!("state      {}", summary.state));
    output::data(&format!("submitted  {}", summary.submitted_at));
    if let Some(waiting) = waiting_for(summary) {
        output::data(&format!("waits for  {waiting}"));
    }
    if let Some(deadline) = summary.deadline {
        output::data(&format!("deadline   {deadline}"));
    }
}

fn list(items: &[Summary]) {
    let mut table = table(&["RUN", "STATE", "AGE", "TOOK", "TASK", "WAITS FOR"]);
    let now = Timestamp::now();
    for summary in items {
        let took = summary.ended_at.unwrap_or(now).since(summary.submitted_at);
        table.add_row([
            summary.run.to_string(),
            summary.state.to_string(),
            coarse(now.since(summary.submitted_at)),
            coarse(took),
            output::line(&summary.task, TASK_WIDTH),
            waiting_for(summary).unwrap_or_default(),
        ]);
    }
    output::data(&table.trim_fmt());
}

fn waiting_for(summary: &Summary) -> Option<String> {
    summary.waiting_for.as_ref().map(describe_wait)
}

/// What a run waits for, and what mends it.
pub(crate) fn describe_wait(waiting: &WaitingFor) -> String {
    let name = waiting.name.clone().unwrap_or_default();
    match waiting.kind {
        WaitKind::Agent => format!("agent {name}: start it with `swarm agent {name}`"),
        WaitKind::Host => format!("model host {name}: start `ollama serve` there"),
        WaitKind::Approval => format!("a person's decision about {name}"),
        WaitKind::Retry => "the next attempt".to_owned(),
        WaitKind::Time => "a time".to_owned(),
    }
}

fn cards(items: &[Card]) {
    let mut table = table(&[
        "AGENT", "INSTANCE", "STATE", "BUSY", "MODEL", "HOST", "PID", "UP",
    ]);
    let now = Timestamp::now();
    for card in items {
        let model = if card.simulated {
            format!("{} (SIMULATED)", card.model)
        } else {
            card.model.clone()
        };
        table.add_row([
            card.agent.to_string(),
            card.instance.to_string(),
            card_state(card),
            format!("{}/{}", card.busy, card.slots),
            model,
            card.host.clone(),
            card.pid.to_string(),
            coarse(now.since(card.started_at)),
        ]);
    }
    output::data(&table.trim_fmt());
}

/// The state of an instance in a word.
pub(crate) fn card_state(card: &Card) -> String {
    format!("{:?}", card.state).to_lowercase()
}

/// A table without borders.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

/// A length of time for a person: two units at most.
pub(crate) fn coarse(span: Duration) -> String {
    if span < Duration::from_millis(100) {
        return format!("{}ms", span.as_millis());
    }
    if span < Duration::from_secs(10) {
        return format!("{:.1}s", span.as_secs_f64());
    }
    let text = Span::from_secs(span.as_secs()).to_string();
    text.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a state is the end that was hoped for.
pub(crate) fn succeeded(state: RunState) -> bool {
    state == RunState::Completed
}
