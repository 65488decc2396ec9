"""A task of the user's own: `package.module:factory`, a function without arguments that returns a `verifier.task.Task`.

Only a recipe names it. Its promises are tried before anything starts (`verifier.python.promises`).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from verifier.errors import BadTask
from verifier.families import TaskConfig, open_task, opens
from verifier.outside.time_limit import in_time
from verifier.python.promises import check_promises, made
from verifier.task import Task


class PythonConfig(TaskConfig, frozen=True):
    """A task of the user's own."""

    family: Literal["python"] = "python"
    object: str = Field(description="package.module:factory, in the folder that the run is started from or installed")

    @model_validator(mode="after")
    def _keeps_its_promises(self, info: ValidationInfo) -> Self:
        if opens(info):
            in_time(lambda: check_promises(self.object, open_task(self)), self.object, BadTask)
        return self

    def task(self) -> Task:
        """What the factory returns. Raises BadImportPath and BadTask."""
        return made(self.object)
