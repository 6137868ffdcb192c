//! What answers are made of: clauses that may be said about any task.

use super::prompt::Kind;

/// How many clauses an answer has: its lead and three points.
const CHOSEN: usize = 4;

/// The clauses for one kind of prompt. Each can follow "that" and, with a capital, stand alone.
pub fn bank(kind: Kind) -> &'static [&'static str; 10] {
    match kind {
        Kind::Facts => &FACTS,
        Kind::Ideas => &IDEAS,
        Kind::Risks => &RISKS,
        Kind::Summary => &SUMMARY,
        Kind::Generic => &GENERIC,
    }
}

/// Four different clauses, chosen by the hash.
pub fn choose(bank: &[&'static str], hash: &[u8]) -> Vec<&'static str> {
    let mut left = bank.to_vec();
    let mut chosen = Vec::with_capacity(CHOSEN);
    // The answer shows the first bytes as its name; the clauses come from others.
    for byte in hash.iter().rev().take(CHOSEN.min(bank.len())) {
        chosen.push(left.swap_remove(usize::from(*byte) % left.len()));
    }
    chosen
}

const FACTS: [&str; 10] = [
    "the published figures differ by a factor of two, so a range is safer than a number",
    "three independent sources describe it in the same way",
    "most of what is written about it goes back to one early report",
    "the costs have fallen every year since they were first recorded",
    "it was tried at a small scale before and worked there",
    "the definition changed over time, so that older numbers cannot be compared",
    "two thirds of the cases fall into one of three groups",
    "nobody has measured the long-term effect yet",
    "the usual bottleneck is people's time and not equipment",
    "regional differences are larger than differences between years",
];

const IDEAS: [&str; 10] = [
    "the problem could be turned around, so that the users start the work",
    "a small trial for one week would show more than a long plan",
    "two existing parts can be joined to save building a third",
    "a game with points would make the dull half bearable",
    "the whole could be offered as a kit that people finish themselves",
    "a map in place of a list would make the gaps visible",
    "half of the steps could be left out without anybody noticing",
    "a deliberately bad first version would draw out better proposals",
    "neighbours could share one instance of it and take turns",
    "the waste of one step may feed the next one",
];

const RISKS: [&str; 10] = [
    "the main assumption was never tested",
    "one missing person would bring everything to a halt",
    "success is not defined, so failure would go unnoticed",
    "the estimate leaves no room for a second attempt",
    "the evidence comes from those who profit from it",
    "a change of price by a tenth would undo the gain",
    "the plan has a first step and a last one but few in between",
    "what is easy to count is counted, and what matters is not",
    "there is no way back once the first part is done",
    "it works for the average case and for few real ones",
];

const SUMMARY: [&str; 10] = [
    "the answers agree on the direction and differ on the pace",
    "the strongest point is made by the shortest answer",
    "the doubts concern the means and not the aim",
    "a small first step would satisfy all sides",
    "two of the proposals can be carried out together",
    "the open question is who decides, and when",
    "the facts bear the ideas better than the critics expect",
    "what is missing from all answers is a measure of success",
    "the objections can be met by starting small",
    "none of the answers contradicts another outright",
];

const GENERIC: [&str; 10] = [
    "the question has a simple core and a difficult edge",
    "the next step is clearer than the last one",
    "it helps to separate what is known from what is hoped",
    "a short answer is possible, if not a complete one",
    "the order of the steps matters more than their number",
    "an example would settle most of it",
    "the obvious way is also the cheapest one here",
    "it depends on who will use the result",
    "there is time to look at it twice",
    "the two halves of the task can be done apart",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn four_different_clauses_of_the_bank_are_chosen() {
        for byte in 0..=255 {
            let chosen = choose(&FACTS, &[byte; 32]);
            let different: HashSet<_> = chosen.iter().collect();
            assert_eq!(different.len(), CHOSEN, "{chosen:?}");
            assert!(chosen.iter().all(|clause| FACTS.contains(clause)));
        }
    }

    #[test]
    fn no_clause_ends_a_sentence() {
        let kinds = [
            Kind::Facts,
            Kind::Ideas,
            Kind::Risks,
            Kind::Summary,
            Kind::Generic,
        ];
        for clause in kinds.into_iter().flat_map(bank) {
            assert!(!clause.contains(['.', '!', '?', '\n']), "{clause}");
        }
    }
}
