# make demo   set up, distil a real teacher in minutes and print how close the student came
# make test   set up, lint, type-check and run every test
# make soak   try a million odd inputs and more, and kill every stage at a hundred moments: hours
# make sbom   list the packages of .venv and their licences, as CycloneDX and as a table
# make setup  build .venv with everything that development needs

PYTHON ?= python3
# Where the full STS Benchmark lies beside the checkout, the demo measures with it; elsewhere with the bundled part.
STSB := $(wildcard ../shared/data/eval/sts/STSBenchmark.test.parquet)

.PHONY: setup demo test soak sbom lint format

setup: .venv/.complete

.venv/.complete: pyproject.toml constraints.txt tests/transformers_suite/fetch.py
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip --constraint constraints.txt
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	.venv/bin/python tests/transformers_suite/fetch.py
	touch $@

demo: setup
	.venv/bin/python train_distill.py --config recipes/demo.yaml --resume $(if $(STSB),--sts_test STS-B=$(STSB))

test: setup lint
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses 2 --dist loadfile

soak: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=soak .venv/bin/python -m pytest tests/test_fuzz.py tests/test_faults.py tests/test_trust.py
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv/bin/python benchmarks/fuzz.py --cases 1000000
	.venv/bin/python benchmarks/faults.py --kills 100

sbom: setup
	.venv/bin/python benchmarks/sbom.py

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
