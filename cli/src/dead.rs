//! `swarm dead …`: what was set aside.

use swarm_client::Client;
use swarm_protocol::Timestamp;
use swarm_protocol::endpoint::{DeadItem, DeadsRequest};

use crate::args::DeadCommand;
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::runs::{coarse, show_reply, table};

/// Characters of a reason in a list.
const REASON_WIDTH: usize = 72;

/// Runs a command about dead letters.
pub(crate) async fn dead(
    client: &Client,
    command: DeadCommand,
    format: Format,
) -> Result<(), Failure> {
    match command {
        DeadCommand::List { limit, before } => {
            let request = DeadsRequest {
                limit: Some(limit),
                before,
                id: None,
            };
            let reply = client.dead(&request).await?;
            match format {
                Format::Json => output::document(&reply),
                Format::Text if reply.items.is_empty() => output::note("nothing was set aside"),
                Format::Text => list(&reply.items),
            }
            if let (Some(next), Format::Text) = (reply.next, format) {
                output::note(&format!("more: swarm dead list --before {next}"));
            }
            Ok(())
        }
        DeadCommand::Show { id } => {
            let request = DeadsRequest {
                id: Some(id),
                ..DeadsRequest::default()
            };
            for item in client.dead(&request).await?.items {
                match format {
                    Format::Json => output::document(&item),
                    Format::Text => show(&item),
                }
            }
            Ok(())
        }
        DeadCommand::Requeue { ids } => {
            for id in ids {
                let reply = client.requeue(id).await?;
                match (format, reply.run) {
                    (Format::Text, None) => output::note(&format!("{id} was stored again")),
                    (_, run) => show_reply(
                        &reply,
                        &run.map_or_else(String::new, |run| run.to_string()),
                        format,
                    ),
                }
            }
            Ok(())
        }
        DeadCommand::Drop { ids } => {
            for id in ids {
                let reply = client.drop_dead(id).await?;
                show_reply(&reply, &format!("{id} dropped"), format);
            }
            Ok(())
        }
    }
}

fn list(items: &[DeadItem]) {
    let mut table = table(&["ID", "AGE", "CODE", "FROM", "RUN", "WHY"]);
    let now = Timestamp::now();
    for DeadItem { id, dead } in items {
        table.add_row([
            id.to_string(),
            coarse(now.since(dead.at)),
            dead.code.clone(),
            dead.origin.subject.clone(),
            dead.origin.run.map(|run| run.short()).unwrap_or_default(),
            output::line(&dead.reason, REASON_WIDTH),
        ]);
    }
    output::data(&table.trim_fmt());
}

fn show(item: &DeadItem) {
    let DeadItem { id, dead } = item;
    let origin = &dead.origin;
    output::data(&format!("id         {id}"));
    output::data(&format!("set aside  {}", dead.at));
    output::data(&format!("why        {} ({})", dead.reason, dead.code));
    output::data(&format!(
        "from       {}, {} of {}",
        origin.subject, origin.seq, origin.stream
    ));
    if let Some(run) = origin.run {
        let task = origin
            .task
            .as_ref()
            .map(|task| format!(", task {task}"))
            .unwrap_or_default();
        output::data(&format!("run        {run}{task}"));
    }
    let payload = match (&dead.payload, &dead.payload_base64) {
        (Some(text), _) => text.as_str(),
        (None, Some(base64)) => base64.as_str(),
        (None, None) => "(not kept)",
    };
    output::data(&format!("payload    {payload}"));
    output::note(&format!(
        "`swarm dead requeue {id}` takes it up again, `swarm dead drop {id}` forgets it"
    ));
}
