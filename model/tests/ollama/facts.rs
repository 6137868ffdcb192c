//! What a model can do.

use serde_json::json;
use swarm_model::{ChatError, ChatModel as _, ModelFacts, Options};

use crate::support::{About, Fake, Nobody, all, ask, end, last, ok, pool, shown};

fn show(context_length: u32) -> (&'static str, serde_json::Value) {
    let info = json!({"general.architecture": "qwen3", "qwen3.context_length": context_length});
    let capabilities = ["completion", "tools", "thinking"];
    (
        "200 OK",
        json!({"capabilities": capabilities, "model_info": info}),
    )
}

fn about(digest: &str, context_length: u32) -> About {
    About {
        tags: json!({"models": [{"name": "m:latest", "digest": digest}]}),
        show: show(context_length),
        ..About::default()
    }
}

fn facts(digest: &str, context_length: u32, window: u32) -> ModelFacts {
    ModelFacts {
        digest: digest.into(),
        tools: true,
        thinking: true,
        context_length: Some(context_length),
        window,
    }
}

#[tokio::test]
async fn facts_are_asked_for_once() {
    let fake = Fake::with(about("d", 4096), vec![ok(), last(), end()]).await;
    let ollama = fake.ollama();
    for _ in 0..3 {
        assert_eq!(ollama.facts("m").await, Ok(facts("d", 4096, 4096)));
    }
    // A chat needs them too.
    all(&ollama, ask()).await;
    assert_eq!((fake.asides("show"), fake.asides("tags")), (1, 1));
}

#[tokio::test]
async fn another_digest_is_another_model() {
    let fake = Fake::with(about("d1", 4096), vec![]).await;
    let ollama = fake.ollama();
    assert_eq!(ollama.facts("m").await, Ok(facts("d1", 4096, 4096)));
    fake.says(|said| *said = about("d2", 40960));
    // A look brings the list anew.
    assert!(ollama.look("m").await.unwrap().has_model);
    assert_eq!(ollama.facts("m:latest").await, Ok(facts("d2", 40960, 8192)));
    fake.says(|said| *said = about("d1", 1));
    assert!(ollama.look("m").await.unwrap().has_model);
    assert_eq!(ollama.facts("m").await, Ok(facts("d1", 4096, 4096)));
    assert_eq!(fake.asides("show"), 2);
}

#[tokio::test]
async fn of_several_hosts_the_least_counts() {
    let (first, second) = (
        Fake::with(about("d1", 2048), vec![]).await,
        Fake::with(about("d2", 40960), vec![]).await,
    );
    second.says(|said| said.show.1["capabilities"] = json!(["completion", "tools"]));
    let both = pool(&[&first, &second], |options| Options {
        num_ctx: 4096,
        ..options
    });
    let expected = ModelFacts {
        thinking: false,
        ..facts("d1", 2048, 2048)
    };
    assert_eq!(both.facts("m").await, Ok(expected));
}

#[tokio::test]
async fn no_facts() {
    let fake = Fake::with(About::default(), vec![]).await;
    let model = "other".to_owned();
    assert_eq!(
        fake.ollama().facts("other").await,
        Err(ChatError::ModelNotFound { model })
    );
    let absent = Nobody::new();
    let ollama = swarm_model::Ollama::new(Options::new(vec![absent.url.clone()])).unwrap();
    let (hosts, detail) = (vec![shown(&absent.url)], absent.refusal.clone());
    assert_eq!(
        ollama.facts("m").await,
        Err(ChatError::Connect { hosts, detail })
    );
}
