"""
A board of notes: who looks at it, what others pin to it, and thanks for its authors.

FastAPI reads annotations while the program runs, so they are no strings here.
See README.md for how to run it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from broadcaster_auth import broadcasting_auth, channel
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from broadcaster import PresenceChannel, PrivateChannel, ShouldBroadcast, abroadcast, credentials
from broadcaster.integrations.asgi import SocketIdMiddleware
from broadcaster.settings import load_settings

PAGE = Path(__file__).parent / "page.html"


# Users: your database in earnest. The tokens stand for your login.


@dataclass(frozen=True)
class User:
    id: int
    name: str


USERS = {"ada-token": User(1, "Ada"), "grace-token": User(2, "Grace")}


def find_user(request: Request) -> User | None:
    """Return who asks; routes and the authorization of channels share it."""
    return USERS.get(request.headers.get("authorization", "").removeprefix("Bearer "))


def current_user(user: Annotated[User | None, Depends(find_user)]) -> User:
    if user is None:
        raise HTTPException(401, "send 'Authorization: Bearer ada-token'")
    return user


CurrentUser = Annotated[User, Depends(current_user)]


# What happens.


@dataclass(frozen=True)
class NotePinned(ShouldBroadcast):
    author: str
    text: str

    def broadcast_on(self) -> PresenceChannel:
        return PresenceChannel("board")


@dataclass(frozen=True)
class ThanksGiven(ShouldBroadcast):
    user_id: int
    sender: str

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.user_id}")

    def broadcast_with(self) -> dict[str, object]:
        return {"sender": self.sender}


# Who may listen: everybody to the board, each user to what is meant for them.


@channel("board")
def members_of_the_board(user: User) -> dict[str, object]:
    return {"id": user.id, "name": user.name}


@channel("users.{user_id}")
def own_thanks(user: User, user_id: int) -> bool:
    return user.id == user_id


# The web application.


class NewNote(BaseModel):
    text: str = Field(min_length=1, max_length=500)


app = FastAPI()
app.add_middleware(SocketIdMiddleware)
app.mount("/broadcasting", broadcasting_auth(credentials, user=find_user))
# Stock pusher-js and Laravel Echo, from the installed package: no bundler is needed.
app.mount("/vendor", StaticFiles(packages=[("broadcaster.demo", "static/vendor")]))


@app.get("/", response_class=FileResponse)
def page() -> Path:
    return PAGE


@app.get("/config.json")
def config() -> dict[str, object]:
    """Tell the page what it needs for its connection; none of it is secret."""
    return {"key": credentials().key, "port": load_settings().gateway.port}


@app.post("/notes", status_code=201)
async def pin_note(note: NewNote, user: CurrentUser) -> dict[str, str]:
    event = NotePinned(author=user.name, text=note.text)
    await abroadcast(event, to_others=True)  # the tab that asked has the answer already
    return {"author": event.author, "text": event.text}


@app.post("/thanks/{user_id}", status_code=202)
async def give_thanks(user_id: int, user: CurrentUser) -> dict[str, int]:
    await abroadcast(ThanksGiven(user_id=user_id, sender=user.name))
    return {"user_id": user_id}
