//! Ways to break the simulated roles, each of which the checker has to notice: a checker that cannot fail proves nothing.

/// One thing that a role does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A coordinator acknowledges a cause before it has published the effects.
    AckBeforeEffects,
    /// A coordinator drops a cause that was applied before, without publishing its effects again.
    NoRepeatedEffects,
    /// A coordinator appends events without naming the sequence that it builds on.
    BlindAppend,
    /// A coordinator believes the state that it keeps, when that says that there is nothing to decide.
    TrustsCache,
    /// A coordinator ends attempts without looking at whether they have ended.
    BlindEnd,
    /// Nobody publishes the effects of commands again whose coordinator has died.
    NoSweep,
    /// A coordinator appends behind a command whose effects may not be published.
    LeavesUnconfirmed,
    /// A coordinator does not look whether an append without an answer was stored.
    ForgetsOwnAppend,
    /// Nobody looks at deadlines.
    NoDeadlines,
    /// A coordinator writes the summary of the state before the event.
    OldSummary,
    /// A coordinator takes a submission for known whatever its content.
    NoConflict,
    /// A worker writes on whatever the journal says.
    IgnoresVerdict,
    /// A worker acknowledges its work before the end of the attempt is stored.
    AckBeforeEnd,
    /// A worker runs calls again that may have run, without asking.
    RunsWithoutAsking,
    /// A worker asks only about those calls that may have run and that come next.
    AsksAboutTheNext,
    /// A worker takes what was approved for approved whenever it is delivered.
    DecisionHoldsForEver,
    /// A worker does not take results from the journal.
    ForgetsResults,
    /// A worker begins anew whatever the journal holds.
    ForgetsJournal,
    /// A worker takes work again and again that kills it.
    NoPoison,
    /// A worker takes the end of another attempt for its own, and acknowledges.
    AcksWhatIsLive,
}
