# Every target sets up what it needs in .venv; nothing is installed by hand.
VENV := .venv
PYTHON :=
RUN := $(VENV)/bin/python
DEMO_DATA := data/demo
DEMO_RUN := runs/demo
DEMO_EXPORT := exports/demo
DEMO_AUDIT := audits/demo

.PHONY: environment demo demo-distributed test test-fast test-onednn fuzz kill-test lint format typecheck benchmark lock clean

demo: environment
	$(RUN) -m experiments.make_demo_data --data_dir=$(DEMO_DATA)
	$(RUN) -m experiments.train --dataset=demo --data_dir=$(DEMO_DATA) --model=cnn2d_bn --output_dir=$(DEMO_RUN)
	$(RUN) -m experiments.evaluate --run_dir=$(DEMO_RUN) --split=test
	$(RUN) -m experiments.report --run_dir=$(DEMO_RUN)
	$(RUN) -m experiments.export_saved_model --run_dir=$(DEMO_RUN) --export_dir=$(DEMO_EXPORT) --overwrite
	$(RUN) -m experiments.predict --saved_model=$(DEMO_EXPORT) $(DEMO_DATA)/fma_small/010/010016.mp3
	$(RUN) -m experiments.make_demo_data --data_dir=$(DEMO_DATA) --planted_dir=$(DEMO_DATA)_planted
	$(RUN) -m experiments.audit_data --dataset=csv --data_dir=$(DEMO_DATA)_planted/clips.csv --model=mfcc_logistic --folds=3 \
		--output_dir=$(DEMO_AUDIT)

# A tf.data service of a dispatcher and two workers on this machine, and a trainer.
demo-distributed: environment
	$(RUN) -m experiments.demo_distributed --data_dir=$(DEMO_DATA) --output_dir=$(DEMO_RUN)_distributed

PYTEST := $(RUN) -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal
test: environment lint
	$(PYTEST)

# What needs neither a script nor a training: under two minutes on two cores.
test-fast: environment lint
	$(PYTEST) -m "not slow"

# What depends on TensorFlow's kernels, with oneDNN's and without: newer processors use them by default, older ones do not.
test-onednn: environment
	for onednn in 0 1; do \
		TF_ENABLE_ONEDNN_OPTS=$$onednn $(PYTEST) tests/layers tests/experiments/training tests/experiments/export \
			tests/test_goldens.py || exit 1; \
	done

# About ten minutes on idle cores. FUZZ="--target=decode_tfio --inputs=100 --seed=1" for less; see tests/fuzz/__main__.py.
fuzz: environment
	PYTHONPATH=.:tests $(RUN) -m fuzz $(FUZZ)

# A training that is killed 20 times against one that is not; minutes.
KILL_FLAGS := --dataset=demo --data_dir=$(DEMO_DATA) --model=cnn2d_bn --sample_rate_hz=8000 --n_fft=512 --hop_length=256 \
	--n_mels=32 --crop_seconds=2 --epochs=8 --checkpoint_steps=5 --spec_augment_time_masks=2 --mixup_alpha=0.4
kill-test: environment
	rm -rf runs/kill_test
	$(RUN) tests/support/kill_training.py --kills=20 --output_dir=runs/kill_test -- $(KILL_FLAGS)

lint: environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: environment
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

benchmark: environment
	$(RUN) -m experiments.benchmark_pipeline --dataset=demo --data_dir=$(DEMO_DATA) --output_dir=benchmark \
		--peers --stages --train_step
	$(RUN) -m pytest -q tests/benchmark_pieces.py --benchmark-columns=median,iqr,rounds

typecheck: environment
	$(RUN) -m mypy

# Newest versions that setup.cfg allows, for every supported Python; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 setup.cfg --extra dev --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --upgrade -o requirements.lock

clean:
	rm -rf $(DEMO_DATA) $(DEMO_DATA)_planted $(DEMO_AUDIT) $(DEMO_RUN) $(DEMO_RUN)_distributed $(DEMO_EXPORT) .pytest_cache .ruff_cache .mypy_cache

# Sets $(VENV) up where it is not there, or is of a Python that does not fit, and says why. `make PYTHON=python3.12 …` takes
# that Python; otherwise the one that is there, or the machine's first that fits.
environment:
	@.ci/environment $(VENV) "$(PYTHON)"
