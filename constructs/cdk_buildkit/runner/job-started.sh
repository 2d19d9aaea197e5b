#!/bin/bash
# Before a job's first step: connects the job to its fleet of builders, or fails it with what is in the way.
set -euo pipefail

if [[ -z ${CDK_BUILDKIT_STACK:-} ]]; then
  echo "::error::CDK_BUILDKIT_STACK is not set in the runner's image: set it to the name of a fleet's stack" >&2
  exit 1
fi
options=(--timeout "${CDK_BUILDKIT_TIMEOUT:-10}")
if [[ -n ${CDK_BUILDKIT_REGION:-} ]]; then options+=(--region "$CDK_BUILDKIT_REGION"); fi
if [[ -n ${CDK_BUILDKIT_IN_CLUSTER:-} ]]; then options+=(--in-cluster); fi
for architecture in ${CDK_BUILDKIT_ARCHITECTURES:-}; do options+=(--architecture "$architecture"); done

cdk-buildkit github-job "$CDK_BUILDKIT_STACK" "${options[@]}" || exit 1
