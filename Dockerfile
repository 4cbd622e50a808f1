# The image of PAR: nothing but the libraries of Debian that Python needs, Python 3.11, uv and par, each a layer.
# `make rootfs` builds the same root without an engine, from the same scripts/rootfs.
#
#   docker build --build-arg REVISION=$(git rev-parse HEAD) -t par .
#   docker run --read-only --tmpfs /tmp -v par:/var/lib/par -p 8000:8000 --stop-timeout 50 par serve https://…/agent.apkg
#
# --stop-timeout: SHUTDOWN_DELAY_SEC + GRACEFUL_SHUTDOWN_TIMEOUT_SEC and five seconds.

FROM rust:1.94.1-slim-bookworm AS build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends cmake gcc g++ libc6-dev make binutils python3 python3-pip \
 && python3 -m pip install --quiet --break-system-packages uv==0.13.8
WORKDIR /par
COPY . .
# Dependencies stay compiled between builds; the paths in the binary are those of /par.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --locked --release -p par-gateway \
 && cp /target/release/par /usr/local/bin/par
ARG REVISION=""
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cd scripts && SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH python3 -m rootfs \
      --binary /usr/local/bin/par --uv "$(command -v uv)" --out /out --revision "$REVISION"

FROM scratch
COPY --from=build /out/layers/base/ /
COPY --from=build --chown=10001:10001 --chmod=700 /out/layers/base/var/lib/par /var/lib/par
COPY --from=build /out/layers/python/ /
COPY --from=build /out/layers/uv/ /
COPY --from=build /out/layers/par/ /
ENV PATH=/usr/bin LANG=C.UTF-8 HOME=/tmp PAR_DATA_DIR=/var/lib/par SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
VOLUME ["/var/lib/par", "/tmp"]
EXPOSE 8000 50051 9090
STOPSIGNAL SIGTERM
# Whether the process answers; whether it is ready is /health, which is for load balancers.
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=30s CMD ["/usr/bin/python3.11", "-c", \
  "import os, http.client as h; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/runtime/live'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/par"]
CMD ["serve"]
