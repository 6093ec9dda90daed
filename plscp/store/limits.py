"""Bounds of a store."""

from typing import NamedTuple


class StoreLimits(NamedTuple):
    """Bounds of a store; every adapter takes them.

    Attributes:
        queue_requests, queue_bytes: what may wait for the writer; beyond it a draft fails with StoreBusy.
        batch_drafts, batch_bytes: what one transaction takes at most.
        quarantine_bytes: raw bytes kept in quarantine for one calling AE title; the oldest go first.
        disk_reserve: bytes of free disk that the quarantine never takes.
        disk_watermark: bytes of free disk below which no request is taken; they are again a tenth above it.
        disk_look_seconds: how often the free disk is asked for.
        idle_seconds: how long known deliveries may wait for a commit of someone else.
        probe_seconds: how often a store that refused (full, unavailable) is tried again.
        checkpoint_pages: pages in the write-ahead log at which it is copied back.
        stall_seconds: a writer that has been busy for longer does not count as alive.
    """

    queue_requests: int = 10_000
    queue_bytes: int = 64 << 20
    batch_drafts: int = 256
    batch_bytes: int = 4 << 20
    quarantine_bytes: int = 64 << 20
    disk_reserve: int = 256 << 20
    disk_watermark: int = 128 << 20
    disk_look_seconds: float = 1.0
    idle_seconds: float = 1.0
    probe_seconds: float = 1.0
    checkpoint_pages: int = 1000
    stall_seconds: float = 60.0
