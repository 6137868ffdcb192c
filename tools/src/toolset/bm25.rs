//! BM25 (Robertson and Zaragoza 2009, with the idf of Lucene): how well documents suit a query.

use std::collections::{HashMap, HashSet};

/// How soon a repeated word stops counting more.
const K1: f64 = 1.2;

/// How much a long document counts less.
const B: f64 = 0.75;

/// The score of each document, in their order; 0 where no word of the query stands.
pub fn scores(documents: &[String], query: &str) -> Vec<f64> {
    let documents: Vec<Vec<String>> = documents.iter().map(|text| words(text)).collect();
    let total = documents.len() as f64;
    let length = documents.iter().map(Vec::len).sum::<usize>() as f64 / total.max(1.0);
    let counted: Vec<HashMap<&str, f64>> = documents.iter().map(|words| count(words)).collect();
    let query = words(query);
    let mut seen = HashSet::new();
    let query: Vec<&String> = query.iter().filter(|word| seen.insert(*word)).collect();
    let mut scores = vec![0.0; documents.len()];
    for word in query {
        let having = counted
            .iter()
            .filter(|words| words.contains_key(word.as_str()))
            .count() as f64;
        let idf = (1.0 + (total - having + 0.5) / (having + 0.5)).ln();
        for ((score, words), document) in scores.iter_mut().zip(&counted).zip(&documents) {
            if let Some(times) = words.get(word.as_str()) {
                let long = 1.0 - B + B * document.len() as f64 / length.max(1.0);
                *score += idf * times * (K1 + 1.0) / (times + K1 * long);
            }
        }
    }
    scores
}

fn count(words: &[String]) -> HashMap<&str, f64> {
    let mut counts = HashMap::new();
    for word in words {
        *counts.entry(word.as_str()).or_insert(0.0) += 1.0;
    }
    counts
}

/// Words in lower case and without the `s` of a plural; `getWeather` and `get_weather` are two.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in text.chars() {
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if let Some(word) = words.last_mut()
            && c.is_alphanumeric()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
            _ => word,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names_and_texts() {
        let expected = [
            "get", "weather", "day", "is", "class", "the", "url", "grösse",
        ];
        assert_eq!(words("getWeather days is class, The-url_GRÖSSE"), expected);
    }

    #[test]
    fn a_rare_word_counts_more_than_a_frequent_one() {
        let documents =
            ["search the web", "search the files", "search the mail"].map(str::to_owned);
        let scores = scores(&documents, "Search my files!");
        assert!(scores[1] > scores[0], "{scores:?}");
        assert_eq!(scores[0], scores[2]);
        assert!(scores[0] > 0.0);
    }

    #[test]
    fn nothing_scores_nothing() {
        assert_eq!(scores(&[], "x"), Vec::<f64>::new());
        assert_eq!(scores(&[String::new(), "a b".to_owned()], "?!"), [0.0, 0.0]);
    }
}
