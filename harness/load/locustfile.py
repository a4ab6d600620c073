"""One process of the load of a `harness.load.generator.Load`; REHEARSAL_LOAD is "<spec.json>:<its share>"."""

from __future__ import annotations

import os
from pathlib import Path

from harness.load.open_loop import OpenLoopUser, Traffic
from harness.load.records import read_json
from harness.load.shape_file import shape_of


class Load(OpenLoopUser):
    """The traffic that the spec describes."""

    def traffic(self) -> Traffic:
        spec, _, share = os.environ["REHEARSAL_LOAD"].rpartition(":")
        fields = read_json(Path(spec))
        payload, shape = Path(fields.pop("payload")), shape_of(fields.pop("shape"))
        return Traffic(**fields, shape=shape, payload=payload, folder=Path(spec).parent, share=int(share))
