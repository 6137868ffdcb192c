//! Whole texts, and everything that is said about them.

use proptest::prelude::*;
use serde_json::json;
use swarm_agents::roles;

use super::sections::Agent;
use super::*;

/// What is said of a text and variables, a line each.
fn said(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    error(text, variables).lines()
}

fn error(text: &str, variables: &[(&str, &str)]) -> ConfigError {
    let (_, mistakes) = examine(text, owned(variables));
    ConfigError {
        file: Some("swarm.yaml".into()),
        mistakes,
    }
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// What a text and variables without mistakes configure.
fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    let (config, mistakes) = examine(text, owned(variables));
    assert_eq!(mistakes, [], "{text}");
    config
}

fn names(config: &Config) -> Vec<String> {
    config.agents.keys().map(ToString::to_string).collect()
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = r#"
nats:
  url: htp://me:secret@host
  replicas: 9
ollama:
  hosts: [https://a, nonsense, ~]
  paralel: 2
  num_ctx: many
ollama:
  num_ctx: "4096"
agents:
  Bad Name: {}
  poet: {}
  reserch_agent: {model: 1.10}
  critic: {prompt: [a], tool_mode: natve, tools: x}
runs:
  default_agents: [critic, poett, Bad]
  retention: soon
  retry: 5
  deadlines: {total: 0s}
mcp: {server_port: 70000, enable_persistence: maybe}
tols: {}
"#;
    let variables = [
        ("SWARM_NATS_URL", "a b"),
        ("SWARM_OLLAMA_HOSTS", "[]"),
        ("SWARM_OLLAMA_NUM_CTX", "lots"),
        ("SWARM_RUNS_RETRY__MAX", "1"),
        ("SWARM_RUNS_RETRY_MAX", "1"),
        ("SWARM_AGENTS_POET__MODEL__SIZE", "1"),
        ("SWARM_AGENTS_BARD__MODEL", "llama3.2:1b"),
        ("SWARM_CONFIG", "x"),
    ];
    let expected = r#"
swarm.yaml:3: nats.url: `htp://me:***@host` does not fit; accepted is nats://HOST:PORT, also tls, ws or wss, several separated by commas
swarm.yaml:4: nats.replicas: `9` does not fit; accepted is a whole number from 1 to 5
swarm.yaml:6: ollama.hosts: https://a: https is not supported (no TLS is built in); give an http:// URL, of a tunnel or a local proxy if need be
swarm.yaml:6: ollama.hosts: `nonsense` does not fit; accepted is http://HOST:PORT
swarm.yaml:6: ollama.hosts: nothing does not fit; accepted is http://HOST:PORT
swarm.yaml:7: ollama.paralel: unknown key; accepted in ollama are hosts, parallel, num_ctx, require_cloud_off; did you mean `parallel`?
swarm.yaml:8: ollama.num_ctx: `many` does not fit; accepted is a whole number from 1 to 4294967295
swarm.yaml:9: ollama: is here a second time, the first is in line 5
swarm.yaml:10: ollama.num_ctx: `"4096"` does not fit; accepted is a whole number from 1 to 4294967295
swarm.yaml:12: agents.Bad Name: `Bad Name` does not fit; accepted is an agent's name: 1 to 64 of a-z, 0-9, _ and -
swarm.yaml:13: agents.poet: prompt is missing; an agent that is not shipped needs one, shipped are research_agent, creative_agent, critical_agent, summarizer_agent
swarm.yaml:14: agents.reserch_agent: prompt is missing; an agent that is not shipped needs one, shipped are research_agent, creative_agent, critical_agent, summarizer_agent; did you mean `research_agent`?
swarm.yaml:15: agents.critic.prompt: a list does not fit; accepted is a text
swarm.yaml:15: agents.critic.tool_mode: `natve` does not fit; accepted is one of auto, native, structured, plain; did you mean `native`?
swarm.yaml:15: agents.critic.tools: `x` does not fit; accepted is a list, such as [a, b]
swarm.yaml:17: runs.default_agents: `Bad` does not fit; accepted is an agent's name: 1 to 64 of a-z, 0-9, _ and -
swarm.yaml:17: runs.default_agents: `poett` is none of the agents; accepted are bard, critic, poet, reserch_agent; did you mean `poet`?
swarm.yaml:18: runs.retention: `soon` does not fit; accepted is a time above 0, such as `30s`, `10m` or `1h 30m`
swarm.yaml:19: runs.retry: `5` does not fit; accepted is keys with values: max
swarm.yaml:20: runs.deadlines.total: `0s` does not fit; accepted is a time above 0, such as `30s`, `10m` or `1h 30m`
swarm.yaml:21: mcp.server_port: `70000` does not fit; accepted is a whole number from 0 to 65535
swarm.yaml:21: mcp.enable_persistence: `maybe` does not fit; accepted is true or false
swarm.yaml:22: tols: unknown key; accepted in the configuration are nats, ollama, agents, mcp, mcp_servers, runs, tools; did you mean `tools`?
SWARM_AGENTS_BARD__MODEL: prompt is missing; an agent that is not shipped needs one, shipped are research_agent, creative_agent, critical_agent, summarizer_agent
SWARM_AGENTS_POET__MODEL__SIZE: unknown key; agents.poet.model has no keys of its own, accepted is a text
SWARM_NATS_URL: `a b` does not fit; accepted is nats://HOST:PORT, also tls, ws or wss, several separated by commas
SWARM_OLLAMA_HOSTS: an empty list does not fit; accepted is a list of at least 1, such as ["http://127.0.0.1:11434"]
SWARM_OLLAMA_NUM_CTX: `lots` does not fit; accepted is a whole number from 1 to 4294967295
SWARM_RUNS_RETRY_MAX: unknown key; accepted in runs are default_agents, retention, max_open, retry, deadlines, budget, drain; did you mean `SWARM_RUNS_RETRY__MAX`?
"#;
    let expected: Vec<&str> = expected.trim().lines().collect();
    assert_eq!(said(text, &variables), expected);
}

#[test]
fn a_text_that_is_no_yaml_is_said_with_its_line_and_beside_the_environment() {
    for (text, expected) in [
        ("ollama: [", "swarm.yaml:1: unclosed bracket '['"),
        ("nats:\n  url: \"a", "swarm.yaml:2: unclosed quote"),
        (
            "a: 1\n b: 2\n",
            "swarm.yaml:2: mapping values are not allowed in this context",
        ),
        (
            "nats: *server\n",
            "swarm.yaml:1: alias references unknown anchor",
        ),
        (
            "{}\n---\n{}\n",
            "swarm.yaml:3: multiple YAML documents detected",
        ),
    ] {
        let said = said(text, &[("SWARM_OLLAMA_PARALLEL", "0")]);
        let variable = "SWARM_OLLAMA_PARALLEL: `0` does not fit; accepted is a whole number from 1 to 4294967295";
        assert_eq!(said, [expected, variable], "{text}");
    }
    assert_eq!(
        said("just text", &[]),
        [
            "swarm.yaml: `just text` does not fit; accepted is keys with values: nats, ollama, agents, mcp, mcp_servers, runs, tools"
        ]
    );
}

#[test]
fn passwords_are_not_repeated() {
    for text in [
        "nats: nats://me:secret@host",
        "nats: {url: \"me:secret@ho st\"}",
        "nats: {url: \"nats://me:secret@host,x y\"}",
        "nats: {url: [nats://me:secret@host]}",
        "nats: {replicas: nats://secret@host}",
        "ollama: {hosts: [ftp://me:secret@host]}",
        "ollama: {hosts: [\"http://me:secret@ho st\"]}",
        "ollama: {hosts: http://me:secret@host}",
        "nats: {url: nats://me:secret@host",
    ] {
        let said = said(text, &[("SWARM_NATS_URL", "nats://me:secret@ho st")]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(!said.concat().contains("secret"), "{said:?}");
    }
}

#[test]
fn mistakes_are_a_document() {
    let error = error("ollama:\n  parallel: 0\n", &[("SWARM_RUNS_DRAIN", "soon")]);
    assert_eq!(
        error.document(),
        json!({
            "file": "swarm.yaml",
            "mistakes": [
                {
                    "line": 2,
                    "key": "ollama.parallel",
                    "message": "`0` does not fit; accepted is a whole number from 1 to 4294967295",
                },
                {
                    "key": "SWARM_RUNS_DRAIN",
                    "message": "`soon` does not fit; accepted is a time above 0, such as `30s`, `10m` or `1h 30m`",
                },
            ],
        })
    );
}

#[test]
fn a_file_fills_up_with_defaults() {
    let filled = config("ollama:\n  num_ctx: 4096\n", &[]);
    assert_eq!((filled.ollama.num_ctx, filled.ollama.parallel), (4096, 1));
    assert_eq!(filled.agents.len(), 4);
    // What is not set is as if it were not there.
    for text in [
        "",
        "# nothing\n",
        "{}",
        "nats:\nagents: ~\nollama: {num_ctx: null}\n",
    ] {
        assert_eq!(config(text, &[]), Config::default(), "{text}");
    }
}

#[test]
fn texts_are_taken_as_they_are_written() {
    let agents = config(
        "agents:\n  poet: {prompt: no, model: 1.10}\n  bard:\n    prompt: 0x1f\n",
        &[
            ("SWARM_AGENTS_BARD__MODEL", "4096"),
            ("SWARM_AGENTS_BARD__DESCRIPTION", "sings: [a, b]"),
        ],
    )
    .agents;
    let texts = |name: &str| {
        let agent = &agents[&name.parse().unwrap()];
        let texts = [&agent.prompt, &agent.model, &agent.description];
        texts.map(|text| text.clone().unwrap_or_default())
    };
    assert_eq!(texts("poet"), ["no", "1.10", ""]);
    assert_eq!(texts("bard"), ["0x1f", "4096", "sings: [a, b]"]);
}

#[test]
fn anchors_are_followed_and_mistakes_shown_where_they_are_used() {
    let text = "agents:\n  a: &base {prompt: p, replicas: 2}\n  b: {<<: *base, replicas: 3}\n";
    let agents = config(text, &[]).agents;
    let replicas: Vec<_> = agents.values().map(|agent| agent.replicas).collect();
    assert_eq!(replicas, [Some(2), Some(3)]);
    let text = "agents:\n  a: &base {prompt: p, replicas: x}\n  b: *base\n";
    assert_eq!(
        said(text, &[]),
        [
            "swarm.yaml:2: agents.a.replicas: `x` does not fit; accepted is a whole number from 0 to 4294967295",
            "swarm.yaml:3: agents.b.replicas: `x` does not fit; accepted is a whole number from 0 to 4294967295",
        ]
    );
}

#[test]
fn variables_stand_over_the_file() {
    let read = config(
        "runs: {retry: {max: 5}, drain: 10s}\nagents: {poet: {prompt: p}}\n",
        &[
            ("SWARM_RUNS_RETRY", "{max: 6}"),
            ("SWARM_RUNS_RETRY__MAX", "7"),
            ("SWARM_RUNS_DRAIN", ""),
            ("SWARM_AGENTS_POET__REPLICAS", "2"),
            ("SWARM_AGENTS_BARD__PROMPT", "You sing."),
            ("SWARM_OLLAMA_HOSTS", "[\"http://a\", 'http://b']"),
            ("SWARM_MCP_SERVERS_WIKI__COMMAND", "wiki"),
        ],
    );
    assert_eq!(read.runs.retry.max, 7);
    assert_eq!(read.runs.drain.to_string(), "10s");
    assert_eq!(names(&read), ["bard", "poet"]);
    assert_eq!(read.ollama.hosts, ["http://a", "http://b"]);
    assert_eq!(read.mcp_servers["wiki"], json!({ "command": "wiki" }));
    // One agent's variable leaves the shipped team what it is.
    let model = [("SWARM_AGENTS_RESEARCH_AGENT__MODEL", "llama3.2:1b")];
    assert_eq!(names(&config("", &model)), names(&Config::default()));
}

#[test]
fn agents_in_a_file_are_the_whole_team() {
    let read = config("agents:\n  poet: {prompt: \"You are a poet.\"}\n", &[]);
    assert_eq!(names(&read), ["poet"]);
}

#[test]
fn the_shipped_file_says_what_holds_without_it() {
    let shipped = config(include_str!("../../../swarm.yaml"), &[]);
    for role in &roles::ROLES {
        let agent = &shipped.agents[&role.name.parse().unwrap()];
        assert_eq!(
            (agent.model.as_deref(), agent.max_iterations, agent.replicas),
            (Some(role.model), Some(role.max_iterations), Some(1)),
        );
    }
    assert_eq!(shipped.agents.len(), roles::ROLES.len());
    let default = Config::default();
    assert_eq!(shipped.nats, default.nats);
    assert_eq!(shipped.ollama, default.ollama);
    assert_eq!(shipped.runs, default.runs);
}

#[test]
fn examples_in_the_readme_are_accepted() {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let read: Vec<Config> = blocks.map(|block| config(block, &[])).collect();
    assert!(!read.is_empty());
}

#[test]
fn what_is_shown_is_a_configuration() {
    let shown = shown::shown(Config::default());
    let text = serde_saphyr::to_string(&shown).unwrap();
    assert_eq!(config(&text, &[]), shown);
}

#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/configuration.md");
    let agent = serde_json::to_value(Agent::default()).unwrap();
    let mut config = serde_json::to_value(Config::default()).unwrap();
    config["agents"] = json!({ "<name>": agent });
    let mut missing = Vec::new();
    look_up("", &config, text, &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// Keys without a row of their own, `parent` included.
fn look_up(parent: &str, value: &Value, text: &str, missing: &mut Vec<String>) {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let key = match parent {
                    "" => name.clone(),
                    _ => format!("{parent}.{name}"),
                };
                look_up(&key, value, text, missing);
            }
        }
        _ if text.contains(&format!("| `{parent}` |")) => {}
        _ => missing.push(parent.to_owned()),
    }
}

