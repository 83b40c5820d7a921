# The one address in front of the gateways.
ARG BASE=dpm/base
FROM ${BASE}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends haproxy && \
    rm -rf /var/log/* /var/cache/debconf/*-old
COPY haproxy.cfg /etc/haproxy/haproxy.cfg
USER 1000:1000
ENTRYPOINT ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
