# make demo   set up, distil a real teacher in minutes and print how close the student came
# make check  set up, lint, type-check and run the fast tests
# make test   set up, lint, type-check and run every test
# make soak   try a million odd inputs, and kill every stage at a hundred moments: hours
# make soak-cluster  kill tasks on Slurm, Ray and S3, and cut and kill nodes: an hour, as root
# make sbom   list the packages of .venv and their licences, as CycloneDX and as a table
# make setup  build .venv with everything that development needs
# make lock   after a change to requirements/constraints.txt: update the hashes that the set-up checks

PYTHON ?= python3
# Where the full STS Benchmark lies beside the checkout, the demo measures with it; elsewhere with the bundled part.
STSB := $(wildcard ../shared/data/eval/sts/STSBenchmark.test.parquet)

SUITE := tests/modeling/transformers_suite

.PHONY: setup lock demo check test pytest soak soak-cluster sbom lint format

setup: .venv/.complete

# uv installs in seconds and checks the hashes; it reads no settings of pip, so that pip does it where uv finds no
# package. torch is pinned by version alone: the machine chooses the build for its processor or GPU.
.venv/.complete: pyproject.toml requirements/constraints.txt requirements/lock.txt $(SUITE)/fetch.py $(SUITE)/oldest.txt
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements/lock.txt > .venv/uv.txt
	.venv/bin/python -m pip install --quiet --no-deps --require-hashes --requirement .venv/uv.txt
	.venv/bin/uv pip install --quiet --no-config --python .venv/bin/python $(HASHED) || .venv/bin/python -m pip install --quiet $(HASHED)
	.venv/bin/python -m pip install --quiet --no-build-isolation --constraint requirements/constraints.txt --editable '.[dev]'
	.venv/bin/python $(SUITE)/fetch.py
	touch $@

HASHED := --no-deps --require-hashes --requirement requirements/lock.txt
LOCK := .cache/lock/bin/uv pip compile --quiet --universal --no-config --no-deps --no-annotate --generate-hashes \
	--custom-compile-command "make lock"

lock:
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --constraint requirements/constraints.txt uv
	$(LOCK) --no-emit-package torch requirements/constraints.txt --output-file requirements/lock.txt
	$(LOCK) $(SUITE)/oldest.in --output-file $(SUITE)/oldest.txt

demo: setup
	.venv/bin/python train_distill.py --config recipes/demo.yaml --resume $(if $(STSB),--sts_test STS-B=$(STSB))

# The linters take the time in which the tests wait.
test: setup
	$(MAKE) --jobs 2 lint pytest

check: setup
	$(MAKE) --jobs 2 lint pytest FLAGS="-m 'not slow'"

pytest: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses 2 --dist worksteal $(FLAGS)

soak: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=soak .venv/bin/python -m pytest tests/invariants tests/distillation/test_student.py
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.fuzz --cases 1000000
	.venv/bin/python -m benchmarks.faults --kills 100

# Slurm is Debian's: apt-get install slurm-wlm munge.
soak-cluster: setup
	.venv/bin/uv pip install --quiet --python .venv/bin/python --target .cache/cluster --requirement requirements/soak_cluster.txt
	$(SOAK) -m benchmarks.cluster_faults --kills 20
	$(SOAK) -m benchmarks.s3
	$(SOAK) -m benchmarks.scaling_commands
	$(SOAK) -m benchmarks.two_processes
	$(SOAK) -m benchmarks.nodes
	$(SOAK) -m benchmarks.cost

SOAK := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/.cache/cluster .venv/bin/python

sbom: setup
	.venv/bin/python -m benchmarks.sbom

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
