//! Whose answer it is, and what it is about.

use crate::support::Sim;

const RESEARCH: &str = "You are the research agent of a team.";
const CRITIC: &str = "You are the critical agent of a team.";
const SUMMARIZER: &str = "You are the summarizer agent of a team.";
const TASK: &str = "How can a small town keep its library open?";

fn first_sentence(text: &str) -> &str {
    let text = text.split_once("] ").unwrap().1;
    let end = text.find(". ").unwrap();
    &text[..=end]
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let sim = Sim::start(&[]).await;
    let other = Sim::start(&["--parallel", "1"]).await;
    let text = sim.text("llama3.2:3b", RESEARCH, TASK).await;
    assert_eq!(sim.text("llama3.2:3b", RESEARCH, TASK).await, text);
    assert_eq!(other.text("llama3.2:3b", RESEARCH, TASK).await, text);
    let steered = format!("{TASK}[[sim:latency=1ms]][[sim:tps=100000]]");
    assert_eq!(sim.text("llama3.2:3b", RESEARCH, &steered).await, text);
}

#[tokio::test]
async fn answers_differ_by_agent_model_and_task() {
    let sim = Sim::start(&[]).await;
    let mut texts = vec![
        sim.text("llama3.2:3b", RESEARCH, TASK).await,
        sim.text("llama3.2:1b", RESEARCH, TASK).await,
        sim.text("llama3.2:3b", CRITIC, TASK).await,
        sim.text("llama3.2:3b", RESEARCH, "Something else?").await,
    ];
    assert!(
        texts[0].starts_with("[SIMULATED llama3.2:3b] As the research agent I "),
        "{}",
        texts[0]
    );
    assert!(
        texts[2].starts_with("[SIMULATED llama3.2:3b] As the critical agent I "),
        "{}",
        texts[2]
    );
    for text in &texts[..3] {
        assert!(text.contains(TASK), "{text}");
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 4);
}

#[tokio::test]
async fn a_summary_tells_every_contribution() {
    let sim = Sim::start(&[]).await;
    let research = sim.text("llama3.2:3b", RESEARCH, TASK).await;
    let critic = sim.text("gemma2:2b", CRITIC, TASK).await;
    let user = format!(
        "Task: {TASK}\n\n## research_agent\n\n{research}\n\n## critical_agent\n\n{critic}\n\n## human\n\nStay calm! Ask me."
    );
    let summary = sim.text("llama3.2:3b", SUMMARIZER, &user).await;
    let lines: Vec<_> = summary.lines().collect();
    assert!(
        lines[0].starts_with("[SIMULATED llama3.2:3b] As the summarizer agent I "),
        "{summary}"
    );
    assert!(lines[0].contains(TASK), "{summary}");
    assert_eq!(
        lines[1..4],
        [
            format!("- research_agent: {}", first_sentence(&research)),
            format!("- critical_agent: {}", first_sentence(&critic)),
            "- human: Stay calm!".to_owned(),
        ]
    );
}
