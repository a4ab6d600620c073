"""The load of one `harness.load.generator.Load`; REHEARSAL_LOAD names its spec.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

from harness.load.open_loop import OpenLoopUser, Traffic


class Load(OpenLoopUser):
    """The traffic that the spec describes."""

    def traffic(self) -> Traffic:
        spec = Path(os.environ["REHEARSAL_LOAD"])
        fields = json.loads(spec.read_text(encoding="utf-8"))
        return Traffic(**{**fields, "payload": Path(fields["payload"]), "folder": spec.parent})
