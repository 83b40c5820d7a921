# What mounts: the service fusefs alone, or a whole node (argument MODULE). pyfuse3 is compiled, and the setuid
# program fusermount3 mounts for an unprivileged user. Its context is made by context.py: see `make images`.
ARG BASE=dpm/base
ARG NATS=dpm/nats
FROM ${NATS} AS nats

FROM ${BASE} AS fuse
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends fuse3 libfuse3-3 && \
    rm -rf /var/log/* /var/cache/debconf/*-old && \
    # fusermount3 mounts for nobody without a name
    echo 'dpm:x:1000:1000:DPM:/:/usr/sbin/nologin' >>/etc/passwd

FROM fuse AS builder
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends gcc libc6-dev libfuse3-dev pkg-config python3-dev
COPY uv /usr/local/bin/uv
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CONFIG=1 UV_NO_MANAGED_PYTHON=1 UV_SYSTEM_CERTS=true
COPY third-party.lock build.lock /build/
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=index,target=/run/index \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    set -a; . /run/index; set +a; \
    uv venv --python python3 /opt/dpm && \
    uv pip sync --python /opt/dpm --require-hashes --build-constraints /build/build.lock /build/third-party.lock
COPY members /build/members
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/dpm --offline --no-deps --no-sources /build/members/*

FROM fuse AS service
COPY --from=builder /opt/dpm /opt/dpm
COPY ready /opt/dpm/
ENV PYTHONUNBUFFERED=1 PATH=/opt/dpm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 1000:1000
ENTRYPOINT ["/opt/dpm/bin/python", "-P", "-m", "dpm_fusefs"]

# A whole node: the same as `dpm up`.
FROM service AS node
COPY --from=nats /usr/local/bin/nats-server /usr/local/bin/nats-server
COPY programs /usr/local/bin/
USER 0:0
RUN install -d -o 1000 -g 1000 -m 700 /var/lib/dpm
USER 1000:1000
ENV DPM_HOME=/var/lib/dpm DPM_LISTEN=0.0.0.0 DPM_INSECURE_LAN=true
VOLUME /var/lib/dpm
EXPOSE 3141 3142 4001 5000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["bash", "-c", "</dev/tcp/127.0.0.1/${DPM_PYPI_PORT:-3141}"]
ENTRYPOINT ["/opt/dpm/bin/dpm"]
CMD ["up"]
