"""The trained networks of a study for other programs: ONNX, safetensors, model cards.

`onnx_graphs.py` makes a graph and compares it with PyTorch by its candidates, before suppression;
equal scores may come in another order there, so candidates are compared as sets. What is written is
there to be shared: no path and no pseudonym is in it, nor in what PyTorch notes in a graph.
"""
