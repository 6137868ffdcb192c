//! Errors as they travel: a stable code, a sentence for a person, and what may be done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of an error on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ErrorBody {
    /// Stable code, `SW-…`. See [`Code`]; readers must accept codes they do not know.
    pub code: String,
    /// What was wrong and what to do, in one line.
    pub message: String,
    /// Whether the same request may succeed later, unchanged.
    pub retryable: bool,
    /// The field that was wrong, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
}

impl ErrorBody {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.into(),
            retryable: code.retryable(),
            field: None,
        }
    }

    /// The same error, about one field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The HTTP-like status for the header `Nats-Service-Error-Code`.
    #[must_use]
    pub fn status(&self) -> u16 {
        Code::ALL
            .iter()
            .find(|code| code.as_str() == self.code)
            .map_or(500, |code| code.status())
    }
}

macro_rules! codes {
    ($($(#[doc = $happened:literal])+ $name:ident $text:literal $status:literal $retryable:ident $mend:literal,)*) => {
        /// The stable error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[doc = $happened])+ $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP-like status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => codes!($retryable),)* }
            }

            /// What happened, in a sentence for a person.
            #[must_use]
            pub const fn happened(self) -> &'static str {
                match self { $(Self::$name => concat!($($happened),+).trim_ascii_start(),)* }
            }

            /// What to do about it, with the command that mends it where there is one.
            #[must_use]
            pub const fn mend(self) -> &'static str {
                match self { $(Self::$name => $mend,)* }
            }
        }
    };
    (retryable) => { true };
    (lasting) => { false };
}

