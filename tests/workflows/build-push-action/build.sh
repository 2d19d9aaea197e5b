#!/bin/bash
# Builds as docker/build-push-action does: an argument for each line of an input.
set -euo pipefail

arguments=()
add() {
  local line
  while IFS= read -r line; do
    if [[ -n $line ]]; then arguments+=("$1" "$line"); fi
  done <<<"$2"
}
add --tag "$TAGS"
add --cache-from "$CACHE_FROM"
add --cache-to "$CACHE_TO"
if [[ $PUSH == true ]]; then arguments+=(--push); fi
docker buildx build "${arguments[@]}" "$CONTEXT"
