# Everything is set up on first use, in .venv. CONTRIBUTING.md says more. GNU make 3.81 and later.

VENV = .venv
PORT ?= 8000
BIND ?= 127.0.0.1:$(PORT)
PEERS ?= ../shared/peers
LOCAL_POSTGRESQL = postgres://postgres@127.0.0.1:5432/test
POSTGRESQL = $(if $(TEST_DATABASE_URL),$(TEST_DATABASE_URL),$(LOCAL_POSTGRESQL))

PYTHON_HERE = $(VENV)/bin/python
# An environment whose Python was upgraded away is made again.
$(shell $(PYTHON_HERE) -c "" 2>/dev/null || rm -f $(VENV)/.runs $(VENV)/.tests)
# Tests and checks see a development machine, whatever is set in the shell that runs them.
SETTINGS := DYNO $(shell sed -nE 's/.*environment\.[a-z]+."([A-Z_]+)".*/\1/p' iotapp/settings.py)
DEVELOPMENT = env $(foreach name,$(SETTINGS),-u $(name)) DEBUG=1
PRODUCTION = env $(foreach name,$(SETTINGS),-u $(name)) ALLOWED_HOSTS=example.org DATABASE_URL=$(LOCAL_POSTGRESQL) \
	SECRET_KEY="$$($(PYTHON_HERE) -c 'import secrets; print(secrets.token_urlsafe(50))')"

PYTEST = $(PYTHON_HERE) -m pytest
TESTS = bin/tests $(PYTHON_HERE)
# More than there are cores: most tests wait for servers and processes that they started.
WORKERS = -n 4 --dist worksteal
COVER = --cov --cov-report=
COVER_MORE = --cov --cov-append --cov-report=term-missing:skip-covered --cov-fail-under=95
ANSWERS = $(PYTHON_HERE) -c 'import psycopg, sys; psycopg.connect(sys.argv[1], connect_timeout=5).close()' "$(POSTGRESQL)"

.PHONY: demo serve test check lint other soak bench peers things

demo: $(VENV)/.runs  ## The whole thing on this machine, with simulated devices; ONCE=1 stops after the first round
	@$(PYTHON_HERE) manage.py demo $(if $(filter 1,$(ONCE)),--once,--port $(PORT))

serve: $(VENV)/.runs  ## The pages on 127.0.0.1:8000; PORT=9000 or BIND=0.0.0.0:8000 for elsewhere
	@$(PYTHON_HERE) manage.py migrate -v0
	@$(PYTHON_HERE) manage.py collectstatic --noinput -v0
	@$(PYTHON_HERE) -m gunicorn --bind $(BIND) iotapp.asgi

# $(call on_both_databases,arguments for SQLite,arguments for PostgreSQL)
define on_both_databases
	@echo "SQLite:"
	@$(DEVELOPMENT) $(TESTS) $(1)
	@if $(ANSWERS) 2>$(if $(TEST_DATABASE_URL),&2,/dev/null); then \
		echo "PostgreSQL:"; \
		$(DEVELOPMENT) DATABASE_URL="$(POSTGRESQL)" $(TESTS) $(2); \
	elif [ -n "$(CI)$(TEST_DATABASE_URL)" ]; then \
		echo "PostgreSQL does not answer at $(if $(TEST_DATABASE_URL),TEST_DATABASE_URL,$(LOCAL_POSTGRESQL))." >&2; exit 1; \
	else \
		echo "The tests on PostgreSQL are left out: nothing answers at $(LOCAL_POSTGRESQL). Set TEST_DATABASE_URL."; \
	fi
endef

test: $(VENV)/.tests  ## Every test, on SQLite and, where it answers, PostgreSQL
ifeq ($(VENV),.venv)
	$(call on_both_databases,$(WORKERS) $(COVER),$(WORKERS) $(COVER_MORE))
else
	$(call on_both_databases,$(WORKERS),$(WORKERS))
endif

check: lint test other  ## What continuous integration runs

lint: $(VENV)/.tests
	@echo "Format, lint, types, migrations, deployment:"
	@$(PYTHON_HERE) -m ruff format --check .
	@$(PYTHON_HERE) -m ruff check .
	@$(DEVELOPMENT) $(PYTHON_HERE) -m mypy
	@$(DEVELOPMENT) DATABASE_URL=sqlite://:memory: $(PYTHON_HERE) manage.py makemigrations --check --dry-run
	@$(PRODUCTION) $(PYTHON_HERE) manage.py check --deploy --fail-level WARNING

# The tests once more on the other of Python 3.11 with Django 5.2, and a newer Python with Django 6.
other: $(VENV)/.tests test
	@other=$$($(PYTHON_HERE) -c 'import sys; print(".venv-next" if sys.version_info < (3, 12) else ".venv-3.11")'); \
	if bin/venv $$other >/dev/null; then \
		$(MAKE) --no-print-directory test VENV=$$other; \
	elif [ -n "$(CI)" ]; then \
		exit 1; \
	else \
		echo "The tests in $$other are left out."; \
	fi

soak: $(VENV)/.tests  ## The long proofs: killed processes, hostile answers
	$(call on_both_databases,-m soak tests/soak,-m soak tests/soak)

bench: $(VENV)/.tests  ## The numbers of bench/README.md
	@$(DEVELOPMENT) $(PYTHON_HERE) -m bench

things: $(VENV)/.tests  ## Against real things of the Web of Things; installs them with npm and pip
	@$(DEVELOPMENT) tests/peers/things/run $(PYTEST) -m peers tests/peers/test_web_of_things.py

peers: $(VENV)/.tests  ## Those, and against a real Home Assistant; PEERS=folder that holds home_assistant/run
	@test -x $(PEERS)/home_assistant/run || \
		{ echo "$(PEERS)/home_assistant/run is missing: set PEERS to the folder that holds home_assistant/run." >&2; exit 1; }
	@tests/peers/things/run
	@$(DEVELOPMENT) $(PEERS)/home_assistant/run tests/peers/things/run $(PYTEST) -m peers tests/peers

$(VENV)/.runs: requirements.txt
	@bin/venv $(VENV) requirements.txt
	@touch $@

$(VENV)/.tests: requirements-dev.txt requirements-listen.txt requirements-redis.txt requirements.txt
	@bin/venv $(VENV) requirements-dev.txt
	@touch $(VENV)/.runs $@
