"""The names of files that one part writes and others look for: those of a run, of a sweep and of an evaluation."""

HYDRA = ".hydra"  # the configuration, as Hydra writes it before the run begins
SUMMARY = "summary.json"  # written at the end: the run is finished
FAILURE = "failure.txt"  # why a job of a sweep failed
BEGUN = "begun.json"  # with which options a job of a sweep was begun
DONE = "done.json"  # of which options a job of a sweep is finished
IN_USE = ".in_use"  # locked while a run writes into the folder
CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"
CAMS = "cams"  # the snapshots of the inspected image
CAM_STEPS = "steps.csv"  # in CAMS
CAM_MAPS = "maps.jsonl"  # in CAMS: the inspected images' maps of all classes, for the page
REPORT = "report.html"  # what came of it, to look at in a browser
SPLITS = "splits"  # train.csv and val.csv: which images are in which part
COMPARISON = "compare"  # of a sweep: compare.csv, compare.png and compare.html
EVALUATION = "metrics.json"  # of an evaluation: its figures and thresholds
STOPPING = ".stopping"  # of a sweep: its workers are to stop their jobs
STUDY = "study.log"  # of a sweep by Optuna
