//! The page that tells what was found.

use std::fmt::Write as _;
use std::process::Command;

use crate::case::{Case, Found};
use crate::host::Kind;

const HEAD: &str = "\
# Ollama, and the simulator beside it

`make test-ollama` wrote this page. It builds real Ollama servers from package registries (`scripts/ollama`, a quarter of an
hour on two cores, once), makes models of a few megabytes for them by hand (`scripts/ollama_models.py`), sends the same
requests to each server and to `ollama-sim` in its place, with the same scripts, and fails when one answers otherwise than it
says here. No published model was run: the models play scripts, so that a server gets exactly the text that a case is
about. What a model of yours writes is another matter; what a server makes of it is not.

An empty cell says that 0.17.4 did as 0.33.0 did, or a simulator as the server that it simulates. `a text` is what a model says when nobody asks for a certain script;
what stands behind `done` came in the chunk that ends the stream; `call_+8` is an id of that prefix and eight more
characters.

## What this means

* **A slot can be lost.** A server hands each chunk from the task that reads the model to the one that writes to the client.
  When a client leaves just then, the first waits for ever, and its slot is taken until the server is started anew: later
  requests for the model get no answer and no error. The models here are fast, 1,000 tokens a second and more, and
  lost one in 4 of 65 tries to leave at the first chunk, with both versions; slower ones leave less room for it. A client
  that leaves the queue loses nothing. Swarm waits 5 minutes for the first token of a loaded model (10 of one that is not
  loaded), gives up the call as `SW-MODEL-TIMEOUT`, and asks other hosts for a while. Only a restart of the server brings
  the slot back.
* **Markers of turns in a text are markers.** Text of a user, a tool or a document can end its turn and begin another, unless
  the markers are broken up before it is sent.
* **Calls get lost on the way.** An unknown tool or a cut call in a tag leaves an empty answer, without an error. Send
  `num_predict`, and take an empty answer for a failure.
* **`format` with `tools` gives false calls,** and a model that thinks is held to no schema unless `think` is `false`.
* **A prompt that is too long is cut in silence** unless `truncate` is `false`; the refusal has three wordings.
* **A loop ends without `done`.** An answer is complete when `done` says so, and not when the connection ends.
";

/// The whole page.
pub fn page(results: &[(&Case, &Found)]) -> String {
    let mut page = HEAD.to_owned();
    writeln!(
        page,
        "\nRun on {}, {} {}: {} cases.",
        output("date", &["-u", "+%Y-%m-%d"]),
        output("uname", &["-s"]),
        output("uname", &["-m"]),
        results.len(),
    )
    .unwrap();
    let mut part = "";
    for (case, found) in results {
        if case.part != part {
            part = case.part;
            write!(
                page,
                "\n## {part}\n\n| case | 0.33.0 | 0.17.4 | simulated 0.33.0 | simulated 0.17.4 |\n|---|---|---|---|---|\n"
            )
            .unwrap();
        }
        row(&mut page, case, found);
    }
    page
}

fn row(page: &mut String, case: &Case, found: &Found) {
    write!(
        page,
        "| {} | {} |",
        cell(case.name),
        cell(&found[&Kind::ALL[0]])
    )
    .unwrap();
    for kind in Kind::ALL.into_iter().skip(1) {
        let Some(difference) = case.difference(kind) else {
            page.push_str(" |");
            continue;
        };
        match found.get(&kind) {
            Some(outcome) => write!(page, " {}. *{}* |", cell(outcome), cell(difference.why)),
            None => write!(page, " not asked: *{}* |", cell(difference.why)),
        }
        .unwrap();
    }
    page.push('\n');
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let printed = output.expect("the system has it").stdout;
    String::from_utf8_lossy(&printed).trim().to_owned()
}
