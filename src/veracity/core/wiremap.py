"""Which frame kind carries which observation. The guard writes these kinds and no others."""

from __future__ import annotations

from . import observation as seen

KINDS: dict[str, type[seen.Observation]] = {
    "hello": seen.Hello,
    "bye": seen.Goodbye,
    "gap": seen.Gap,
    "began": seen.StartedWith,
    "optimizer": seen.OptimizerDeclared,
    "scheduler": seen.SchedulerDeclared,
    "scheduled": seen.SchedulerStepped,
    "schedules": seen.SchedulersStepped,
    "step": seen.StepRecord,
    "rested": seen.StepsPassed,
    "moved": seen.WeightsMoved,
    "hooked": seen.HooksMoved,
    "gradient": seen.GradientChecked,
    "loss": seen.LossChecked,
    "hook": seen.HookActed,
    "root": seen.BackwardRoot,
    "loader": seen.LoaderStarted,
    "dataset": seen.DatasetWritten,
    "sampler": seen.SamplerStarted,
    "batches": seen.BatchesDrawn,
    "saved": seen.CheckpointSaved,
    "loaded": seen.CheckpointLoaded,
    "loading": seen.FileLoading,
    "unpickled": seen.ObjectsLoaded,
    "restored": seen.StateRestored,
    "module": seen.ModuleImported,
    "functions": seen.FunctionsSeen,
    "channel": seen.ChannelUsed,
    "metrics": seen.MetricsOpened,
}
