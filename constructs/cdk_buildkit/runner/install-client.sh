#!/bin/bash
# Installs the tool cdk-buildkit into a runner's image, in an environment of its own: what it needs with its sums alone.
set -euo pipefail

source=${1:-/opt/cdk-buildkit} prefix=${2:-/usr/local}

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  apt-get -o Acquire::Retries=5 update
  DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y python3-venv
fi
python3 -m venv "$source/venv"
"$source/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --only-binary=:all: \
  --requirement "$source/requirements.txt"
packages=$("$source/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$source/buildkit_ops" "$packages/"

# Isolated: in a job's directory there may be modules of any name, and in its environment PYTHONPATH.
install -d "$prefix/bin"
printf '#!/bin/sh\nexec %q -I -m buildkit_ops "$@"\n' "$source/venv/bin/python" >"$prefix/bin/cdk-buildkit"
chmod 755 "$prefix/bin/cdk-buildkit"
"$prefix/bin/cdk-buildkit" --help >/dev/null
