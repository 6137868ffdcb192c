//! Answers that are complete, however their bytes are cut.

use serde_json::json;
use swarm_model::{ChatEvent, Completion, ToolCall};

use crate::support::{
    Fake, Step, all, ask, chunk, completion, done, end, last, line, ok, ok_with, piece, text, whole,
};

#[tokio::test]
async fn a_request_and_its_answer() {
    let fake = Fake::always(vec![ok(), piece("So"), piece("."), last(), end()]).await;
    assert_eq!(all(&fake.ollama(), ask()).await, [text("So."), done("So.")]);
    let seen = fake.seen();
    assert_eq!(seen.len(), 1);
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are."},
            {"role": "user", "content": "Why?"},
        ],
        "options": {"num_ctx": 8192, "num_predict": 64},
        "stream": true,
        "truncate": false,
        "shift": false,
    });
    assert_eq!(seen[0].body, expected);
    assert!(
        seen[0].head.starts_with("post /api/chat http/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert!(
        seen[0]
            .head
            .contains("\r\ncontent-type: application/json\r\n"),
        "{}",
        seen[0].head
    );
    assert!(!seen[0].head.contains("authorization"), "{}", seen[0].head);
}

#[tokio::test]
async fn a_simulator_is_known_by_its_header() {
    let fake = Fake::always(vec![
        ok_with("X-Ollama-Sim: 1\r\n"),
        piece("x"),
        last(),
        end(),
    ])
    .await;
    let simulated = Completion {
        simulated: true,
        ..completion("x")
    };
    let expected = [text("x"), Ok(ChatEvent::Done(simulated))];
    assert_eq!(all(&fake.ollama(), ask()).await, expected);
}

