# Every target sets up what it needs in .venv; nothing is installed by hand.
VENV := .venv
PYTHON := $(VENV)/bin/python
DEMO_DATA := data/demo
DEMO_RUN := runs/demo
DEMO_EXPORT := exports/demo

.PHONY: demo demo-distributed test test-fast test-onednn fuzz kill-test lint format typecheck benchmark lock clean

demo: $(VENV)/installed
	$(PYTHON) -m experiments.make_demo_data --data_dir=$(DEMO_DATA)
	$(PYTHON) -m experiments.train --dataset=demo --data_dir=$(DEMO_DATA) --output_dir=$(DEMO_RUN)
	$(PYTHON) -m experiments.evaluate --run_dir=$(DEMO_RUN) --split=test
	$(PYTHON) -m experiments.report --run_dir=$(DEMO_RUN)
	$(PYTHON) -m experiments.export_saved_model --run_dir=$(DEMO_RUN) --export_dir=$(DEMO_EXPORT) --overwrite
	$(PYTHON) -m experiments.predict --saved_model=$(DEMO_EXPORT) $(DEMO_DATA)/fma_small/010/010016.mp3

# A tf.data service of a dispatcher and two workers on this machine, and a trainer.
demo-distributed: $(VENV)/installed
	$(PYTHON) -m experiments.demo_distributed --data_dir=$(DEMO_DATA) --output_dir=$(DEMO_RUN)_distributed

PYTEST := $(PYTHON) -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal
test: $(VENV)/installed lint
	$(PYTEST)

# What needs neither a script nor a training: under two minutes on two cores.
test-fast: $(VENV)/installed lint
	$(PYTEST) -m "not slow"

# What depends on TensorFlow's kernels, with oneDNN's and without: newer processors use them by default, older ones do not.
test-onednn: $(VENV)/installed
	for onednn in 0 1; do \
		TF_ENABLE_ONEDNN_OPTS=$$onednn $(PYTEST) tests/layers tests/experiments/training tests/experiments/export \
			tests/test_goldens.py || exit 1; \
	done

# Eight minutes on idle cores. FUZZ="--target=decode_tfio --inputs=100 --seed=1" for less; see tests/fuzz/__main__.py.
fuzz: $(VENV)/installed
	PYTHONPATH=.:tests $(PYTHON) -m fuzz $(FUZZ)

# A training that is killed 20 times against one that is not; minutes.
KILL_FLAGS := --dataset=demo --data_dir=$(DEMO_DATA) --model=cnn2d_bn --sample_rate_hz=8000 --n_fft=512 --hop_length=256 \
	--n_mels=32 --crop_seconds=2 --epochs=8 --checkpoint_steps=5 --spec_augment_time_masks=2 --mixup_alpha=0.4
kill-test: $(VENV)/installed
	rm -rf runs/kill_test
	$(PYTHON) tests/support/kill_training.py --kills=20 --output_dir=runs/kill_test -- $(KILL_FLAGS)

lint: $(VENV)/installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: $(VENV)/installed
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

benchmark: $(VENV)/installed
	$(PYTHON) -m experiments.benchmark_pipeline --dataset=demo --data_dir=$(DEMO_DATA) --output_dir=benchmark \
		--peers --stages --train_step
	$(PYTHON) -m pytest -q tests/benchmark_pieces.py --benchmark-columns=median,iqr,rounds

typecheck: $(VENV)/installed
	$(PYTHON) -m mypy

# Newest versions that setup.cfg allows, for every supported Python; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 setup.cfg --extra dev --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --upgrade -o requirements.lock

clean:
	rm -rf $(DEMO_DATA) $(DEMO_RUN) $(DEMO_RUN)_distributed $(DEMO_EXPORT) .pytest_cache .ruff_cache .mypy_cache

# The first of these that runs and is 3.11 or 3.12 (a name on the PATH may be a shim that does not). A link to another
# checkout's environment is removed, which --clear would empty.
$(VENV)/installed: requirements.lock
	@for python in python3 python3.12 python3.11 python; do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
			found="$$python"; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "melstream needs Python 3.11 or 3.12 (TensorFlow 2.17); found $$(python3 --version 2>&1 || true). Install one and try again." >&2; \
		exit 1; \
	fi; \
	set -e; \
	echo "Setting up $(VENV) with $$("$$found" --version) (about 3 GB; minutes the first time only)"; \
	if [ -L $(VENV) ]; then rm $(VENV); fi; \
	"$$found" -m venv --clear $(VENV); \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	touch $@
