"""The table of kinds: a kind of the catalogue is made by the module that it is registered with here."""

from __future__ import annotations

from harness.images import binaries, bundles, debian, golang, layers, node, python_tree, upstream
from harness.images.making import Kind

KINDS: dict[str, Kind] = {
    "module": Kind(golang.inputs, golang.make, golang.require),
    "bundle": Kind(bundles.inputs, bundles.make, golang.require),
    "root": Kind(debian.inputs, debian.make_root, debian.require),
    "packages": Kind(debian.inputs, debian.make_packages, debian.require),
    "wheel": Kind(python_tree.wheel_inputs, python_tree.make_wheel, python_tree.require),
    "tree": Kind(python_tree.tree_inputs, python_tree.make_tree, python_tree.require),
    "app": Kind(python_tree.app_inputs, python_tree.make_app),
    "node-files": Kind(node.files_inputs, node.make_files, golang.require),
    "go": Kind(binaries.inputs, binaries.make),
    "layers": Kind(layers.inputs, layers.make),
    "node": Kind(node.inputs, node.make, node.require),
    "upstream": Kind(upstream.inputs, upstream.make),
}
