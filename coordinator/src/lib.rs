//! The coordinator: accept, dispatch, follow, answer.
