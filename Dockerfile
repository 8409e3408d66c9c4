# An image of angioray, for cluster-kubernetes.yaml and wherever else containers are used:
#   docker build --tag registry.example.org/angioray:0.1.0 .
#   docker run --rm --shm-size 8g --gpus all -v /data:/data registry.example.org/angioray:0.1.0 \
#     cv /data/cohort --all-folds --runs /data/runs           the user 1000 must be able to write /data
# .dockerignore names what may enter it: the packages and what installs them. No archive, labels or key does.
FROM python:3.12-slim-bookworm

# What OpenCV's wheel looks for and brings no copy of.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*

# Into the image's own Python, whose commands every shell finds; KubeRay starts `ray` in one.
WORKDIR /opt/angioray
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY angioray angioray
COPY preprocess preprocess
COPY tune tune
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

# Nobody in particular, who may write in their home and in what is mounted for them.
RUN useradd --uid 1000 --create-home angioray
USER 1000:1000
ENV RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
ENTRYPOINT ["angioray"]
