//! A run that a test drives by hand.

use std::collections::BTreeSet;

use super::*;

/// A run driven by hand.
#[derive(Default)]
pub(super) struct Driver {
    pub(super) state: Option<State>,
    pub(super) log: Vec<Event>,
    /// Texts that are in the store, by their hash.
    pub(super) there: BTreeMap<String, String>,
    /// What was fetched of them.
    pub(super) contents: Contents,
    /// What it had stored.
    pub(super) stored: Vec<Blob>,
}

impl Driver {
    pub(super) fn new(submission: Submission) -> Self {
        let mut driver = Self::default();
        let (submit, team) = (submit(submission), team());
        driver.input(Input::Submit(&submit, &team), message(1));
        driver
    }

    pub(super) fn input(&mut self, input: Input<'_>, cause: Cause) -> bool {
        let at = 1000 + i64::try_from(self.log.len()).unwrap();
        self.input_at(at, input, cause)
    }

    pub(super) fn input_at(&mut self, at: i64, input: Input<'_>, cause: Cause) -> bool {
        match decide(
            self.state.as_ref(),
            input.clone(),
            context(at, cause.clone()),
            &self.contents,
        ) {
            Decision::Ignore => false,
            Decision::Fetch(wanted) => {
                let all = self.contents.keys().collect::<BTreeSet<_>>();
                assert!(wanted.iter().any(|blob| !all.contains(&blob.sha256)));
                for blob in wanted {
                    let lost = ErrorBody::new(Code::BlobMissing, "lost");
                    let text = self.there.get(&blob.sha256).cloned().ok_or(lost);
                    self.contents.insert(blob.sha256, text);
                }
                self.input_at(at, input, cause)
            }
            Decision::Append { event, blobs } => {
                self.stored.extend(blobs);
                self.state = Some(fold(self.state.take(), &event).unwrap());
                self.log.push(*event);
                true
            }
        }
    }

    pub(super) fn end(&mut self, task: &str, status: AnswerStatus) -> bool {
        self.end_with(task, status, false)
    }

    /// The live attempt of a task ends; an error may be one that is worth another try.
    pub(super) fn end_with(&mut self, task: &str, status: AnswerStatus, retryable: bool) -> bool {
        let task: TaskId = task.parse().unwrap();
        let live = self
            .state
            .as_ref()
            .and_then(|state| match state.progress(&task) {
                Some(Progress::Live { attempt }) => Some(*attempt),
                _ => None,
            });
        let agent = self
            .state
            .as_ref()
            .and_then(|state| state.agent_of(&task))
            .cloned();
        let agent = agent.unwrap_or_else(|| "nobody".parse().unwrap());
        let mut answer = answer(&task, &agent, status);
        if let Some(error) = &mut answer.error {
            error.retryable = retryable;
        }
        self.input(
            Input::TaskEnded {
                task: &task,
                attempt: live.unwrap_or(1),
                answer: &answer,
            },
            message(9),
        )
    }

    /// The live attempt of a task waits for a person to decide about so many calls.
    pub(super) fn suspend(&mut self, task: &str, calls: usize) -> bool {
        let task: TaskId = task.parse().unwrap();
        let known = self.state().task(&task);
        let Some((attempt, agent)) = known
            .map(|known| known.attempts)
            .zip(self.state().agent_of(&task))
        else {
            return false;
        };
        let suspended = suspended(&task, agent, attempt, calls);
        let input = Input::TaskSuspended {
            task: &task,
            attempt,
            suspended: &suspended,
        };
        self.input(input, message(8))
    }

    /// A person decides about the oldest call that waits for it.
    pub(super) fn decide_next(&mut self, decision: CallDecision) -> bool {
        let asked = self.state().undecided().next();
        let Some(approval) = asked.map(|(_, asked)| asked.approval.clone()) else {
            return false;
        };
        let input = Input::Decide {
            approval: &approval.approval,
            call_sha256: &approval.call_sha256,
            decision,
            reason: None,
        };
        self.command("approve", input)
    }

    pub(super) fn again(&mut self, task: &str) -> bool {
        let task: TaskId = task.parse().unwrap();
        self.command("dead.requeue", Input::Again { task: &task })
    }

    pub(super) fn message(&mut self, to: &str) -> bool {
        let to = to.parse().unwrap();
        self.command(
            "message",
            Input::Message {
                to: &to,
                text: "hear",
            },
        )
    }

    pub(super) fn command(&mut self, endpoint: &str, input: Input<'_>) -> bool {
        let cause = Cause::Endpoint {
            endpoint: endpoint.into(),
        };
        self.input(input, cause)
    }

    /// Time passes until this moment.
    pub(super) fn due(&mut self, at: Timestamp) -> bool {
        let cause = Cause::Deadline {
            deadline: "run".into(),
        };
        self.input_at(at.as_millis(), Input::Due, cause)
    }

    pub(super) fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    pub(super) fn cancel(&mut self) -> bool {
        let cause = Cause::Endpoint {
            endpoint: "cancel".into(),
        };
        self.input(
            Input::Cancel {
                reason: Some("why".into()),
            },
            cause,
        )
    }

    pub(super) fn types(&self) -> Vec<&'static str> {
        self.log.iter().map(|event| event.body.name()).collect()
    }

    pub(super) fn phase(&self) -> RunState {
        self.state.as_ref().unwrap().phase
    }

    pub(super) fn result_of(&self, task: &str) -> &swarm_protocol::Answer {
        self.state().answer(&task.parse().unwrap()).unwrap()
    }

    pub(super) fn result(&self) -> &swarm_protocol::RunResult {
        self.state.as_ref().unwrap().result.as_ref().unwrap()
    }
}
