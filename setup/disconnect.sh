#!/bin/bash
# The action's second half, after the job's last step, however that ended: takes everything away again.
set -euo pipefail

# shellcheck source=setup/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

[[ -d $directory ]] || exit 0
trap 'rm -rf "$directory"' EXIT
bash "$runner/job-completed.sh"
