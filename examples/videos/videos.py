"""
Video processing: a long job with retries and a timeout, an event when it is done, a mail.

See README.md for how to run it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broadcaster import Job, PrivateChannel, ShouldBroadcast, aemit, hours, listen, minutes, provide

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("videos")
log.setLevel(logging.INFO)


@dataclass
class Video:
    id: int
    user_id: int
    source: Path
    status: str = "uploaded"
    url: str = ""
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    def step(self, status: str) -> None:
        self.status = status
        self.log.append(status)


VIDEOS: dict[int, Video] = {}  # your database in earnest
MAILS: list[str] = []


@dataclass(frozen=True)
class Processed:
    url: str
    seconds: float


class VideoProcessor:
    """Stands for ffmpeg: `asyncio.create_subprocess_exec` in earnest."""

    async def process(self, source: Path) -> Processed:
        size = (await asyncio.to_thread(source.stat)).st_size
        if size == 0:
            raise ValueError(f"{source.name} is no video")
        return Processed(f"https://cdn.example.com/{source.stem}.mp4", size / 1000)


provide(VideoProcessor, VideoProcessor)


@dataclass(frozen=True)
class VideoProcessed(ShouldBroadcast):
    video_id: int
    user_id: int
    url: str

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.user_id}")


class ProcessVideo(
    Job,
    queue="videos",
    tries=3,
    timeout=hours(1),
    backoff=[minutes(1), minutes(2), minutes(3)],
):
    video_id: int

    async def handle(self, processor: VideoProcessor) -> None:
        video = VIDEOS[self.video_id]
        video.step("processing")

        result = await processor.process(video.source)

        video.url, video.seconds = result.url, result.seconds
        video.step("completed")
        await aemit(VideoProcessed(video.id, video.user_id, video.url))

    async def failed(self, error: BaseException) -> None:
        """When the last try has failed; until then the video is only late."""
        video = VIDEOS[self.video_id]
        video.step("failed")
        log.error("video %d failed: %s", self.video_id, error)
        MAILS.append(f"to {video.user_id}: {video.source.name} could not be processed")


@listen(VideoProcessed, queue="mail", tries=3)
async def send_mail(event: VideoProcessed) -> None:
    MAILS.append(f"to {event.user_id}: your video is at {event.url}")


async def upload(video_id: int, user_id: int, source: Path) -> None:
    """Take a file and have it processed; what the web framework's view calls."""
    VIDEOS[video_id] = Video(video_id, user_id, source)
    await ProcessVideo(video_id=video_id).adispatch()
