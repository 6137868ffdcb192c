//! The ways in which a prompt could leave the machines of the swarm, and does not.

use serde_json::{Value, json};
use swarm_model::{ChatError, ChatModel as _, Ollama, Options, OptionsError};
use url::Url;

use crate::support::{
    About, Fake, SOON, Step, all, ask, ask_of, done, end, last, line, ok, only_error, piece, pool,
    shown, text,
};

fn answer() -> Vec<Step> {
    vec![ok(), piece("x"), last(), end()]
}

fn cloud() -> ChatError {
    ChatError::Cloud { model: "m".into() }
}

/// What a chat and a look at the model bring; no prompt was sent.
async fn refuses(about: About, error: ChatError) {
    let fake = Fake::with(about, answer()).await;
    fake.says(|said| said.ps = json!({"models": []}));
    assert_eq!(only_error(&fake.ollama()).await, error);
    assert_eq!(fake.ollama().facts("m").await, Err(error.clone()));
    assert_eq!(fake.ollama().warm_up("m").await, Err(error));
    assert_eq!(fake.seen(), [], "the prompt does not leave the process");
}

#[tokio::test]
async fn hosts_of_the_cloud() {
    let url = Url::parse("http://ollama.com").unwrap();
    let host = shown(&url);
    let error = Ollama::new(Options::new(vec![url])).unwrap_err();
    assert_eq!(error, OptionsError::Cloud { host });
}

#[tokio::test]
async fn names_of_the_cloud() {
    let fake = Fake::always(answer()).await;
    // Also when a host lists them as its own.
    let names = ["x:cloud", "gpt-oss:120b-Cloud"];
    let models = names.map(|name| json!({"name": name, "digest": "d"}));
    fake.says(|about| about.tags = json!({"models": models}));
    for model in names {
        let error = ChatError::Cloud {
            model: model.into(),
        };
        assert_eq!(
            all(&fake.ollama(), ask_of(model)).await,
            [Err(error.clone())]
        );
        assert_eq!(fake.ollama().facts(model).await, Err(error));
    }
    assert_eq!(fake.seen(), [], "the prompt does not leave the process");
}

#[tokio::test]
async fn copies_in_the_list_of_a_host() {
    for field in ["remote_host", "remote_model"] {
        let tags = json!({"models": [{"name": "m:latest", "digest": "d", field: "elsewhere"}]});
        let about = About {
            tags,
            ..About::default()
        };
        refuses(about, cloud()).await;
    }
}

#[tokio::test]
async fn copies_that_a_host_shows() {
    for field in ["remote_host", "remote_model"] {
        let about = About {
            show: (
                "200 OK",
                json!({"capabilities": ["completion"], field: "elsewhere"}),
            ),
            ..About::default()
        };
        refuses(about, cloud()).await;
    }
}

#[tokio::test]
async fn copies_that_a_host_does_not_show_because_its_cloud_is_off() {
    let said = "ollama cloud is disabled: remote model details are unavailable";
    let about = About {
        show: ("403 Forbidden", json!({"error": said})),
        ..About::default()
    };
    refuses(about, cloud()).await;
}

#[tokio::test]
async fn a_host_whose_cloud_is_on() {
    let status = json!({"cloud": {"disabled": false, "source": "none"}});
    let about = About {
        status,
        ..About::default()
    };
    let fake = Fake::with(about, answer()).await;
    let hosts = vec![shown(&fake.url)];
    let error = ChatError::CloudOn { hosts };
    assert_eq!(only_error(&fake.ollama()).await, error);
    assert_eq!(fake.ollama().facts("m").await, Err(error.clone()));
    assert_eq!(fake.ollama().look("m").await, Err(error));
    assert_eq!(fake.seen(), []);
    // Unless it is allowed, or another host has the model.
    let lenient = pool(&[&fake], |options| Options {
        require_cloud_off: false,
        ..options
    });
    assert_eq!(all(&lenient, ask()).await, [text("x"), done("x")]);
    let other = Fake::always(answer()).await;
    let both = pool(&[&fake, &other], |options| options);
    assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
    assert_eq!((fake.seen().len(), other.seen().len()), (1, 1));
}

#[tokio::test]
async fn an_answer_from_elsewhere_breaks_off_and_the_host_is_not_asked_again() {
    let remote = |field: &str| -> Value {
        json!({"model": "m", field: "elsewhere", "message": {"content": "y"}, "done": false})
    };
    for field in ["remote_host", "remote_model"] {
        for before in [vec![ok()], vec![ok(), piece("x")]] {
            let script = [before.clone(), vec![line(remote(field)), Step::Hold]].concat();
            let (fake, other) = (Fake::always(script).await, Fake::always(answer()).await);
            let alone = fake.ollama();
            let both = pool(&[&fake, &other], |options| options);
            for ollama in [&alone, &both] {
                let events = all(ollama, ask()).await;
                assert_eq!(events.last(), Some(&Err(cloud())));
                assert_eq!(events.len(), before.len());
            }
            fake.until(SOON, |counts| counts.hangups == 2).await;
            assert_eq!(only_error(&alone).await, cloud());
            assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
            assert_eq!((fake.seen().len(), other.seen().len()), (2, 1));
        }
    }
}

#[tokio::test]
async fn a_local_copy_on_another_host_is_used() {
    let tags = json!({"models": [{"name": "m:latest", "remote_host": "elsewhere"}]});
    let remote = About {
        tags,
        ..About::default()
    };
    let (fake, other) = (
        Fake::with(remote, answer()).await,
        Fake::always(answer()).await,
    );
    let both = pool(&[&fake, &other], |options| options);
    assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
    assert_eq!((fake.seen().len(), other.seen().len()), (0, 1));
}
