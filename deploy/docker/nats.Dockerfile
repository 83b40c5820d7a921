# nats-server as set-up built it; its context is the folder of that program.
ARG BASE=dpm/base
FROM ${BASE}
COPY nats-server /usr/local/bin/nats-server
USER 1000:1000
ENTRYPOINT ["/usr/local/bin/nats-server"]
