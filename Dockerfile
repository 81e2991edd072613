# Both programs in one small image; it runs the server unless told otherwise:
#
#     docker build --tag polling .
#     docker run --rm --publish 127.0.0.1:8080:8080 --volume polling-data:/data polling
#
# Build arguments: PROFILE=dev builds much faster and runs much slower; FEATURES=kafka-tls,postgres-tls adds encrypted connections.

FROM rust:1.95-bookworm AS build
ARG PROFILE=release
ARG FEATURES=
WORKDIR /source
COPY . .
# The caches outlive the build, so that dependencies are compiled once, and after a change of the sources only what has changed.
# The programs are copied out, because a cache is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    for package in polling-server polling-worker; do \
        cargo build --locked --profile "$PROFILE" --features "$FEATURES" --package "$package" || exit 1; \
    done \
    && folder="target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")" \
    && mkdir -p /programs \
    && cp "$folder/polling-server" "$folder/polling-worker" /programs/ \
    && mkdir -p /data

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Polling" \
      org.opencontainers.image.description="A backend for live polls: server and worker" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Certificates for encrypted connections; the programs need nothing else beside the C library.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /programs/ /usr/local/bin/
# A number, because Kubernetes can check only a number against root.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
ENV POLLING_LISTEN=0.0.0.0:8080 \
    POLLING_ADMIN_LISTEN=0.0.0.0:8081 \
    POLLING_DATA_DIR=/data
VOLUME /data
EXPOSE 8080 8081
# For the server; who runs the worker says so for both (compose.yaml shows it).
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["polling-server", "healthcheck"]
CMD ["polling-server"]
