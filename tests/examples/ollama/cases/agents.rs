//! Agents of Swarm with tools: the whole loop, with what models make of it.

use serde_json::{Value, json};
use swarm_tests::Stack;
use swarm_tests::ollama::Limits;

use super::ENDLESS;
use crate::case::Case;
use crate::host::{Host, body};
use crate::outcome::Outcome;

const AGENT: &str = "research_agent";
const TASK: &str = "How much is 6*7?";

/// How a task of one agent with the calculator ends: its status, what it says, its mode, its turns and its calls.
async fn calculates(hosts: &[&Host], model: &str, task: &str) -> Outcome {
    let mut stack = Stack::start(&[]).await;
    let urls: Vec<String> = hosts.iter().map(|host| host.url()).collect();
    stack.set("SWARM_OLLAMA_HOSTS", &json!(urls).to_string());
    stack.configure(&format!(
        "agents:\n  {AGENT}: {{model: {model}, tools: [calculator]}}\n"
    ));
    let _processes = [stack.coordinator().await, stack.agent(AGENT)];
    stack.agents_are_ready(1).await;
    let run = stack.submit(task, &["--agents", AGENT]).await;
    let result = stack.result(&run).await;
    let journal = stack.journal_of(&run, AGENT).await;
    Outcome::fact(format!("{}; {}", ended(&result), worked(&journal)))
}

fn ended(result: &Value) -> String {
    let status = result["status"].as_str().expect("a status");
    match result["answers"][0]["error"]["code"].as_str() {
        Some(code) => format!("{status}, {code}"),
        None => {
            let text = result["text"].as_str().expect("a text");
            format!("{status}, {}", Outcome::said(text))
        }
    }
}

/// The modes of the turns, and what came of each call.
fn worked(journal: &[Value]) -> String {
    let of = |kind: &str| {
        let entries = journal.iter().filter(|entry| entry["type"] == kind);
        entries.map(|entry| &entry["data"]).collect::<Vec<_>>()
    };
    let mut modes: Vec<&str> = Vec::new();
    let turns = of("model_turn");
    for turn in &turns {
        let mode = turn["mode"].as_str().unwrap_or("no mode");
        if modes.last() != Some(&mode) {
            modes.push(mode);
        }
    }
    let results = of("tool_result").into_iter().map(|result| {
        let content = &result["content"][0];
        let content = content.get("text").or(content.get("json"));
        let again = if result["repeated"] == true {
            " again"
        } else {
            ""
        };
        let name = result["name"].as_str().unwrap_or("no name");
        format!("{name}{again} {}", content.unwrap_or(&Value::Null))
    });
    // The last turn is no entry of its own.
    let parts: Vec<String> = modes
        .into_iter()
        .map(str::to_owned)
        .chain(results)
        .collect();
    if parts.is_empty() {
        "one turn".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A host whose queue is full for a while.
async fn busy(host: Host) -> Outcome {
    let options = json!({"num_predict": 12_000, "num_ctx": 8192});
    let long = body("llama3.2:1b", ENDLESS, json!({"options": options}));
    let mut at_work = host.post("/api/chat", long.to_string()).await;
    at_work.chunk().await.expect("a chunk").expect("a chunk");
    let waiting = {
        let (url, body) = (host.url(), body("gemma2:2b", "Hello", json!({})));
        tokio::spawn(async move {
            let client = swarm_tests::ollama::client();
            let sent = client.post(url + "/api/chat").body(body.to_string()).send();
            sent.await.expect("the server answers").text().await
        })
    };
    let outcome = calculates(&[&host], "swarm-calculator", TASK).await;
    while at_work.chunk().await.expect("a chunk").is_some() {}
    waiting.await.expect("it ends").expect("a body");
    outcome
}

/// Two hosts; the first is off.
async fn one_is_off(mut host: Host) -> Outcome {
    let second = host.another().await;
    host.kill_9();
    calculates(&[&host, &second], "swarm-calculator", TASK).await
}

pub fn cases() -> Vec<Case> {
    const JINJA: &str = "It reads templates in the form of Go alone, so a schema is asked for, which no script fits.";
    vec![
        Case::new(
            "a calculation, in calls that the server reads",
            |host| Box::pin(async move { calculates(&[&host], "swarm-calculator", TASK).await }),
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
        Case::new(
            "a calculation, in calls that the runner reads",
            |host| {
                Box::pin(async move { calculates(&[&host], "swarm-calculator-native", TASK).await })
            },
            "completed, \"It is 42.\"; native, calculator \"42\"",
        )
        .not_0_17_4(JINJA),
        Case::new(
            "a calculation by a schema, for a model without tools",
            |host| {
                Box::pin(
                    async move { calculates(&[&host], "swarm-calculator-structured", TASK).await },
                )
            },
            "completed, \"It is 42.\"; structured, calculator \"42\"",
        ),
        Case::new(
            "a model that asks for the same tool for ever",
            |host| Box::pin(async move { calculates(&[&host], "swarm-stubborn", TASK).await }),
            "completed, a text; native, calculator \"42\", calculator again \"You already made this call. Its result was:\", calculator again \"You already made this call. Its result was:\"",
        ),
        Case::new(
            "a call in a fence",
            |host| {
                Box::pin(async move {
                    calculates(&[&host], "swarm-calculator", "@s:call-fenced@").await
                })
            },
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
        Case::new(
            "a call in a tag that the template does not have",
            |host| {
                Box::pin(async move {
                    calculates(&[&host], "swarm-calculator", "@s:call-tagged@").await
                })
            },
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
        Case::new(
            "a call that is only announced",
            |host| {
                Box::pin(
                    async move { calculates(&[&host], "swarm-calculator", "@s:call-prose@").await },
                )
            },
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
        Case::new(
            "arguments as a string, and of wrong types",
            |host| {
                Box::pin(
                    async move { calculates(&[&host], "swarm-calculator", "@s:call-types@").await },
                )
            },
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
        Case::new(
            "a tool that was not offered",
            |host| {
                Box::pin(async move {
                    calculates(&[&host], "swarm-calculator", "@s:call-unknown@").await
                })
            },
            "completed, \"It is 42.\"; native, calculate \"There is no tool \\\"calculate\\\". The tools are: calculator.\"",
        ),
        Case::new(
            "an empty answer",
            |host| {
                Box::pin(async move { calculates(&[&host], "swarm-calculator", "@s:empty@").await })
            },
            "completed, a text; native",
        )
        .but_simulators(
            "completed, \"It is 42.\"; native, calculator \"42\"",
            "For a template in the form of Go, two messages of one role in a row are one; here they are two.",
        ),
        Case::new(
            "one token for ever",
            |host| {
                Box::pin(async move { calculates(&[&host], "swarm-calculator", "@s:loop@").await })
            },
            "failed, SW-MODEL-BROKEN; one turn",
        ),
        Case::new(
            "a task that is longer than the window",
            |host| {
                Box::pin(async move {
                    calculates(&[&host], "swarm-calculator", &"x".repeat(40_000)).await
                })
            },
            "failed, SW-MODEL-CONTEXT; one turn",
        ),
        Case::new(
            "a host whose queue is full for a while",
            |host| Box::pin(busy(host)),
            "completed, \"It is 42.\"; native, calculator \"42\"",
        )
        .with(Limits {
            parallel: 1,
            queue: 1,
            loaded: 1,
        }),
        Case::new(
            "two hosts, and the first is off",
            |host| Box::pin(one_is_off(host)),
            "completed, \"It is 42.\"; native, calculator \"42\"",
        ),
    ]
}
