"""The secret that signs for batches' own webhooks: made once, private, and the same from then on."""

from pathlib import Path

import pytest

from batchyard.domain.errors import Invalid
from batchyard.wiring.secret import signing_secret

FIRST, SECOND = "whsec_Zmlyc3Q=", "whsec_c2Vjb25k"


def test_the_first_start_makes_it_and_the_next_one_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "webhook.secret"
    made = signing_secret(str(path), lambda: FIRST)
    assert made.text == FIRST and FIRST not in repr(made)
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text() == f"{FIRST}\n"
    assert signing_secret(str(path), lambda: SECOND) == made
    assert [each.name for each in tmp_path.iterdir()] == ["webhook.secret"]


def test_what_a_crash_left_behind_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "webhook.secret.new").touch()
    assert signing_secret(str(tmp_path / "webhook.secret"), lambda: FIRST).text == FIRST


def test_one_that_was_removed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "webhook.secret"
    signing_secret(str(path), lambda: FIRST)
    path.unlink()
    assert signing_secret(str(path), lambda: SECOND).text == SECOND


@pytest.mark.parametrize("text", ["", "secret", "whsec_", "whsec_!!!!", "Zmlyc3Q="])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "webhook.secret"
    path.write_text(text)
    with pytest.raises(Invalid, match="holds no signing secret") as told:
        signing_secret(str(path), lambda: FIRST)
    assert "Remove it" in told.value.remedy and path.read_text() == text
