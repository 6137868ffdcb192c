//! The loop that an agent thinks in: a value without I/O. Turns of the model and results of tools go in; what is to be done
//! next comes out. It can be written down and read back; fed with the same journal it comes to the same state.
//!
//! Turn -> tools -> turn, at most `max_iterations` of them; then one turn without tools, which has to answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use swarm_model::context::{self, Calibration};
use swarm_model::{ChatError, ChatRequest, Completion, Message, ModelFacts, ToolOffer};
use swarm_protocol::journal::{ModelTurn, ToolCall, ToolMode, ToolReturn, ToolStatus, TurnProblem};
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{Code, ErrorBody, Usage};

mod reading;
mod structured;
mod words;

use reading::Asked;
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
    /// No answer is to be had; what there is of one.
    Fail {
        /// Why.
        error: ErrorBody,
        /// The text so far, when there is any.
        partial: Option<String>,
    },
}

/// Unreadable calls after which a model is no longer given tools by its host's API.
const MOST_UNREADABLE: u32 = 2;

/// The same call with the same arguments is answered once from what is known; the next time ends the use of tools.
const MOST_REPEATS: u32 = 2;

/// Turns in a row whose calls all failed end the use of tools.
const MOST_FRUITLESS: u32 = 3;

/// Times that a host may find the chat too long.
const MOST_TOO_LONG: u32 = 2;

/// Part of the context window that the estimate may be wrong by.
const RESERVE: u64 = 16;

/// A call whose result the next turn waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pending {
    call: ToolCall,
    result: Option<ToolReturn>,
}

