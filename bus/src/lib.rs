//! The NATS side of Swarm: connect, topology, deliveries, work loop.
