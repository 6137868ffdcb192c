//! Live progress: a line per task on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use swarm_protocol::chunk::{Chunk, Kind};
use swarm_protocol::{AnswerStatus, TaskId};

use crate::output;

/// Characters of a task's latest words.
const TAIL_WIDTH: usize = 60;

/// Characters of the line that a task leaves.
const LINE_WIDTH: usize = 110;

/// Shows what the tasks of a run are doing, on stderr.
pub(crate) struct Progress {
    terminal: bool,
    bars: MultiProgress,
    /// Tasks that have begun and not ended, in the order of their begin.
    open: Vec<Shown>,
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
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<18} {elapsed:>4} {msg}")
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
        if let (Kind::Text | Kind::Thinking, Value::String(text), false) =
            (chunk.kind, &chunk.data, writer < shown.writer)
        {
            shown.text.push_str(text);
            let count = shown.text.chars().count();
            let tail: String = shown
                .text
                .chars()
                .skip(count.saturating_sub(TAIL_WIDTH))
                .collect();
            shown.bar.set_message(output::line(&tail, TAIL_WIDTH));
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
            }
            _ => self.say(&format!("{mark} {task}: {line}")),
        }
    }

    /// All open tasks have ended alike.
    pub(crate) fn end_all(&mut self, status: AnswerStatus, line: &str) {
        let open: Vec<TaskId> = self.open.iter().map(|shown| shown.task.clone()).collect();
        for task in open {
            self.end(&task, status, line);
        }
    }

    /// The run is over.
    pub(crate) fn finish(self) {
        for shown in self.open {
            shown.bar.finish_and_clear();
        }
    }
}
