//! Agent workers: the loop, the roles, the worker.
