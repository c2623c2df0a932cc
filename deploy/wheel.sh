#!/bin/sh
# The gateway as a wheel: wheel.sh PYTHON FOLDER. The path of a request is compiled to C (docs/compiled.md) if there are a
# C compiler, Python's headers, and mypy beside that Python; else it says what is missing, and the wheel is slower.
#   MTLS_GATEWAY_COMPILE=0   never compiled
#   MTLS_GATEWAY_COMPILE=1   compiled, or no wheel
set -eu

python=${1:?give the Python that it is for}
folder=${2:?give the folder that the wheel is put in}
source=$(cd "$(dirname "$0")/.." && pwd)
wish=${MTLS_GATEWAY_COMPILE:-}

missing() {
  compiler=$("$python" -c 'import shlex, sysconfig; print(shlex.split(sysconfig.get_config_var("CC") or "cc")[0])')
  command -v "$compiler" >/dev/null || printf ' a C compiler (%s),' "$compiler"
  "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || printf " Python's headers,"
  "$python" -c 'import mypyc.build' 2>/dev/null || printf ' mypy,'
}

compile=0
if [ "$wish" != 0 ]; then
  lacking=$(missing)
  if [ -z "$lacking" ]; then
    compile=1
    echo "compiling the path of a request: a minute or so"
  elif [ "$wish" = 1 ]; then
    echo "cannot compile the path of a request, for want of:${lacking%,}" >&2
    exit 1
  else
    echo "NOT compiling the path of a request, for want of:${lacking%,}; it works, and is slower (docs/compiled.md)" >&2
  fi
fi

# From a copy: what is built leaves files behind, and the source may be read-only.
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp -R "$source/mtls_gateway" "$source/pyproject.toml" "$source/setup.py" "$build/"
MTLS_GATEWAY_COMPILE=$compile "$python" -m pip wheel --quiet --disable-pip-version-check --no-input \
  --no-index --no-deps --no-build-isolation --wheel-dir "$folder" "$build"
