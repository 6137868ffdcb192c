//! Numbers that bound messages and runs.

/// Largest payload stored inline in a run log or journal, in bytes.
pub const MAX_INLINE: usize = 128 * 1024;
/// Largest message of the run stream, in bytes.
pub const MAX_RUN_MESSAGE: i32 = 512 * 1024;
/// Open tasks of one run.
pub const MAX_TASKS: usize = 1000;
/// Labels of one run.
pub const MAX_LABELS: usize = 16;
/// Bytes of a label's name and of its value.
pub const MAX_LABEL_BYTES: usize = 64;
/// Characters of the task that stand in a summary.
pub const SUMMARY_TASK_CHARS: usize = 80;
/// Runs of one page of a list.
pub const DEFAULT_PAGE: usize = 100;
/// Most runs of one page of a list.
pub const MAX_PAGE: usize = 1000;
