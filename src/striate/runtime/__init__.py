"""Running artifacts without torch: engine, golden self-test, prediction over files and folders."""

from striate.runtime.engine import Engine as Engine
from striate.runtime.engine import probabilities as probabilities
from striate.runtime.engines import Setting as Setting
from striate.runtime.engines.onnx_runtime import open_session as open_session
from striate.runtime.predict import Prediction as Prediction
from striate.runtime.predict import Unreadable as Unreadable
from striate.runtime.predict import predict as predict
from striate.runtime.self_test import self_test as self_test
from striate.runtime.tensors import every_tensor as every_tensor
