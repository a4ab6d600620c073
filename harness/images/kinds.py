"""The table of kinds: a kind of the catalogue is made by the module that it is registered with here."""

from __future__ import annotations

from harness.images import binaries, bundles, debian, golang, layers, node, python_tree
from harness.images.making import Kind

KINDS: dict[str, Kind] = {
    "module": Kind(golang.inputs, golang.make),
    "bundle": Kind(bundles.inputs, bundles.make),
    "root": Kind(debian.inputs, debian.make_root),
    "packages": Kind(debian.inputs, debian.make_packages),
    "wheel": Kind(python_tree.wheel_inputs, python_tree.make_wheel),
    "tree": Kind(python_tree.tree_inputs, python_tree.make_tree),
    "app": Kind(python_tree.app_inputs, python_tree.make_app),
    "node-files": Kind(node.files_inputs, node.make_files),
    "go": Kind(binaries.inputs, binaries.make),
    "layers": Kind(layers.inputs, layers.make),
    "node": Kind(node.inputs, node.make),
}
