//! What released versions stored leads to what it led to then. See `tests/golden/README.md`.

mod files;
mod fold;
mod replay;
