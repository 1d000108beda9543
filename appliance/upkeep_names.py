"""What the work that runs by itself is called: in the table `schedules`, in `status` and in metrics. Do not change."""

SNAPSHOT, PRUNE = "snapshots", "retention"
COLLECT, CHECKPOINT, REPACK = "garbage", "checkpoint", "repack"
SCRUB_STORE, SCRUB_LOCAL = "scrub store", "scrub local"
