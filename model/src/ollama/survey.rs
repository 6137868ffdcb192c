//! What is known of the hosts before a chat is sent: looked at when it is due, by one call at a time for each host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;

use super::Shared;
use super::facts::Abilities;
use super::names::canonical;
use super::pool::{Due, Lack};
use super::probe;
use crate::chat::ModelFacts;
use crate::error::ChatError;
use crate::markers::Markers;

/// What hosts have said of models.
#[derive(Debug, Default)]
pub struct Known {
    /// What they can do, by their digests.
    abilities: Mutex<HashMap<String, Abilities>>,
    /// Their control tokens, by their names.
    markers: Mutex<HashMap<String, Arc<Markers>>>,
}

impl Known {
    fn get(&self, digest: &str) -> Option<Abilities> {
        let abilities = self.abilities.lock();
        let abilities = abilities.unwrap_or_else(PoisonError::into_inner);
        abilities.get(digest).copied()
    }

    /// The control tokens of a model; the common ones as long as no host has described it.
    pub(super) fn markers(&self, model: &str) -> Arc<Markers> {
        let markers = self.markers.lock();
        let markers = markers.unwrap_or_else(PoisonError::into_inner);
        markers.get(model).cloned().unwrap_or_default()
    }

    /// Keeps control tokens. Copies of a model on several hosts may have different templates: all of theirs count.
    fn keep_markers(&self, model: &str, new: Markers) {
        let markers = self.markers.lock();
        let mut markers = markers.unwrap_or_else(PoisonError::into_inner);
        let known = markers.remove(model).unwrap_or_default();
        markers.insert(model.to_owned(), Arc::new(new.and(&known)));
    }

    fn keep(&self, digest: &str, known: Abilities) {
        if !digest.is_empty() {
            let abilities = self.abilities.lock();
            let mut abilities = abilities.unwrap_or_else(PoisonError::into_inner);
            abilities.insert(digest.to_owned(), known);
        }
    }
}

impl Shared {
    /// Looks at the hosts that are due, before a call for this model.
    pub(super) async fn survey(self: &Arc<Self>, model: &str, excluded: &[usize]) {
        let looks = self
            .slots
            .read(|pool, now| pool.hosts.looks(model, excluded, now));
        let (awaited, behind): (Vec<_>, Vec<_>) =
            looks.into_iter().partition(|(_, _, awaited)| *awaited);
        for (host, due, _) in behind {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.look_at(host, due).await });
        }
        if !awaited.is_empty() {
            let looks = awaited.into_iter();
            join_all(looks.map(|(host, due, _)| self.look_at(host, due))).await;
        }
    }

    async fn look_at(&self, index: usize, due: Due) {
        let (Some(host), Some(looking)) = (self.hosts.get(index), self.looking.get(index)) else {
            return;
        };
        let since = self.slots.now();
        let _one_at_a_time = looking.lock().await;
        if self
            .slots
            .read(|pool, _| pool.hosts.has_news(index, due, since))
        {
            return;
        }
        let trouble = match due {
            Due::All => match probe::state(&self.client, host).await {
                Ok(state) => {
                    let told = state.told(self.require_cloud_off);
                    return self
                        .slots
                        .change(|pool, now| pool.hosts.learn(index, told, now));
                }
                Err(error) => error,
            },
            Due::Loaded => match probe::loaded(&self.client, host).await {
                Ok(loaded) => {
                    let loaded = loaded.iter().map(|name| canonical(name)).collect();
                    let learn = |pool: &mut super::pool::Pool, now| {
                        pool.hosts.learn_loaded(index, loaded, now);
                    };
                    return self.slots.change(learn);
                }
                Err(error) => error,
            },
        };
        let trouble = detail(trouble);
        tracing::warn!(
            host = host.shown(),
            detail = trouble,
            "an Ollama host is left alone for a while"
        );
        self.slots
            .change(|pool, now| pool.hosts.failed(index, trouble, fastrand::f64(), now));
    }

    /// What a model can do on one host; asked once for each digest.
    pub(super) async fn abilities(
        &self,
        index: usize,
        model: &str,
        digest: &str,
    ) -> Result<Abilities, ChatError> {
        if let Some(known) = self.known.get(digest) {
            return Ok(known);
        }
        let Some(host) = self.hosts.get(index) else {
            return Ok(Abilities::default());
        };
        let show = probe::show(&self.client, host, model).await?;
        self.known.keep_markers(model, show.markers());
        let abilities = Abilities::from(show);
        self.known.keep(digest, abilities);
        Ok(abilities)
    }

    /// What requests for a model can count on, whichever host they go to.
    pub(super) async fn facts(self: &Arc<Self>, model: &str) -> Result<ModelFacts, ChatError> {
        super::refuse_cloud(model)?;
        let name = canonical(model);
        self.survey(&name, &[]).await;
        let mut known: Option<(String, Abilities)> = None;
        let mut refusal = None;
        for (index, digest) in self.slots.read(|pool, _| pool.hosts.usable(&name)) {
            match self.abilities(index, model, &digest).await {
                Ok(abilities) => {
                    known = Some(match known {
                        None => (digest, abilities),
                        Some((first, others)) => (first, others.both(abilities)),
                    });
                }
                Err(error) => {
                    if matches!(error, ChatError::Cloud { .. }) {
                        self.slots
                            .change(|pool, _| pool.hosts.is_remote(index, &name));
                    }
                    refusal = Some(error);
                }
            }
        }
        match (known, refusal) {
            (Some((digest, abilities)), _) => Ok(abilities.facts(digest, self.window.num_ctx)),
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.lack(model, &name, &[])),
        }
    }

    /// The error when no host is usable. `unreached` are those that this call has lost.
    pub(super) fn lack(&self, model: &str, name: &str, unreached: &[(usize, String)]) -> ChatError {
        let lack = self.slots.read(|pool, now| pool.hosts.lack(name, now));
        let shown = |index: &usize| Some(self.hosts.get(*index)?.shown().to_owned());
        let model = model.to_owned();
        match lack {
            Lack::Unreached(others) => self.unreached(unreached, others),
            _ if !unreached.is_empty() => self.unreached(unreached, Vec::new()),
            Lack::CloudIsOn(hosts) => ChatError::CloudOn {
                hosts: hosts.iter().filter_map(shown).collect(),
            },
            Lack::Cloud => ChatError::Cloud { model },
            Lack::Missing => ChatError::ModelNotFound { model },
        }
    }

    fn unreached(&self, own: &[(usize, String)], others: Vec<(usize, String)>) -> ChatError {
        let mut all = own.to_vec();
        all.extend(others);
        // What this call has met counts before what others have.
        all.sort_by_key(|(index, _)| *index);
        all.dedup_by_key(|(index, _)| *index);
        let (mut hosts, mut details) = (Vec::new(), Vec::new());
        for (index, detail) in all {
            hosts.extend(self.hosts.get(index).map(|host| host.shown().to_owned()));
            if !details.contains(&detail) {
                details.push(detail);
            }
        }
        let detail = details.join("; ");
        ChatError::Connect { hosts, detail }
    }
}

/// What went wrong, for a list of hosts.
pub fn detail(error: ChatError) -> String {
    match error {
        ChatError::Connect { detail, .. } => detail,
        error => error.to_string(),
    }
}
