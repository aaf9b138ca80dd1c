"""``broadcaster dev`` as its users meet it: a process, its children, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.cli.dev_process import PATIENCE, Dev, clean_environment, command, gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.process, pytest.mark.redis]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One dev that the tests which do not stop it share."""
    running = Dev(tmp_path_factory.mktemp("shop"), "--json")
    yield running
    running.clean_up()


@pytest.fixture
def start() -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def begin(folder: Path, *arguments: str, **environment: str) -> Dev:
        started.append(Dev(folder, *arguments, **environment))
        return started[-1]

    yield begin
    for each in started:
        each.clean_up()


def test_the_page_is_served(dev: Dev) -> None:
    url = dev.ready["app_url"]

    page = httpx.get(url)

    assert page.status_code == 200
    assert "<title>" in page.text


def test_an_event_triggered_below_the_folder_reaches_a_websocket(dev: Dev) -> None:
    gateway, key = dev.ready["gateway_url"].replace("http", "ws"), dev.ready["key"]
    below = dev.folder / "src" / "shop"
    below.mkdir(parents=True)

    with connect(f"{gateway}/app/{key}?protocol=7&client=test&version=1") as websocket:
        websocket.recv(PATIENCE)
        websocket.send('{"event":"pusher:subscribe","data":{"channel":"orders"}}')
        websocket.recv(PATIENCE)
        answer = command(below, "trigger", "orders", "OrderShipped", '{"order_id": 7}')
        frame = json.loads(websocket.recv(PATIENCE))

    assert answer.returncode == 0, answer.stderr
    assert frame["event"] == "App\\Events\\OrderShipped"
    assert json.loads(frame["data"]) == {"order_id": 7}


def test_a_click_in_the_demo_goes_through_queue_and_worker(dev: Dev) -> None:
    answer = httpx.post(
        f"{dev.ready['app_url']}/orders/7/ship", headers={"Authorization": "Bearer ada"}, json={}
    )

    assert answer.status_code == 202
    dev.until(
        lambda: (
            {("worker", "published"), ("worker", "job_done")}
            <= {(record.get("source"), record.get("event")) for record in dev.records}
        )
    )


def test_a_second_dev_says_which_process_runs(dev: Dev) -> None:
    assert dev.ready

    answer = command(dev.folder, "dev")

    assert answer.returncode == 78
    assert f"process {dev.process.pid}" in answer.stderr


def test_a_dev_below_a_running_one_is_refused(dev: Dev) -> None:
    assert dev.ready
    below = dev.folder / "below"
    below.mkdir()

    answer = command(below, "dev")

    assert answer.returncode == 78
    assert "in a folder above" in answer.stderr


def test_a_child_that_dies_starts_again_and_the_reason_is_shown(dev: Dev) -> None:
    url = f"{dev.ready['gateway_url']}/up"
    (gateway,) = [child for child in dev.family() if "serve" in child.cmdline()]

    gateway.kill()

    dev.until(lambda: dev.said("ended by SIGKILL; starting again in 0.5 s"))
    dev.until(lambda: is_up(url))


def test_a_server_that_dies_is_back_with_what_it_had(dev: Dev) -> None:
    assert dev.ready
    state = json.loads((dev.folder / ".broadcaster" / "dev.json").read_text())
    (server,) = [child for child in dev.family() if "valkey-server" in child.name()]

    server.kill()

    dev.until(lambda: gone([server]))
    dev.until(lambda: command(dev.folder, "trigger", "orders", "Sample").returncode == 0)
    dev.until(lambda: httpx.get(f"{dev.ready['gateway_url']}/ready").status_code == 200)
    assert Path(state["socket"]).exists()


