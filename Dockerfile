# One Dockerfile for every server and for loadgen. It uses nothing that needs BuildKit, so the classic builder takes it too.
#
# `builder` compiles the whole workspace once, whichever image is wanted: the same features and profile as `cargo build
# --release` on the host, and glibc, since another C library's allocator would move the numbers. An image is FROM scratch: one
# binary (loadgen: all of them) and the libraries that it names. No shell, no package manager, no init: the fork server reaps
# its own children.
#
# Built by docker-compose.yml, which names the binary. Without a registry: docker/base-images.

FROM rust:1.95-slim-bookworm AS builder
# glommio's build script needs git and a C compiler. The public image has the compiler only.
RUN command -v git >/dev/null || (apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*)
WORKDIR /build

# The dependencies alone, in a layer that lasts until a manifest or the lock file changes. server-testkit is for tests, and what it
# needs is in no image.
COPY Cargo.toml Cargo.lock ./
COPY echo-contract/Cargo.toml echo-contract/
COPY server-kit/Cargo.toml server-kit/build.rs server-kit/
COPY server-testkit/Cargo.toml server-testkit/
COPY fork-server/Cargo.toml fork-server/
COPY thread-server/Cargo.toml thread-server/
COPY event-servers/Cargo.toml event-servers/
COPY loadgen/Cargo.toml loadgen/
COPY docker/empty-sources docker/
RUN sh docker/empty-sources make && \
    cargo build --release --workspace --exclude server-testkit --bins --locked && \
    sh docker/empty-sources remove

COPY . .
# Cargo goes by modification times, and those of the host are older than the empty sources.
RUN find . -path ./target -prune -o -type f -exec touch {} + && \
    cargo build --release --workspace --exclude server-testkit --bins --locked && \
    sh docker/roots target/release /images

# A server. BINARY comes here and not before, so that all images share one builder.
FROM scratch AS server
ARG BINARY
COPY --from=builder /images/${BINARY}/ /
LABEL org.opencontainers.image.title="${BINARY}" \
      org.opencontainers.image.description="TCP echo server ${BINARY} of the concurrency comparison" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
USER 65534:65534
# Begins the drain: what is owed is sent, then FIN, then STATS and exit 0.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/server"]
CMD ["--bind", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --retries=3 CMD ["/server", "--healthcheck"]

# loadgen, with every server binary beside it: it can do the whole comparison in one container.
FROM scratch AS loadgen
COPY --from=builder /images/loadgen/ /
LABEL org.opencontainers.image.title="loadgen" \
      org.opencontainers.image.description="Load generator for TCP echo servers, with the servers it compares" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
USER 65534:65534
STOPSIGNAL SIGINT
WORKDIR /work
ENTRYPOINT ["/loadgen"]
