#!/bin/sh
# The gateway in a virtual environment of its own: venv.sh FOLDER. Nothing is installed that is not in
# deploy/requirements.txt with its hash, and nothing stays that only installs. See wheel.sh for MTLS_GATEWAY_COMPILE.
set -eu

folder=${1:?give the folder that the virtual environment is made in}
python=${PYTHON:-/usr/bin/python3}
source=$(cd "$(dirname "$0")/.." && pwd)

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$python is older than Python 3.11; name a newer one with PYTHON=" >&2
  exit 1
}
"$python" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }
pip install --no-cache-dir --require-hashes -r "$source/deploy/requirements.txt"
# What compiles is no part of what runs.
compiler=$(mktemp -d)
trap 'rm -rf "$compiler"' EXIT
if [ "${MTLS_GATEWAY_COMPILE:-}" != 0 ]; then
  pip install --no-cache-dir --require-hashes --target "$compiler/mypy" -r "$source/deploy/compile-requirements.txt"
fi
PYTHONPATH=$compiler/mypy sh "$source/deploy/wheel.sh" "$folder/bin/python" "$compiler/wheel"
pip install --no-index --no-deps "$compiler"/wheel/*.whl
pip uninstall --yes setuptools pip 2>/dev/null
"$folder/bin/mtls-gateway" --version
