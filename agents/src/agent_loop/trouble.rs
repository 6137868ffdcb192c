//! Turns that are no answer and call nothing: what is counted, what the model is told, and when it is enough.

use serde::{Deserialize, Serialize};
use swarm_model::Message;
use swarm_protocol::journal::{ModelTurn, ToolMode, TurnProblem};
use swarm_protocol::{Code, ErrorBody};

use super::AgentLoop;
use super::words::{self, Closing};
use crate::measures::Measure;

/// Calls that cannot be read, until the model is asked for JSON in place of calls; as many again, and it gets no tools.
const MOST_UNREADABLE: u32 = 2;

/// Times that a host may find the chat too long.
const MOST_TOO_LONG: u32 = 2;

/// How often something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    pub(super) unreadable: u32,
    pub(super) not_json: u32,
    pub(super) cut: u32,
    pub(super) looping: u32,
    pub(super) announced: u32,
    pub(super) too_long: u32,
    pub(super) fruitless: u32,
}

impl AgentLoop {
    /// Takes a turn with this problem; `closing` when it was the one that had to answer.
    pub(super) fn take_problem(&mut self, problem: TurnProblem, turn: &ModelTurn, closing: bool) {
        self.count(problem);
        self.answer_back(problem, turn);
        let last = closing || (self.tools.is_empty() && self.turns >= self.max_turns());
        if problem == TurnProblem::Cut && (last || self.trouble.cut > 1) {
            self.answer = self.cut_answer(turn);
        }
        let was_asked = turn.usage.model_calls > 0;
        if was_asked && last && self.answer.is_none() && self.failure.is_none() {
            self.failure = Some(self.out_of_turns(problem, closing));
        }
    }

    /// Counts it, and what follows from the count.
    fn count(&mut self, problem: TurnProblem) {
        let trouble = &mut self.trouble;
        match problem {
            TurnProblem::ToolsUnsupported => self.mode = ToolMode::Structured,
            TurnProblem::TooLong => {
                trouble.too_long += 1;
                if trouble.too_long > MOST_TOO_LONG {
                    let message =
                        "the chat does not fit into the model's context window".to_owned();
                    self.failure = Some(ErrorBody::new(Code::ModelContext, message));
                }
            }
            TurnProblem::CallUnreadable => {
                trouble.unreadable += 1;
                self.degrade();
            }
            TurnProblem::CallAnnounced => {
                trouble.announced += 1;
                // Once may be a manner of speaking; who does it again does not know how.
                if trouble.announced > 1 {
                    trouble.unreadable += MOST_UNREADABLE;
                }
                self.degrade();
            }
            TurnProblem::NotJson => {
                trouble.not_json += 1;
                if trouble.not_json >= MOST_UNREADABLE {
                    self.closing.get_or_insert(Closing::Unreadable);
                }
            }
            TurnProblem::Cut => trouble.cut += 1,
            TurnProblem::Looping => {
                trouble.looping += 1;
                if trouble.looping > 1 {
                    let message = format!("the model {} repeats itself", self.settings.model);
                    self.failure = Some(ErrorBody::new(Code::ModelLooping, message));
                }
            }
            TurnProblem::Empty | TurnProblem::OnlyThinking
                if self.facts.thinking && Measure::WithoutThinking.is_on() =>
            {
                self.think = Some(false);
            }
            TurnProblem::Empty | TurnProblem::OnlyThinking | TurnProblem::CallAtTheEnd => {}
        }
    }

    /// Tells the model what was wrong.
    fn answer_back(&mut self, problem: TurnProblem, turn: &ModelTurn) {
        let Some(text) = words::feedback(problem, turn, self.settings.num_predict) else {
            return;
        };
        if !turn.text.trim().is_empty() {
            self.messages.push(Message::assistant(turn.text.trim()));
        }
        self.messages.push(Message::user(text));
    }

    /// A beginning is better than nothing, and says that it is one.
    fn cut_answer(&self, turn: &ModelTurn) -> Option<String> {
        let text = turn.text.trim();
        let is_prose = turn.mode != Some(ToolMode::Structured) && !text.is_empty();
        let bound = self.settings.num_predict;
        is_prose.then(|| format!("{text}…\n\n(cut off at {bound} tokens)"))
    }

    /// A model whose calls cannot be read is asked for JSON in place of calls, and later for nothing but an answer.
    fn degrade(&mut self) {
        let is_chosen = self.settings.tool_mode.is_some();
        if self.trouble.unreadable >= 2 * MOST_UNREADABLE {
            self.closing.get_or_insert(Closing::Unreadable);
        } else if self.trouble.unreadable >= MOST_UNREADABLE
            && self.mode == ToolMode::Native
            && !is_chosen
            && Measure::Degrade.is_on()
        {
            self.mode = ToolMode::Structured;
        }
    }

    fn out_of_turns(&self, problem: TurnProblem, closing: bool) -> ErrorBody {
        let model = &self.settings.model;
        if closing {
            let why = self.closing.unwrap_or(Closing::Turns).reason();
            let message = format!(
                "the model {model} gave no answer: {why}, and asked for an answer without tools it gave none"
            );
            return ErrorBody::new(Code::Iterations, message);
        }
        let (code, did) = match problem {
            TurnProblem::Looping => (Code::ModelLooping, "repeated itself"),
            TurnProblem::Cut => (Code::ModelContext, "was cut off"),
            _ => (Code::EmptyAnswer, "gave an empty answer"),
        };
        let message = format!(
            "the model {model} {did} {} times: another model or prompt may help",
            self.turns
        );
        ErrorBody::new(code, message)
    }
}
