"""The table of kinds: a kind of the catalogue is made by the module that it is registered with here."""

from __future__ import annotations

from harness.images import binaries, bundles, golang
from harness.images.making import Kind

KINDS: dict[str, Kind] = {
    "module": Kind(golang.inputs, golang.make),
    "bundle": Kind(bundles.inputs, bundles.make),
    "go": Kind(binaries.inputs, binaries.make),
}
