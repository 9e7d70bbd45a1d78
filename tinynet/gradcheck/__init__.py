"""Are the gradients right? `check.py` compares them with differences of the function itself.

`tn.gradcheck` is the function of that name.

Read next: `gradcheck/check.py`.
"""

from .check import gradcheck as gradcheck, gradcheck_module as gradcheck_module
from .report import (
    BANDS as BANDS,
    Comparison as Comparison,
    GradcheckError as GradcheckError,
    Report as Report,
)
