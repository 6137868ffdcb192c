# syntax=docker/dockerfile:1.7
#
# Two images: `swarm`, the default, with the one binary, and `simulator`, with ollama-sim.
#
#   docker build --tag swarm:0.1.0 .
#   docker build --tag swarm-simulator:0.1.0 --target simulator .

# The Rust of the workspace's rust-version.
FROM rust:1.95-slim-trixie AS source
WORKDIR /source
COPY . .

# The caches outlive a build, so a change compiles what it touches. A binary has to leave the cache in the same step.
FROM source AS build-swarm
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --locked --release -p swarm && install -D target/release/swarm /out/swarm

FROM source AS build-simulator
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --locked --release -p ollama-sim && install -D target/release/ollama-sim /out/ollama-sim

# Nothing in either image is written to: it runs with a read-only root, as a user that owns nothing.
FROM debian:13-slim AS runtime
USER 10001:10001
ARG REVISION=unknown
LABEL org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS simulator
LABEL org.opencontainers.image.title="swarm-simulator" \
      org.opencontainers.image.description="A simulated Ollama: no model runs, every answer says SIMULATED"
COPY --from=build-simulator /out/ollama-sim /usr/local/bin/ollama-sim
EXPOSE 11434
# The image has no HTTP client; an open port is all that the simulator's being there means.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/11434"]
ENTRYPOINT ["ollama-sim", "--listen", "0.0.0.0:11434"]

FROM runtime AS swarm
LABEL org.opencontainers.image.title="swarm" \
      org.opencontainers.image.description="Teams of local LLM agents on NATS: every role is a subcommand"
# Only a connection to a NATS server by tls:// looks at them.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-swarm /out/swarm /usr/local/bin/swarm
# A swarm.yaml that is mounted here is found without a flag.
WORKDIR /etc/swarm
# On loopback, for the health check below; an address that others can reach needs SWARM_HEALTH_TOKEN as well.
ENV SWARM_HEALTH=127.0.0.1:8081
# A role tries its first connection for 30 s.
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --start-interval=1s \
    CMD ["swarm", "healthcheck", "127.0.0.1:8081"]
ENTRYPOINT ["swarm"]
