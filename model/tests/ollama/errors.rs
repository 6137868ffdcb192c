//! Every way in which a host gives no answer.

use serde_json::json;
use swarm_model::ChatError;

use crate::support::{Fake, Step, all, ask, chunk, end, line, ok, only_error, piece, text, whole};

/// The error of a host that refuses with this status and document.
async fn refused(status: &str, body: &str) -> ChatError {
    let fake = Fake::always(vec![whole(status, body)]).await;
    let error = only_error(&fake.ollama()).await;
    assert_eq!(fake.seen().len(), 1, "asked once");
    error
}

/// What a stream of such chunks behind a first piece ends with.
async fn broken(rest: Vec<Step>) -> ChatError {
    let mut script = vec![ok(), piece("x")];
    script.extend(rest);
    let fake = Fake::always(script).await;
    let mut events = all(&fake.ollama(), ask()).await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events.remove(0), text("x"));
    events.remove(0).unwrap_err()
}

fn http(status: u16, message: &str) -> ChatError {
    ChatError::Http {
        status,
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn refusals() {
    let document = |text: &str| json!({"error": text}).to_string();
    let model = || "m".to_owned();
    let missing = ChatError::ModelNotFound { model: model() };
    assert_eq!(
        refused("404 Not Found", &document("model 'm' not found")).await,
        missing
    );
    assert_eq!(
        refused(
            "404 Not Found",
            &document("model \"m\" not found, try pulling it first")
        )
        .await,
        missing
    );
    assert_eq!(
        refused("404 Not Found", "404 page not found").await,
        http(404, "\"404 page not found\"")
    );
    assert_eq!(
        refused("500 Internal Server Error", &document("runner died")).await,
        http(500, "runner died")
    );
    assert_eq!(
        refused("400 Bad Request", &document("model is required")).await,
        http(400, "model is required")
    );
    assert_eq!(
        refused("403 Forbidden", "").await,
        http(403, "no reason given")
    );
    assert_eq!(
        refused("502 Bad Gateway", "<html>").await,
        http(502, "\"<html>\"")
    );
    let tools = "registry.ollama.ai/library/m does not support tools";
    assert_eq!(
        refused("400 Bad Request", &document(tools)).await,
        ChatError::ToolsUnsupported { model: model() }
    );
    assert_eq!(
        refused(
            "400 Bad Request",
            &document("\"m\" does not support thinking")
        )
        .await,
        ChatError::ThinkingUnsupported { model: model() }
    );
    let cut =
        "llama-server returned invalid tool call arguments for \"x\": unexpected end of JSON input";
    assert_eq!(
        refused("500 Internal Server Error", &document(cut)).await,
        ChatError::ToolParse {
            message: cut.into()
        }
    );
    assert_eq!(
        refused("204 No Content", "").await,
        http(204, "no reason given")
    );
    let too_long = json!({"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_prompt_tokens": 3003, "n_ctx": 256}});
    assert_eq!(
        refused("400 Bad Request", &document(&too_long.to_string())).await,
        ChatError::ContextTooLong {
            prompt: Some(3003),
            window: Some(256),
            message: "too long".into()
        }
    );
}

#[tokio::test]
async fn a_refusal_that_breaks_off_keeps_its_status() {
    let cut = Step::Send(b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n{".to_vec());
    let fake = Fake::always(vec![cut, Step::Close]).await;
    assert_eq!(
        only_error(&fake.ollama()).await,
        http(500, "no reason given")
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Fake::always(vec![ok(), end()]).await;
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url
    );
    let fake = Fake::always(vec![Step::Send(head.into_bytes())]).await;
    assert_eq!(
        only_error(&fake.ollama()).await,
        http(307, "no reason given")
    );
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn errors_in_the_middle() {
    let died = "an error was encountered while running the model: unexpected EOF";
    let error = || line(json!({"error": died}));
    let expected = ChatError::MidStream {
        message: died.into(),
    };
    assert_eq!(broken(vec![error(), end()]).await, expected);
    let nested = json!({"error": json!({"error": {"message": died}}).to_string()});
    assert_eq!(broken(vec![line(nested), end()]).await, expected);
    let fake = Fake::always(vec![ok(), error(), end()]).await;
    assert_eq!(only_error(&fake.ollama()).await, expected);
    let fake = Fake::always(vec![whole("200 OK", &json!({"error": died}).to_string())]).await;
    assert_eq!(only_error(&fake.ollama()).await, expected);
    let cut =
        "llama-server returned invalid tool call arguments for \"x\": unexpected end of JSON input";
    assert_eq!(
        broken(vec![line(json!({"error": cut})), end()]).await,
        ChatError::ToolParse {
            message: cut.into()
        }
    );
}

#[tokio::test]
async fn a_connection_that_breaks() {
    for end in [Step::Close, Step::Reset] {
        // Behind a line, and in the middle of one.
        for rest in [vec![], vec![Step::Send(b"9\r\n{\"mess".to_vec())]] {
            let error = broken([rest, vec![end.clone()]].concat()).await;
            let ChatError::MidStream { message } = &error else {
                panic!("{error:?}")
            };
            assert!(
                message.starts_with("the connection was lost: "),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_first_token() {
    for end in [Step::Close, Step::Reset] {
        // Nothing was said, so the request is sent once more.
        let fake = Fake::always(vec![end.clone()]).await;
        let error = only_error(&fake.ollama()).await;
        assert!(matches!(error, ChatError::Connect { .. }), "{error:?}");
        assert_eq!(fake.seen().len(), 2);
        // Behind the headers it may have begun to answer.
        for rest in [vec![], vec![Step::Send(b"9\r\n{\"mess".to_vec())]] {
            let script = [vec![ok()], rest, vec![end.clone()]].concat();
            let fake = Fake::always(script).await;
            let error = only_error(&fake.ollama()).await;
            let ChatError::MidStream { message } = &error else {
                panic!("{error:?}")
            };
            assert!(
                message.starts_with("the connection was lost: "),
                "{message}"
            );
            assert_eq!(fake.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_page_of_a_gateway() {
    let page = "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n";
    let length = page.len();
    let response = format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
    );
    let fake = Fake::always(vec![Step::Send(response.into_bytes())]).await;
    let expected = format!("{:?}", page.trim());
    assert_eq!(only_error(&fake.ollama()).await, http(502, &expected));
    // The same under a status that says that all is well.
    let fake = Fake::always(vec![whole("200 OK", page)]).await;
    let error = only_error(&fake.ollama()).await;
    assert!(matches!(error, ChatError::BadFrame { .. }), "{error:?}");
}

#[tokio::test]
async fn an_end_without_done() {
    assert_eq!(broken(vec![end()]).await, ChatError::NoDone);
    let fake = Fake::always(vec![ok(), end()]).await;
    assert_eq!(only_error(&fake.ollama()).await, ChatError::NoDone);
    let unfinished = json!({"message": {"content": "x"}, "done": false}).to_string();
    let fake = Fake::always(vec![whole("200 OK", &unfinished)]).await;
    assert_eq!(
        all(&fake.ollama(), ask()).await,
        [text("x"), Err(ChatError::NoDone)]
    );
}

#[tokio::test]
async fn lines_that_are_no_frames() {
    let bad = |detail: &str| ChatError::BadFrame {
        detail: detail.to_owned(),
    };
    let html = broken(vec![chunk(b"<html>\n"), end()]).await;
    assert_eq!(html, bad("no JSON object: \"<html>\""));
    let status = broken(vec![line(json!({"status": "success"})), end()]).await;
    assert_eq!(
        status,
        bad("no message, error or `done`: \"{\\\"status\\\":\\\"success\\\"}\"")
    );
    let cut = broken(vec![chunk(b"{\"done\":tr"), end()]).await;
    assert_eq!(
        cut,
        bad("EOF while parsing a value at line 1 column 10: \"{\\\"done\\\":tr\"")
    );
}

#[tokio::test]
async fn fields_of_other_types() {
    for message in [
        json!({"content": 7}),
        json!({"content": {"text": "x"}}),
        json!({"content": "x", "tool_calls": {}}),
        json!({"content": "x", "tool_calls": ["f"]}),
        json!({"content": "x", "tool_calls": [{"function": {"arguments": {}}}]}),
        json!("x"),
    ] {
        let error = broken(vec![line(json!({"message": message, "done": true})), end()]).await;
        assert!(matches!(error, ChatError::BadFrame { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_line_without_an_end() {
    let mut script = vec![ok()];
    script.extend((0..=16).map(|_| chunk(&vec![b'x'; 1024 * 1024])));
    script.push(Step::Hold);
    let fake = Fake::always(script).await;
    let detail = "a line is longer than 16777216 bytes".to_owned();
    assert_eq!(
        only_error(&fake.ollama()).await,
        ChatError::BadFrame { detail }
    );
}
