//! What rules, plans and marks want of one answer, collected when the request comes in.

use axum::http::HeaderMap;

use crate::app::Sim;
use crate::fault::Fault;
use crate::models::Model;
use crate::rules::{Outcome, Subject};

use super::request::{ChatRequest, Think};

/// What is wanted of one answer.
#[derive(Debug, Default)]
pub struct Direction {
    /// What a rule makes the model say.
    pub outcome: Option<Outcome>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Direction {
    /// Asks the rules and the plans, which count the request.
    pub fn of(sim: &Sim, request: &ChatRequest, model: &Model, headers: &HeaderMap) -> Self {
        let mut faults: Vec<Fault> = request.directives.fault.clone().into_iter().collect();
        let mut outcome = sim.book().consult(Subject {
            model: &model.name,
            messages: &request.messages,
            tools: &request.tools,
            format: &request.format,
            think: request.think != Some(Think::Flag(false)),
            headers,
            call: 0,
        });
        if let Some(outcome) = &mut outcome {
            faults.append(&mut outcome.faults);
        }
        faults.extend(sim.plans().draw(&model.name));
        Self { outcome, faults }
    }
}
