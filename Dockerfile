# Two stages: the first builds the wheel and an environment, the second only carries it.
FROM python:3.12-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/broadcaster
COPY pyproject.toml README.md LICENSE ./
COPY broadcaster ./broadcaster
COPY auth ./auth
RUN /opt/broadcaster/bin/pip install ".[fast,crypto]"

FROM python:3.12-slim
# No shell, no home: this user only runs the program.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin --uid 10001 broadcaster
COPY --from=build /opt/broadcaster /opt/broadcaster
ENV PATH=/opt/broadcaster/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BROADCASTER_GATEWAY__HOST=0.0.0.0 \
    BROADCASTER_GATEWAY__PORT=8080
WORKDIR /app
USER 10001
EXPOSE 8080
# SIGTERM drains: /ready turns false, connections are closed with 4200 over the drain time.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/up', timeout=2)"]
CMD ["broadcaster", "serve"]