codes! {
    /// The task is empty or blank.
    Empty "SW-EMPTY" 400 lasting "Send a text, or JSON with a `task`.",
    /// The payload is not UTF-8, or holds control characters.
    Encoding "SW-ENCODING" 400 lasting "Send UTF-8 without control characters other than tab and newline.",
    /// The payload begins with `{` and is not the JSON that was expected.
    Json "SW-JSON" 400 lasting "Mend the JSON where the message says. A text that begins with `{` goes as `{\"task\": …}`; the `nats` CLI expands `{{` unless `--force-stdin` is given.",
    /// A field or an argument is missing, of the wrong type, or out of range; also a mistake in the configuration.
    Field "SW-FIELD" 400 lasting "Correct what `field` or the message names. For the configuration: `swarm config check`.",
    /// The target in the subject of a submission is no name of an agent.
    Target "SW-TARGET" 400 lasting "Publish to `swarm.submit.<agent>`, one token of `a-z 0-9 _ -`. `swarm agents list` names agents.",
    /// The header `Swarm-Run-Id` is no UUID. The run has another id, derived from its place in the inbox.
    RunId "SW-RUN-ID" 400 lasting "Send a UUID, or leave the header out.",
    /// The request names no run.
    RunRef "SW-RUN-REF" 400 lasting "Give an id, 8 or more of its first characters, a ticket, or `seq:17`. `swarm runs list` shows runs.",
    /// No agent of this name is configured, and none has ever run.
    AgentUnknown "SW-AGENT-UNKNOWN" 404 lasting "Correct the name: `swarm agents list`, `swarm config show`. For a new agent: add it to `swarm.yaml` and restart the coordinators, or start it with `swarm agent <name>`.",
    /// No workflow of this name is stored.
    WorkflowUnknown "SW-WORKFLOW-UNKNOWN" 404 lasting "Name `agents` instead: there are no workflows yet.",
    /// No such run. It may have been deleted, or be older than `runs.retention`.
    RunUnknown "SW-RUN-UNKNOWN" 404 lasting "`swarm runs list` shows the runs that are kept. A ticket names a run only when it has been accepted: ask again.",
    /// Several runs begin with these characters.
    RunAmbiguous "SW-RUN-AMBIGUOUS" 409 lasting "Give more of the id.",
    /// The run has not ended yet.
    RunOpen "SW-RUN-OPEN" 409 retryable "Wait: `swarm runs watch <run>`, or `swarm.result` with a `wait`. Before a delete: `swarm runs cancel <run>`.",
    /// Nobody ran the agent for as long as a task may wait.
    Queue "SW-QUEUE" 503 lasting "Start the agent, `swarm agent <name>`, and `swarm runs retry <run>`; or raise runs.deadlines.queue, or `queue_timeout` of the submission.",
    /// The run is in a state in which the command means nothing.
    RunState "SW-RUN-STATE" 409 lasting "`swarm runs explain <run>` says what it does.",
    /// The run asks a person, and whoever waits for it is none.
    InputRequired "SW-INPUT-REQUIRED" 409 lasting "`swarm runs show <run>` says what it asks; `swarm runs approve <run>` or `swarm runs deny <run>` answers.",
    /// Nothing of this name was asked in the run.
    ApprovalUnknown "SW-APPROVAL-UNKNOWN" 404 lasting "`swarm runs show <run>` names what the run waits for.",
    /// It was decided otherwise, for another call, or too late.
    ApprovalUsed "SW-APPROVAL-USED" 409 lasting "`swarm runs explain <run>` says what was decided.",
    /// Nobody in the run takes a message now.
    MessageTo "SW-MESSAGE-TO" 409 lasting "Name an agent whose task has not ended: `swarm runs explain <run>`.",
    /// The run has as many events, or as much text, as a run may have.
    Limit "SW-LIMIT" 409 lasting "Submit what is left as a new run.",
    /// No such dead letter.
    DeadUnknown "SW-DEAD-UNKNOWN" 404 lasting "`swarm dead list` shows those there are. They are kept 30 days.",
    /// The dead letter cannot be taken up again.
    NotRequeued "SW-NOT-REQUEUED" 409 lasting "The message says why. `swarm dead show <id>` has what it was, `swarm dead drop <id>` forgets it.",
    /// No agent could do the task: each that took it ended without a word, time and again.
    Poison "SW-POISON" 500 lasting "`swarm dead list` has it; find out in the log of the agents what it does to them, then `swarm dead requeue <id>`.",
    /// The run has ended otherwise than the command wants.
    RunEnded "SW-RUN-ENDED" 409 lasting "Nothing: `swarm runs show <run>` has its result.",
    /// The same id came with other content, or with that of a run that was deleted.
    Conflict "SW-CONFLICT" 409 lasting "Use another `Swarm-Run-Id` or `Nats-Msg-Id`, or none.",
    /// As many agent instances are live as `mcp.max_agents` allows.
    TooManyAgents "SW-TOO-MANY-AGENTS" 429 retryable "Stop some, or raise `mcp.max_agents` and restart the coordinators. `swarm agents list` shows them.",
    /// A submission, an answer or a result is larger than what is kept.
    TooLarge "SW-TOO-LARGE" 413 lasting "Send less, or ask for less: the message names size and limit.",
    /// Fewer agents answered than `min_answers`.
    TooFewAnswers "SW-TOO-FEW-ANSWERS" 500 retryable "Mend what the answers in `swarm runs show <run> --output json` name, then submit again.",
    /// The run was canceled on request.
    Canceled "SW-CANCELED" 409 lasting "Nothing. Submit it again to have it done.",
    /// A deadline passed.
    Deadline "SW-DEADLINE" 500 retryable "`swarm runs explain <run>` shows where the time went. Raise `runs.deadlines`, or take a smaller model.",
    /// No Ollama host answers.
    ModelUnreachable "SW-MODEL-UNREACHABLE" 500 retryable "Start `ollama serve` there, or name another host in `ollama.hosts`. `swarm doctor` asks every host.",
    /// The host took the request and did not begin to answer. It may be loading the model, or be busy.
    ModelTimeout "SW-MODEL-TIMEOUT" 500 retryable "`ollama ps` on the host shows what it is busy with. Take a smaller model, or a lower `ollama.parallel`.",
    /// The answer began and did not go on.
    ModelStalled "SW-MODEL-STALLED" 500 retryable "Look at the host: `ollama ps`, its log, its memory.",
    /// The host does not have the model.
    ModelMissing "SW-MODEL-MISSING" 500 lasting "`ollama pull <model>` on the host. `swarm doctor` lists all that are missing.",
    /// The host takes no more requests now.
    ModelBusy "SW-MODEL-BUSY" 500 retryable "Lower `ollama.parallel`, add a host to `ollama.hosts`, or raise `OLLAMA_NUM_PARALLEL` there.",
    /// The host failed with a status of 500 or more.
    ModelHttp "SW-MODEL-HTTP" 500 retryable "The message has the host's words; its log has more.",
    /// The host refused the request, or it cannot be put into the format of the API.
    ModelRefused "SW-MODEL-REFUSED" 500 lasting "The message has the host's words. `swarm doctor` looks at hosts and models.",
    /// The answer broke off, or is not in the format of the API.
    ModelBroken "SW-MODEL-BROKEN" 500 retryable "Look at the host's log; a newer Ollama may help.",
    /// The model runs in a cloud, or its host may pass prompts on to one. They do not leave the machines of the swarm.
    ModelCloud "SW-MODEL-CLOUD" 500 lasting "Name a local model in `agents.<name>.model`, and `ollama pull` it; start Ollama with `OLLAMA_NO_CLOUD=1`.",
    /// The chat does not fit into the model's context window, or the host has cut it.
    ModelContext "SW-MODEL-CONTEXT" 500 lasting "Submit a shorter task or context, raise `ollama.num_ctx`, or take a model with a larger window.",
    /// The model repeated itself without end, and was stopped.
    ModelLooping "SW-MODEL-LOOPING" 500 retryable "Submit again; if it stays so, take another model or another prompt.",
    /// The model gave an empty answer.
    EmptyAnswer "SW-MODEL-EMPTY" 500 retryable "Submit again; if it stays so, take another model or another prompt.",
    /// The agent used all its turns on tools, and gave no answer when it was asked for one without them.
    Iterations "SW-AGENT-ITERATIONS" 500 lasting "`swarm runs explain <run>` shows what it called. Raise `agents.<name>.max_iterations`, or take another model or prompt.",
    /// The run has used what it may. The text is what there was until then.
    Budget "SW-BUDGET" 500 lasting "Submit with a larger `budget`, or raise `runs.budget`.",
    /// A message in a stream cannot be read. It is a dead letter.
    Undecodable "SW-UNDECODABLE" 400 lasting "`swarm dead list` shows it. Find out who wrote it; in a swarm of several versions, upgrade the older processes.",
    /// The log of a run cannot be read as one. The run is set aside, no other is touched.
    Log "SW-LOG" 500 lasting "Submit the task again. `swarm runs explain <run>` says what is wrong with the log; keep it for a report.",
    /// Nothing answers, or nothing can be stored now: no NATS server, no coordinator, or a stream that is full.
    Unavailable "SW-UNAVAILABLE" 503 retryable "`swarm status`, then `swarm doctor`: they name what is down or full. `swarm up` starts what is missing.",
    /// Something went wrong inside.
    Internal "SW-INTERNAL" 500 retryable "Ask again; if it stays so, report it with the message and the log at `-v`.",
}

/// An error with its causes, in one line: each says its own layer only.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_known() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!(
                Code::ALL[i + 1..]
                    .iter()
                    .all(|other| other.as_str() != code.as_str()),
                "{code:?}"
            );
            assert!(
                [400, 403, 404, 409, 413, 429, 500, 503].contains(&code.status()),
                "{code:?}"
            );
            for sentence in [code.happened(), code.mend()] {
                assert!(sentence.ends_with('.'), "{code:?}: {sentence:?}");
                assert_eq!(sentence, sentence.trim(), "{code:?}");
            }
        }
        assert_eq!(ErrorBody::new(Code::Conflict, "x").status(), 409);
    }
}
