# For the action's scripts: where its tool is, and on whose behalf it asks AWS. It is sourced.
# shellcheck shell=bash

action=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # those who source it run what is there
runner=$action/../constructs/cdk_buildkit/runner
directory=$RUNNER_TEMP/cdk-buildkit-action
export CDK_BUILDKIT_INTERPRETER=$directory/tool/bin/python
export PATH=$action/bin:$PATH
# A machine may have several runners of one user: buildx's builders and the certificate are this job's alone.
export BUILDX_CONFIG=$directory/buildx XDG_STATE_HOME=$directory/state

if [[ -n $CDK_BUILDKIT_ROLE_TO_ASSUME ]]; then
  # Not those of an earlier step or of the machine. Keys are in the memory of the tool, and nowhere else.
  unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE
  unset AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE
  export AWS_CONFIG_FILE=$directory/config AWS_SHARED_CREDENTIALS_FILE=/dev/null
fi