/// A value of any kind, as it might be written.
fn written() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9:/.@~ -]{0,12}",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "(null|true|~|30s|auto|\\[\\]|\\{\\}|\\[~, 1\\]|\\[research_agent\\]|http://a|\\*x|&x 1)",
        "\\PC{0,8}",
    ]
}

/// Lines with keys of the configuration, some of them in sections and some not.
fn configuration() -> impl Strategy<Value = String> {
    let key = "(nats|ollama|agents|mcp|mcp_servers|runs|tools|url|replicas|hosts|parallel|num_ctx|poet|model|prompt\
               |tool_mode|max_iterations|tools|server_port|default_agents|retention|retry|max|deadlines|total|drain)";
    let line = ((0..4usize), key, written())
        .prop_map(|(depth, key, value)| format!("{}{key}: {value}", "  ".repeat(depth)));
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_mistakes_with_words(text in "\\PC{0,40}(\n\\PC{0,40}){0,4}", value in written()) {
        let said = said(&text, &[("SWARM_OLLAMA_NUM_CTX", &value), ("SWARM_RUNS_RETRY", &value)]);
        prop_assert!(said.iter().all(|line| !line.contains('\n')), "{said:?}");
    }

    /// What the schema accepts, the types accept: a mistake of the file as a whole is only that it is no map.
    #[test]
    fn schema_and_types_agree(text in configuration()) {
        let (_, mistakes) = examine(&text, Vec::new());
        let nowhere: Vec<_> = mistakes.iter().filter(|mistake| mistake.place == Place::File).collect();
        prop_assert_eq!(nowhere, Vec::<&Mistake>::new());
    }
}
