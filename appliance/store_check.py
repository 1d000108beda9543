"""Reading the whole store of a running drive: what was damaged and is healed, and the files of what is lost."""

import os

from appliance.cloud_errors import code_of, sentence_of
from appliance.control.protocol import CheckReport, Finding, ServiceError
from cloud_tier.errors import CloudError
from vfs.damage import LATEST, hits
from vfs.drive import Drive
from vfs.past import Query

MOST_NAMED = 100  # lost blocks


async def scrub_store(drive: Drive) -> CheckReport:
    """Read every pack, heal what can be healed. Takes as long as the line needs. Raises ServiceError."""
    if drive.tier is None:
        raise ServiceError("refused", "This drive was started without its store.")
    try:
        found = await drive.tier.upkeep.scrub_all()
    except CloudError as error:
        raise ServiceError(code_of(error), sentence_of(error)) from error
    snapshots, shown = drive.snapshots.all(), found.lost[:MOST_NAMED]

    def name(query: Query) -> list[Finding]:
        named: dict[tuple[bytes | None, str], None] = {}
        for block in shown:
            for hit in hits(query, block, 0, LATEST, snapshots):
                named[hit.path, f" as {hit.shown_by[-1]} shows it" if hit.shown_by else ""] = None
        return [
            Finding(
                invariant="store",
                message=f"has bytes{shown_by} that neither the store nor this machine has; save the same content again",
                path=os.fsdecode(path) if path is not None else None,
            )
            for path, shown_by in named
        ]

    findings = await drive.past.study(name) if shown else []
    if len(found.lost) > len(shown):
        findings.append(Finding(invariant="store", message=f"{len(found.lost) - len(shown)} more blocks are lost"))
    if found.damaged_packs:
        message = f"{found.damaged_packs} packs were damaged; {found.healed} blocks of them were sent anew"
        findings.append(Finding(invariant="store", message=message, repaired=True))
    if found.checkpoints:
        message = f"{found.checkpoints} checkpoints were not whole; another one is made from what is here"
        findings.append(Finding(invariant="store", message=message, repaired=True))
    return CheckReport(findings=findings, checked={"packs": found.packs, "bytes": found.bytes_read})
