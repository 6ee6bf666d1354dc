# Each target sets up what it needs. `make help` lists them.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
NOTEBOOKS := $(patsubst notebooks/%.py,%,$(wildcard notebooks/*.py))
# more parameters of a run: make train P="-p epochs 2 -p seed 1"
P ?=
# papermill's own bar stands still while a cell trains: what the notebook says, its progress too, is handed on instead
TOLD := --no-progress-bar --stdout-file - --stderr-file -
# a part of the study, or a look at it: make study S="table_1 --scale demo", make study S=--list
S ?=

.PHONY: help train recognise test test-slow soak study book pdf release chapters words lab check notebooks clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found: install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

train: $(READY)  ## the main job: train and test a ResSaNet-50 on rendered masked faces; P="-p name value" changes it
	$(BIN)/papermill $(TOLD) notebooks/train.ipynb out.ipynb -p model ressanet50 $(P)

recognise: $(READY)  ## enrol rendered people and name masked ones; P="-p people my_people -p photos my_party -p network runs/x" for yours
	$(BIN)/papermill notebooks/recognise.ipynb recognised.ipynb -p out recognised $(P)
	@echo "recognised/named: annotated pictures, names.csv, names.json; recognised.ipynb tells how"

test: $(READY)  ## all tests but those that take minutes each
	$(BIN)/python -m pytest

test-slow: $(READY)  ## those: kills at random points, several processes, a pack of the study
	$(BIN)/python -m pytest -n 0 -m slow

soak: $(READY)  ## kill runs and feed every reader damaged files, at random; S="--inputs 2000 --kills 3 --out soak.json" for a short one
	$(BIN)/python -m maskfr_utils.measure.soak $(S)

study: $(READY)  ## run what is missing of the study, after saying what it costs; S="table_1 --scale demo" for a part
	$(BIN)/python -m maskfr_utils.study $(S)

book/images/twins.png: $(wildcard maskfr_utils/rendered/*.* maskfr_utils/masks/*.*) maskfr_utils/figures/faces.py | $(READY)
	$(BIN)/python -c "from maskfr_utils.figures.faces import twins; twins('$@')"

chapters: $(READY) book/images/twins.png  ## execute every notebook into the book; NOTEBOOKS="results" for some of them
	$(BIN)/python -m maskfr_utils.study --headline
	for name in $(NOTEBOOKS); do \
		if [ $$name = train ]; then width="-p width 0.25"; else width=; fi; \
		$(BIN)/python -m maskfr_utils.study.chapters $$width notebooks/$$name.ipynb book/$$name.ipynb || exit 1; done

words: $(READY)  ## take over words and captions into chapters whose code is the same, without executing them
	for name in $(NOTEBOOKS); do \
		$(BIN)/python -m maskfr_utils.study.chapters --words notebooks/$$name.ipynb book/$$name.ipynb || exit 1; done

book: $(READY)  ## build the HTML into _build/html
	$(BIN)/jupyter-book build -W -n --keep-going --all book/

pdf: $(READY)  ## the whole book as _build/masked_face_recognition.pdf; Chromium prints it
	@test -n "$(CHROMIUM)" || { echo "no Chromium found: install it, or name it: make pdf CHROMIUM=/path/to/chromium"; exit 1; }
	$(BIN)/jupyter-book build -W -n --keep-going --all --builder singlehtml book/
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --virtual-time-budget=20000 --no-pdf-header-footer \
		--print-to-pdf=_build/masked_face_recognition.pdf "file://$(CURDIR)/_build/singlehtml/intro.html"

release: $(READY)  ## into dist/: the wheel, the source, the book as zip, its PDF if it was made since the last commit, and their checksums
	@test -z "$$(git status --porcelain)" || { echo "there are changes that are not committed: a release is of a commit"; exit 1; }
	rm -rf dist build _build/html && mkdir dist
	$(BIN)/jupyter-book build -W -n --keep-going --all book/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build
	git archive --format=tar.gz --prefix=masked_face_recognition/ --output=dist/source.tar.gz HEAD
	$(BIN)/python -m zipfile -c dist/book.zip _build/html
	find _build -maxdepth 1 -name masked_face_recognition.pdf -newermt "$$(git log -1 --format=%cI)" -exec cp {} dist/ \;
	cp CITATION.cff dist/
	cd dist && $(abspath $(BIN))/python -c "import hashlib, pathlib; print(*(f'{hashlib.sha256(p.read_bytes()).hexdigest()}  {p}' for p in sorted(pathlib.Path().iterdir()) if p.name != 'SHA256SUMS'), sep='\n')" > SHA256SUMS

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

check: $(READY)  ## lint, format, and whether the halves of each notebook agree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/test_pairs.py

notebooks: $(READY)  ## make the .ipynb half of each notebook from its .py half
	$(BIN)/jupytext --update --to ipynb notebooks/*.py

clean:  ## delete what can be made again: environment, caches, built book
	rm -rf .venv .cache _build .pytest_cache .ruff_cache
