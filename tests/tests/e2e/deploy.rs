//! The files that run Swarm in containers: they are read, agree with each other and with the program, and the roles and the
//! server in them are started with the very command lines and variables that stand there.
//!
//! What is not run here are the images: no test needs Docker or a cluster.

mod agreement;
mod files;
mod images;
mod metrics;
mod roles;
mod server;
