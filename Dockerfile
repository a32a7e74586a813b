# syntax=docker/dockerfile:1
# One binary in an image without shell, package manager or root: docker build -t authpost .
# For both architectures, with the commit in `authpost --version` and in the labels:
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .

FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
WORKDIR /src
# Panics unwind through libgcc_s, which the final image lacks: copy it there, and make the binary look for it there.
ENV RUSTFLAGS="-C link-arg=-Wl,-rpath,/usr/local/lib"

# The dependencies first, against empty crates, so that this layer is rebuilt only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY shared/domain/Cargo.toml shared/domain/
COPY shared/runtime/Cargo.toml shared/runtime/
COPY shared/engine/Cargo.toml shared/engine/
COPY shared/workos/Cargo.toml shared/workos/
COPY ingress/Cargo.toml ingress/
COPY worker/Cargo.toml worker/
COPY sandbox/Cargo.toml sandbox/
RUN for crate in . shared/domain shared/runtime shared/engine shared/workos ingress worker sandbox; do \
      mkdir -p $crate/src && touch $crate/src/lib.rs; done \
 && mkdir -p tests/it benches/journey \
 && echo 'fn main() {}' | tee src/main.rs tests/it/main.rs benches/journey/main.rs \
 && cargo build --profile dist --locked --bin authpost

# Then our own code. The commit comes from outside: the image is built without the Git checkout.
ARG REVISION=
ENV AUTHPOST_COMMIT=$REVISION
COPY build.rs ./
# Cargo compares timestamps, and ours must be newer than those of the empty crates.
COPY src src
COPY shared shared
COPY ingress ingress
COPY worker worker
COPY sandbox sandbox
RUN find src shared ingress worker sandbox -name '*.rs' -exec touch {} + \
 && cargo build --profile dist --locked --bin authpost \
 && mkdir /data /libraries \
 && cp "$(gcc -print-file-name=libgcc_s.so.1)" /libraries/ \
 && ! ldd target/dist/authpost | grep -vE 'linux-vdso|ld-linux|libc\.so|libm\.so|libgcc_s'

# glibc and the certificate authorities, nothing else; uid 65532.
FROM gcr.io/distroless/base-nossl-debian12:nonroot@sha256:be40c00dfabd86576d92666e87e406714d5618342de1a0c213ad232de255172e
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="authpost" \
      org.opencontainers.image.description="Mails WorkOS login codes from your own SMTP relay" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/target/dist/authpost /usr/local/bin/authpost
COPY --from=build /libraries /usr/local/lib
# For the embedded engine; everything else may be read-only.
COPY --from=build --chown=65532:65532 /data /data
ENV PORT=8080 \
    AUTHPOST_ADMIN_LISTEN=0.0.0.0:9090 \
    AUTHPOST_DATA_DIR=/data \
    AUTHPOST_LOG=json
EXPOSE 8080 9090
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["/usr/local/bin/authpost", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/authpost"]
CMD ["serve"]
