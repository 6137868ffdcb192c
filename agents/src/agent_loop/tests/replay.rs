//! What a later attempt takes from the journal of earlier ones.

use swarm_protocol::journal::{Entry, PeerMessage};
use swarm_protocol::{InstanceId, RunId, Timestamp, Version};

use super::*;

fn entry(attempt: u32, body: Body) -> Entry {
    Entry {
        v: Version,
        run: RunId::random(),
        task: "t".parse().unwrap(),
        attempt,
        work_seq: Some(1),
        delivery: Some(1),
        instance: InstanceId::random(),
        at: Timestamp::from_millis(1),
        turn_ms: None,
        body,
    }
}

fn message(n: u64, text: &str) -> PeerMessage {
    PeerMessage {
        n,
        from: None,
        text: text.into(),
    }
}

/// A first attempt that called a tool, had its result, heard a message, and came to an empty answer.
fn first_attempt() -> (AgentLoop, Vec<Entry>) {
    let mut agent = with_tools(true, 5);
    let turn = hear(&mut agent, calls(&[(None, "clock", json!({}))]));
    let mut entries = vec![entry(1, Body::ModelTurn(turn))];
    let Step::Call(open) = agent.step() else {
        panic!("it calls");
    };
    let result = ToolReturn {
        result: ToolResult {
            tool_use_id: open[0].tool_use_id.clone(),
            status: ToolStatus::Success,
            content: vec![ToolContent::Text("noon".into())],
        },
        name: "clock".into(),
        repairs: Vec::new(),
        repeated: false,
        elapsed_ms: 1,
    };
    agent.take_result(&result);
    entries.push(entry(1, Body::ToolResult(result)));
    agent.take_message(&message(7, "be brief"));
    entries.push(entry(1, Body::MessageReceived(message(7, "be brief"))));
    let empty = hear(&mut agent, says(""));
    entries.push(entry(1, Body::ModelTurn(empty)));
    (agent, entries)
}

fn replayed(entries: &[Entry], attempt: u32) -> AgentLoop {
    let mut agent = with_tools(true, 5);
    entries
        .iter()
        .for_each(|entry| agent.replay(entry, attempt));
    agent
}

#[test]
fn the_same_attempt_goes_on_as_if_nothing_had_happened() {
    let (agent, entries) = first_attempt();
    assert_eq!(replayed(&entries, 1), agent);
}

#[test]
fn the_next_attempt_knows_what_was_finished_and_forgets_what_was_wrong() {
    let (first, entries) = first_attempt();
    let mut next = replayed(&entries, 2);
    assert_eq!(
        next.usage(),
        Usage::default(),
        "what earlier attempts used is not its own"
    );
    assert_eq!(next.elapsed_ms(), 0);
    let chat = |agent: &AgentLoop| asked(agent).messages;
    let (before, now) = (chat(&first), chat(&next));
    assert!(
        before.len() > now.len(),
        "what was said about the empty answer is gone"
    );
    assert_eq!(now, before[..now.len()]);
    assert_eq!(
        last_said(&next),
        "A message from the person who gave the task:\n\nbe brief"
    );
    assert!(next.has_message(&message(7, "be brief")));
    // Its calls have ids of their own, also where an earlier turn brought nothing.
    let turn = hear(&mut next, calls(&[(None, "clock", json!({"zone": "UTC"}))]));
    assert_eq!(turn.tool_calls[0].tool_use_id, "call_t3_1");
}

#[test]
fn a_call_without_a_result_is_open_in_the_next_attempt() {
    let (_, entries) = first_attempt();
    let next = replayed(&entries[..1], 2);
    let open: Vec<&str> = next.open_calls().map(|call| call.name.as_str()).collect();
    assert_eq!(open, ["clock"]);
}
