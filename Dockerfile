# One node in a container: no root, nothing written but /data, stopped by SIGTERM within 5 s.
# docker build -t gavel . && docker run --rm -v gavel-data:/data -p 127.0.0.1:8070:8070 gavel
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runtime runtime
COPY aggregates aggregates
COPY agents agents
COPY solvers solvers
COPY projections projections
COPY gateway gateway
COPY examples examples
RUN python -m venv /opt/gavel \
    && /opt/gavel/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt hatchling editables \
    && /opt/gavel/bin/pip install --no-cache-dir --disable-pip-version-check --no-build-isolation -c constraints.txt '.[postgres]' \
    && /opt/gavel/bin/python -m solvers.warm

FROM python:3.11-slim
COPY --from=build /opt/gavel /opt/gavel
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin gavel \
    && install -d -o gavel -g gavel -m 0700 /data
ENV PATH=/opt/gavel/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GAVEL_DATA=/data \
    GAVEL_BIND=0.0.0.0:8070
USER 10001:10001
VOLUME /data
EXPOSE 8070 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8070/livez', timeout=2)"]
ENTRYPOINT ["gavel"]
# The port is published where the operator says; without TLS settings, keys travel in the clear as far as that.
CMD ["serve", "--insecure"]
