//! The cards of live instances, kept by a watch over their bucket.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use swarm_bus::cards::{Change, read_change};
use swarm_bus::watch::{Watch, WatchError};
use swarm_bus::{Bus, topology};
use swarm_protocol::card::Card;
use swarm_protocol::{InstanceId, Timestamp};

/// Pause before a broken watch is set up again.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

type Known = Arc<RwLock<BTreeMap<String, (Card, Timestamp)>>>;

/// Live instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cards {
    known: Known,
}

impl Cards {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the bucket is not there.
    pub(crate) async fn follow(bus: &Bus) -> Result<Self, WatchError> {
        let cards = Self::default();
        let (known, bus) = (Arc::clone(&cards.known), bus.clone());
        let mut watch = bus.watch_cards().await?;
        tokio::spawn(async move {
            loop {
                take_all(&known, &mut watch).await;
                watch = reopen(&bus).await;
            }
        });
        Ok(cards)
    }

    /// The cards, by agent and instance.
    pub(crate) fn all(&self) -> Vec<Card> {
        // The bucket forgets silent instances by itself; a watch that is cut off does not hear of it.
        let now = Timestamp::now();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter(|(_, heard)| is_live(*heard, now))
            .map(|(card, _)| card.clone())
            .collect()
    }

    /// How many other instances are live.
    pub(crate) fn others(&self, instance: &InstanceId) -> usize {
        let all = self.all();
        all.iter().filter(|card| card.instance != *instance).count()
    }
}

fn is_live(heard: Timestamp, now: Timestamp) -> bool {
    now.since(heard) < topology::HEARTBEAT * 3
}

async fn take_all(known: &Known, watch: &mut Watch) {
    while let Ok(message) = watch.next().await {
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        match read_change(&message) {
            Some(Change::Put(card)) => {
                let now = Timestamp::now();
                // The markers of those that went while the watch was cut off never come.
                known.retain(|_, (_, heard)| is_live(*heard, now));
                known.insert(card.key(), (*card, now));
            }
            Some(Change::Gone(key)) => {
                known.remove(&key);
            }
            None => {}
        }
    }
}

async fn reopen(bus: &Bus) -> Watch {
    loop {
        match bus.watch_cards().await {
            Ok(watch) => return watch,
            Err(error) => {
                tracing::debug!(%error, "cards are not being watched; trying again");
                tokio::time::sleep(WATCH_PAUSE).await;
            }
        }
    }
}
