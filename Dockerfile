# mkdir -p data runs && docker build -t maskfr .
# docker run --rm -it -p 8888:8888 -v "$PWD/data:/data" -v "$PWD/runs:/study/runs" maskfr
# JupyterLab with the notebooks; or a command instead of it, behind the same line: python -m maskfr_utils.train -p epochs 2
# The user in the container has the number 1000: where yours is another, add --user "$(id -u)".
FROM python:3.12-slim

# make: the targets of the Makefile. g++: torch.compile, which the runs do without where it is missing.
RUN apt-get update && apt-get install -y --no-install-recommends make g++ git && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home study && install -d -o study /study /data
USER study
WORKDIR /study
ENV PATH="/study/.venv/bin:$PATH" MASKFR_DATA=/data

# The pinned packages first: they change less often than the code.
COPY --chown=study requirements.lock pyproject.toml README.md ./
RUN python -m venv .venv && pip install --no-cache-dir -r requirements.lock
COPY --chown=study . .
RUN pip install --no-cache-dir --no-deps -e . && touch .venv/.ready

EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--notebook-dir=notebooks"]
