"""Draws the dashboard of the default configuration's first fleet into docs/."""

import json
import sys

import aws_cdk as cdk

from app import define_stacks
from local.dashboard_picture import PICTURE, REPOSITORY, dashboard_body, draw
from stacks.config import load_config

app = cdk.App(context=json.loads((REPOSITORY / "cdk.json").read_text())["context"])
define_stacks(app, load_config(REPOSITORY / "builders.toml"))
PICTURE.write_text(draw(dashboard_body(app.synth().get_stack_by_name("buildkit-builders-main").template)))
sys.stdout.write(f"{PICTURE.relative_to(REPOSITORY)}\n")
