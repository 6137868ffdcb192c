//! The loop that an agent thinks in: a value without I/O. Turns of the model and results of tools go in; what is to be done
//! next comes out. It can be written down and read back; fed with the same journal it comes to the same state.
//!
//! Turn -> tools -> turn, at most `max_iterations` of them; then one turn without tools, which has to answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use swarm_model::context::Calibration;
use swarm_model::{ChatError, ChatRequest, Completion, Message, ModelFacts, ToolOffer};
use swarm_protocol::journal::{
    Body, Entry, ModelTurn, PeerMessage, ToolCall, ToolMode, ToolReturn, ToolStatus, TurnProblem,
};
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{Answer, AnswerStatus, Code, ErrorBody, Usage};

use crate::measures::Measure;

mod calls;
mod reading;
mod request;
mod structured;
#[cfg(test)]
mod tests;
mod trouble;
mod words;

use reading::Asked;
use trouble::Trouble;
use words::Closing;

/// What the loop needs to know of its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The system prompt.
    pub prompt: String,
    /// The model.
    pub model: String,
    /// Most turns of the model that may call tools.
    pub max_iterations: u32,
    /// Most tokens of one turn.
    pub num_predict: u32,
    /// How the model is given tools; chosen by what the model can do when not set.
    pub tool_mode: Option<ToolMode>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask the model.
    Ask(Box<ChatRequest>),
    /// Run these calls; they may run side by side.
    Call(Vec<ToolCall>),
    /// The answer.
    Answer(String),
    /// No answer is to be had; [`AgentLoop::partial`] is what there is of one.
    Fail(ErrorBody),
}

/// The same call with the same arguments is answered once from what is known; the next time ends the use of tools.
const MOST_SAME: u32 = 2;

/// Turns in a row whose calls brought nothing new end the use of tools.
const MOST_FRUITLESS: u32 = 3;

/// A call whose result the next turn waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pending {
    call: ToolCall,
    result: Option<ToolReturn>,
}

/// What came of a call, and how often it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    result: ToolReturn,
    times: u32,
}

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentLoop {
    settings: Settings,
    facts: ModelFacts,
    tools: Vec<ToolOffer>,
    budget: Budget,
    mode: ToolMode,
    /// The chat, with calls and results as hosts with a tools API take them, whatever the mode.
    messages: Vec<Message>,
    pending: Vec<Pending>,
    /// By tool and arguments.
    known: BTreeMap<String, Known>,
    turns: u32,
    /// Turns of earlier attempts that brought nothing: they are forgotten, but for the ids of calls.
    skipped: u32,
    /// Numbers of the messages that the chat has.
    messages_taken: BTreeSet<u64>,
    trouble: Trouble,
    closing: Option<Closing>,
    think: Option<bool>,
    answer: Option<String>,
    failure: Option<ErrorBody>,
    last_text: Option<String>,
    /// Text of the task that others wrote, which a model may quote.
    context: Option<String>,
    calibration: Calibration,
    usage: Usage,
    elapsed_ms: u64,
    simulated: bool,
}

impl AgentLoop {
    /// A loop at its beginning. `tools` are those that are offered, few as small models need it.
    #[must_use]
    pub fn new(settings: Settings, facts: ModelFacts, tools: Vec<ToolOffer>, work: &Work) -> Self {
        let mode = match settings.tool_mode {
            _ if tools.is_empty() => ToolMode::Plain,
            Some(mode) => mode,
            None if facts.tools || !Measure::ModeByFacts.is_on() => ToolMode::Native,
            None => ToolMode::Structured,
        };
        let messages = vec![
            Message::system(settings.prompt.trim()),
            Message::user(task_text(work)),
        ];
        Self {
            tools: if mode == ToolMode::Plain {
                Vec::new()
            } else {
                tools
            },
            settings,
            facts,
            budget: work.budget,
            mode,
            messages,
            pending: Vec::new(),
            known: BTreeMap::new(),
            turns: 0,
            skipped: 0,
            messages_taken: BTreeSet::new(),
            trouble: Trouble::default(),
            closing: None,
            think: None,
            answer: None,
            failure: None,
            last_text: None,
            context: work.context.clone(),
            calibration: Calibration::default(),
            usage: Usage::default(),
            elapsed_ms: 0,
            simulated: false,
        }
    }

    /// What is to be done next.
    #[must_use]
    pub fn step(&self) -> Step {
        if let Some(answer) = &self.answer {
            return Step::Answer(answer.clone());
        }
        if let Some(error) = self.failure.clone().or_else(|| self.over_budget()) {
            return Step::Fail(error);
        }
        let next = self.next_calls();
        if !next.is_empty() {
            return Step::Call(next);
        }
        match self.request() {
            Ok(request) => Step::Ask(Box::new(request)),
            Err(too_long) => Step::Fail(ErrorBody::new(Code::ModelContext, too_long.to_string())),
        }
    }

