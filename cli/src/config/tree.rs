//! YAML as a tree that knows where each part of it stands.
//!
//! Anchors, merge keys and limits are serde-saphyr's. A key that stands twice is kept twice: the reader complains.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// A part of the text, with its place.
pub(super) type Node = Spanned<Content>;

/// What a part of the text says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// A null, a flag, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    /// Keys in their order, repeated ones included.
    Map(Vec<(Spanned<String>, Node)>),
}

/// Why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoYaml {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// Reads a text; an empty one is null.
///
/// # Errors
/// What is wrong, without the text around it: there may be a password in it.
pub(super) fn parse(text: &str) -> Result<Node, NoYaml> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.without_snippet().to_string();
        // The line has a field of its own, and what a programmer could do about it is of no use here.
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = message.split("; use ").next().unwrap_or_default();
        NoYaml {
            line: error.location().map(|location| location.line()),
            message: message.to_owned(),
        }
    })
}

/// A part as it is written in its text, which for `1.10` is not what a number says.
pub(super) fn written<'t>(text: &'t str, node: &Node) -> Option<&'t str> {
    slice(text, &node.defined).map(str::trim)
}

fn slice<'t>(text: &'t str, location: &Location) -> Option<&'t str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?)
}

/// A part of the tree without places.
pub(super) fn plain(node: &Node) -> Value {
    match &node.value {
        Content::Scalar(value) => value.clone(),
        Content::List(items) => items.iter().map(plain).collect(),
        Content::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.value.clone(), plain(value)))
            .collect(),
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Content::Map(map))
    }
}
