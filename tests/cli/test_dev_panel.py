from __future__ import annotations

from dataclasses import replace

from broadcaster.cli.dev_panel import Panel

PANEL = Panel(
    app_url="http://127.0.0.1:8000",
    app_label="Demo",
    gateway_host="127.0.0.1",
    gateway_port=8081,
    app_id="123456",
    key="somekey",
    redis="embedded",
    folder=".broadcaster/dev.json",
    problems=("port 8080 is taken, 8081 is used instead",),
)


def test_the_panel_has_everything_to_copy() -> None:
    text = PANEL.text(colour=False)

    for line in (
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8081",
        "VITE_REVERB_APP_KEY=somekey",
        "VITE_REVERB_HOST=127.0.0.1",
        "VITE_REVERB_PORT=8081",
        "VITE_REVERB_SCHEME=http",
        "port 8080 is taken, 8081 is used instead",
        "broadcaster trigger ",
        "broadcaster serve",
    ):
        assert line in text


def test_the_panel_says_what_is_scheduled_and_how_to_turn_it_off() -> None:
    assert "Schedule" not in PANEL.text(colour=False)
    assert "Schedule 1 job, run when due" in replace(PANEL, scheduled=1).text(colour=False)
    assert "2 jobs, run when due; --no-schedule" in replace(PANEL, scheduled=2).text(colour=False)


def test_a_panel_without_a_page_names_none() -> None:
    assert "8000" not in replace(PANEL, app_url=None).text(colour=False)


def test_who_brings_a_page_of_their_own_is_told_how_to_see_an_event() -> None:
    from dataclasses import replace

    assert "broadcaster listen" not in PANEL.text(colour=False)
    assert "broadcaster listen orders" in replace(PANEL, try_listening=True).text(colour=False)


def test_colour_is_only_used_on_a_terminal() -> None:
    assert "\x1b" in PANEL.text(colour=True)
    assert "\x1b" not in PANEL.text(colour=False)


def test_machines_get_the_same_as_one_record() -> None:
    fields = PANEL.fields()

    assert fields["event"] == "ready"
    assert fields["gateway_url"] == "http://127.0.0.1:8081"
