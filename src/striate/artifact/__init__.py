"""The shipped thing: ONE plain .onnx file that any ONNX runtime runs, with its manifest in the metadata. No torch."""

from striate.artifact.manifest import About as About
from striate.artifact.manifest import GoldenCase as GoldenCase
from striate.artifact.manifest import Int8 as Int8
from striate.artifact.manifest import Manifest as Manifest
from striate.artifact.manifest import golden_case as golden_case
from striate.artifact.pixels import Dtype as Dtype
from striate.artifact.pixels import model_of as model_of
from striate.artifact.read import Artifact as Artifact
from striate.artifact.read import load as load
from striate.artifact.write import write as write
