//! Live progress: a line per task on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use swarm_protocol::chunk::{Chunk, Kind};
use swarm_protocol::{AnswerStatus, TaskId};

use crate::output;

/// Characters of a task's latest words.
const TAIL_WIDTH: usize = 60;

/// Shows what the tasks of a run are doing, on stderr.
pub(crate) struct Progress {
    terminal: bool,
    bars: MultiProgress,
    tasks: HashMap<TaskId, Shown>,
}

struct Shown {
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
            tasks: HashMap::new(),
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
        if !self.terminal {
            return output::note(&format!("{task}: waiting"));
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<18} {elapsed:>4} {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(task.to_string());
        bar.set_message("waiting");
        bar.enable_steady_tick(Duration::from_millis(120));
        self.tasks.insert(
            task.clone(),
            Shown {
                bar,
                writer: (0, 0),
                text: String::new(),
            },
        );
    }

    /// A task wrote something.
    pub(crate) fn chunk(&mut self, task: &TaskId, chunk: &Chunk) {
        let Some(shown) = self.tasks.get_mut(task) else {
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
        match self.tasks.remove(task) {
            Some(shown) => {
                if let Ok(style) =
                    ProgressStyle::with_template(&format!("{mark} {{prefix:<18}} {{msg}}"))
                {
                    shown.bar.set_style(style);
                }
                shown.bar.finish_with_message(output::line(line, 110));
            }
            None => self.say(&format!("{mark} {task}: {line}")),
        }
    }

    /// The run is over.
    pub(crate) fn finish(self) {
        for shown in self.tasks.into_values() {
            shown.bar.finish_and_clear();
        }
    }
}
