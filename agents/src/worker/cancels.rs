//! Cancel signals: which running attempts belong to a run that is being canceled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_bus::Bus;
use swarm_bus::connection::RequestError;
use swarm_protocol::{RunId, subjects};
use tokio_util::sync::{CancellationToken, DropGuard};

type Tokens = Arc<Mutex<HashMap<RunId, Vec<CancellationToken>>>>;

/// Listens for cancel signals and passes them to the attempts that watch their run.
#[derive(Debug)]
pub(super) struct Cancels {
    tokens: Tokens,
    _listening: DropGuard,
}

/// An attempt's interest in its run's cancel; ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    tokens: Tokens,
    run: RunId,
    token: CancellationToken,
}

impl Cancels {
    pub(super) async fn listen(bus: &Bus) -> Result<Self, RequestError> {
        let mut signals = bus.subscribe(subjects::ALL_CANCELS).await?;
        let tokens = Tokens::default();
        let stop = CancellationToken::new();
        let (known, stopped) = (Arc::clone(&tokens), stop.clone());
        tokio::spawn(async move {
            while let Some(Some(signal)) = stopped.run_until_cancelled(signals.next()).await {
                let Some(run) = subjects::run_of_cancel(signal.subject()) else {
                    continue;
                };
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known
                    .get(&run)
                    .into_iter()
                    .flatten()
                    .for_each(CancellationToken::cancel);
            }
        });
        Ok(Self {
            tokens,
            _listening: stop.drop_guard(),
        })
    }

    pub(super) fn watch(&self, run: RunId) -> Watch {
        let token = CancellationToken::new();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(run).or_default().push(token.clone());
        Watch {
            tokens: Arc::clone(&self.tokens),
            run,
            token,
        }
    }
}

impl Watch {
    pub(super) async fn canceled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Cancelled or not: this token is done, and the run's entry goes when it was the last.
        self.token.cancel();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_run) = tokens.get_mut(&self.run) {
            of_run.retain(|token| !token.is_cancelled());
            if of_run.is_empty() {
                tokens.remove(&self.run);
            }
        }
    }
}
