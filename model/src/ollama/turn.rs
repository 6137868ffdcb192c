//! One turn of a model while it comes in: frames go in, events come out. No I/O.

use super::decode::{Frame, Piece};
use super::refusal;
use super::truncation::Sent;
use crate::chat::{ChatEvent, Completion, DoneReason, ToolCall};
use crate::error::ChatError;
use crate::measures::Measure;
use crate::repetition::Detector;

/// What a turn has brought so far.
pub struct Turn {
    /// The model that was asked, for errors.
    model: String,
    simulated: bool,
    sent: Sent,
    repetition: Detector,
    text: String,
    thinking: String,
    tool_calls: Vec<ToolCall>,
    events: Vec<ChatEvent>,
    is_done: bool,
}

impl Turn {
    /// A turn of which nothing has come, after this was sent.
    #[must_use]
    pub fn new(model: String, simulated: bool, sent: Sent) -> Self {
        Self {
            model,
            simulated,
            sent,
            repetition: Detector::default(),
            text: String::new(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            events: Vec::new(),
            is_done: false,
        }
    }

    /// Takes the next frame, which must not follow the last one. Its text and calls count also when it is the last.
    ///
    /// # Errors
    /// [`ChatError::Cloud`] when another machine wrote it, [`ChatError::Looping`] when the model repeats itself,
    /// [`ChatError::Truncated`] when the last frame says that too little was read, and what [`refusal::in_a_stream`]
    /// reads in an error.
    pub fn take(&mut self, frame: Frame<'_>) -> Result<(), ChatError> {
        if frame.is_remote() {
            let model = self.model.clone();
            return Err(ChatError::Cloud { model });
        }
        if let Some(error) = &frame.error {
            return Err(refusal::in_a_stream(error));
        }
        let message = frame.message.unwrap_or_default();
        if let Some(Piece(thinking)) = message.thinking.filter(|piece| !piece.0.is_empty()) {
            self.look_for_loops(&thinking)?;
            self.thinking.push_str(&thinking);
            match self.events.last_mut() {
                Some(ChatEvent::Thinking(before)) => before.push_str(&thinking),
                _ => self.events.push(ChatEvent::Thinking(thinking.into_owned())),
            }
        }
        if let Some(Piece(text)) = message.content.filter(|piece| !piece.0.is_empty()) {
            self.look_for_loops(&text)?;
            self.text.push_str(&text);
            match self.events.last_mut() {
                Some(ChatEvent::Text(before)) => before.push_str(&text),
                _ => self.events.push(ChatEvent::Text(text.into_owned())),
            }
        }
        for call in message.tool_calls.unwrap_or_default() {
            let call = ToolCall::from(call);
            self.tool_calls.push(call.clone());
            self.events.push(ChatEvent::ToolCall(call));
        }
        if frame.done == Some(true) {
            let input_tokens = frame.prompt_eval_count.unwrap_or_default();
            self.sent.check(input_tokens)?;
            self.is_done = true;
            self.events.push(ChatEvent::Done(Completion {
                text: std::mem::take(&mut self.text),
                thinking: std::mem::take(&mut self.thinking),
                tool_calls: std::mem::take(&mut self.tool_calls),
                done_reason: DoneReason::from(frame.done_reason.unwrap_or_default()),
                input_tokens,
                output_tokens: frame.eval_count.unwrap_or_default(),
                simulated: self.simulated,
            }));
        }
        Ok(())
    }

    fn look_for_loops(&mut self, piece: &str) -> Result<(), ChatError> {
        match self.repetition.push(piece) {
            Some(repetition) if Measure::Repetition.is_on() => Err(ChatError::Looping {
                excerpt: format!("{:?}, {} times", repetition.excerpt, repetition.times),
            }),
            _ => Ok(()),
        }
    }

    /// The events that the frames since have brought; pieces that came together are one.
    pub fn take_events(&mut self) -> Vec<ChatEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the last frame has come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::request::Window;
    use super::*;
    use crate::chat::{ChatRequest, Message};

    fn fold(simulated: bool, frames: &[Value]) -> Result<Vec<ChatEvent>, ChatError> {
        fold_into(Turn::new("m".into(), simulated, Sent::default()), frames)
    }

    fn fold_into(mut turn: Turn, frames: &[Value]) -> Result<Vec<ChatEvent>, ChatError> {
        for frame in frames {
            let line = frame.to_string();
            turn.take(Frame::parse(line.as_bytes())?)?;
        }
        Ok(turn.take_events())
    }

    fn completion(text: &str, thinking: &str, done_reason: DoneReason) -> Completion {
        Completion {
            text: text.into(),
            thinking: thinking.into(),
            tool_calls: Vec::new(),
            done_reason,
            input_tokens: 0,
            output_tokens: 0,
            simulated: false,
        }
    }

    #[test]
    fn pieces_and_the_whole() {
        let events = fold(
            true,
            &[
                json!({"message": {"role": "assistant", "content": "", "thinking": "h"}, "done": false}),
                json!({"message": {"role": "assistant", "content": "", "thinking": "m"}, "done": false}),
                json!({"message": {"role": "assistant", "content": "So"}, "done": false}),
                json!({"message": {"role": "assistant", "content": "."}, "done": false}),
                json!({"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "length", "prompt_eval_count": 7, "eval_count": 2}),
            ],
        );
        let done = Completion {
            input_tokens: 7,
            output_tokens: 2,
            simulated: true,
            ..completion("So.", "hm", DoneReason::Length)
        };
        let expected = vec![
            ChatEvent::Thinking("hm".into()),
            ChatEvent::Text("So.".into()),
            ChatEvent::Done(done),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn everything_may_come_in_the_last_frame() {
        let frame = json!({"message": {"content": "So.", "thinking": "hm"}, "done": true, "done_reason": "stop"});
        let expected = vec![
            ChatEvent::Thinking("hm".into()),
            ChatEvent::Text("So.".into()),
            ChatEvent::Done(completion("So.", "hm", DoneReason::Stop)),
        ];
        assert_eq!(fold(false, &[frame]), Ok(expected));
    }

    fn call(id: Option<&str>, name: &str) -> ToolCall {
        ToolCall {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            arguments: json!({}),
        }
    }

    #[test]
    fn calls_may_come_in_any_frame() {
        let came =
            |id: &str, name: &str| json!({"id": id, "function": {"name": name, "arguments": {}}});
        let events = fold(
            false,
            &[
                json!({"message": {"role": "assistant", "content": "", "tool_calls": [came("c", "f")]}, "done": false}),
                json!({"message": {"content": "So", "tool_calls": null}, "done": false}),
                json!({"message": {"content": ".", "tool_calls": [came("c", "f"), came("", "g")]}, "done": true, "done_reason": "stop"}),
            ],
        );
        let calls = [call(Some("c"), "f"), call(Some("c"), "f"), call(None, "g")];
        let [first, second, third] = calls.clone().map(ChatEvent::ToolCall);
        let done = Completion {
            tool_calls: calls.to_vec(),
            ..completion("So.", "", DoneReason::Stop)
        };
        let expected = vec![
            first,
            ChatEvent::Text("So.".into()),
            second,
            third,
            ChatEvent::Done(done),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn an_empty_answer_is_an_answer() {
        let done =
            |reason: &str| ChatEvent::Done(completion("", "", DoneReason::Other(reason.into())));
        assert_eq!(fold(false, &[json!({"done": true})]), Ok(vec![done("")]));
        let load = json!({"message": {"role": "assistant", "content": ""}, "done_reason": "load", "done": true});
        assert_eq!(fold(false, &[load]), Ok(vec![done("load")]));
    }

    /// The third piece that is the same as the one before is too much.
    #[test]
    fn a_model_that_repeats_itself_is_broken_off() {
        for field in ["content", "thinking"] {
            let frame =
                json!({"message": {field: "It is as it is, and so it is. "}, "done": false});
            let error = fold(false, &vec![frame.clone(); 2000]).unwrap_err();
            let ChatError::Looping { excerpt } = &error else {
                panic!("{error}")
            };
            assert!(excerpt.contains("it is"), "{excerpt}");
            assert!(fold(false, &vec![frame; 4]).is_ok());
        }
    }

    #[test]
    fn a_chat_that_was_cut_is_not_answered() {
        let request = ChatRequest::new("m", vec![Message::user("so ".repeat(4000))], 9);
        let sent = Sent::of(&request, Window { num_ctx: 2048 });
        let done = |count: u64| {
            let turn = Turn::new("m".into(), false, sent);
            let frame = json!({"message": {"content": "So."}, "done": true, "done_reason": "stop", "prompt_eval_count": count});
            fold_into(turn, &[frame])
        };
        let error = ChatError::Truncated {
            expected: 3000,
            evaluated: 1027,
        };
        assert_eq!(done(1027), Err(error));
        assert_eq!(done(3005).map(|events| events.len()), Ok(2));
    }

    #[test]
    fn errors_and_the_cloud() {
        let broken = |message: &str| {
            Err(ChatError::MidStream {
                message: message.into(),
            })
        };
        assert_eq!(fold(false, &[json!({"error": "boom"})]), broken("boom"));
        assert_eq!(
            fold(
                false,
                &[json!({"error": "{\"error\":{\"message\":\"in\"}}"})]
            ),
            broken("in")
        );
        assert_eq!(fold(false, &[json!({"error": ""})]), broken(""));
        let remote = json!({"message": {"content": "x"}, "done": false, "remote_host": "https://ollama.com:443"});
        assert_eq!(
            fold(false, &[remote]),
            Err(ChatError::Cloud { model: "m".into() })
        );
    }
}