    /// Whether there is nothing more to ask or to call.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answer.is_some() || self.failure.is_some() || self.over_budget().is_some()
    }

    /// The turn that an answer of the model is, to be recorded and then given to [`take`](Self::take).
    #[must_use]
    pub fn read(&self, completion: Completion, elapsed_ms: u64) -> ModelTurn {
        reading::turn(&self.asked(), completion, elapsed_ms)
    }

    /// The same for an error that is the model's own; nothing for those of its host.
    #[must_use]
    pub fn read_error(&self, error: &ChatError, elapsed_ms: u64) -> Option<ModelTurn> {
        reading::failed_turn(&self.asked(), error, elapsed_ms)
    }

    /// What a call has for a result without being run: the same one brought it before.
    #[must_use]
    pub fn known(&self, call: &ToolCall) -> Option<ToolReturn> {
        let known = &self.known.get(&calls::key(call))?.result;
        let succeeded = known.result.status == ToolStatus::Success;
        (succeeded && Measure::KnownResults.is_on()).then(|| ToolReturn {
            result: words::already(&known.result, &call.tool_use_id),
            name: call.name.clone(),
            repairs: Vec::new(),
            repeated: true,
            elapsed_ms: 0,
        })
    }

    /// Takes what a journal says: of this attempt all, of earlier ones what was finished. What those used is not this one's,
    /// and what was wrong with their turns does not matter any more.
    pub fn replay(&mut self, entry: &Entry, attempt: u32) {
        let spent = (self.usage, self.elapsed_ms);
        let earlier = entry.attempt < attempt;
        match &entry.body {
            Body::ModelTurn(turn) if earlier && turn.tool_calls.is_empty() => self.skipped += 1,
            Body::ModelTurn(turn) => self.take(turn),
            Body::ToolResult(result) => self.take_result(result),
            Body::MessageReceived(message) => self.take_message(message),
            Body::CallBegun { .. }
            | Body::Completed(_)
            | Body::Failed(_)
            | Body::Canceled(_)
            | Body::TimedOut(_)
            | Body::Suspended(_) => {}
        }
        if earlier {
            (self.usage, self.elapsed_ms) = spent;
        }
    }

    /// Takes a message to the task, from whoever sent it or from the journal.
    pub fn take_message(&mut self, message: &PeerMessage) {
        if self.messages_taken.insert(message.n) {
            self.messages.push(Message::user(words::message(message)));
        }
    }

    /// Whether the chat has this message already.
    #[must_use]
    pub fn has_message(&self, message: &PeerMessage) -> bool {
        self.messages_taken.contains(&message.n)
    }

    /// Takes a finished turn, from the model or from the journal.
    pub fn take(&mut self, turn: &ModelTurn) {
        // An older version wrote empty turns without saying what was wrong with them.
        let empty = reading::is_nothing(&turn.text, turn.tool_calls.len());
        let problem = turn.problem.or(empty.then_some(TurnProblem::Empty));
        let answers = problem.is_none() && turn.tool_calls.is_empty();
        if !answers {
            self.calibrate(turn);
        }
        let closing = self.is_closing();
        self.usage = self.usage.plus(turn.usage);
        self.elapsed_ms = self.elapsed_ms.saturating_add(turn.elapsed_ms);
        self.simulated |= turn.simulated;
        if turn.usage.model_calls > 0 {
            self.turns += 1;
        }
        if !turn.text.trim().is_empty() {
            self.last_text = Some(turn.text.trim().to_owned());
        }
        match problem {
            Some(problem) => self.take_problem(problem, turn, closing),
            None if answers => self.answer = Some(turn.text.trim().to_owned()),
            None => self.take_calls(turn),
        }
    }

    /// Takes the result of a call, from the tool or from the journal.
    pub fn take_result(&mut self, result: &ToolReturn) {
        let id = &result.result.tool_use_id;
        let waiting = self
            .pending
            .iter_mut()
            .find(|pending| pending.call.tool_use_id == *id && pending.result.is_none());
        let Some(pending) = waiting else { return };
        pending.result = Some(result.clone());
        let key = calls::key(&pending.call);
        self.usage.tool_calls += u64::from(!result.repeated);
        let known = self.known.entry(key).or_insert_with(|| Known {
            result: result.clone(),
            times: 0,
        });
        known.times += 1;
        if !result.repeated {
            known.result = result.clone();
        }
        if known.times > MOST_SAME && Measure::ForcedAnswer.is_on() {
            self.closing.get_or_insert(Closing::Repeats);
        }
        if self.open_calls().next().is_none() {
            self.show_results();
        }
    }

    /// The answer that the work comes to, without its text or its error.
    #[must_use]
    pub fn answer(&self, work: &Work, status: AnswerStatus) -> Answer {
        Answer {
            task: work.task.clone(),
            agent: work.agent.clone(),
            model: self.settings.model.clone(),
            status,
            text: None,
            blob: None,
            error: None,
            usage: self.usage,
            elapsed_ms: self.elapsed_ms,
            simulated: self.simulated,
        }
    }

    /// The last text that the model wrote, when there is any.
    #[must_use]
    pub fn partial(&self) -> Option<&str> {
        self.last_text.as_deref()
    }

    /// What all turns and calls used.
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

    /// Whether the text of the next turn is for the reader as it comes: in structured mode it is JSON.
    #[must_use]
    pub fn streams_text(&self) -> bool {
        self.mode != ToolMode::Structured || self.is_closing()
    }

    /// The calls of the last turn that have no result, also those that [`step`](Self::step) does not name yet: the budget may
    /// not allow them, or they wait for a call that is the same.
    pub fn open_calls(&self) -> impl Iterator<Item = &ToolCall> {
        let open = |pending: &&Pending| pending.result.is_none();
        self.pending
            .iter()
            .filter(open)
            .map(|pending| &pending.call)
    }

    /// The open calls that may run now: as many as the budget allows, and of the same ones the first, whose result the others get.
    fn next_calls(&self) -> Vec<ToolCall> {
        let bound = self.budget.tool_calls.unwrap_or(u64::MAX);
        let left = bound.saturating_sub(self.usage.tool_calls);
        let mut seen = BTreeSet::new();
        self.open_calls()
            .filter(|call| seen.insert(calls::key(call)))
            .take(usize::try_from(left).unwrap_or(usize::MAX))
            .cloned()
            .collect()
    }

    /// Whether the next turn is the one without tools.
    fn is_closing(&self) -> bool {
        self.closing.is_some() || (!self.tools.is_empty() && self.turns >= self.max_turns())
    }

    fn max_turns(&self) -> u32 {
        self.settings.max_iterations.max(1)
    }

    fn asked(&self) -> Asked<'_> {
        let closing = self.is_closing();
        let names = self.tools.iter().map(|tool| tool.name.as_str());
        Asked {
            turn: self.turns + self.skipped + 1,
            model: &self.settings.model,
            mode: if closing { ToolMode::Plain } else { self.mode },
            tools: names.collect(),
            closing,
            foreign: self.foreign_texts(),
        }
    }

    /// What the model was given to read that others wrote.
    fn foreign_texts(&self) -> Vec<&str> {
        let results = self
            .messages
            .iter()
            .filter(|message| message.role == swarm_model::Role::Tool)
            .map(|message| message.content.as_str());
        results.chain(self.context.as_deref()).collect()
    }

    /// Learns from what the host counted of the request that this turn answers.
    fn calibrate(&mut self, turn: &ModelTurn) {
        if turn.usage.input_tokens == 0 {
            return;
        }
        if let Ok(request) = self.request() {
            let size = swarm_model::context::Size::of(&request.messages, &request.tools);
            self.calibration.observe(size, turn.usage.input_tokens);
        }
    }

    fn over_budget(&self) -> Option<ErrorBody> {
        let tokens = self.usage.input_tokens + self.usage.output_tokens;
        // Calls of tools are used up only when one more is wanted, turns of the model when none is.
        let calls = self.open_calls().next().is_some();
        let bounds = [
            (
                "tool calls",
                self.budget.tool_calls.filter(|_| calls),
                self.usage.tool_calls,
            ),
            (
                "model calls",
                self.budget.model_calls.filter(|_| !calls),
                self.usage.model_calls,
            ),
            ("tokens", self.budget.tokens, tokens),
        ];
        let over = bounds.into_iter().find_map(|(what, bound, used)| {
            let bound = bound.filter(|bound| used >= *bound)?;
            Some(format!("the budget of {bound} {what} is used up"))
        });
        over.map(|message| ErrorBody::new(Code::Budget, message))
    }

    fn take_calls(&mut self, turn: &ModelTurn) {
        self.mode = turn.mode.unwrap_or(self.mode);
        let said = turn.tool_calls.iter().map(|call| swarm_model::ToolCall {
            id: Some(call.tool_use_id.clone()),
            name: call.name.clone(),
            arguments: calls::as_object(&call.input),
        });
        self.messages
            .push(Message::assistant(turn.text.clone()).calling(said.collect()));
        let pending = turn.tool_calls.iter().map(|call| Pending {
            call: call.clone(),
            result: None,
        });
        self.pending = pending.collect();
    }

    /// Shows the model all results of its last turn, in the order of its calls.
    fn show_results(&mut self) {
        let mut fruitful = false;
        for result in std::mem::take(&mut self.pending)
            .into_iter()
            .filter_map(|pending| pending.result)
        {
            fruitful |= result.result.status == ToolStatus::Success && !result.repeated;
            let text = words::text_of(&result.result);
            self.messages
                .push(Message::tool(result.name, result.result.tool_use_id, text));
        }
        self.trouble.fruitless = if fruitful {
            0
        } else {
            self.trouble.fruitless + 1
        };
        if self.trouble.fruitless >= MOST_FRUITLESS {
            self.closing.get_or_insert(Closing::NoProgress);
        }
    }
}

fn task_text(work: &Work) -> String {
    match &work.context {
        Some(context) => format!("{}\n\n# Context\n\n{}", work.input.trim(), context.trim()),
        None => work.input.trim().to_owned(),
    }
}
