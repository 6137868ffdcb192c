//! Keeps a chat inside the context window: what it takes up, and what is left of it when it takes up too much.
//!
//! Pure: a chat and a budget in, a chat out.

mod compact;
mod estimate;
mod turns;

pub use compact::{Compacted, Note, TooLong, compact};
pub use estimate::{Calibration, Size};
