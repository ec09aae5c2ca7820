"""The command `edge-deploy models`."""

from __future__ import annotations

import json
import subprocess
import sys

from click.testing import CliRunner

from deploy.backbones import BACKBONES, weights
from deploy.commands.models import models
from tests.conftest import ROOT


def test_each_backbone_has_a_line_that_says_where_its_weights_are() -> None:
    result = CliRunner().invoke(models)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()[1:]}
    assert list(lines) == list(BACKBONES)
    package = BACKBONES["efficientnet_lite1"].package
    assert package is not None
    state = "installed" if weights.installed(package) else "not installed"
    assert lines["efficientnet_lite1"].endswith(f"5.42 M  package {package.name}: {state}")
    assert lines["efficientnet_lite4"].endswith("300 x 300       13.01 M  only --weights FILE")
    assert "fetched by Keras" in lines["resnet50"]


def test_json_has_the_same_rows() -> None:
    rows = json.loads(CliRunner().invoke(models, ["--json"]).output)
    assert [row["name"] for row in rows] == list(BACKBONES)
    mobilenet, lite3 = rows[0], next(row for row in rows if row["name"] == "efficientnet_lite3")
    assert (mobilenet["size_px"], mobilenet["parameters"], mobilenet["package"]) == (224, 3504872, None)
    assert (lite3["installed"], lite3["url"], lite3["mean"]) == (None, None, [127.0])


def test_the_list_needs_nothing_heavy() -> None:
    script = (
        "import sys\nfrom deploy.commands.models import models\nmodels([], standalone_mode=False)\n"
        "print([name for name in ('numpy', 'cv2', 'tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
