"""The networks of the study, their blocks, and their weights on disk."""

from maskfr_utils.models.create import create_model
from maskfr_utils.models.weights import export_onnx, load_insightface_weights, load_model, save_model
from maskfr_utils.names import MODELS

__all__ = ["MODELS", "create_model", "export_onnx", "load_insightface_weights", "load_model", "save_model"]
