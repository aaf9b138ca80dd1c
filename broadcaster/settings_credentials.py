"""Which set of credentials counts, and which keys beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.protocol.channels import shown
from broadcaster.settings_sources import COMPANIONS, CREDENTIALS, DEV, VENDORS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from broadcaster.settings_sources import Found, Layer


def pick_app(layers: Iterable[Layer], listed: Collection[str] = ()) -> tuple[dict[str, Found], str]:
    """
    Return the first complete set of credentials, or nothing and why there is none.

    An id alone is complete if it is one of `listed`, the ids of ``[[apps]]``. If it is none
    of them, only a set with this id is taken, and so it is with the app of a running ``dev``
    whatever is listed: a slip must not choose another app. A grant or encryption key is taken
    only from the layer that the set is from.
    """
    incomplete: list[str] = []
    alone: dict[str, Found] = {}
    asked: Found | None = None
    for layer in layers:
        for owner, owned in layer.credentials.items():
            missing = [path for path in CREDENTIALS if path not in owned]
            if not missing:
                if alone and alone["app.id"].value != owned["app.id"].value:
                    continue
                if layer.where == DEV and asked and asked.value != owned["app.id"].value:
                    return {}, _other_than_dev(asked, owned["app.id"])
                beside = {path: layer.values[path] for path in COMPANIONS if path in layer.values}
                return {**owned, **beside}, ""
            if asked is None and list(owned) == ["app.id"]:
                asked = owned["app.id"]
            if listed and not alone and list(owned) == ["app.id"]:
                alone = dict(owned)
                if owned["app.id"].value in listed:
                    return alone, ""
            names = ", ".join(_credential_name(owner, path) for path in missing)
            incomplete.append(f"the set of {owner} lacks {names}")
    return alone, "; ".join(incomplete)


def passed_over(
    layers: Iterable[Layer], chosen: Mapping[str, Found], listed_in: str
) -> tuple[str, ...]:
    """
    Return a sentence for each key that the user set and that does not count.

    Args:
        chosen: the credentials that `pick_app` returned.
        listed_in: where ``[[apps]]`` is, or nothing; credentials that were not chosen are there.
    """
    home = chosen["app.id"].source if "app.secret" in chosen else listed_in
    if not home:
        return ()
    said: list[str] = []
    for path in COMPANIONS:
        for layer in layers:
            item = layer.values.get(path)
            if item is not None and (item is chosen.get(path) or layer.where == DEV):
                break
            if item is not None:
                said.append(
                    f"{path} (from {item.source}) is not used: it counts only beside the app's "
                    f"credentials, which are from {home}; set both in one place"
                )
                break
    return tuple(said)


def _other_than_dev(asked: Found, running: Found) -> str:
    return (
        f"{asked.source} asks for the app {shown(str(asked.value))}, and a running `broadcaster "
        f"dev` has the app {shown(str(running.value))}: set the key and the secret of "
        f"{shown(str(asked.value))} too, or unset its id"
    )


def _credential_name(owner: str, path: str) -> str:
    field_name = path.removeprefix("app.")
    return VENDORS[owner] + field_name.upper() if owner in VENDORS else path
