# The image of compose.yaml: dtsched and what it needs to run, as a user who owns nothing. How to use it: docs/docker.md.

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source

# From pip 26.1 on a constraints file may hold the hashes. So the one lock file serves the image too: everything that is
# installed is pinned and hashed, and the tools in it for developers are left out, as nothing asks for them.
RUN echo 'pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13' >pip.txt \
    && pip install --require-hashes --requirement pip.txt \
    && python -m venv --without-pip /opt/dtsched

# Before the code, so that a change of code does not install everything anew.
COPY pyproject.toml requirements.lock ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        >runtime.txt \
    && pip --python /opt/dtsched/bin/python install --require-hashes --constraint requirements.lock --requirement runtime.txt \
    && echo setuptools >build.txt \
    && pip install --require-hashes --constraint requirements.lock --requirement build.txt

COPY README.md LICENSE ./
COPY dtsched dtsched
COPY schema schema
COPY workers workers
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/dtsched/bin/python install --no-deps --no-index /wheels/*.whl \
    && pip --python /opt/dtsched/bin/python check

FROM python:3.13-slim-trixie
COPY --from=build /opt/dtsched /opt/dtsched
ENV PATH=/opt/dtsched/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that an orchestrator can tell that it is not root. The folder is where one's own tasks are mounted:
# `worker -A module:app` imports from it.
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["dtsched"]
CMD ["--help"]
