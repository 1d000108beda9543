"""Prints the control interface's OpenAPI document: `python -m appliance.control.openapi > docs/control-openapi.json`.

The document is checked in because it is the contract with the portal and the command line: a change of it is seen in
review.
"""

import json
from typing import cast

from appliance.control.handlers import build_app
from appliance.control.services import DriveService


def document() -> str:
    """The document as it is checked in: two-space indent, keys as FastAPI orders them, one newline at the end."""
    app = build_app(cast("DriveService", None), core_uid=0)
    return json.dumps(app.openapi(), indent=2) + "\n"


if __name__ == "__main__":
    print(document(), end="")
