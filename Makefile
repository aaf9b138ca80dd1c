# Aliases of scripts/do.py, which works without make as well: python3 scripts/do.py test
PYTHON ?= python3

.PHONY: help dev test quick check build bench fuzz hostile chaos clean

help:
	@echo "make dev     bring up Redis, gateway, worker and the demo page"
	@echo "make test    everything: format, lint, types, all tests; about seven minutes"
	@echo "make quick   only the tests that need no server, process or browser; under a minute"
	@echo "make check   format, lint and types"
	@echo "make build   wheel and sdist in dist/"
	@echo "make bench   benchmarks, as ratios to a relay written in C; ARGS=queue: the queue"
	@echo "make fuzz    a million inputs for the parsers"
	@echo "make hostile what a thousand hostile connections do to the others"
	@echo "make chaos   20,000 jobs while workers are killed; ARGS='--jobs 500 --kills 5': fewer"
	@echo "make clean   remove caches and build results"

dev test check build bench fuzz hostile chaos clean:
	@$(PYTHON) scripts/do.py $@ $(ARGS)

quick:
	@$(PYTHON) scripts/do.py test --quick