/// How often something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Trouble {
    unreadable: u32,
    not_json: u32,
    empty: u32,
    cut: u32,
    looping: u32,
    announced: u32,
    too_long: u32,
    fruitless: u32,
}

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentLoop {
    settings: Settings,
    facts: ModelFacts,
    tools: Vec<ToolOffer>,
    budget: Budget,
    mode: ToolMode,
    messages: Vec<Message>,
    pending: Vec<Pending>,
    /// Results by tool and arguments, and how often that call was made.
    known: BTreeMap<String, (ToolReturn, u32)>,
    turns: u32,
    trouble: Trouble,
    closing: Option<Closing>,
    thinks: Option<bool>,
    answer: Option<String>,
    failure: Option<ErrorBody>,
    last_text: Option<String>,
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
            None if facts.tools => ToolMode::Native,
            None => ToolMode::Structured,
        };
        let tools = if mode == ToolMode::Plain { Vec::new() } else { tools };
        let messages = vec![
            Message::system(settings.prompt.trim()),
            Message::user(task_text(work)),
        ];
        Self {
            settings,
            facts,
            tools,
            budget: work.budget,
            mode,
            messages,
            pending: Vec::new(),
            known: BTreeMap::new(),
            turns: 0,
            trouble: Trouble::default(),
            closing: None,
            thinks: None,
            answer: None,
            failure: None,
            last_text: None,
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
            return Step::Fail {
                error,
                partial: self.last_text.clone(),
            };
        }
        let open = self.pending.iter().filter(|pending| pending.result.is_none());
        let open: Vec<ToolCall> = open.map(|pending| pending.call.clone()).collect();
        if open.is_empty() {
            self.ask()
        } else {
            Step::Call(open)
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

    /// What a call has for a result without being run: the same one was made before.
    #[must_use]
    pub fn known(&self, call: &ToolCall) -> Option<ToolReturn> {
        let (known, _) = self.known.get(&key(call))?;
        let mut result = words::already(&known.result);
        result.tool_use_id.clone_from(&call.tool_use_id);
        Some(ToolReturn {
            result,
            repeated: true,
            elapsed_ms: 0,
            repairs: Vec::new(),
            name: call.name.clone(),
        })
    }

    /// Takes a finished turn, from the model or from the journal.
    pub fn take(&mut self, turn: &ModelTurn) {
        self.usage = self.usage.plus(turn.usage);
        self.elapsed_ms = self.elapsed_ms.saturating_add(turn.elapsed_ms);
        self.simulated |= turn.simulated;
        if let Some(estimated) = turn.estimated_tokens {
            self.calibration.learn(estimated, turn.usage.input_tokens);
        }
        if turn.usage.model_calls > 0 {
            self.turns += 1;
        }
        if !turn.text.trim().is_empty() {
            self.last_text = Some(turn.text.trim().to_owned());
        }
        // An older version wrote empty turns without saying what was wrong with them.
        let empty = turn.text.trim().is_empty() && turn.tool_calls.is_empty();
        match turn.problem.or(empty.then_some(TurnProblem::Empty)) {
            Some(problem) => self.take_problem(problem, turn),
            None if turn.tool_calls.is_empty() => self.answer = Some(turn.text.trim().to_owned()),
            None => self.take_calls(turn),
        }
    }

    /// Takes the result of a call, from the tool or from the journal.
    pub fn take_result(&mut self, result: &ToolReturn) {
        let id = &result.result.tool_use_id;
        let waiting = self.pending.iter_mut().find(|pending| pending.call.tool_use_id == *id);
        let Some(pending) = waiting else { return };
        pending.result = Some(result.clone());
        let key = key(&pending.call);
        self.usage.tool_calls += u64::from(!result.repeated);
        let known = self.known.entry(key).or_insert_with(|| (result.clone(), 0));
        known.1 += 1;
        if known.1 > MOST_REPEATS {
            self.closing.get_or_insert(Closing::Repeats);
        }
        if self.pending.iter().all(|pending| pending.result.is_some()) {
            self.show_results();
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.settings.model
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
            turn: self.turns + 1,
            model: &self.settings.model,
            mode: if closing { ToolMode::Plain } else { self.mode },
            tools: names.filter(|_| !closing).collect(),
            closing,
            estimated_tokens: context::estimate(&self.chat(), self.offered()),
        }
    }

    fn offered(&self) -> &[ToolOffer] {
        match self.mode {
            ToolMode::Native if !self.is_closing() => &self.tools,
            _ => &[],
        }
    }

    /// The chat as the next turn needs it, before it is made to fit.
    fn chat(&self) -> Vec<Message> {
        let mut messages = self.messages.clone();
        if self.is_closing() {
            let closing = self.closing.unwrap_or(Closing::Turns);
            messages.push(Message::user(words::close(closing)));
        } else if self.mode == ToolMode::Structured
            && let Some(system) = messages.first_mut()
        {
            system.content = format!("{}\n\n{}", system.content, structured::instructions(&self.tools));
        }
        messages
    }

    fn ask(&self) -> Step {
        let offered = self.offered();
        let window = u64::from(self.facts.window) >> self.trouble.too_long;
        let room = window
            .saturating_sub(u64::from(self.settings.num_predict.min(self.facts.window / 2)))
            .saturating_sub(context::estimate(&[], offered))
            .saturating_sub(RESERVE);
        let compacted = match context::compact(&self.chat(), room, &self.calibration) {
            Ok(compacted) => compacted,
            Err(error) => {
                return Step::Fail {
                    error: ErrorBody::new(Code::ModelContext, error.to_string()),
                    partial: self.last_text.clone(),
                };
            }
        };
        let mut request = ChatRequest::new(
            self.settings.model.clone(),
            compacted.messages,
            self.settings.num_predict,
        );
        request.tools = offered.to_vec();
        request.think = self.thinks;
        if self.mode == ToolMode::Structured && !self.is_closing() {
            request.format = Some(structured::format(&self.tools));
            request.think = Some(false);
        }
        Step::Ask(Box::new(request))
    }

    fn over_budget(&self) -> Option<ErrorBody> {
        let tokens = self.usage.input_tokens + self.usage.output_tokens;
        let waiting = self.pending.iter().any(|pending| pending.result.is_none());
        let bounds = [
            ("model calls", self.budget.model_calls, self.usage.model_calls),
            ("tokens", self.budget.tokens, tokens),
            // Used up only when another one is wanted.
            ("tool calls", self.budget.tool_calls.filter(|_| waiting), self.usage.tool_calls),
        ];
        let over = bounds.into_iter().find_map(|(what, bound, used)| {
            let bound = bound.filter(|bound| used >= *bound)?;
            Some(format!("the budget of {bound} {what} is used up"))
        });
        over.map(|message| ErrorBody::new(Code::Budget, message))
    }

    fn take_calls(&mut self, turn: &ModelTurn) {
        self.mode = turn.mode.unwrap_or(self.mode);
        let said = match self.mode {
            ToolMode::Structured => {
                let calls = turn.tool_calls.iter();
                let actions = calls.map(|call| serde_json::json!({"action": call.name, "arguments": call.input}).to_string());
                Message::assistant(actions.collect::<Vec<_>>().join("\n"))
            }
            _ => {
                let calls = turn.tool_calls.iter().map(|call| swarm_model::ToolCall {
                    id: Some(call.tool_use_id.clone()),
                    name: call.name.clone(),
                    arguments: as_object(&call.input),
                });
                Message::assistant(turn.text.clone()).calling(calls.collect())
            }
        };
        self.messages.push(said);
        let pending = turn.tool_calls.iter().map(|call| Pending {
            call: call.clone(),
            result: None,
        });
        self.pending = pending.collect();
    }

    /// Shows the model all results of its last turn, in the order of its calls.
    fn show_results(&mut self) {
        let results = std::mem::take(&mut self.pending).into_iter().filter_map(|pending| pending.result);
        let mut fruitful = false;
        for result in results {
            fruitful |= result.result.status == ToolStatus::Success && !result.repeated;
            self.messages.push(match self.mode {
                ToolMode::Structured => Message::user(words::returned(&result)),
                _ => Message::tool(
                    result.name.clone(),
                    result.result.tool_use_id.clone(),
                    words::text_of(&result.result),
                ),
            });
        }
        self.trouble.fruitless = if fruitful { 0 } else { self.trouble.fruitless + 1 };
        if self.trouble.fruitless >= MOST_FRUITLESS {
            self.closing.get_or_insert(Closing::NoProgress);
        }
    }

    fn take_problem(&mut self, problem: TurnProblem, turn: &ModelTurn) {
        let closing = self.is_closing_turn(turn);
        match problem {
            TurnProblem::ToolsUnsupported => self.mode = ToolMode::Structured,
            TurnProblem::TooLong => {
                self.trouble.too_long += 1;
                if self.trouble.too_long > MOST_TOO_LONG {
                    let message = "the chat does not fit into the model's context window".to_owned();
                    self.failure = Some(ErrorBody::new(Code::ModelContext, message));
                }
            }
            TurnProblem::CallUnreadable => {
                self.trouble.unreadable += 1;
                self.degrade();
            }
            TurnProblem::CallAnnounced => {
                self.trouble.announced += 1;
                if self.trouble.announced > 1 {
                    self.trouble.unreadable += 1;
                    self.degrade();
                }
            }
            TurnProblem::NotJson => {
                self.trouble.not_json += 1;
                if self.trouble.not_json >= MOST_UNREADABLE {
                    self.closing.get_or_insert(Closing::Unreadable);
                }
            }
            TurnProblem::Cut => {
                self.trouble.cut += 1;
                // Twice: a beginning is better than nothing, and says that it is one.
                if self.trouble.cut > 1 && !turn.text.trim().is_empty() && turn.mode.is_none_or(|mode| mode != ToolMode::Structured) {
                    let bound = self.settings.num_predict;
                    self.answer = Some(format!("{}…\n\n(cut off at {bound} tokens)", turn.text.trim()));
                }
            }
            TurnProblem::Looping => {
                self.trouble.looping += 1;
                if self.trouble.looping > 1 {
                    let message = format!("the model {} repeats itself", self.settings.model);
                    self.failure = Some(ErrorBody::new(Code::ModelLooping, message));
                }
            }
            TurnProblem::Empty | TurnProblem::OnlyThinking => {
                self.trouble.empty += 1;
                if self.facts.thinking {
                    self.thinks = Some(false);
                }
            }
            TurnProblem::CallAtTheEnd => {}
        }
        if let Some(text) = words::feedback(problem, self.settings.num_predict) {
            if !turn.text.trim().is_empty() && problem != TurnProblem::Looping {
                self.messages.push(Message::assistant(turn.text.trim()));
            }
            self.messages.push(Message::user(text));
        }
        let counts = turn.usage.model_calls > 0;
        if counts && self.answer.is_none() && self.failure.is_none() {
            self.failure = self.out_of_turns(problem, closing);
        }
    }

    /// Two unreadable calls, and the model is asked for JSON in place of calls.
    fn degrade(&mut self) {
        if self.trouble.unreadable >= MOST_UNREADABLE && self.mode == ToolMode::Native && self.settings.tool_mode.is_none() {
            self.mode = ToolMode::Structured;
        } else if self.trouble.unreadable > MOST_UNREADABLE {
            self.closing.get_or_insert(Closing::Unreadable);
        }
    }

    /// Whether a turn was the one without tools. `take` has counted it already.
    fn is_closing_turn(&self, turn: &ModelTurn) -> bool {
        let before = self.turns.saturating_sub(u32::from(turn.usage.model_calls > 0));
        self.closing.is_some() || (!self.tools.is_empty() && before >= self.max_turns())
    }

    fn out_of_turns(&self, problem: TurnProblem, closing: bool) -> Option<ErrorBody> {
        let model = &self.settings.model;
        if closing {
            let why = self.closing.unwrap_or(Closing::Turns).reason();
            let message = format!("the model {model} gave no answer: {why}, and asked for an answer without tools it gave none");
            return Some(ErrorBody::new(Code::Iterations, message));
        }
        // Without tools there is no turn behind the last one.
        let last = self.tools.is_empty() && self.turns >= self.max_turns();
        let (code, did) = match problem {
            TurnProblem::Cut => (Code::ModelContext, "was cut off"),
            _ => (Code::EmptyAnswer, "gave an empty answer"),
        };
        let message = format!("the model {model} {did} {} times", self.turns);
        last.then(|| ErrorBody::new(code, message))
    }
}

/// What makes two calls the same: object keys are ordered by serde_json's map or by this.
fn key(call: &ToolCall) -> String {
    format!("{} {}", call.name, canonical(&call.input))
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, String> = fields.iter().map(|(name, value)| (name, canonical(value))).collect();
            format!("{ordered:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

/// Arguments as hosts take them back: a string in their place is refused with 400.
fn as_object(input: &Value) -> Value {
    match input {
        Value::Object(_) => input.clone(),
        Value::String(text) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| serde_json::json!({ "input": text })),
        Value::Null => serde_json::json!({}),
        other => serde_json::json!({ "input": other }),
    }
}

fn task_text(work: &Work) -> String {
    match &work.context {
        Some(context) => format!("{}\n\n# Context\n\n{}", work.input.trim(), context.trim()),
        None => work.input.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
