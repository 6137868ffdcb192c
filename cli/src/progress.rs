//! Live progress: a line per task on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use swarm_protocol::chunk::{Chunk, Kind};
use swarm_protocol::{AnswerStatus, TaskId};

use crate::output;
use crate::runs::coarse;

/// Characters of a task's latest words: what a terminal of 80 columns has left for them.
const TAIL_WIDTH: usize = 52;

/// Characters of the line that a task leaves: an error's end says what mends it.
const LINE_WIDTH: usize = 240;

/// Shows what the tasks of a run are doing, on stderr.
pub(crate) struct Progress {
    terminal: bool,
    bars: MultiProgress,
    /// Tasks that have begun and not ended, in the order of their begin.
    open: Vec<Shown>,
    /// Whether a bar has ended and stays on the terminal.
    ended: bool,
}

struct Shown {
    task: TaskId,
    /// Hidden when there is no terminal.
    bar: ProgressBar,
    /// Attempt and delivery of the text so far: a higher one voids it.
    writer: (u32, u64),
    text: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::new();
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        Self {
            terminal,
            bars,
            open: Vec::new(),
            ended: false,
        }
    }

    /// Says something about the run.
    pub(crate) fn say(&mut self, line: &str) {
        if self.terminal {
            // A line that cannot be shown is nothing to fail for.
            self.bars.println(line).unwrap_or_default();
        } else {
            output::note(line);
        }
    }

    /// A task is under way.
    pub(crate) fn begin(&mut self, task: &TaskId) {
        let bar = if self.terminal {
            self.bars.add(ProgressBar::new_spinner())
        } else {
            output::note(&format!("  {task}: asked"));
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {prefix:<18} {elapsed:>4} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(task.to_string());
        bar.set_message("waiting");
        bar.enable_steady_tick(Duration::from_millis(120));
        self.open.push(Shown {
            task: task.clone(),
            bar,
            writer: (0, 0),
            text: String::new(),
        });
    }

    /// Whether a task has begun and not ended.
    pub(crate) fn is_open(&self, task: &TaskId) -> bool {
        self.open.iter().any(|shown| shown.task == *task)
    }

    /// A task wrote something.
    pub(crate) fn chunk(&mut self, task: &TaskId, chunk: &Chunk) {
        let Some(shown) = self.open.iter_mut().find(|shown| shown.task == *task) else {
            return;
        };
        let writer = (chunk.attempt, chunk.delivery);
        if writer > shown.writer {
            shown.writer = writer;
            shown.text.clear();
        }
        if writer < shown.writer {
            return;
        }
        match (chunk.kind, &chunk.data) {
            (Kind::Text | Kind::Thinking, Value::String(text)) => {
                shown.text.push_str(text);
                shown.bar.set_message(latest_words(&shown.text));
            }
            (Kind::Status, Value::String(text)) => shown.turn_to(text, self.terminal),
            (Kind::ToolCall, call) => {
                let tool = call["name"].as_str().unwrap_or("a tool");
                shown.turn_to(&format!("calls {tool}"), self.terminal);
            }
            _ => {}
        }
    }

    /// A task has ended.
    pub(crate) fn end(&mut self, task: &TaskId, status: AnswerStatus, line: &str) {
        let mark = match status {
            AnswerStatus::Completed => "✓",
            AnswerStatus::Failed => "✗",
            AnswerStatus::Canceled => "-",
        };
        let at = self.open.iter().position(|shown| shown.task == *task);
        match at.map(|at| self.open.remove(at)) {
            Some(shown) if self.terminal => {
                let template = format!("{mark} {{prefix:<18}} {{msg}}");
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    shown.bar.set_style(style);
                }
                shown
                    .bar
                    .finish_with_message(output::line(line, LINE_WIDTH));
                self.ended = true;
            }
            _ => self.say(&format!("{mark} {task}: {line}")),
        }
    }

    /// All open tasks are done.
    pub(crate) fn end_all(&mut self) {
        let open = self.open.iter();
        let open: Vec<_> = open
            .map(|shown| (shown.task.clone(), shown.bar.elapsed()))
            .collect();
        for (task, took) in open {
            let line = format!("done in {}", coarse(took));
            self.end(&task, AnswerStatus::Completed, &line);
        }
    }

    /// The run is over.
    pub(crate) fn finish(self) {
        for shown in self.open {
            shown.bar.finish_and_clear();
        }
        if self.ended {
            // The last bar's line has no end yet; the answer stands apart from it.
            output::note("\n");
        }
    }
}

impl Shown {
    /// What was written so far is done with.
    fn turn_to(&mut self, what: &str, terminal: bool) {
        self.text.clear();
        let what = output::line(what, TAIL_WIDTH);
        if terminal {
            self.bar.set_message(what);
        } else {
            output::note(&format!("  {}: {what}", self.task));
        }
    }
}

/// The end of a text in one line, cut before a word.
fn latest_words(text: &str) -> String {
    let mut tail = String::new();
    for word in text.split_whitespace().rev() {
        // A blank, and the sign of a cut.
        if tail.chars().count() + word.chars().count() + 2 > TAIL_WIDTH {
            return output::line(&format!("…{tail}"), TAIL_WIDTH);
        }
        tail = if tail.is_empty() {
            word.to_owned()
        } else {
            format!("{word} {tail}")
        };
    }
    output::line(&tail, TAIL_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_words_fit_and_are_whole() {
        assert_eq!(latest_words(""), "");
        assert_eq!(latest_words("one\ntwo  three "), "one two three");
        let long = "word ".repeat(20);
        let shown = latest_words(&long);
        assert_eq!(shown, format!("…{}", ["word"; 10].join(" ")));
        assert!(shown.chars().count() <= TAIL_WIDTH);
        let word = "w".repeat(60);
        assert_eq!(latest_words(&word), "…");
    }
}
