"""Settings: from Python, from a file and from flags the same values, or one line that names the one that is wrong."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.utils import settings as kinds
from cordstasks.utils.command_line import Parser
from cordstasks.utils.settings import (
    Kind,
    Settings,
    add_flags,
    assignments,
    choice,
    fraction,
    given_by_flags,
    mapping,
    not_negative,
    number,
    optional,
    positive,
    setting,
    several,
    text,
    truth,
    whole,
)


def pair_of_text(words: str) -> tuple[int, ...]:
    parts = words.split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise InputError(f"--pair {words}: write 3x4")
    return tuple(map(int, parts))


@dataclass(frozen=True)
class Own(Settings):
    """One setting of each kind."""

    FAMILY = "own"

    title: str = setting(text(), "what it is about", group="")
    count: int = setting(whole(least=2), "of repeats", default=3, group="sizes")
    part: float = setting(
        number("a fraction above 0 and below 1", above=0, below=1), "50 % of it", default=0.5, group="sizes"
    )
    ends: tuple[float, ...] = setting(
        several(number("numbers", least=0.0), "one or more different numbers", different=True), "of it", default=(1.0, 2.0)
    )
    pair: tuple[int, int] | None = setting(
        optional(several(whole(), "two whole numbers", length=2)), "such as 3x4", default=None, parse=pair_of_text
    )
    colour: str = setting(choice("red", "green"), "its colour", default="red", by_task=True)
    loud: bool = setting(truth(), "make noise", default=False)
    trained: bool = setting(truth(), "do not train it", default=True, flag="--fixed")
    mixed: bool = setting(truth(), "mix it", default=False, by_task=True)
    extra: Mapping[str, Any] = setting(mapping("names and values"), "more", default=None, group="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.colour == "green" and self.loud:
            raise InputError("colour=green: is never loud")


class TestKinds:
    @pytest.mark.parametrize(
        ("kind", "given", "kept"),
        [
            (whole(), 1, 1),
            (whole(least=0), np.int8(0), 0),
            (whole(), np.array(7), 7),
            (number("x"), 2, 2.0),
            (number("x", least=0.0, most=1.0), np.float32(1), 1.0),
            (number("x", least=0.0), 0, 0.0),
            (positive(), 1, 1.0),
            (not_negative(), 0, 0.0),
            (fraction(), 1, 1.0),
            (several(whole(), "x", in_order=True), (3, 1, 2), (1, 2, 3)),
            (truth(), np.bool_(True), True),
            (text(), np.str_("a b"), "a b"),
            (choice("a", "b"), np.str_("b"), "b"),
            (optional(whole()), None, None),
            (optional(whole()), 4, 4),
            (several(whole(), "x"), [1, np.int64(2)], (1, 2)),
            (several(whole(), "x"), range(1, 3), (1, 2)),
            (several(whole(), "x"), 5, (5,)),
            (several(number("x"), "x"), np.array([1, 2]), (1.0, 2.0)),
            (several(whole(), "x", length=2), (1, 1), (1, 1)),
            (mapping("x"), None, {}),
            (mapping("x"), {"a": [1, [2]], "b": np.float64(0.5)}, {"a": (1, (2,)), "b": 0.5}),
        ],
    )
    def test_what_they_keep(self, kind: Kind, given: Any, kept: Any):
        found = kind.fit(given)
        assert found == kept
        assert type(found) is type(kept)
        assert repr(found) == repr(kept)  # of the parts, too

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            *((whole(least=2), value) for value in (1, 2.0, "2", True, None, math.nan, 2**63, [2], 1j)),
            *((number("x", least=0.0, below=1.0), value) for value in (-1e-9, 1.0, "0", False, None, math.nan, [0.5])),
            *((number("x", above=0.0, most=1.0), value) for value in (0.0, 1.1, math.inf, 10**400)),
            *((positive(), value) for value in (0, -1.0, math.inf, "1", None)),
            *((not_negative(), value) for value in (-1e-9, math.nan, True)),
            *((fraction(), value) for value in (-0.1, 1.1, math.nan, "half")),
            *((truth(), value) for value in (0, 1, "true", None, [True])),
            *((text(), value) for value in ("", " ", 3, None, b"a", ["a"])),
            *((choice("a", "b"), value) for value in ("c", "", None, 0, ["a"])),
            *((several(whole(), "x", different=True), value) for value in ((), (1, 1), "12", (0,), None, {1: 2})),
            *((several(whole(), "x", length=2), value) for value in ((1,), (1, 2, 3), 1)),
            *((mapping("x"), value) for value in ([("a", 1)], {1: 2}, "a=1", 3)),
        ],
    )
    def test_what_they_refuse(self, kind: Kind, given: Any):
        with pytest.raises((ValueError, TypeError)):
            kind.fit(given)

    def test_all_of_them_are_tried(self):
        others = {"add_flags", "as_text", "assignments", "given_by_flags", "same_value", "setting"}
        made = {name for name in kinds.__all__ if name[0].islower()} - others
        numbers = {"whole", "number", "positive", "not_negative", "fraction"}
        assert made == {*numbers, "truth", "text", "choice", "optional", "several", "mapping"}


class TestSettings:
    def test_defaults_are_kept_like_what_is_given(self):
        assert Own("a").as_dict() == {
            "title": "a",
            "count": 3,
            "part": 0.5,
            "ends": [1.0, 2.0],
            "pair": None,
            "colour": "red",
            "loud": False,
            "trained": True,
            "mixed": False,
            "extra": {},
        }
        assert Own.names() == tuple(Own("a").as_dict())

    def test_they_do_not_change(self):
        with pytest.raises(FrozenInstanceError):
            Own("a").count = 5  # type: ignore[misc]
        assert replace(Own("a"), count=5) == Own("a", 5)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"title": ""}, "title='': give a name"),
            ({"count": 1}, "count=1: give a whole number of at least 2"),
            ({"part": math.nan}, "part=nan: give a fraction above 0 and below 1"),
            ({"ends": [2, 2]}, "ends=(2, 2): give one or more different numbers"),
            ({"pair": 3}, "pair=3: give two whole numbers, or null"),
            ({"colour": "gren"}, "colour 'gren' is unknown; did you mean 'green'? (known: red, green)"),
            ({"colour": 3}, "colour=3: give one of red, green"),
            ({"loud": 1}, "loud=1: give true or false"),
            ({"extra": 5}, "extra=5: give names and values"),
            ({"colour": "green", "loud": True}, "colour=green: is never loud"),
        ],
    )
    def test_errors_have_one_form(self, given: dict[str, Any], message: str):
        with pytest.raises(InputError) as caught:
            Own(**{"title": "a", **given})
        assert str(caught.value) == message

    def test_a_long_value_is_cut(self):
        with pytest.raises(InputError) as caught:
            Own("a", ends=[-1.0] * 1000)
        assert len(str(caught.value)) < 140


class TestFromDict:
    GIVEN = Own("a", 9, 0.25, (3.0,), (3, 4), "green", extra={"delay": (1, 2)})

    def test_what_a_file_holds_makes_them_again(self):
        held = json.loads(json.dumps({"family": "own", **self.GIVEN.as_dict(), "environment": {}}))
        assert Own.from_dict(held, "config.json") == self.GIVEN

    @pytest.mark.parametrize("name", Own.names())
    def test_one_that_is_missing(self, name: str):
        held = self.GIVEN.as_dict()
        del held[name]
        with pytest.raises(InputError, match=f"^config.json: lacks '{name}'; "):
            Own.from_dict(held, "config.json")

    @pytest.mark.parametrize("name", Own.names())
    def test_one_that_is_no_value_is_shown_as_the_file_has_it(self, name: str):
        held = {**self.GIVEN.as_dict(), name: [None, "x" * 200]}
        with pytest.raises(InputError) as caught:
            Own.from_dict(held, "config.json")
        assert str(caught.value).startswith(f'config.json: has "{name}": [null, "xxx')
        assert "...; expected " in str(caught.value)
        assert len(str(caught.value)) < 250
        assert "\n" not in str(caught.value)

    def test_those_that_do_not_fit_together(self):
        held = {**self.GIVEN.as_dict(), "loud": True}
        with pytest.raises(InputError, match=r"^config.json: holds settings that do not fit together \(colour=green: is"):
            Own.from_dict(held, "config.json")


class TestAgree:
    HAS = Own("a", 9, ends=(3.0, 4.0), extra={"delay": (1, 2), "noise": 0.5})

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"count": np.int8(9)},
            {"ends": [3, 4]},
            {"extra": {"noise": 0.5}},
            {"extra": {"delay": [1, 2]}},
            {"pair": None},
        ],
    )
    def test_the_same_again(self, given: dict[str, Any]):
        self.HAS.agree(given, "runs/a")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"count": 8}, "count=8: the run in runs/a has 9"),
            ({"ends": [3, 5]}, "ends=3.0 5.0: the run in runs/a has 3.0 4.0"),
            ({"ends": [4, 3]}, "ends=4.0 3.0: the run in runs/a has 3.0 4.0"),
            ({"pair": (1, 2)}, "pair=1 2: the run in runs/a has none"),
            ({"title": "b", "count": 9}, "title=b: the run in runs/a has a"),
            ({"extra": {"noise": 1, "delay": (1, 2)}}, "extra=noise=1: the run in runs/a has noise=0.5"),
            ({"extra": {"tone": "x", "noise": 1}}, "extra=tone=x, noise=1: the run in runs/a has noise=0.5"),
            ({"extra": {"tone": "x"}}, "extra=tone=x: the run in runs/a has none"),
        ],
    )
    def test_others_are_named_with_both_values(self, given: dict[str, Any], message: str):
        with pytest.raises(InputError) as caught:
            self.HAS.agree(given, "runs/a")
        assert str(caught.value) == f"{message}; leave it out, or use another folder"

    def test_paths_of_one_file_are_the_same(self, tmp_path: Path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        has = Own(str(tmp_path / "mine"), extra={"pictures": str(tmp_path / "mine")})
        has.agree({"title": str(tmp_path / "link"), "extra": {"pictures": str(tmp_path / "link")}}, "runs/a")
        for other in ({"title": str(tmp_path)}, {"extra": {"pictures": str(tmp_path)}}):
            with pytest.raises(InputError, match=f"{tmp_path}: the run in runs/a has .*{tmp_path}/mine; leave it out"):
                has.agree(other, "runs/a")

    def test_what_is_no_value_is_refused_first(self):
        with pytest.raises(InputError, match="count=0: give a whole number"):
            self.HAS.agree({"count": 0}, "runs/a")


class TestFlags:
    @pytest.fixture
    def parser(self) -> argparse.ArgumentParser:
        made = Parser(prog="own")
        add_flags(made, Own)
        return made

    @pytest.mark.parametrize(
        ("words", "given"),
        [
            ("", {}),
            ("--count 5 --part 0.25", {"count": 5, "part": 0.25}),
            ("--ends 3 4.5", {"ends": [3.0, 4.5]}),
            ("--pair 3x4", {"pair": (3, 4)}),
            ("--colour green", {"colour": "green"}),
            ("--loud --fixed", {"loud": True, "trained": False}),
            ("--mixed", {"mixed": True}),
            ("--no-mixed", {"mixed": False}),
        ],
    )
    def test_only_what_the_command_line_holds_is_given(
        self, parser: argparse.ArgumentParser, words: str, given: dict[str, Any]
    ):
        found = given_by_flags(parser.parse_args(words.split()), Own)
        assert found == given
        assert Own("a", **found) == Own("a", **given)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("--pair 3", "^--pair 3: write 3x4$"),
            ("--count many", "argument --count: invalid int value: 'many'"),
            ("--ends", "argument --ends: expected at least one argument"),
            ("--title x", "unrecognized arguments: --title x"),
            ("--extra x", "unrecognized arguments: --extra x"),
        ],
    )
    def test_mistakes(self, parser: argparse.ArgumentParser, words: str, message: str):
        with pytest.raises(InputError, match=message):
            given_by_flags(parser.parse_args(words.split()), Own)

    def test_help_tells_defaults_where_they_are_known(self, parser: argparse.ArgumentParser):
        told = " ".join(parser.format_help().split())
        for part in ("of repeats (default 3)", "50 % of it (default 0.5)", "of it (default 1.0 2.0)", "sizes:", "how:"):
            assert part in told
        assert "its colour (default: by task)" in told
        assert "mix it (default: by task)" in told
        for part in ("such as 3x4 (", "make noise (", "do not train it ("):
            assert part not in told

    def test_help_of_a_task_tells_its_defaults(self):
        made = Parser(prog="own")
        add_flags(made, Own, defaults=Own("a", 7, colour="green"))
        told = " ".join(made.format_help().split())
        assert "of repeats (default 7)" in told
        assert "its colour (default green)" in told


class TestAssignments:
    def test_values(self):
        words = ["a=3", "b=0.5", "c=true", "d=[1,[2,3]]", "e=left", 'f="left"', "g=null", "h=-2", "i=a=b"]
        expected = {"a": 3, "b": 0.5, "c": True, "d": (1, (2, 3)), "e": "left", "f": "left", "g": None, "h": -2, "i": "a=b"}
        assert assignments(words, "a=1") == expected
        assert assignments([], "a=1") == {}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["a"], "^--set a: write NAME=VALUE, such as a=1$"),
            (["=3"], "^--set =3: write NAME=VALUE"),
            (["a=1", "b=2", "a=3"], "^--set a=3: a is set twice; leave one out$"),
            *(([f"a={v}"], "the value must be a number") for v in ("", "[1,", "{", '"x', "NaN", "[NaN]", "-Infinity")),
        ],
    )
    def test_mistakes(self, words: list[str], message: str):
        with pytest.raises(InputError, match=message):
            assignments(words, "a=1")
