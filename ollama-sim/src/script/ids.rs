//! Ids of tool calls: they look random, and depend on nothing but the request.

use sha2::{Digest as _, Sha256};

use crate::models::Emission;

const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Where the ids of one answer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    seed: Vec<u8>,
}

impl Ids {
    /// The ids of the answer to this request.
    pub fn of(request: &[u8]) -> Self {
        Self {
            seed: Sha256::digest(request).to_vec(),
        }
    }

    /// The id of the call at this place: `call_` and 8 characters, or 32 when the runner makes them.
    pub fn get(&self, place: usize, emission: Emission) -> String {
        let hash = Sha256::new()
            .chain_update(&self.seed)
            .chain_update(place.to_be_bytes())
            .finalize();
        match emission {
            Emission::Native => hash.iter().map(|byte| pick(LETTERS, *byte)).collect(),
            Emission::Rendered | Emission::Text | Emission::Swallow => {
                let digits: String = hash
                    .iter()
                    .take(8)
                    .map(|byte| pick(DIGITS, *byte))
                    .collect();
                format!("call_{digits}")
            }
        }
    }
}

fn pick(alphabet: &[u8], byte: u8) -> char {
    let place = usize::from(byte) % alphabet.len().max(1);
    alphabet.get(place).copied().map_or('x', char::from)
}
