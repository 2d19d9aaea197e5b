#!/bin/sh
# step_runtime.py in a container without Python: with the one that pod_python.py has brought.
python=/opt/cdk-buildkit/python
PYTHONHOME=$python/home exec "$python/loader" --library-path "$python/libraries" "$python/python3" \
  -s -S -B /opt/cdk_buildkit_host/step_runtime.py "$@"
