//! A model whose turns the seed picks, and the tools that it may call.

use serde_json::json;
use swarm_agents::agent_loop::Settings;
use swarm_model::{ChatError, Completion, DoneReason, ModelFacts, ToolCall, ToolOffer};
use swarm_protocol::journal::ToolMode;
use swarm_tools::spec::Effects;

use crate::faults::Fault;
use crate::scheduler::Sim;

/// The tools: their names, and what happens when they run twice.
pub const TOOLS: [(&str, Effects); 3] = [
    ("look", Effects::None),
    ("put", Effects::Idempotent),
    ("send", Effects::Once),
];

/// A text that kills the worker that gives it to its model.
pub const POISON: &str = "poison";

/// What the loop is told of its agent.
pub fn settings() -> Settings {
    Settings {
        prompt: "You are simulated.".into(),
        model: "dice".into(),
        max_iterations: 4,
        num_predict: 100,
        // Other modes put calls into words, where the checker would not find them again.
        tool_mode: Some(ToolMode::Native),
    }
}

/// What the model can do.
pub fn facts() -> ModelFacts {
    ModelFacts {
        tools: true,
        window: 65_536,
        ..ModelFacts::default()
    }
}

/// The tools as they are offered.
pub fn offers() -> Vec<ToolOffer> {
    let offer = |(name, _): (&str, Effects)| ToolOffer {
        name: name.to_owned(),
        description: format!("To {name}."),
        parameters: json!({"type": "object"}),
    };
    TOOLS.map(offer).to_vec()
}

/// Whether a call may run twice.
pub fn may_repeat(tool: &str) -> bool {
    let tool = TOOLS.iter().find(|(name, _)| *name == tool);
    tool.is_none_or(|(_, effects)| effects.may_repeat())
}

/// How long a turn takes, in milliseconds.
pub fn span(sim: &Sim) -> u64 {
    if sim.fault(Fault::SlowModel) {
        sim.between(10_000, 120_000)
    } else {
        sim.between(100, 3_000)
    }
}

/// A turn.
pub fn turn(sim: &Sim) -> Result<Completion, ChatError> {
    if sim.fault(Fault::HostDown) {
        let (hosts, detail) = (vec!["dice".into()], "refused".into());
        return Err(ChatError::Connect { hosts, detail });
    }
    if sim.fault(Fault::HostFails) {
        return Err(match sim.below(3) {
            0 => ChatError::Busy {
                message: "full".into(),
            },
            1 => ChatError::NoDone,
            _ => ChatError::ModelNotFound {
                model: "dice".into(),
            },
        });
    }
    let calls = match sim.below(10) {
        0..6 => sim.between(1, 4),
        _ => 0,
    };
    let text = match (calls, sim.below(20)) {
        (0, 0) => String::new(),
        (0, n) => format!("The answer is {n}."),
        _ => String::new(),
    };
    let call = |_| ToolCall {
        id: None,
        name: sim.pick(&TOOLS).0.to_owned(),
        arguments: json!({ "n": sim.below(2) }),
    };
    Ok(Completion {
        text,
        thinking: String::new(),
        tool_calls: (0..calls).map(call).collect(),
        done_reason: DoneReason::Stop,
        input_tokens: 10,
        output_tokens: 5,
        simulated: true,
    })
}
