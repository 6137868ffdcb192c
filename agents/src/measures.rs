//! What this crate does against the failures of small models.

swarm_protocol::measures! {
    /// F1: tools are offered by the host's API only to models that take them.
    ModeByFacts,
    /// F1: a host that refuses tools is a turn, and the model is asked for JSON.
    RefusedTools,
    /// F2: calls that a model wrote as text are found.
    Salvage,
    /// F2: a call that stands in what the model was given to read is not taken for one of its own.
    NoEcho,
    /// F4: tokens without a text and a call are a call that the host swallowed.
    SwallowedCall,
    /// F5: a call that the host cannot read is a turn, and no failure of the attempt.
    UnreadableCall,
    /// F5: what comes after an unreadable call is chosen less freely.
    Cooled,
    /// F5, F4, F15: a model whose calls cannot be read is asked for JSON.
    Degrade,
    /// F6: an answer of nothing is none.
    EmptyAnswer,
    /// F6: a model that thought and gave no answer is asked without thinking.
    WithoutThinking,
    /// F7: what a model thinks is no part of its answer, nor of the chat.
    StripThinking,
    /// F8: a call that was made before is answered from what is known.
    KnownResults,
    /// F8: a call that is made again and again ends the use of tools.
    ForcedAnswer,
    /// F9: an answer that was cut off is not taken for whole.
    Cut,
    /// F10: the chat is made to fit into the window.
    Budget,
    /// F11: who is asked for JSON is offered no tools by the host's API.
    FormatOrTools,
    /// F12: a structured answer that is no JSON is asked for again.
    NotJson,
    /// F13: calls get ids of their own.
    OwnIds,
    /// F15: a call that is announced and not made is asked for.
    Nudge,
}
