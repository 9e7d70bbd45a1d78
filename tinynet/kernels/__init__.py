"""Array code that knows nothing of gradients: each fast kernel beside its plain twin.

The wing of speed; everything above reads the same without it. `kernel.py` says how
bodies are chosen.

Read next: `kernels/kernel.py`.
"""
