"""Whether a file lies on this machine or somewhere in the network."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/mounts")  #: what the kernel says of its drives; other systems have none, and nothing is refused
REMOTE = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs\w*|davfs|ncpfs|fuse\.(sshfs|rclone|s3fs|glusterfs|ceph\S*|smb\S*)"
)


def network_drive(path: Path, mounts: Path | None = None) -> str:
    """Kind of the network drive that the path is on; empty for a local disk."""
    listed = mounts or MOUNTS
    lines = listed.read_text(errors="replace").splitlines() if listed.exists() else []
    kinds = {Path(unescaped(fields[1])): fields[2] for fields in map(str.split, lines)}
    path = path.resolve()
    kind = next((kinds[folder] for folder in (path, *path.parents) if folder in kinds), "")
    return kind if REMOTE.fullmatch(kind) else ""


def unescaped(text: str) -> str:
    r"""A path as it is: the kernel writes a space as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
