#!/usr/bin/env bash
# Makes .venv with everything that the operator, the runtime and the tests need. Run by `make install`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "Python 3.11 or newer is needed; $("$python" --version) was found. PYTHON=… names another one." >&2; exit 1; }

if [ ! -x .venv/bin/python ]; then
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      { echo "Python's venv module is missing; install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
    apt-get update -qq && apt-get install -y -qq python3-venv
  fi
  "$python" -m venv .venv
fi

# uv where it can be had, since it is several times faster; else pip
if ! .venv/bin/uv --version >/dev/null 2>&1 && [ -x .venv/bin/pip ]; then
  .venv/bin/pip install -q --disable-pip-version-check uv || true
fi
extras='.[operator,runtime,dev]'
if .venv/bin/uv --version >/dev/null 2>&1; then
  .venv/bin/uv pip install -q --python .venv/bin/python -e "$extras"
elif uv --version >/dev/null 2>&1; then
  uv pip install -q --python .venv/bin/python -e "$extras"
else
  .venv/bin/python -m pip install -q --disable-pip-version-check -e "$extras"
fi
