//! Requests that a server refuses, and some that it might have.

use reqwest::Method;
use serde_json::{Value, json};
use swarm_tests::ollama::client;

use super::weather;
use crate::case::Case;
use crate::host::Host;
use crate::outcome::{Outcome, Reply};

const MODEL: &str = "llama3.2:3b";

async fn say(host: Host, model: &str, more: Value) -> Outcome {
    host.say(model, "Hello", more).await.outcome()
}

async fn raw(host: Host, body: &str) -> Outcome {
    Reply::read(host.post("/api/chat", body).await)
        .await
        .outcome()
}

async fn history(host: Host, message: Value) -> Outcome {
    let messages =
        json!([{"role": "user", "content": "Hello"}, message, {"role": "user", "content": "So?"}]);
    let body = json!({"model": MODEL, "messages": messages, "stream": false});
    host.chat(body).await.outcome()
}

async fn send(host: Host, method: Method, path: &str, header: (&str, &str)) -> Outcome {
    let request = client().request(method, host.url() + path);
    let response = request.header(header.0, header.1).send().await;
    let response = response.expect("the server answers");
    let status = response.status().as_u16();
    if status == 200 {
        return Outcome::fact("200");
    }
    let text = response.text().await.expect("a body");
    Outcome::Refused { status, text }
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a model that is not there",
            |host| Box::pin(say(host, "nowhere:1b", json!({}))),
            "404 `model 'nowhere:1b' not found`",
        ),
        Case::new(
            "show, of a model that is not there",
            |host| {
                Box::pin(async move {
                    let body = json!({"model": "nowhere:1b"}).to_string();
                    Reply::read(host.post("/api/show", body).await)
                        .await
                        .outcome()
                })
            },
            "404 `model 'nowhere:1b' not found`",
        ),
        Case::new(
            "no model",
            |host| Box::pin(raw(host, r#"{"messages":[]}"#)),
            "400 `model is required`",
        ),
        Case::new(
            "a body that is no JSON",
            |host| Box::pin(raw(host, "{\"model\":")),
            "400 `unexpected EOF`",
        ),
        Case::new("no body", |host| Box::pin(raw(host, "")), "400 `missing request body`"),
        Case::new(
            "tools, for a model without them",
            |host| Box::pin(say(host, "gemma2:2b", json!({"tools": weather()}))),
            "400 `registry.ollama.ai/library/gemma2:2b does not support tools`",
        ),
        Case::new(
            "`think: true`, for a model that does not",
            |host| Box::pin(say(host, MODEL, json!({"think": true}))),
            "400 `\"llama3.2:3b\" does not support thinking`",
        ),
        Case::new(
            "`think: \"max\"`, for a model that thinks or not",
            |host| {
                Box::pin(say(
                    host,
                    "swarm-thinking",
                    json!({"think": "max", "stream": false}),
                ))
            },
            "thinking \"Two and two.\", \"The answer is 4.\", done stop",
        ).but_0_17_4("400 `invalid think value: \"max\" (must be \"high\", \"medium\", \"low\", true, or false)`", "It does not know `max`."),
        Case::new(
            "`num_ctx` as a string",
            |host| Box::pin(say(host, MODEL, json!({"options": {"num_ctx": "big"}}))),
            "500 `option \"num_ctx\" must be of type integer`",
        ),
        Case::new(
            "an option that is not known",
            |host| Box::pin(say(host, MODEL, json!({"options": {"mirostat": 2}}))),
            "a text, done stop",
        ),
        Case::new(
            "`num_predict: 1.5`",
            |host| Box::pin(say(host, MODEL, json!({"options": {"num_predict": 1.5}}))),
            "\"Hell\", done length",
        ),
        Case::new(
            "`format` that is no schema",
            |host| Box::pin(say(host, MODEL, json!({"format": "yaml"}))),
            "500 `invalid format: \"\\\"yaml\\\"\"; expected \"json\" or a valid JSON Schema object`",
        ),
        Case::new(
            "a schema with a type that is none",
            |host| Box::pin(say(host, MODEL, json!({"format": {"type": "textish"}}))),
            "400 `{\"error\":{\"code\":400,\"message\":\"Field 'json_schema': \\\"json_schema\\\": JSON schema conversion failed:\\nJSON schema error at #: unrecognized type textish\",\"type\":\"invalid_request_error\"}}`",
        ).but_0_17_4("500 `invalid JSON schema in format`", "It takes the schema for its own mistake."),
        Case::new(
            "a role that is not known, in the history",
            |host| Box::pin(history(host, json!({"role": "critic", "content": "No."}))),
            "a text, done stop",
        ),
        Case::new(
            "`tool_calls: null`, in the history",
            |host| {
                let message = json!({"role": "assistant", "content": "Hm.", "tool_calls": null});
                Box::pin(history(host, message))
            },
            "a text, done stop",
        ),
        Case::new(
            "arguments of a call as a string, in the history",
            |host| {
                let call = json!({"function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"}});
                let message = json!({"role": "assistant", "content": "", "tool_calls": [call]});
                Box::pin(history(host, message))
            },
            "400 `Value looks like object, but can't find closing '}' symbol`",
        ),
        Case::new(
            "an image, for a model without eyes",
            |host| {
                Box::pin(async move {
                    let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
                    let message = json!({"role": "user", "content": "Hello", "images": [pixel]});
                    let body = json!({"model": MODEL, "messages": [message], "stream": false});
                    host.chat(body).await.outcome()
                })
            },
            "400 `{\"error\":{\"code\":400,\"message\":\"Multimodal data provided, but model does not support multimodal requests.\",\"type\":\"invalid_request_error\"}}`",
        ).but_0_17_4("a text, done stop", "It drops the image."),
        Case::new(
            "a cloud model, `gpt-oss:120b-cloud`, with the cloud switched off",
            |host| Box::pin(say(host, "gpt-oss:120b-cloud", json!({}))),
            "403 `ollama cloud is disabled: remote model is unavailable`",
        ).but_0_17_4("404 `model 'gpt-oss:120b-cloud' not found`", "With the cloud off, such a name is one like any other."),
        Case::new(
            "a cloud model, `x:cloud`, with the cloud switched off",
            |host| Box::pin(say(host, "x:cloud", json!({}))),
            "403 `ollama cloud is disabled: remote model is unavailable`",
        ).but_0_17_4("404 `model 'x:cloud' not found`", "With the cloud off, such a name is one like any other."),
        Case::new(
            "`:local` behind the name of a model that is there",
            |host| Box::pin(say(host, "llama3.2:3b:local", json!({"stream": false}))),
            "a text, done stop",
        ).but_0_17_4("400 `model is required`", "It does not know the suffix."),
        Case::new(
            "GET /api/chat",
            |host| Box::pin(send(host, Method::GET, "/api/chat", ("accept", "*/*"))),
            "405 `405 method not allowed`",
        ),
        Case::new(
            "GET /api/nothing",
            |host| Box::pin(send(host, Method::GET, "/api/nothing", ("accept", "*/*"))),
            "404 `404 page not found`",
        ),
        Case::new(
            "a foreign `Host`",
            |host| {
                Box::pin(send(
                    host,
                    Method::GET,
                    "/api/tags",
                    ("host", "example.com"),
                ))
            },
            "403, empty body",
        ),
        Case::new(
            "a foreign `Origin`",
            |host| {
                let origin = ("origin", "http://example.com");
                Box::pin(send(host, Method::GET, "/api/tags", origin))
            },
            "403, empty body",
        ),
    ]
}
