"""The errors of this system: one root for each way that an error can end. An error that a person can cause has a fix.

    UserError        exit code 2: the person has something to put right; `fix` says how
      ImpossibleSpec BadMixture UnknownPreset MalformedProblem TooFewItems NotARightTrace            verifier
      BadJudgement BadReward BadTask BadImportPath                                                   verifier
      CheckpointError EventLogError ModelRefused NoRollouts OtherForm DamagedPart                    actors
      ResumeError NothingToScale PromptTooLong                                                       trainers
      KeyFileError SameRun NotCounted                                                                serving
      NotEnough ClusterUnreachable UnsafeCluster RecipeError NoModel RunFolderError JobError         cluster
      ServeError TooMuchToShip NoTask KeyCommandError RunHeld StudyError NotComparable               cluster
    Failure          exit code 1: the work stopped; what is saved stays
      CheckpointWriteError EngineError WeightsRefused NoWorkersLeft WorkerFault NoWorkerInTime RunGone   actors
      LearnerLost NotFinite StaleGroupError VerifierBroken NothingKept NotMade Interrupted NotJudged     trainers
      NotTaken                                                                                       serving
      StageFailed RayNotStarted                                                                      cluster
    Signal           raised and caught inside one package; a caller of the package never sees it
    serving.http.errors.ApiError    an HTTP answer

Only `cluster.cli` turns a root into an exit code. Not here: assertions about our own mistakes, and judgements of a
model's text, which are data (`verifier.judgement`). A pydantic validator raises a plain ValueError; whoever validates
turns pydantic's error into one of these.
"""

from __future__ import annotations


class UserError(ValueError):
    """Something the person can put right. `fix` says how, in the imperative; a subclass may have a usual one."""

    fix: str = ""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message, fix)  # both, so that the error arrives whole in another process
        self.message = message
        self.fix = fix or type(self).fix
        assert self.fix, f"{type(self).__name__} is raised without a fix"

    def __str__(self) -> str:
        return self.message


class Failure(RuntimeError):
    """The work cannot go on, and not because of what the person typed. `fix`, if any, says what helps."""

    fix: str = ""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix or type(self).fix

    def __str__(self) -> str:
        return self.message


class Signal(Exception):
    """Ends a search or a wait inside a package, which catches it."""


class ImpossibleSpec(UserError):
    """No problem satisfies what was asked for; the message names the field at fault and what would do."""

    fix = "Change the field that the message names."


class BadMixture(UserError):
    """A mixture of task cells that cannot be drawn from: shares, cells or budget make no sense."""

    fix = "Correct the shares, the cells or the budget."


class UnknownPreset(UserError):
    """There is no preset of that name; the message lists the names that come closest."""

    fix = "Name one of the presets in docs/tasks.md."


class MalformedProblem(UserError):
    """A problem's texts do not follow the grammar of the three templates."""

    fix = "Give the problem, question and solution as `interplay generate` writes them."


class NotARightTrace(UserError):
    """An error can be planted in a right trace only, at a step that it has."""

    fix = "Give a trace that `interplay verify` verifies, and the index of one of its steps."


class TooFewItems(UserError):
    """A stratum has fewer distinct items of a split than were asked for."""

    fix = "Ask for fewer items, or for more strata."


class BadJudgement(UserError):
    """A judge or a reward returned something else: this counts as an error of the verifier, never as a reward."""

    fix = "Return what `verifier.judgement` describes."


class BadReward(UserError):
    """A recipe names a reward that does not exist, or one that the task's family cannot give."""

    fix = "Name a reward that the family of the task can give."


class BadTask(UserError):
    """A task that cannot be opened: an unknown family, wrong settings, or an object that is not a task."""

    fix = "Correct the `task` of the recipe."


class BadImportPath(UserError):
    """An import path that names nothing; the message says which part fails."""

    fix = "Write package.module:name, importable from the folder of the command."