def is_up(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_ctrl_c_ends_everything_and_leaves_nothing(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    dev = start(tmp_path)
    dev.until(lambda: dev.said("VITE_REVERB_APP_KEY="))
    dev.until(lambda: dev.said("worker started"))
    family = dev.family()
    state = json.loads((tmp_path / ".broadcaster" / "dev.json").read_text())

    code = dev.end()

    assert code == 0
    assert len(family) >= 5  # gateway, worker, demo, the server and its keeper
    dev.until(lambda: gone(family))
    assert not Path(state["socket"]).exists()
    assert not (tmp_path / ".broadcaster" / "dev.json").exists()


def test_the_panel_is_text_to_copy_from(tmp_path: Path, start: Callable[..., Dev]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        dev = start(tmp_path, "--no-demo", BROADCASTER_GATEWAY__PORT=str(port))
        dev.until(lambda: dev.said("For production: broadcaster serve"))

    state = json.loads((tmp_path / ".broadcaster" / "dev.json").read_text())
    assert state["gateway"]["port"] != port
    assert dev.said(f"port {port} is taken, {state['gateway']['port']} is used instead")
    assert dev.said(f"VITE_REVERB_APP_KEY={state['app']['key']}")
    assert dev.said(f"VITE_REVERB_PORT={state['gateway']['port']}")
    assert dev.said("embedded ")
    assert not dev.said(state["app"]["secret"])
    assert not dev.said("\x1b")


def test_kill_9_leaves_no_process(tmp_path: Path, start: Callable[..., Dev]) -> None:
    dev = start(tmp_path, "--json")
    assert dev.ready
    dev.until(lambda: dev.said("worker_started"))
    family = dev.family()

    dev.end(signal.SIGKILL)

    dev.until(lambda: gone(family))
    again = start(tmp_path, "--json", "--no-demo")
    assert again.ready["key"] == dev.ready["key"]


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, start: Callable[..., Dev]) -> None:
    dev = start(tmp_path, "--json", "--no-demo", BROADCASTER_GATEWAY__DRAIN_SECONDS="60")
    url, key = dev.ready["gateway_url"].replace("http", "ws"), dev.ready["key"]
    family = dev.family()

    with connect(f"{url}/app/{key}?protocol=7&client=test&version=1"):
        dev.process.send_signal(signal.SIGINT)
        code = dev.end(signal.SIGTERM)  # another one: of the same there is only one under way

    assert code == 130
    assert dev.said('"stopping"')
    dev.until(lambda: gone(family))


def test_an_application_is_served_and_reloaded(tmp_path: Path, start: Callable[..., Dev]) -> None:
    write_app(tmp_path, "one")
    dev = start(tmp_path, "shop:app", "--json")
    url = dev.ready["app_url"]
    dev.until(lambda: text_at(url) == "one")

    write_app(tmp_path, "another size")  # compiled files are told apart by second and size

    dev.until(lambda: text_at(url) == "another size")
    assert dev.said("shop.py changed")


def test_two_that_start_at_once_have_ports_of_their_own(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    port = clean_environment()["BROADCASTER_GATEWAY__PORT"]
    for folder in folders:
        folder.mkdir()

    both = [start(folder, "--json", BROADCASTER_GATEWAY__PORT=port) for folder in folders]

    for name in ("gateway_url", "app_url"):
        assert both[0].ready[name] != both[1].ready[name]
    for dev in both:
        assert httpx.get(f"{dev.ready['gateway_url']}/up").status_code == 200
        assert httpx.get(dev.ready["app_url"]).status_code == 200
        assert not dev.said("in use")


def test_a_port_that_a_stranger_takes_meanwhile_is_given_up(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    (tmp_path / "shop.py").write_text(
        "import pathlib, time\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [b'here']\n"
    )
    state = tmp_path / ".broadcaster" / "dev.json"
    dev = start(tmp_path, "shop:app", "--json")
    dev.until(state.exists)
    port = int(json.loads(state.read_text())["page"].rpartition(":")[2])

    with closing(socket.create_server(("127.0.0.1", port))):
        (tmp_path / "go").touch()

        assert dev.ready["app_url"] == json.loads(state.read_text())["page"]
    assert not dev.ready["app_url"].endswith(f":{port}")
    assert httpx.get(dev.ready["app_url"]).text == "here"
    assert not dev.said('"died"')


def test_a_change_of_settings_concerns_the_gateway_too(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    write_app(tmp_path, "one")
    dev = start(tmp_path, "shop:app", "--json")
    dev.until(lambda: text_at(dev.ready["app_url"]) == "one")

    (tmp_path / ".env").write_text("BLOG_SECRET=a-secret\n")
    dev.until(lambda: dev.said(".env changed"))
    (tmp_path / "broadcaster.toml").write_text(
        '[[apps]]\nid = "blog"\nkey = "blog-key"\nsecret_env = "BLOG_SECRET"\n'
    )

    def blog_is_served() -> bool:
        url = dev.ready["gateway_url"].replace("http", "ws")
        try:
            with connect(f"{url}/app/blog-key?protocol=7", open_timeout=PATIENCE) as socket:
                return "connection_established" in str(socket.recv(timeout=PATIENCE))
        except (OSError, WebSocketException):
            return False

    dev.until(blog_is_served)


def write_app(folder: Path, text: str) -> None:
    (folder / "shop.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        f"app = Starlette(routes=[Route('/', lambda request: PlainTextResponse({text!r}))])\n"
    )


def text_at(url: str) -> str:
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return ""


def test_a_wsgi_application_is_served_and_reloaded(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    write_wsgi_app(tmp_path, "one")
    dev = start(tmp_path, "shop:app", "--json")
    url = dev.ready["app_url"]
    dev.until(lambda: text_at(url) == "one")

    write_wsgi_app(tmp_path, "another size")

    dev.until(lambda: text_at(url) == "another size")
    assert not dev.said('"died"')


def write_wsgi_app(folder: Path, text: str) -> None:
    (folder / "shop.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        f"    return [{text.encode()!r}]\n"
    )


def test_an_application_that_is_not_there_is_an_error_and_no_panel(tmp_path: Path) -> None:
    answer = command(tmp_path, "dev", "nothing:app")

    assert answer.returncode == 78
    assert answer.stdout == ""
    assert answer.stderr.startswith("broadcaster: nothing:app: no module is called 'nothing'")


def test_an_application_that_is_broken_waits_for_a_change(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    write_wsgi_app(tmp_path, "one")
    dev = start(tmp_path, "shop:app", "--json")
    url = dev.ready["app_url"]

    (tmp_path / "shop.py").write_text("app = (")
    dev.until(lambda: is_waiting(dev, "app") and is_waiting(dev, "worker"))
    write_wsgi_app(tmp_path, "mended")

    dev.until(lambda: text_at(url) == "mended")
    assert not dev.said('"died"')


def is_waiting(dev: Dev, child: str) -> bool:
    return any(
        record["event"] == "waiting"
        and record["source"] == child
        and record["msg"].endswith("waiting for a change")
        for record in dev.records
        if record.get("source") == child and "event" in record
    )


def test_a_job_that_the_worker_does_not_know_comes_with_the_remedy(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    (tmp_path / "tasks.py").write_text(
        "import broadcaster\n@broadcaster.job\ndef send_mail(user: int) -> None: ...\n"
    )
    dev = start(tmp_path, "--no-demo")
    dev.until(lambda: dev.said("worker started"))

    subprocess.run(
        [sys.executable, "-c", "import tasks; tasks.send_mail(user=7).dispatch()"],
        cwd=tmp_path, env=clean_environment(), check=True, timeout=PATIENCE,
    )  # fmt: skip
    dev.until(lambda: dev.said('imports = ["tasks"]'))

    (line,) = [line for line in dev.lines if 'imports = ["tasks"]' in line]
    assert "send_mail" in line
    assert line.endswith("then: broadcaster failed retry all")
    (tmp_path / "broadcaster.toml").write_text('imports = ["tasks"]\n')
    dev.until(lambda: sum("worker started" in line for line in dev.lines) >= 2)
    assert command(tmp_path, "failed", "retry", "all").returncode == 0
    dev.until(lambda: dev.said("send_mail done"))


def test_every_queue_that_jobs_name_is_served_and_what_is_scheduled_runs(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    (tmp_path / "broadcaster.toml").write_text('imports = ["tasks"]\n')
    (tmp_path / "tasks.py").write_text(
        "import broadcaster\n"
        "from broadcaster.jobs.function import job\n"
        "from broadcaster.scheduling.entries import schedule\n"
        '@job(queue="mail")\n'
        "def send_mail() -> None: ...\n"
        "@schedule(every=1)\n"
        "def poll() -> None: send_mail().dispatch()\n"
    )
    dev = start(tmp_path, "--no-demo", "--json")

    assert dev.ready["scheduled"] == 1
    dev.until(lambda: dev.said("worker started on broadcasts, default, mail"))
    dev.until(lambda: dev.said("send_mail done"))
    assert not dev.said("does not serve")


def test_a_configured_server_and_app_are_used(
    tmp_path: Path, start: Callable[..., Dev], redis_url: str
) -> None:
    credentials = {f"REVERB_APP_{name}": f"{name.lower()}1" for name in ("ID", "KEY", "SECRET")}
    dev = start(tmp_path, "--json", "--no-demo", REDIS_URL=redis_url, **credentials)

    assert dev.ready["redis"].endswith("from environment REDIS_URL")
    assert dev.ready["key"] == "key1"
    assert not [child for child in dev.family() if "valkey" in child.name()]
    assert not (tmp_path / ".broadcaster" / "redis").exists()


def test_an_id_without_key_and_secret_is_no_wish_for_the_app_of_dev(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    refused = command(tmp_path, "dev", "--no-demo", BROADCASTER_APP_ID="tenant")

    assert refused.returncode == 78
    assert "asks for the app 'tenant'" in refused.stderr
    dev = start(tmp_path, "--json", "--no-demo")
    assert dev.ready
    answer = command(tmp_path, "trigger", "orders", "Sample", BROADCASTER_APP_ID="tenant")
    assert answer.returncode == 78
    assert "set the key and the secret of 'tenant' too" in answer.stderr


def test_a_key_that_does_not_count_is_warned_of_once(
    tmp_path: Path, start: Callable[..., Dev]
) -> None:
    key = b64encode(bytes(32)).decode()
    dev = start(tmp_path, "--json", "--no-demo", BROADCASTER_APP_ENCRYPTION_KEY=key)

    assert dev.ready
    dev.until(lambda: dev.said("worker_started"))
    dev.until(lambda: any(record["event"] == "listening" for record in dev.records))
    said = [record["msg"] for record in dev.records if "is not used" in record["msg"]]
    assert len(said) == 1
    assert "BROADCASTER_APP_ENCRYPTION_KEY" in said[0]
    assert "dev.json" in said[0]


def test_an_application_without_attribute_is_a_usage_error(tmp_path: Path) -> None:
    answer = command(tmp_path, "dev", "shop.main")

    assert answer.returncode == 2
    assert "MODULE:APP" in answer.stderr
