from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.jobs.modules import imported

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_modules").mkdir()
    (tmp_path / "shop_modules" / "jobs.py").write_text("NAME = 'jobs'\n", encoding="utf-8")
    (tmp_path / "shop_modules" / "broken.py").write_text("import not_there\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def test_a_module_is_imported_by_its_name() -> None:
    assert imported("shop_modules.jobs", str).NAME == "jobs"


@pytest.mark.parametrize(
    ("name", "missing"),
    [("shop_modules.mails", "shop_modules.mails"), ("stop.jobs", "stop"), ("stop", "stop")],
)
def test_one_that_is_not_there_is_explained(name: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^no {missing} here$"):
        imported(name, lambda found: f"no {found} here")


def test_what_a_module_lacks_is_its_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        imported("shop_modules.broken", str)
