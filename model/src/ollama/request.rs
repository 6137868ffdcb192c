//! The body of `POST /api/chat`.

use bytes::Bytes;
use ollama_rs::generation::chat::request::ChatMessageRequest;
use ollama_rs::generation::chat::{ChatMessage, MessageRole};
use ollama_rs::models::ModelOptions;

use crate::chat::{ChatRequest, Message, Role};

/// The body that asks for a streamed turn.
///
/// ollama-rs 0.3.6 keeps `stream` to itself and does not know `truncate`, so both are put in after it has serialised the
/// rest. `truncate:false` because a host would otherwise drop the oldest messages without a word. `num_predict` because
/// without it a host goes on for ten context windows; an answer longer than one window is refused here already.
pub fn body(request: ChatRequest, num_ctx: u32) -> Result<Bytes, serde_json::Error> {
    let num_predict = request.num_predict.clamp(1, num_ctx.max(1));
    let options = ModelOptions::default()
        .num_ctx(u64::from(num_ctx))
        .num_predict(i32::try_from(num_predict).unwrap_or(i32::MAX));
    let messages = request.messages.into_iter().map(message).collect();
    let chat = ChatMessageRequest::new(request.model, messages).options(options);
    let mut body = serde_json::to_value(&chat)?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("stream".to_owned(), true.into());
        fields.insert("truncate".to_owned(), false.into());
    }
    serde_json::to_vec(&body).map(Bytes::from)
}

fn message(message: Message) -> ChatMessage {
    let role = match message.role {
        Role::System => MessageRole::System,
        Role::User => MessageRole::User,
        Role::Assistant => MessageRole::Assistant,
        Role::Tool => MessageRole::Tool,
    };
    ChatMessage::new(role, message.content)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(messages: Vec<Message>, num_predict: u32, num_ctx: u32) -> Value {
        let model = "llama3.2:1b".to_owned();
        let request = ChatRequest::new(model, messages, num_predict);
        serde_json::from_slice(&body(request, num_ctx).unwrap()).unwrap()
    }

    #[test]
    fn a_whole_body() {
        let tool = Message::tool("answer", "call_1", "42");
        let messages = vec![
            Message::system("You are."),
            Message::user("Wer? 🦀"),
            Message::assistant("I."),
            tool,
        ];
        let expected = json!({
            "model": "llama3.2:1b",
            "messages": [
                {"role": "system", "content": "You are.", "thinking": null, "tool_calls": []},
                {"role": "user", "content": "Wer? 🦀", "thinking": null, "tool_calls": []},
                {"role": "assistant", "content": "I.", "thinking": null, "tool_calls": []},
                {"role": "tool", "content": "42", "thinking": null, "tool_calls": []},
            ],
            "options": {"num_ctx": 8192, "num_predict": 512},
            "stream": true,
            "truncate": false,
        });
        assert_eq!(value(messages, 512, 8192), expected);
    }

    #[test]
    fn num_predict_stays_between_one_and_the_window() {
        let capped = |num_predict, num_ctx| value(vec![], num_predict, num_ctx)["options"].clone();
        assert_eq!(capped(0, 4096), json!({"num_ctx": 4096, "num_predict": 1}));
        assert_eq!(
            capped(4097, 4096),
            json!({"num_ctx": 4096, "num_predict": 4096})
        );
        let most = json!({"num_ctx": u32::MAX, "num_predict": i32::MAX});
        assert_eq!(capped(u32::MAX, u32::MAX), most);
    }
}
