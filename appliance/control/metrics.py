"""The status as Prometheus text. Pure; names are an interface for whoever scrapes them: add, never rename."""

from appliance.control.protocol import CloudStatus, Status
from appliance.control.upkeep_protocol import Schedule, UpkeepStatus


def as_prometheus(status: Status) -> str:
    """One gauge or counter per number of `status`; instants are Unix seconds."""
    cache = status.cache
    gauges: list[tuple[str, str, float]] = [
        ("serving", "1 when the drive takes writes", float(status.state == "serving")),
        ("read_only", "1 when the drive is read-only", float(status.state == "read_only")),
        ("started_seconds", "When the core started", status.started.timestamp()),
        ("epoch", "The current epoch", status.epoch),
        ("snapshots", "Snapshots kept", status.snapshots),
        ("files", "Files in the live tree", status.files),
        ("uncommitted_rows", "Rows that the next cut makes durable", status.uncommitted_rows),
        ("jobs_running", "Jobs under way", status.jobs_running),
        ("size_bytes", "The drive's size as programs see it", status.size_bytes),
        ("free_bytes", "What the drive can still take", status.free_bytes),
        ("cache_budget_bytes", "Local bytes allowed", cache.budget_bytes),
        ("cache_held_bytes", "Bytes of local blocks", cache.held_bytes),
        ("cache_allocated_bytes", "Disk allocated to segments", cache.allocated_bytes),
        ("cache_precious_bytes", "Local bytes that exist nowhere else", cache.precious_bytes),
        ("cache_evictable_bytes", "Local bytes that the store has, too, and that may go", cache.evictable_bytes),
        ("cache_pinned_bytes", "Local bytes that the store has, too, and that stay by wish", cache.pinned_bytes),
        ("cache_free_queue_bytes", "Freed bytes not yet given back to the disk", cache.free_queue_bytes),
        ("cache_segments", "Segment files", cache.segments),
        ("cache_blocks_open", "OPEN blocks", cache.blocks_open),
        ("cache_blocks_sealed", "SEALED blocks", cache.blocks_sealed),
        ("cache_damaged_pages", "Pages found damaged since the start", cache.damaged_pages),
    ]
    if status.cloud is not None:
        gauges += _of_cloud(status.cloud)
    if status.upkeep is not None:
        gauges += _of_upkeep(status.upkeep)
    for door in status.doors:
        gauges.append((f"{door.name}_serving", f"1 when {door.name} serves", float(door.state == "serving")))
        gauges.append((f"{door.name}_restarts", f"How often {door.name} had to be started again", door.restarts))
    if status.last_cut is not None:
        gauges.append(("last_cut_seconds", "When the last cut became durable", status.last_cut.timestamp()))
    lines = [_lines(name, "gauge", meaning, value) for name, meaning, value in gauges]
    lines.append(_lines("slow_turns_total", "counter", "Turns of the core's loop over 20 ms", status.slow_turns))
    lines.append(_lines("cache_reads_total", "counter", "Reads of sealed blocks", cache.reads))
    lines.append(_lines("cache_misses_total", "counter", "Reads that had to wait for the store", cache.misses))
    lines.append(_lines("cache_fetched_bytes_total", "counter", "Bytes that came from the store", cache.fetched_bytes))
    lines += _of_schedules(status.schedules)
    if status.cloud is not None:
        sent = status.cloud.sent_bytes
        lines.append(_lines("cloud_sent_bytes_total", "counter", "Bytes of packs that the store has taken", sent))
    return "".join(lines)


def _of_cloud(cloud: CloudStatus) -> list[tuple[str, str, float]]:
    gauges: list[tuple[str, str, float]] = [
        ("cloud_complete", "1 when no byte waits to be sent", float(cloud.state == "complete")),
        ("cloud_stuck", "1 when bytes wait and the store does not take them", float(cloud.state == "stuck")),
        ("cloud_open_bytes", "Bytes of files saved just now, not ready to be sent", cloud.open_bytes),
        ("cloud_unsent_bytes", "Bytes of files that wait to be sent or are on their way", cloud.unsent_bytes),
        ("cloud_unsent_blocks", "Blocks that wait to be sent or are on their way", cloud.unsent_blocks),
        ("cloud_uploading_bytes", "Bytes of packs on their way", cloud.uploading_bytes),
        ("cloud_up_bytes_per_second", "Rate to the store over the last 10 s", cloud.rate_bytes_per_s),
        ("cloud_damaged_blocks", "Blocks that cannot be sent", cloud.damaged_blocks),
    ]
    if cloud.trouble_since is not None:
        gauges.append(("cloud_trouble_since_seconds", "Since when requests fail", cloud.trouble_since.timestamp()))
    return gauges


def _of_upkeep(upkeep: UpkeepStatus) -> list[tuple[str, str, float]]:
    return [
        ("store_pack_bytes", "Bytes of packs in the store, as of the last survey", upkeep.stored_bytes),
        ("store_needed_bytes", "Of these, bytes that something needs", upkeep.needed_bytes),
        ("store_waiting_packs", "Packs that are doomed and wait for their grace", upkeep.waiting),
        ("clock_doubted", "1 when the clock leapt and no snapshot is given up for it", float(upkeep.doubt is not None)),
    ]


def _of_schedules(schedules: list[Schedule]) -> list[str]:
    """Four gauges, each with a line for every kind of work."""
    found = []
    for name, meaning, values in (
        (
            "schedule_last_run_seconds",
            "When it was done last",
            [one.last_run and one.last_run.timestamp() for one in schedules],
        ),
        ("schedule_next_due_seconds", "When it is due", [one.next_due.timestamp() for one in schedules]),
        ("schedule_ok", "0 when its last run found damage", [float(one.ok) for one in schedules]),
        ("schedule_waits", "1 when it is due and cannot be done", [float(bool(one.trouble)) for one in schedules]),
    ):
        lines = "".join(
            f'hybrid_drive_{name}{{job="{one.name}"}} {value:.15g}\n'
            for one, value in zip(schedules, values, strict=True)
            if value is not None
        )
        if lines:
            found.append(f"# HELP hybrid_drive_{name} {meaning}\n# TYPE hybrid_drive_{name} gauge\n{lines}")
    return found


def _lines(name: str, kind: str, meaning: str, value: float) -> str:
    full = f"hybrid_drive_{name}"
    return f"# HELP {full} {meaning}\n# TYPE {full} {kind}\n{full} {value:.15g}\n"
