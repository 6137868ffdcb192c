//! `dead`, `dead.requeue` and `dead.drop`: what was set aside, and what becomes of it.

use swarm_bus::dead::{DeadError, Letter};
use swarm_bus::service::Call;
use swarm_bus::{Outgoing, topology};
use swarm_protocol::endpoint::{
    DeadItem, DeadReply, DeadRequest, DeadsReply, DeadsRequest, read_optional, read_request,
};
use swarm_protocol::error::chain;
use swarm_protocol::limits::DEFAULT_PAGE;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, Code, ErrorBody, RunId, TaskId, subjects};
use swarm_workflow::Input;

use super::command::Commanded;
use crate::Shared;

/// Bytes of payloads in one reply; the letters after that come without.
const MAX_PAYLOADS: usize = 512 * 1024;

pub(super) async fn list(shared: &Shared, call: Call) {
    match listed(shared, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

pub(super) async fn requeue(shared: &Shared, call: Call) {
    match requeued(shared, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

pub(super) async fn drop(shared: &Shared, call: Call) {
    match dropped(shared, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn listed(shared: &Shared, payload: &[u8]) -> Result<DeadsReply, ErrorBody> {
    let request: DeadsRequest = read_optional(payload)?;
    if let Some(id) = request.id {
        let letter = find(shared, id).await?;
        return Ok(DeadsReply {
            items: vec![item(letter)],
            next: None,
        });
    }
    let most = request.limit.unwrap_or(DEFAULT_PAGE).clamp(1, DEFAULT_PAGE);
    let letters = shared.bus.dead_letters(request.before, most).await;
    let letters = letters.map_err(|error| unavailable(&error))?;
    let next = letters.last().filter(|_| letters.len() == most);
    let next = next.map(|letter| letter.id);
    let mut room = MAX_PAYLOADS;
    let items = letters
        .into_iter()
        .map(|letter| fitted(item(letter), &mut room));
    Ok(DeadsReply {
        items: items.collect(),
        next,
    })
}

fn item(letter: Letter) -> DeadItem {
    DeadItem {
        id: letter.id,
        dead: letter.dead,
    }
}

/// Without its payload when there is no room for it: it is had by its id.
fn fitted(mut item: DeadItem, room: &mut usize) -> DeadItem {
    let dead = &mut item.dead;
    let payloads = [&dead.payload, &dead.payload_base64];
    let bytes: usize = payloads
        .into_iter()
        .flatten()
        .map(|text| swarm_protocol::limits::encoded_len(text))
        .sum();
    if bytes > *room {
        (dead.payload, dead.payload_base64) = (None, None);
    } else {
        *room -= bytes;
    }
    item
}

async fn dropped(shared: &Shared, payload: &[u8]) -> Result<DeadReply, ErrorBody> {
    let DeadRequest { id } = read_request(payload)?;
    if !had(shared, id).await? {
        return Err(unknown(id));
    }
    remove(shared, id).await?;
    Ok(DeadReply { id, run: None })
}

async fn requeued(shared: &Shared, payload: &[u8]) -> Result<DeadReply, ErrorBody> {
    let DeadRequest { id } = read_request(payload)?;
    let letter = match find(shared, id).await {
        Ok(letter) => letter,
        // It was taken up before, and the answer was lost; or it was dropped.
        Err(_) if had(shared, id).await? => return Ok(DeadReply { id, run: None }),
        Err(error) => return Err(error),
    };
    let origin = &letter.dead.origin;
    let run = match (&origin.run, &origin.task) {
        (Some(run), Some(task)) => Some(bring_back(shared, id, *run, task).await?),
        _ => store_again(shared, &letter).await?,
    };
    remove(shared, id).await?;
    Ok(DeadReply { id, run })
}

/// The task once more: in its run while that is open, else in a new run that takes over what completed.
async fn bring_back(
    shared: &Shared,
    id: u64,
    run: RunId,
    task: &TaskId,
) -> Result<RunId, ErrorBody> {
    let endpoint = format!("dead.requeue:{id}");
    if shared.is_repeated(run, &endpoint).await? {
        return Ok(run);
    }
    match shared
        .command(run, Input::Again { task }, &endpoint)
        .await?
    {
        Commanded::Done(_) => Ok(run),
        Commanded::Nothing(state) if state.phase.is_terminal() => {
            super::retry::again(shared, run, &state).await
        }
        Commanded::Nothing(state) => {
            let message = format!(
                "run {run} is {}, and {task} has no failure that can be mended now: wait for its end",
                state.phase
            );
            Err(not_again(&message))
        }
    }
}

/// Publishes what was set aside where it was. A submission becomes a new run.
async fn store_again(shared: &Shared, letter: &Letter) -> Result<Option<RunId>, ErrorBody> {
    let Some(subject) = subject_of(letter) else {
        return Err(not_again(
            "it is neither a submission nor work of the agent that set it aside",
        ));
    };
    let Some(payload) = letter.dead.content() else {
        return Err(not_again("its payload was too large to be kept"));
    };
    // The message id names the run.
    let id = format!("requeue:{}", letter.id);
    let message = Outgoing::new(subject, payload, TraceParent::root()).message_id(&id);
    let stored = shared.bus.store(message).await.map_err(|error| {
        let message = format!("it was not stored: {}", chain(&error));
        ErrorBody::new(Code::Unavailable, message)
    })?;
    tracing::info!(
        id = letter.id,
        seq = stored.seq,
        "a dead letter was stored again"
    );
    let is_submission = letter.dead.origin.stream == topology::INBOX;
    Ok(is_submission.then(|| RunId::from_message_id(&id)))
}

/// Where it came from. What a letter says of that has to agree with who wrote it.
fn subject_of(letter: &Letter) -> Option<String> {
    let origin = &letter.dead.origin;
    match origin.stream.as_str() {
        topology::INBOX if letter.subject == subjects::dead_inbox() => {
            let target = subjects::submit_target(&origin.subject)?;
            let target: Option<AgentName> = target.map(str::parse).transpose().ok()?;
            Some(subjects::submit(target.as_ref()))
        }
        topology::WORK => {
            let agent = subjects::agent_of_work(&origin.subject)?;
            (letter.subject == subjects::dead_agent(&agent)).then(|| subjects::work(&agent))
        }
        _ => None,
    }
}

async fn find(shared: &Shared, id: u64) -> Result<Letter, ErrorBody> {
    let found = shared.bus.dead_letter(id).await;
    found
        .map_err(|error| unavailable(&error))?
        .ok_or_else(|| unknown(id))
}

async fn had(shared: &Shared, id: u64) -> Result<bool, ErrorBody> {
    let had = shared.bus.had_dead_letter(id).await;
    had.map_err(|error| unavailable(&error))
}

async fn remove(shared: &Shared, id: u64) -> Result<(), ErrorBody> {
    let removed = shared.bus.drop_dead_letter(id).await;
    removed.map_err(|error| unavailable(&error))
}

fn unknown(id: u64) -> ErrorBody {
    let message = format!("there is no dead letter {id}: `swarm dead list` shows those there are");
    ErrorBody::new(Code::DeadUnknown, message).field("id")
}

fn not_again(why: &str) -> ErrorBody {
    ErrorBody::new(
        Code::NotRequeued,
        format!("it cannot be taken up again: {why}"),
    )
}

fn unavailable(error: &DeadError) -> ErrorBody {
    ErrorBody::new(Code::Unavailable, chain(error))
}
