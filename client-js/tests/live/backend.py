"""
One deed of a Python backend: ``backend.py VERB ARGUMENTS``, the arguments as a JSON list.

``broadcast [CHANNEL, NAME, DATA]`` goes through this project; any other verb is a method of
PyPI's ``pusher``. What it answers is printed as JSON.
"""

import json
import os
import sys

import pusher

import broadcaster


def library() -> pusher.Pusher:
    """Return PyPI's client, pointed at the gateway of the environment."""
    return pusher.Pusher(
        app_id=os.environ["BROADCASTER_APP_ID"],
        key=os.environ["BROADCASTER_APP_KEY"],
        secret=os.environ["BROADCASTER_APP_SECRET"],
        host="127.0.0.1",
        port=int(os.environ["BROADCASTER_GATEWAY__PORT"]),
        ssl=False,
        encryption_master_key_base64=os.environ["BROADCASTER_APP_ENCRYPTION_KEY"],
    )


verb, arguments = sys.argv[1], json.loads(sys.argv[2])
if verb == "broadcast":
    channel, name, data = arguments
    broadcaster.on(channel).as_(name).with_(data).send()
    answer = None
else:
    answer = getattr(library(), verb)(*arguments)
json.dump(answer, sys.stdout)
