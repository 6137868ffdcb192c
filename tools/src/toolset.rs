//! The tools that an agent has, and which of them it is offered for a task.

mod bm25;

use std::fmt;
use std::sync::Arc;

use crate::measures::Measure;
use crate::spec::Spec;
use crate::tool::Tool;

/// Most tools that are offered in one turn: small models get lost among more.
pub const MAX_OFFERED: usize = 5;

/// The tools that an agent has, in the order of its configuration. Cheap to clone.
#[derive(Clone, Default)]
pub struct Toolset(Vec<Arc<dyn Tool>>);

/// Why tools cannot be together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tools {0} and {1} have names that differ by no more than - and _")]
pub struct ToolsetError(String, String);

impl Toolset {
    /// These tools.
    ///
    /// # Errors
    ///
    /// When two have the same name, or names that differ only by `-` and `_`: models mix those up.
    pub fn new(tools: Vec<Arc<dyn Tool>>) -> Result<Self, ToolsetError> {
        let mut set = Self::default();
        for tool in tools {
            let name = tool.spec().name();
            if let Some(other) = set.names().find(|other| same(other, name)) {
                return Err(ToolsetError(other.to_owned(), name.to_owned()));
            }
            set.0.push(tool);
        }
        Ok(set)
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.0.iter().find(|tool| tool.spec().name() == name)
    }

    /// The names of all, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tool| tool.spec().name())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tools to offer for this task, in the order of the configuration: all, or the [`MAX_OFFERED`] that suit the task best
    /// by their names and descriptions.
    #[must_use]
    pub fn offers(&self, task: &str) -> Vec<&Spec> {
        let all = || self.0.iter().map(|tool| tool.spec());
        if self.0.len() <= MAX_OFFERED || !Measure::FewTools.is_on() {
            return all().collect();
        }
        let documents: Vec<String> = all()
            .map(|spec| format!("{} {}", spec.name(), spec.description()))
            .collect();
        let scores = bm25::scores(&documents, task);
        let mut ranked: Vec<(usize, f64)> = scores.into_iter().enumerate().collect();
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let best: Vec<usize> = ranked
            .into_iter()
            .take(MAX_OFFERED)
            .map(|(place, _)| place)
            .collect();
        all()
            .enumerate()
            .filter(|(place, _)| best.contains(place))
            .map(|(_, spec)| spec)
            .collect()
    }
}

fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace('-', "_");
    plain(one) == plain(other)
}

impl fmt::Debug for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Probe;

    fn set(tools: &[(&str, &str)]) -> Result<Toolset, ToolsetError> {
        Toolset::new(
            tools
                .iter()
                .map(|(name, description)| Probe::described(name, description))
                .collect(),
        )
    }

    fn offered(set: &Toolset, task: &str) -> Vec<String> {
        set.offers(task)
            .iter()
            .map(|spec| spec.name().to_owned())
            .collect()
    }

    #[test]
    fn names_that_a_model_mixes_up_are_refused() {
        let error = set(&[("web-search", "a"), ("web_search", "b")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tools web-search and web_search have names that differ by no more than - and _"
        );
        assert!(set(&[("same", "a"), ("same", "b")]).is_err());
    }

    #[test]
    fn five_are_offered_whatever_the_task() {
        let five = [("e", "x"), ("d", "x"), ("c", "x"), ("b", "x"), ("a", "x")];
        assert_eq!(
            offered(&set(&five).unwrap(), "anything"),
            ["e", "d", "c", "b", "a"]
        );
    }

    #[test]
    fn of_more_the_ones_that_suit_the_task() {
        let tools = set(&[
            ("calculator", "Works out an arithmetic expression."),
            ("web_search", "Searches the web."),
            ("web_fetch", "Fetches a page of the web."),
            ("text_stats", "Counts words and sentences of a text."),
            ("current_time", "The date and time now, in a time zone."),
            ("send_mail", "Sends a mail."),
            ("get_weather", "The weather of a city for some days."),
        ])
        .unwrap();
        assert_eq!(
            offered(&tools, "How is the weather in this city? Send me a mail."),
            [
                "web_search",
                "web_fetch",
                "current_time",
                "send_mail",
                "get_weather"
            ]
        );
        assert_eq!(
            offered(&tools, "Übersetze"),
            [
                "calculator",
                "web_search",
                "web_fetch",
                "text_stats",
                "current_time"
            ],
            "the first ones when none suits"
        );
    }
}
