//! `result`: the RESULT of a run, waited for when asked to.

use std::time::Duration;

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{OpenError, RunRequest};
use swarm_protocol::event::Body;
use swarm_protocol::{Code, ErrorBody, RunId, RunRef, RunResult, RunState, headers};

use crate::Shared;
use crate::index::unknown;

/// Longest wait of one request.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What there is of a run.
enum Found {
    Ended(Box<RunResult>),
    Open(RunState),
}

pub(super) async fn answer(shared: &Shared, call: Call) {
    match find(shared, call.request.payload()).await {
        Ok((run, Found::Ended(result))) => {
            let mut about = vec![
                (headers::RUN_ID, run.to_string()),
                (headers::STATUS, result.status.to_string()),
            ];
            if result.simulated {
                about.push((headers::SIMULATED, "true".to_owned()));
            }
            match serde_json::to_vec(&result) {
                Ok(body) => call.reply(body, &about).await,
                Err(error) => {
                    call.fail(&ErrorBody::new(Code::Internal, error.to_string()))
                        .await
                }
            }
        }
        Ok((run, Found::Open(state))) => {
            let error = ErrorBody::new(
                Code::RunOpen,
                format!(
                    "run {run} is {state}: ask again later, or with a wait; `swarm runs watch {}` follows it",
                    run.short()
                ),
            );
            let body = OpenError {
                error: error.clone(),
                run,
                state,
            };
            call.fail_with(&error, &body).await;
        }
        Err(error) => call.fail(&error).await,
    }
}

async fn find(shared: &Shared, payload: &[u8]) -> Result<(RunId, Found), ErrorBody> {
    let request = RunRequest::parse(payload)?;
    let run = shared
        .resolve(&request.run, request.wait.map(|wait| wait.0))
        .await?;
    if let Some(wait) = request.wait {
        shared.index.ended(run, wait.0.min(LONGEST_WAIT)).await;
    }
    match shared.index.state(run) {
        Some(state) if !state.is_terminal() && shared.index.is_current() => {
            return Ok((run, Found::Open(state)));
        }
        // Not in the index: it may have ended a moment ago.
        Some(_) | None => {}
    }
    let last = shared
        .last_event(run)
        .await
        .map_err(|error| error.to_body())?;
    let event = last.ok_or_else(|| unknown(&RunRef::Id(run)))?;
    match (event.body.result(), &event.body) {
        (Some(result), _) => Ok((run, Found::Ended(Box::new(result.clone())))),
        (None, Body::Deleted(_)) => Err(unknown(&RunRef::Id(run))),
        (None, _) => {
            let known = shared.load(run).await.map_err(|error| error.to_body())?;
            let state = known.state.map_or(RunState::Working, |state| state.phase);
            Ok((run, Found::Open(state)))
        }
    }
}

impl Shared {
    /// The run that somebody means; one that waits gives a submission a moment to become a run.
    pub(crate) async fn resolve(
        &self,
        reference: &RunRef,
        wait: Option<Duration>,
    ) -> Result<RunId, ErrorBody> {
        if let RunRef::Id(run) = reference {
            return Ok(*run);
        }
        self.index.caught_up().await?;
        let deadline = tokio::time::Instant::now() + wait.unwrap_or_default().min(LONGEST_WAIT);
        loop {
            match self.index.resolve(reference) {
                Err(error)
                    if error.code == Code::RunUnknown.as_str()
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(RESOLVE_PAUSE).await;
                }
                settled => return settled,
            }
        }
    }
}

const RESOLVE_PAUSE: Duration = Duration::from_millis(20);
