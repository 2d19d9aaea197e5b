"""The picture of the dashboard in docs/ is the dashboard that is deployed."""

import json
from collections.abc import Mapping
from xml.etree import ElementTree as ET

import pytest
from aws_cdk.assertions import Template

from local.dashboard_picture import PICTURE, dashboard_body, draw


def test_the_picture_is_current(default_templates: Mapping[str, Template]) -> None:
    body = dashboard_body(default_templates["buildkit-builders-main"].to_json())

    assert PICTURE.read_text() == draw(body), "run `make dashboard-picture`"


def test_every_title_legend_and_annotation_is_in_the_picture(default_templates: Mapping[str, Template]) -> None:
    body = dashboard_body(default_templates["buildkit-builders-main"].to_json())

    drawn = {"".join(each.itertext()) for each in ET.fromstring(draw(body)).iter() if each.tag.endswith("text")}  # noqa: S314 - our own

    for widget in body["widgets"]:
        properties = widget["properties"]
        assert properties.get("title", next(iter(drawn))) in drawn
        for metric in properties.get("metrics", []):
            options = metric[-1] if isinstance(metric[-1], dict) else {}
            assert options.get("label") in drawn or options.get("visible") is False
        for each in properties.get("annotations", {}).get("horizontal", []):
            assert f"{each['label']} ({each['value']:g})" in drawn


def test_another_dashboard_is_another_picture(default_templates: Mapping[str, Template]) -> None:
    template = default_templates["buildkit-builders-main"].to_json()
    body = json.loads(json.dumps(dashboard_body(template)))
    body["widgets"][2]["properties"]["title"] = "Something else"

    assert draw(body) != draw(dashboard_body(template))


def test_a_widget_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="explorer"):
        draw({"widgets": [{"type": "explorer", "x": 0, "y": 0, "width": 1, "height": 1, "properties": {}}]})
