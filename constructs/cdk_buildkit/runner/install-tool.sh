#!/bin/bash
# Installs one program into a runner's image: fetched over https, and only with the SHA-256 that it must have.
set -euo pipefail

url=$1 sha256=$2 target=$3

directory=$(mktemp --directory)
trap 'rm -rf "$directory"' EXIT
curl --fail --silent --show-error --location --proto '=https' --proto-redir '=https' --retry 5 --retry-connrefused \
  --output "$directory/program" "$url"
if ! echo "$sha256  $directory/program" | sha256sum --check --quiet >/dev/null 2>&1; then
  found=$(sha256sum "$directory/program")
  echo "$url has the SHA-256 ${found%% *}, and must have $sha256: correct the tool's version or its sum" >&2
  exit 1
fi
install -D --mode=755 "$directory/program" "$target"