#[tokio::test]
async fn packets_may_end_anywhere() {
    let answer = "é日🦀";
    let message = json!({"message": {"content": answer}, "done": false});
    let stream = format!(
        "{message}\n\n{message}\n{}",
        json!({"done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2})
    );
    let twice = answer.repeat(2);
    // Each offset once is the end of a packet, also those inside a character.
    for size in 1..=stream.len() {
        let mut script = vec![ok()];
        script.extend(stream.as_bytes().chunks(size).map(chunk));
        script.push(end());
        let fake = Fake::always(script).await;
        let events = all(&fake.ollama(), ask()).await;
        assert_eq!(events, [text(&twice), done(&twice)], "chunks of {size}");
    }
}

#[tokio::test]
async fn large_lines() {
    // Not the same again and again, which would be broken off.
    let cjk: String = (0..40_000_u32)
        .filter_map(|n| char::from_u32(0x4e00 + n * 7919 % 20_000))
        .collect();
    let numbers: String = (0..1_500_000).map(|n| format!("{n} ")).collect();
    let nine_mebibytes = numbers.get(..9 * 1024 * 1024).unwrap().to_owned();
    // In one write, and in small ones.
    for (content, size) in [(&cjk, usize::MAX), (&cjk, 4097), (&nine_mebibytes, 4097)] {
        let long = format!(
            "{}\n",
            json!({"message": {"content": content}, "done": false})
        );
        let chunks = long.as_bytes().chunks(size).map(chunk);
        let script = [vec![ok()], chunks.collect(), vec![last(), end()]].concat();
        let fake = Fake::always(script).await;
        let events = all(&fake.ollama(), ask()).await;
        assert!(events == [text(content), done(content)], "chunks of {size}");
    }
    let line = format!("{}\n", json!({"message": {"content": cjk}, "done": false}));
    let fake = Fake::always(vec![ok(), chunk(line.repeat(2).as_bytes()), last(), end()]).await;
    let events = all(&fake.ollama(), ask()).await;
    let both = cjk.repeat(2);
    assert!(events == [text(&both), done(&both)], "two lines at once");
}

#[tokio::test]
async fn many_lines_in_a_packet() {
    let line = |content: &str| {
        let message = json!({"role": "assistant", "content": content});
        format!("{}\n", json!({"message": message, "done": false}))
    };
    let words: Vec<String> = (0..500).map(|number| format!("{number} é日🦀 ")).collect();
    let mut packet: String = words.iter().map(|word| line(word)).collect();
    packet.push_str(
        "{\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":7,\"eval_count\":2}\n",
    );
    let whole = words.concat();
    let fake = Fake::always(vec![ok(), chunk(packet.as_bytes()), end()]).await;
    let events = all(&fake.ollama(), ask()).await;
    assert_eq!(events, [text(&whole), done(&whole)]);
}

#[tokio::test]
async fn what_is_missing_null_or_unknown() {
    let lines = [
        json!({"message": {"role": "assistant", "content": "a", "tool_calls": null}, "done": false}),
        json!({"message": {"role": "assistant"}, "done": false}),
        json!({"message": null, "done": false}),
        json!({"message": {"role": "oracle", "content": "b", "images": null, "mood": {}}, "new": [1], "done": false}),
        json!({"message": {"content": "c", "thinking": null}}),
    ];
    let script = [vec![ok()], lines.map(line).to_vec(), vec![last(), end()]].concat();
    let fake = Fake::always(script).await;
    assert_eq!(all(&fake.ollama(), ask()).await, [text("abc"), done("abc")]);
}

#[tokio::test]
async fn calls_of_tools() {
    let table = [
        json!({"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}),
        json!({"id": "call_1", "function": {"name": "f", "arguments": "{\"a\": 1}"}}),
        json!({"function": {"name": "g", "arguments": {"a": "{\"b\": \"{}\"}"}}}),
        json!({"id": "", "function": {"name": "", "arguments": [1, null]}}),
    ];
    let calls: Vec<ToolCall> = table
        .iter()
        .map(|call| ToolCall {
            id: call["id"]
                .as_str()
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
            name: call["function"]["name"].as_str().unwrap().to_owned(),
            arguments: call["function"]["arguments"].clone(),
        })
        .collect();
    let of = |calls: &[serde_json::Value], done: bool| {
        line(json!({
            "message": {"role": "assistant", "content": "", "tool_calls": calls},
            "done": done, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2,
        }))
    };
    let complete = Completion {
        tool_calls: calls.clone(),
        ..completion("")
    };
    let mut expected: Vec<_> = calls.into_iter().map(ChatEvent::ToolCall).collect();
    expected.push(ChatEvent::Done(complete));
    let expected: Vec<_> = expected.into_iter().map(Ok).collect();
    // One by one before the last line, in pairs, and all in the last line.
    let one_by_one = table
        .iter()
        .map(|call| of(std::slice::from_ref(call), false));
    let pairs = table.chunks(2).map(|pair| of(pair, false));
    for lines in [
        one_by_one.chain([last()]).collect(),
        pairs.chain([last()]).collect(),
        vec![of(&table, true)],
    ] {
        let script = [vec![ok()], lines, vec![end()]].concat();
        let fake = Fake::always(script).await;
        assert_eq!(all(&fake.ollama(), ask()).await, expected);
    }
}

#[tokio::test]
async fn thinking_is_kept_apart() {
    let thought = line(
        json!({"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false}),
    );
    let fake = Fake::always(vec![ok(), thought, piece("So"), last(), end()]).await;
    let complete = Completion {
        thinking: "hm".into(),
        ..completion("So")
    };
    let expected = [
        Ok(ChatEvent::Thinking("hm".into())),
        text("So"),
        Ok(ChatEvent::Done(complete)),
    ];
    assert_eq!(all(&fake.ollama(), ask()).await, expected);
}

#[tokio::test]
async fn an_empty_answer_is_complete() {
    let fake = Fake::always(vec![ok(), last(), end()]).await;
    assert_eq!(all(&fake.ollama(), ask()).await, [done("")]);
}

#[tokio::test]
async fn an_answer_in_one_document_is_read_too() {
    let document = json!({"message": {"content": "So."}, "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2});
    let fake = Fake::always(vec![whole("200 OK", &document.to_string())]).await;
    assert_eq!(all(&fake.ollama(), ask()).await, [text("So."), done("So.")]);
}

#[tokio::test]
async fn what_is_broken_behind_the_last_line_does_not_matter() {
    let fake = Fake::always(vec![
        ok(),
        piece("x"),
        last(),
        chunk(b"<html>"),
        Step::Close,
    ])
    .await;
    assert_eq!(all(&fake.ollama(), ask()).await, [text("x"), done("x")]);
}

#[tokio::test]
async fn a_connection_serves_one_chat_after_the_other() {
    let fake = Fake::always(vec![ok(), piece("x"), last(), end()]).await;
    let ollama = fake.ollama();
    // The pool gets a connection back a moment after its answer was read, so not every chat need find it there.
    for _ in 0..50 {
        assert_eq!(all(&ollama.clone(), ask()).await, [text("x"), done("x")]);
    }
    let connections = fake.seen().last().unwrap().connection + 1;
    assert!(connections <= 25, "{connections} connections for 50 chats");
}
