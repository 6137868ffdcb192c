//! How a model is to be loaded.

use serde_json::Value;

use crate::keep_alive::KeepAlive;

/// How a model is to be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The window, in tokens.
    pub window: u64,
    /// The options that a runner is started with: another value loads the model again.
    pub runner: Value,
    /// How long it stays.
    pub keep_alive: KeepAlive,
}

impl Load {
    /// Whether a runner that was loaded so serves a request that wants this.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.window == wanted.window && self.runner == wanted.runner
    }
}
