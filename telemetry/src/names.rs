//! The names of operations and attributes.
//!
//! Those of `gen_ai` follow version 0.1.0 of the OpenTelemetry semantic conventions for GenAI
//! (<https://github.com/open-telemetry/semantic-conventions-genai>), in which each of them is in development: a later version
//! may rename it, and is followed here alone. There is no `gen_ai.conversation.id`: a run is no conversation, and the
//! conventions forbid a made-up one.

/// Values of [`OPERATION`], and first words of the spans' names.
pub(crate) mod operation {
    pub(crate) const CHAT: &str = "chat";
    pub(crate) const EXECUTE_TOOL: &str = "execute_tool";
    pub(crate) const INVOKE_AGENT: &str = "invoke_agent";
    pub(crate) const INVOKE_WORKFLOW: &str = "invoke_workflow";
}

pub(crate) const OPERATION: &str = "gen_ai.operation.name";
pub(crate) const PROVIDER: &str = "gen_ai.provider.name";
pub(crate) const AGENT: &str = "gen_ai.agent.name";
pub(crate) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(crate) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(crate) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(crate) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(crate) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(crate) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(crate) const TOOL: &str = "gen_ai.tool.name";
pub(crate) const TOOL_TYPE: &str = "gen_ai.tool.type";
pub(crate) const TOOL_CALL: &str = "gen_ai.tool.call.id";
/// Content, only when it is asked for.
pub(crate) const TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
/// Content, only when it is asked for.
pub(crate) const TOOL_RESULT: &str = "gen_ai.tool.call.result";
/// Content, only when it is asked for.
pub(crate) const INPUT_MESSAGES: &str = "gen_ai.input.messages";
/// Content, only when it is asked for.
pub(crate) const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";

/// A code `SW-…`, or the name of a tool's failure.
pub(crate) const ERROR: &str = "error.type";

pub(crate) const SERVICE_NAME: &str = "service.name";
pub(crate) const SERVICE_VERSION: &str = "service.version";
pub(crate) const SERVICE_INSTANCE: &str = "service.instance.id";
pub(crate) const HOST: &str = "host.name";

pub(crate) const RUN: &str = "swarm.run";
pub(crate) const STATE: &str = "swarm.run.state";
pub(crate) const TASK: &str = "swarm.task";
pub(crate) const ATTEMPT: &str = "swarm.attempt";
/// Which hand-over of the attempt's work it was; above 1, another worker had it before.
pub(crate) const DELIVERY: &str = "swarm.delivery";
/// The process that ended an attempt.
pub(crate) const INSTANCE: &str = "swarm.instance";
/// Whether a simulated model wrote any of it.
pub(crate) const SIMULATED: &str = "swarm.simulated";

/// The provider of every model.
pub(crate) const OLLAMA: &str = "ollama";
/// What runs a tool of ours is: code of the agent's process.
pub(crate) const FUNCTION: &str = "function";
/// The error of what its process began and did not finish: canceled, handed back, or out of time.
pub(crate) const INTERRUPTED: &str = "interrupted";
/// The error without a code.
pub(crate) const OTHER: &str = "_OTHER";
