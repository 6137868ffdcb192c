//! The loop that an agent thinks in: a value without I/O. Turns of the model go in, requests and the end come out.

use swarm_model::{ChatRequest, Message};
use swarm_protocol::journal::ModelTurn;
use swarm_protocol::work::Work;
use swarm_protocol::{Code, ErrorBody, Usage};

/// What the loop needs to know of its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The system prompt.
    pub prompt: String,
    /// The model.
    pub model: String,
    /// Most turns of the model.
    pub max_iterations: u32,
    /// Most tokens of one turn.
    pub num_predict: u32,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask the model.
    Ask(ChatRequest),
    /// The answer.
    Answer(String),
    /// No answer is to be had.
    Fail(ErrorBody),
}

/// What is said to a model that answered nothing.
const EMPTY_ANSWER: &str = "Your answer was empty. Answer the task now, in plain text.";

/// One attempt at a task.
#[derive(Debug, Clone)]
pub struct AgentLoop {
    settings: Settings,
    messages: Vec<Message>,
    turns: u32,
    answer: Option<String>,
    usage: Usage,
    elapsed_ms: u64,
    simulated: bool,
}

impl AgentLoop {
    /// A loop at its beginning.
    #[must_use]
    pub fn new(settings: Settings, work: &Work) -> Self {
        let messages = vec![
            Message::system(settings.prompt.trim()),
            Message::user(task_text(work)),
        ];
        Self {
            settings,
            messages,
            turns: 0,
            answer: None,
            usage: Usage::default(),
            elapsed_ms: 0,
            simulated: false,
        }
    }

    /// Takes a finished turn, from the model or from the journal.
    pub fn take(&mut self, turn: &ModelTurn) {
        self.turns += 1;
        self.usage = self.usage.plus(turn.usage);
        self.elapsed_ms = self.elapsed_ms.saturating_add(turn.elapsed_ms);
        self.simulated |= turn.simulated;
        let text = turn.text.trim();
        if text.is_empty() {
            self.messages.push(Message::user(EMPTY_ANSWER));
        } else {
            self.answer = Some(text.to_owned());
        }
    }

    /// What is to be done next.
    #[must_use]
    pub fn step(&self) -> Step {
        if let Some(answer) = &self.answer {
            return Step::Answer(answer.clone());
        }
        if self.turns >= self.settings.max_iterations.max(1) {
            let message = format!(
                "the model {} gave an empty answer {} times: another model or prompt may help",
                self.settings.model, self.turns
            );
            return Step::Fail(ErrorBody::new(Code::EmptyAnswer, message));
        }
        Step::Ask(ChatRequest::new(
            self.settings.model.clone(),
            self.messages.clone(),
            self.settings.num_predict,
        ))
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.settings.model
    }

    /// What all turns used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// How long all turns took, in milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    /// Whether a simulated model wrote any turn.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.simulated
    }
}

fn task_text(work: &Work) -> String {
    match &work.context {
        Some(context) => format!("{}\n\n# Context\n\n{}", work.input.trim(), context.trim()),
        None => work.input.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use swarm_protocol::submission::Budget;
    use swarm_protocol::{RunId, Timestamp, Version};

    use super::*;

    fn work(context: Option<&str>) -> Work {
        Work {
            v: Version,
            run: RunId::random(),
            task: "t".parse().unwrap(),
            attempt: 1,
            agent: "a".parse().unwrap(),
            input: " Why? ".into(),
            context: context.map(str::to_owned),
            budget: Budget::default(),
            deadline: Timestamp::from_millis(0),
        }
    }

    fn settings() -> Settings {
        Settings {
            prompt: "You are.\n".into(),
            model: "m".into(),
            max_iterations: 2,
            num_predict: 9,
        }
    }

    fn turn(text: &str) -> ModelTurn {
        let usage = Usage {
            input_tokens: 3,
            output_tokens: 4,
            model_calls: 1,
            tool_calls: 0,
        };
        ModelTurn {
            model: "m".into(),
            text: text.into(),
            tool_calls: vec![],
            usage,
            elapsed_ms: 10,
            simulated: true,
        }
    }

    #[test]
    fn one_turn_answers() {
        let mut agent = AgentLoop::new(settings(), &work(Some("Because.")));
        let messages = vec![
            Message::system("You are."),
            Message::user("Why?\n\n# Context\n\nBecause."),
        ];
        assert_eq!(agent.step(), Step::Ask(ChatRequest::new("m", messages, 9)));
        agent.take(&turn(" So. "));
        assert_eq!(agent.step(), Step::Answer("So.".into()));
        assert_eq!(
            (
                agent.usage().model_calls,
                agent.elapsed_ms(),
                agent.simulated()
            ),
            (1, 10, true)
        );
    }

    #[test]
    fn an_empty_answer_is_asked_for_again_and_then_fails() {
        let mut agent = AgentLoop::new(settings(), &work(None));
        agent.take(&turn("  "));
        let Step::Ask(request) = agent.step() else {
            panic!()
        };
        assert_eq!(request.messages.last(), Some(&Message::user(EMPTY_ANSWER)));
        agent.take(&turn(""));
        let Step::Fail(error) = agent.step() else {
            panic!()
        };
        assert_eq!(error.code, "SW-MODEL-EMPTY");
    }

    #[test]
    fn a_replayed_journal_leads_to_the_same_step() {
        let (mut live, mut replayed) = (
            AgentLoop::new(settings(), &work(None)),
            AgentLoop::new(settings(), &work(None)),
        );
        live.take(&turn(""));
        replayed.take(&turn(""));
        assert_eq!(live.step(), replayed.step());
    }
}
