//! The official clients of Ollama against the simulator: both get what they would get from a server.

use std::process::Command;

use serde_json::{Value, json};
use swarm_tests::sim::Sim;
use swarm_tests::tools;

use crate::FAST;

/// What a client prints that drives a fresh simulator through a script of `tests/clients`.
async fn told(program: &str, script: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(folder.path(), &FAST).await;
    let script = tools::repository().join("tests/clients").join(script);
    let mut command = Command::new(tools::installed(program));
    command.arg(script).arg(sim.url());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn expected() -> Value {
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    let error = "an error was encountered while running the model: unexpected EOF";
    json!({
        "chat": ["[SIMULATED llama3.2:1b] Ja, süß.", "stop", 4],
        "stream": ["[SIMULATED llama3.2:1b] Ja, süß.", 5, "stop"],
        "tools": ["get_weather", {"city": "Oslo?"}, "The tool get_weather returned: \u{201c}rain\u{201d}", 0],
        "tools_stream": ["get_weather"],
        "think": ["(simulated", "[SIMULATED qwen3:4b] So.", null],
        "structured": {"kind": "rain", "days": 1},
        "generate": ["[SIMULATED llama3.2:1b] So.", true],
        "embed": [3, 768, true, false],
        "listing": [
            "fake-cloud:latest", "gemma2:2b", "llama3.2:1b", "llama3.2:3b", "nomic-embed-text:latest", "qwen3:4b",
        ],
        "ps": ["llama3.2:1b", "nomic-embed-text:latest", "qwen3:4b"],
        "show": [["completion"], 8192, "gemma2"],
        "pull": ["pulling manifest", "success", true],
        "errors": [
            [404, "model 'none' not found"],
            [400, "registry.ollama.ai/library/gemma2:2b does not support tools"],
            [403, "ollama cloud is disabled: remote model is unavailable"],
            [503, busy],
            [404, "model 'none:latest' not found"],
            error,
        ],
    })
}

#[tokio::test]
async fn the_python_client() {
    assert_eq!(told("ollama-python", "client.py").await, expected());
}

#[tokio::test]
async fn the_javascript_client() {
    assert_eq!(told("ollama-js", "client.cjs").await, expected());
}
