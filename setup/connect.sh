#!/bin/bash
# The action's first half: installs the tool beside the job, and connects the job as a runner's own hook does.
set -euo pipefail

# shellcheck source=setup/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

refuse() {
  echo "::error::cdk-buildkit: $1"
  exit 1
}

[[ -n $CDK_BUILDKIT_STACK ]] || refuse "the input stack is missing; give the name of a fleet's stack, as \`cdk list\` shows it"
if ! "$CDK_BUILDKIT_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
  found=$("$CDK_BUILDKIT_PYTHON" --version 2>&1 | head -n 1) || true
  refuse "the tool needs Python 3.11 or newer; got $CDK_BUILDKIT_PYTHON, ${found:-which is not there}: set the input python, or use actions/setup-python before"
fi
if [[ -n $CDK_BUILDKIT_ROLE_TO_ASSUME && -z ${ACTIONS_ID_TOKEN_REQUEST_URL:-} ]]; then
  refuse "this job gets no token to assume the role with; give it \`permissions: id-token: write\` and \`contents: read\`; pull requests of forks get none"
fi

umask 077
rm -rf "$directory"
mkdir -p "$directory"
if ! words=$("$CDK_BUILDKIT_PYTHON" -I -m venv "$directory/tool" 2>&1 &&
  "$CDK_BUILDKIT_INTERPRETER" -I -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-compile \
    --only-binary :all: --require-hashes --requirement "$runner/requirements.txt" 2>&1); then
  refuse "the tool could not be installed: ${words//$'\n'/%0A}"
fi
if [[ -n $CDK_BUILDKIT_ROLE_TO_ASSUME ]]; then
  printf '[default]\ncredential_process = "%s" -I "%s"\n' "$CDK_BUILDKIT_INTERPRETER" "$action/credentials.py" \
    >"$AWS_CONFIG_FILE"
fi

export CDK_BUILDKIT_ARCHITECTURES=${CDK_BUILDKIT_ARCHITECTURES//,/ }
bash "$runner/job-started.sh"
echo "BUILDX_CONFIG=$BUILDX_CONFIG" >>"$GITHUB_ENV"
