//! The settings: command line first, then `OLLAMA_SIM_...` variables, then the defaults here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::clock::Clock;
use crate::keep_alive::KeepAlive;
use crate::models::Emission;
use crate::release::Release;

/// What stands below the options in `--help`.
const DIRECTIVES: &str = "\
Marks in the last user message change that one answer, any of them together:
  [[sim:latency=200ms]]     time to the first token
  [[sim:tps=20]]            tokens per second, 0 = all at once
  [[sim:tokens=50]]         the answer has exactly so many tokens
  [[sim:reply=some text]]   the answer's text, after \"[SIMULATED <model>] \"
  [[sim:call=name {}]]      a call of this tool with these arguments
  [[sim:fault=stall:3]]     a fault by its name, here after 3 chunks
  [[sim:fail=500]]          an HTTP error (400 to 599) in place of the first chunk
  [[sim:cut]]               the connection ends in the middle of the answer";

/// A simulated Ollama server: no model runs, every answer says SIMULATED.
#[derive(Debug, Clone, Parser)]
#[command(name = "ollama-sim", version, after_help = DIRECTIVES)]
pub struct Options {
    /// Address of the API; port 0 takes the one in the ports file, else a free one
    #[arg(long, env = "OLLAMA_SIM_LISTEN", default_value = "127.0.0.1:11434")]
    pub listen: SocketAddr,

    /// Address of the control port (/sim/...); port 0 takes the one in the ports file, else a free one
    #[arg(long, env = "OLLAMA_SIM_CONTROL", default_value = "127.0.0.1:0")]
    pub control: SocketAddr,

    /// Time to the first token, such as 200ms, 1s or 0
    #[arg(long, env = "OLLAMA_SIM_LATENCY", default_value = "200ms", value_parser = duration)]
    pub latency: Duration,

    /// Tokens per second after the first one; 0 = all the tokens at once
    #[arg(long, env = "OLLAMA_SIM_TOKENS_PER_SECOND", default_value = "0", value_parser = rate)]
    pub tokens_per_second: f64,

    /// Requests that one model answers at a time, the others wait in order; 0 = no limit
    #[arg(long, env = "OLLAMA_SIM_PARALLEL", default_value_t = 0)]
    pub parallel: usize,

    /// Models in memory at a time; 0 = no limit
    #[arg(long, env = "OLLAMA_SIM_MAX_LOADED", default_value_t = 0)]
    pub max_loaded: usize,

    /// Requests that may wait for a model to be loaded, besides the next one; more are refused with 503
    #[arg(long, env = "OLLAMA_SIM_MAX_QUEUE", default_value_t = 512)]
    pub max_queue: usize,

    /// How long loading a model takes
    #[arg(long, env = "OLLAMA_SIM_LOAD", default_value = "0", value_parser = duration)]
    pub load: Duration,

    /// Models to serve in place of those of the built-in table, separated by commas
    #[arg(
        long,
        env = "OLLAMA_SIM_MODELS",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub models: Vec<String>,

    /// YAML file with facts of models, in the form of the built-in table (models.yaml)
    #[arg(long, env = "OLLAMA_SIM_MODEL_TABLE", value_name = "PATH")]
    pub model_table: Option<PathBuf>,

    /// YAML file with rules: what is said to which requests
    #[arg(long, env = "OLLAMA_SIM_RULES", value_name = "PATH")]
    pub rules: Option<PathBuf>,

    /// Whose wordings and rules hold
    #[arg(long, env = "OLLAMA_SIM_VERSION_OF", default_value = "0.33.0")]
    pub version_of: Release,

    /// How tool calls come, of all models; 0.17.4 has no native ones
    #[arg(long, env = "OLLAMA_SIM_EMISSION")]
    pub emission: Option<Emission>,

    /// num_ctx where a request has none
    #[arg(long, env = "OLLAMA_SIM_CONTEXT_LENGTH", default_value_t = 4096)]
    pub context_length: u64,

    /// How long a model stays loaded, such as 5m or 0; -1s = for ever
    #[arg(long, env = "OLLAMA_SIM_KEEP_ALIVE", default_value = "5m", allow_hyphen_values = true, value_parser = keep_alive)]
    pub keep_alive: KeepAlive,

    /// Answer for models that run elsewhere too, in place of refusing them as OLLAMA_NO_CLOUD=1 does
    #[arg(long, env = "OLLAMA_SIM_CLOUD")]
    pub cloud: bool,

    /// What everything that looks random comes from
    #[arg(long, env = "OLLAMA_SIM_SEED", default_value_t = 0)]
    pub seed: u64,

    /// Times and durations in answers: of the machine, or fixed, which gives the same request the same bytes
    #[arg(long, env = "OLLAMA_SIM_CLOCK", default_value = "real")]
    pub clock: Clock,

    /// File to write as {"listen":"IP:PORT","control":"IP:PORT"} once both ports are open
    #[arg(long, env = "OLLAMA_SIM_PORTS_FILE", value_name = "PATH")]
    pub ports_file: Option<PathBuf>,
}

/// Reads a time span as `humantime` writes it; a bare `0` is none.
///
/// # Errors
/// The text is not a time span.
pub fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
}

/// Reads a `keep_alive`.
///
/// # Errors
/// The text is not a time span.
pub fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    KeepAlive::read(&text.into()).map_err(|refusal| refusal.message)
}

/// Reads tokens per second: finite, 0 or more.
///
/// # Errors
/// The text is not such a number.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        Ok(_) => Err("must be 0 or more".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn durations_and_rates() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1s 200ms"), Ok(Duration::from_millis(1200)));
        assert!(duration("5").is_err());
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(rate("-1"), Err("must be 0 or more".to_owned()));
        assert_eq!(rate("inf"), Err("must be 0 or more".to_owned()));
    }
}
