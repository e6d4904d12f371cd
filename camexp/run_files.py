"""The names of a run's files: training writes them; resuming, sweeps, their comparison and evaluation look for them."""

SUMMARY = "summary.json"  # written at the end: the run is finished
FAILURE = "failure.txt"  # why a job of a sweep failed
DONE = "done.json"  # of which options a job of a sweep is finished
IN_USE = ".in_use"  # locked while a run writes into the folder
CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"
CAMS = "cams"  # the snapshots of the inspected image
CAM_STEPS = "steps.csv"  # in CAMS
SPLITS = "splits"  # train.csv and val.csv: which images are in which part
COMPARISON = "compare"  # of a sweep: compare.csv and compare.png
STUDY = "study.log"  # of a sweep by Optuna
