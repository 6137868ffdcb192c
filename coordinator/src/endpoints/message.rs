//! `message`: a text for an agent of an open run.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{MessageRequest, StateReply, read_about_run};
use swarm_protocol::limits::{MAX_MESSAGE_BYTES, MAX_MESSAGES_BYTES};
use swarm_protocol::{Code, ErrorBody, RunRef, headers};
use swarm_workflow::{Input, State};

use super::command::{Commanded, reply};
use crate::Shared;
use crate::index::unknown;

/// Characters of an id that count.
const MAX_ID: usize = 64;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match message(shared, &call).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn message(shared: &Shared, call: &Call) -> Result<StateReply, ErrorBody> {
    let payload = call.request.payload();
    let (reference, request) = read_about_run(payload, |body: &MessageRequest| &body.run)?;
    let MessageRequest { to, text, .. } = &request;
    let text = text.trim();
    if text.is_empty() {
        return Err(ErrorBody::new(Code::Empty, "the message is empty").field("text"));
    }
    let run = shared.resolve(&reference, None).await?;
    let known = shared.load(run).await.map_err(|error| error.to_body())?;
    let state = known.state.ok_or_else(|| unknown(&RunRef::Id(run)))?;
    check_size(&state, text)?;
    let endpoint = match id_of(&request, call) {
        None => "message".to_owned(),
        Some(id) => {
            let endpoint = format!("message:{id}");
            if shared.is_repeated(run, &endpoint).await? {
                return Ok(reply(&state));
            }
            endpoint
        }
    };
    let input = Input::Message { to, text };
    match shared.command(run, input, &endpoint).await? {
        Commanded::Done(state) => Ok(reply(&state)),
        Commanded::Nothing(state) => Err(not_taken(&state, &request)),
    }
}

/// What tells a request that is sent again from another one.
fn id_of(request: &MessageRequest, call: &Call) -> Option<String> {
    let id = request.id.as_deref();
    let id = id.or_else(|| call.request.header(headers::MESSAGE_ID))?;
    Some(id.chars().take(MAX_ID).collect()).filter(|id: &String| !id.is_empty())
}

fn check_size(state: &State, text: &str) -> Result<(), ErrorBody> {
    let sent: usize = state.messages.iter().map(|(_, sent)| sent.text.len()).sum();
    let (bytes, most, of) = if text.len() > MAX_MESSAGE_BYTES {
        (text.len(), MAX_MESSAGE_BYTES, "the message has")
    } else if sent + text.len() > MAX_MESSAGES_BYTES {
        (
            sent + text.len(),
            MAX_MESSAGES_BYTES,
            "the messages to the run have with this one",
        )
    } else {
        return Ok(());
    };
    let message = format!(
        "{of} {} KiB, at most {} are taken",
        bytes.div_ceil(1024),
        most / 1024
    );
    Err(ErrorBody::new(Code::TooLarge, message).field("text"))
}

fn not_taken(state: &State, request: &MessageRequest) -> ErrorBody {
    let (run, to) = (state.run, &request.to);
    if state.phase.is_terminal() {
        let message = format!("run {run} is {}: nobody works on it any more", state.phase);
        return ErrorBody::new(Code::RunEnded, message);
    }
    let takers: Vec<&str> = state
        .steps()
        .iter()
        .filter_map(|step| state.agent_of(&step.id))
        .filter(|agent| state.takes_messages(agent))
        .map(|agent| agent.as_str())
        .collect();
    let message = format!(
        "{to} has no open task in run {run}; these have: {}",
        takers.join(", ")
    );
    ErrorBody::new(Code::MessageTo, message).field("to")
}
