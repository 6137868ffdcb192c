//! The two releases of Ollama that are told apart, and in what.

use clap::ValueEnum;

use crate::models::Emission;

/// Whose wordings and rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// The last with its own runner.
    #[value(name = "0.17.4", alias = "0.17")]
    V0_17,
    /// With llama-server as the runner, as all from 0.30 on.
    #[value(name = "0.33.0", alias = "0.33")]
    V0_33,
}

impl Release {
    /// What `/api/version` says: no real version, and the API it follows.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_17 => "0.0.0-sim+0.17",
            Self::V0_33 => "0.0.0-sim+0.33",
        }
    }

    /// How calls come of a model that says nothing of it.
    pub fn emission(self, wanted: Option<Emission>) -> Emission {
        match (self, wanted.unwrap_or(Emission::Rendered)) {
            (Self::V0_17, Emission::Native) => Emission::Rendered,
            (_, emission) => emission,
        }
    }

    /// Whether `:local` and `:cloud` are read as suffixes.
    pub fn has_name_suffixes(self) -> bool {
        self == Self::V0_33
    }

    /// Whether `/api/tags` tells capabilities and context lengths.
    pub fn tags_tell_capabilities(self) -> bool {
        self == Self::V0_33
    }

    /// Whether a change of `shift` loads the model again.
    pub fn reloads_for_shift(self) -> bool {
        self == Self::V0_33
    }

    /// The values of `think` but true and false.
    pub fn think_levels(self) -> &'static [&'static str] {
        match self {
            Self::V0_17 => &["high", "medium", "low"],
            Self::V0_33 => &["high", "medium", "low", "max"],
        }
    }
}
