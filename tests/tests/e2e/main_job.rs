//! The main job: a task by the plain `nats` CLI or by `swarm run`, shared out, answered, aggregated.

use serde_json::json;
use swarm_tests::Stack;

const FAST: [&str; 4] = ["--latency", "0ms", "--tokens-per-second", "0"];

#[tokio::test]
async fn one_submission_one_agent_one_answer() {
    let team = Stack::with_team(&FAST).await;
    let run = team.stack.submit("What is a heat pump?", &["--agents", "research_agent"]).await;
    let result = team.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(result["answers"][0]["text"], result["text"]);
    assert!(result["text"].as_str().unwrap().starts_with("[SIMULATED llama3.2:3b]"), "{result}");
    assert_eq!(result["simulated"], json!(true));
    let types: Vec<_> = team.stack.log_of(&run).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["accepted", "completed"]);
}
