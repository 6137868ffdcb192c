//! `dead`, `dead.requeue` and `dead.drop`: what was set aside, and what becomes of it.

use swarm_bus::dead::{DeadError, Letter};
use swarm_bus::service::Call;
use swarm_bus::{Outgoing, topology};
use swarm_protocol::endpoint::{
    DeadItem, DeadReply, DeadRequest, DeadsReply, DeadsRequest, read_optional, read_request,
};
use swarm_protocol::error::chain;
use swarm_protocol::event::Cause;
use swarm_protocol::limits::DEFAULT_PAGE;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Code, ErrorBody, RunId, TaskId, subjects};
use swarm_workflow::Input;
use tracing::Instrument as _;

use crate::Shared;
use crate::runs::Outcome;

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
    let known = shared.bus.had_dead_letter(id).await;
    if !known.map_err(|error| unavailable(&error))? {
        return Err(unknown(id));
    }
    remove(shared, id).await?;
    Ok(DeadReply { id, run: None })
}

async fn requeued(shared: &Shared, payload: &[u8]) -> Result<DeadReply, ErrorBody> {
    let DeadRequest { id } = read_request(payload)?;
    let letter = find(shared, id).await?;
    let origin = &letter.dead.origin;
    let run = match (&origin.run, &origin.task) {
        (Some(run), Some(task)) => Some(bring_back(shared, *run, task).await?),
        _ if origin.stream == topology::RUNS => {
            return Err(not_again(
                "an entry of a journal is not delivered again: cancel its run, and `swarm runs retry` it",
            ));
        }
        _ => store_again(shared, &letter).await?,
    };
    remove(shared, id).await?;
    Ok(DeadReply { id, run })
}

/// The task once more: in its run while that is open, else in a new run that takes over what completed.
async fn bring_back(shared: &Shared, run: RunId, task: &TaskId) -> Result<RunId, ErrorBody> {
    let cause = Cause::Endpoint {
        endpoint: "dead.requeue".to_owned(),
    };
    let span = tracing::error_span!("command", name = "dead.requeue", %run);
    let again = shared.transition(run, Input::Again { task }, &cause);
    let outcome = again.instrument(span).await;
    match outcome.map_err(|error| error.to_body())? {
        Outcome::Applied(_) => Ok(run),
        Outcome::Ignored(None) => Err(not_again("its run is gone")),
        Outcome::Ignored(Some(state)) if state.phase.is_terminal() => {
            super::retry::again(shared, run, &state).await
        }
        Outcome::Ignored(Some(state)) => {
            if state.unconfirmed() && state.progress(task).is_some_and(|p| p.is_live()) {
                // The command was asked for again, whose first answer was lost.
                shared.confirm(run).await.map_err(|error| error.to_body())?;
                return Ok(run);
            }
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
    let dead = &letter.dead;
    let Some(payload) = dead.content() else {
        return Err(not_again("its payload was too large to be kept"));
    };
    let is_ours = subjects::submit_target(&dead.origin.subject).is_some()
        || subjects::is_work(&dead.origin.subject);
    if !is_ours {
        return Err(not_again("nothing takes messages on its subject"));
    }
    let message = Outgoing::new(&dead.origin.subject, payload, TraceParent::root())
        .message_id(format!("requeue:{}", letter.id));
    let stored = shared.bus.store(message).await.map_err(|error| {
        ErrorBody::new(
            Code::Unavailable,
            format!("it was not stored: {}", chain(&error)),
        )
    })?;
    let is_submission = dead.origin.stream == topology::INBOX;
    // The message id names the run.
    let run = RunId::from_message_id(&format!("requeue:{}", letter.id));
    tracing::info!(
        id = letter.id,
        seq = stored.seq,
        "a dead letter was stored again"
    );
    Ok(is_submission.then_some(run))
}

async fn find(shared: &Shared, id: u64) -> Result<Letter, ErrorBody> {
    let found = shared.bus.dead_letter(id).await;
    found
        .map_err(|error| unavailable(&error))?
        .ok_or_else(|| unknown(id))
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
