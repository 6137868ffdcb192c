//! Answers that are complete, however their bytes are cut.

use serde_json::json;
use swarm_model::{ChatEvent, Completion};

use crate::support::{
    Fake, Step, all, ask, chunk, completion, done, end, last, line, ok, ok_with, piece, text, whole,
};

#[tokio::test]
async fn a_request_and_its_answer() {
    let fake = Fake::always(vec![ok(), piece("So"), piece("."), last(), end()]).await;
    assert_eq!(
        all(&fake.ollama(), ask()).await,
        [text("So"), text("."), done("So.")]
    );
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
    for size in [1, 2, 3, 5, 17, stream.len()] {
        let mut script = vec![ok()];
        script.extend(stream.as_bytes().chunks(size).map(chunk));
        script.push(end());
        let fake = Fake::always(script).await;
        let events = all(&fake.ollama(), ask()).await;
        assert_eq!(
            events,
            [text(answer), text(answer), done(&twice)],
            "chunks of {size}"
        );
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
