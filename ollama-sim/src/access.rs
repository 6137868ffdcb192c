//! Which model a request may use: names with a suffix, and stubs of models that run elsewhere.

use std::sync::Arc;

use crate::app::Sim;
use crate::models::{Model, Reference, Source};
use crate::refusal::Refusal;

/// What the refusal of a question to a remote model says.
pub const INFERENCE: &str = "remote model is unavailable";
/// What the refusal to describe one says.
pub const DETAILS: &str = "remote model details are unavailable";

/// The model of this name.
///
/// # Errors
/// 404 for a name that is not served, or whose suffix says that it runs here when it does not; 403 for a model that
/// runs elsewhere while that is switched off (`operation` is in its text), 401 for one that nobody is signed in for.
pub fn find(sim: &Sim, name: &str, operation: &str) -> Result<Arc<Model>, Refusal> {
    let reference = Reference::parse(name, sim.settings.release)?;
    if reference.source == Source::Cloud {
        return Err(if sim.settings.cloud {
            Refusal::unauthorized()
        } else {
            Refusal::cloud_disabled(operation)
        });
    }
    let model = sim
        .host
        .find(&reference.base)
        .ok_or_else(|| Refusal::no_model(name))?;
    if model.remote.is_some() {
        if reference.source == Source::Local {
            return Err(Refusal::no_model(name));
        }
        if !sim.settings.cloud {
            return Err(Refusal::cloud_disabled(operation));
        }
    }
    Ok(model)
}
