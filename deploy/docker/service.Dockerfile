# One service of DPM. Its context is made by context.py: see `make images`.
ARG BASE=dpm/base
FROM ${BASE} AS builder
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

FROM ${BASE}
COPY --from=builder /opt/dpm /opt/dpm
COPY ready /opt/dpm/
COPY programs /usr/local/bin/
# The name of the module that runs.
ARG SERVICE
ENV SERVICE=${SERVICE} PYTHONUNBUFFERED=1 PATH=/opt/dpm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 1000:1000
ENTRYPOINT ["sh", "-c", "exec /opt/dpm/bin/python -P -m \"$SERVICE\" \"$@\"", "sh"]
