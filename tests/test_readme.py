"""A README's parts between markers are written anew; nothing else in the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_core import readme
from zoo_core.errors import InputError

TEXT = """# Mine

<!-- reproduce:one -->
old
<!-- /reproduce:one -->

Between <!-- reproduce:one --> in a line.

<!-- reproduce:two -->
<!-- /reproduce:two -->
End without a newline"""


def test_only_what_stands_between_the_markers_changes_and_again_it_does_not(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(TEXT)
    readme.refresh(file, {"one": "new\n\nlines", "two": r"back\1slash"})
    expected = TEXT.replace("\nold\n", "\n\nnew\n\nlines\n\n").replace(
        "<!-- reproduce:two -->\n", "<!-- reproduce:two -->\n\nback\\1slash\n\n"
    )
    assert file.read_text() == expected
    stamp = file.stat().st_mtime_ns
    readme.refresh(file, {"one": "new\n\nlines"})
    assert file.read_text() == expected
    assert file.stat().st_mtime_ns == stamp
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_line_ends_mode_and_a_link_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "real.md"
    content = b"# A\r\n<!-- reproduce:one -->\r\n<!-- /reproduce:one -->\r\nb\n"
    file.write_bytes(content)
    file.chmod(0o640)
    link = tmp_path / "README.md"
    link.symlink_to(file)
    readme.refresh(link, {"one": "x\ny"})
    assert file.read_bytes() == content.replace(b"one -->\r\n<", b"one -->\r\n\r\nx\r\ny\r\n\r\n<")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", r"has no place for one: write the lines <!-- reproduce:one --> and"),
        ("<!-- reproduce:one -->\n", "has no <!-- /reproduce:one -->"),
        ("<!-- /reproduce:one -->\n", "line 1: <!-- /reproduce:one --> comes"),
        (
            "<!-- reproduce:one -->\n<!-- reproduce:two -->\n<!-- /reproduce:one -->",
            "line 2: <!-- reproduce:two --> comes where /reproduce:one was expected",
        ),
        (
            "<!-- reproduce:one -->\n<!-- /reproduce:one -->\n" * 2,
            "line 3: <!-- reproduce:one --> comes again",
        ),
        ("<!-- reproduce:one -->\n<!-- /reproduce:two -->", "line 2"),
    ],
)
def test_markers_that_do_not_pair_are_refused_and_nothing_is_written(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        readme.check(file, ["one"])
    with pytest.raises(InputError, match=message):
        readme.refresh(file, {"one": "x"})
    assert file.read_text() == text


def test_a_readme_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no README that can be read"):
        readme.check(tmp_path / "none.md", ["one"])
    with pytest.raises(InputError, match="is no README that can be read"):
        readme.check(tmp_path, ["one"])
