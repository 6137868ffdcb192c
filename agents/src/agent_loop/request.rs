//! The request of the next turn: the chat as its mode needs it, cut to what fits.

use swarm_model::context::{Size, TooLong, compact};
use swarm_model::{ChatRequest, Message, Role, ToolOffer};
use swarm_protocol::journal::ToolMode;

use super::words::Closing;
use super::{AgentLoop, structured, words};
use crate::measures::Measure;

/// Tokens that the estimate may be wrong by.
const RESERVE: u64 = 16;

/// How freely a model chooses that wrote a call which could not be read; most models have 0.6 to 1.
const COOL: f64 = 0.2;

impl AgentLoop {
    /// The next request.
    ///
    /// # Errors
    /// When not even what has to stay fits into the context window.
    pub(super) fn request(&self) -> Result<ChatRequest, TooLong> {
        let offered = self.offered();
        let messages = if Measure::Budget.is_on() {
            compact(self.chat(), self.room(offered), &self.calibration)?.messages
        } else {
            self.chat()
        };
        let is_structured = self.mode == ToolMode::Structured;
        let messages = if is_structured {
            messages.into_iter().map(structured::message).collect()
        } else {
            messages
        };
        let mut request = ChatRequest::new(
            self.settings.model.clone(),
            messages,
            self.settings.num_predict,
        );
        request.tools = offered.to_vec();
        request.think = self.think;
        if self.trouble.unreadable > 0 && !self.is_closing() && Measure::Cooled.is_on() {
            request.temperature = Some(COOL);
        }
        if is_structured && !self.is_closing() {
            request.format = Some(structured::format(&self.tools));
            request.think = Some(false);
        }
        Ok(request)
    }

    /// The tools that the request names.
    fn offered(&self) -> &[ToolOffer] {
        let by_the_api = self.mode == ToolMode::Native || !Measure::FormatOrTools.is_on();
        if by_the_api && !self.is_closing() {
            &self.tools
        } else {
            &[]
        }
    }

    /// Tokens that the chat may take up. Each time that a host finds it too long, half of the window.
    fn room(&self, offered: &[ToolOffer]) -> u64 {
        let window = u64::from(self.facts.window) >> self.trouble.too_long;
        let answer = u64::from(self.settings.num_predict.min(self.facts.window / 2))
            >> self.trouble.too_long;
        let tools = self.calibration.estimate(Size::of(&[], offered));
        window.saturating_sub(answer + tools + RESERVE)
    }

    /// The chat before it is made to fit.
    fn chat(&self) -> Vec<Message> {
        let mut messages = self.messages.clone();
        if self.is_closing() {
            let closing = self.closing.unwrap_or(Closing::Turns);
            messages.push(Message::user(words::close(closing)));
        } else if self.mode == ToolMode::Structured
            && let Some(system) = messages
                .iter_mut()
                .find(|message| message.role == Role::System)
        {
            system.content = format!(
                "{}\n\n{}",
                system.content,
                structured::instructions(&self.tools)
            );
        }
        messages
    }
}
