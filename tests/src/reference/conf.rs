//! The users of a `nats.conf`: as much of the format as that file uses.

use std::iter::Peekable;
use std::vec::IntoIter;

/// A user and its rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// The comment above it.
    pub about: String,
    /// What it may publish to.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Word(String),
    Comment(String),
}

/// The users, in the order of the file.
///
/// # Panics
/// When the file is written otherwise than expected.
#[must_use]
pub fn users(text: &str) -> Vec<User> {
    let mut tokens = tokens(text).into_iter().peekable();
    let list = tokens.find(|token| *token == Token::Word("users".to_owned()));
    assert!(list.is_some(), "no users");
    assert_eq!(tokens.next(), Some(Token::Open));
    let mut users = Vec::new();
    while tokens.next_if_eq(&Token::Close).is_none() {
        assert_eq!(tokens.next(), Some(Token::Open));
        users.push(user(&mut tokens));
    }
    users
}

fn user(tokens: &mut Peekable<IntoIter<Token>>) -> User {
    let mut user = User::default();
    // Names of the maps around, the innermost last.
    let mut path: Vec<String> = Vec::new();
    loop {
        match tokens.next().expect("the end of a user") {
            Token::Comment(line) if user.about.is_empty() => user.about = line,
            Token::Comment(line) => user.about = format!("{} {line}", user.about),
            Token::Close => {
                if path.pop().is_none() {
                    return user;
                }
            }
            Token::Open => panic!("a map without a name"),
            Token::Word(key) if key == "allow" => {
                let rights = match path.last().map(String::as_str) {
                    Some("publish") => &mut user.publish,
                    Some("subscribe") => &mut user.subscribe,
                    other => panic!("rights to {other:?}"),
                };
                *rights = words(tokens);
            }
            Token::Word(key) => match tokens.next() {
                Some(Token::Open) => path.push(key),
                Some(Token::Word(value)) if key == "user" => user.name = value,
                Some(Token::Word(_)) if key == "password" => {}
                other => panic!("{key} is {other:?}"),
            },
        }
    }
}

fn words(tokens: &mut Peekable<IntoIter<Token>>) -> Vec<String> {
    assert_eq!(tokens.next(), Some(Token::Open));
    let words = tokens.map_while(|token| match token {
        Token::Close => None,
        Token::Word(word) => Some(Some(word)),
        // About the rights below it, not about the user.
        Token::Comment(_) => Some(None),
        Token::Open => panic!("a list in a list"),
    });
    words.flatten().collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            tokens.push(Token::Comment(comment.trim().to_owned()));
            continue;
        }
        let spaced = line.replace(['{', '['], " { ").replace(['}', ']'], " } ");
        tokens.extend(spaced.split([' ', ',']).filter_map(token));
    }
    tokens
}

fn token(word: &str) -> Option<Token> {
    match word {
        "{" => Some(Token::Open),
        "}" => Some(Token::Close),
        _ => {
            let word = word.trim_end_matches(':').trim_matches('"');
            (!word.is_empty()).then(|| Token::Word(word.to_owned()))
        }
    }
}
