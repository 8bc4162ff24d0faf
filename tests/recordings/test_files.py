"""Recordings and their files: what is written is read again, and what cannot be used is refused or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.recordings import Recording, from_xarray, read, to_xarray, write
from cordstasks.recordings.fields import fields_of, recording_of

IDS = ["owl", "cat", "owl", "cat", "fig"]


def _recording(**changes: Any) -> Recording:
    """Five presentations of three stimuli, four bins, three units of two regions."""
    rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(5, 4, 3))
    starts = np.array([-20.0, 0, 10, 25])
    given = {
        "rates": rates,
        "stimulus_ids": IDS,
        "bins_ms": np.stack([starts, starts + 10], axis=1),
        "regions": ["V4", "IT", "V4"],
        "unit_ids": ["a7", "b1", "b2"],
        "objects": ["animal", "animal", "animal", "animal", "fruit"],
        "name": "made",
    }
    return Recording(**{**given, **changes})


def _same(one: Recording, other: Recording) -> None:
    for name, values in fields_of(one).items():
        np.testing.assert_array_equal(values, fields_of(other)[name], err_msg=name)
    assert one.notes == other.notes


class TestTheType:
    def test_repeats_are_counted(self):
        recording = _recording()
        assert recording.repetitions.tolist() == [0, 0, 1, 1, 0]
        assert recording.stimuli == ("owl", "cat", "fig")
        assert recording.areas == ("V4", "IT")
        assert recording.describe() == (
            "made: 3 stimuli, 1 to 2 presentations of each, 4 bins from -20 to 35 ms, 3 units (V4 2, IT 1)"
        )

    def test_the_average_is_over_presentations_of_one_stimulus(self):
        recording = _recording()
        mean = recording.average()
        assert mean.stimulus_ids.tolist() == ["owl", "cat", "fig"]
        assert mean.objects is not None
        assert mean.objects.tolist() == ["animal", "animal", "fruit"]
        np.testing.assert_allclose(mean.rates[1], (recording.rates[1] + recording.rates[3]) / 2)
        np.testing.assert_allclose(mean.rates[2], recording.rates[4])

    def test_selection_keeps_rows_bins_and_units_together(self):
        recording = _recording()
        some = recording.select(stimuli=["fig", "owl"], region="V4", from_ms=0, to_ms=20)
        assert some.stimulus_ids.tolist() == ["fig", "owl", "owl"]
        assert some.bins_ms.tolist() == [[0, 10], [10, 20]]
        assert some.unit_ids.tolist() == ["a7", "b2"]
        np.testing.assert_array_equal(some.rates, recording.rates[[4, 0, 2]][:, [1, 2]][:, :, [0, 2]])

    def test_the_digest_knows_what_splits_depend_on(self):
        recording = _recording()
        assert recording.digest() == _recording(name="other").digest()
        assert recording.digest() != _recording(objects=["animal"] * 5).digest()
        assert recording.digest() != _recording(objects=None).digest()

    def test_ids_that_are_numbers_need_not_be_whole_or_finite(self):
        assert _recording(stimulus_ids=[1.0, np.inf, 1, 2.5, 2.5]).stimuli == ("1", "inf", "2.5")

    def test_arrays_are_copies_that_cannot_be_changed(self):
        rates = np.random.default_rng(0).normal(size=(5, 4, 3))
        recording = _recording(rates=rates)
        rates[:] = 0
        assert recording.rates.std() > 0.5
        with pytest.raises(ValueError, match="read-only"):
            recording.rates[0] = 1

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"rates": np.ones((5, 4))}, r"rates has shape \(5, 4\)"),
            ({"rates": np.full((5, 4, 3), np.nan)}, "rates holds 60 values that are not finite, in 3 of 3 units"),
            ({"stimulus_ids": IDS[:4]}, r"stimulus_ids has shape \(4,\); give one name for each presentation"),
            ({"stimulus_ids": ["", *IDS[1:]]}, "stimulus_ids: number 0 is empty"),
            ({"bins_ms": [[0, 10]] * 3}, r"bins_ms has shape \(3, 2\)"),
            ({"bins_ms": [[0, 10], [10, 10], [20, 30], [30, 40]]}, "bin 1 is from 10 to 10 ms"),
            ({"bins_ms": [[0, 10], [20, 30], [10, 20], [30, 40]]}, "bin 2 begins at 10 ms, and bin 1 at 20 ms; sort"),
            ({"bins_ms": [[0, 20], [10, 30], [20, 40], [30, 50]]}, "bin 0 ends at 20 ms, after the start of bin 1 at 10 ms"),
            ({"unit_ids": ["a", "b", "a"]}, "'a' is the name of 2 units"),
            ({"repetitions": [0, 0.5, 1, 1, 1]}, "repetitions has shape"),
            ({"repetitions": [0, np.inf, 1, 1, 1]}, "repetitions has shape"),
            ({"stimulus_ids": [1.0, np.nan, 1, 2, 2]}, "stimulus_ids: number 1 is empty"),
            ({"rates": np.full((5, 4, 3), -9.97e36)}, r"rates reaches 9\.97e\+36, in 3 of 3 units; such numbers stand for"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, changes: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            _recording(**changes)

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({"stimuli": ["ow"]}, "stimulus 'ow' is unknown; did you mean 'owl'"),
            ({"region": "V1"}, "region 'V1' is unknown"),
            ({"from_ms": 100}, "nothing is left from 100 to inf ms"),
        ],
    )
    def test_an_empty_selection_is_refused(self, chosen: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            _recording().select(**chosen)


class TestFiles:
    @pytest.mark.parametrize("ending", ["npz", "npy", "mat", "nc"])
    @pytest.mark.parametrize("units", [3, 1])
    def test_what_is_written_is_read(self, ending: str, units: int, tmp_path: Path):
        if ending == "nc":
            pytest.importorskip("xarray", reason="needs cordstasks[recordings]")
        whole = _recording()
        recording = whole if units == 3 else whole.select(region="IT")
        write(recording, tmp_path / f"made.{ending}")
        found = read(tmp_path / f"made.{ending}")
        _same(found, recording)
        assert found.name == "made"

    def test_a_matlab_struct_with_numbers_for_ids(self, tmp_path: Path):
        scipy_io = pytest.importorskip("scipy.io")
        rates = np.random.default_rng(1).normal(size=(4, 2, 3))
        struct = {
            "rates": rates,
            "stimulus_id": np.array([3.0, 1.0, 3.0, 1.0]),
            "time_bin_start": [0, 20],
            "time_bin_end": [20, 40],
            "region": ["IT", "V4", "IT"],
        }
        scipy_io.savemat(tmp_path / "s.mat", {"data": struct})
        found = read(tmp_path / "s.mat")
        np.testing.assert_array_equal(found.rates, rates)
        assert found.stimulus_ids.tolist() == ["3", "1", "3", "1"]
        assert found.regions.tolist() == ["IT", "V4", "IT"]

    def test_a_matlab_file_of_version_7_3(self, tmp_path: Path):
        h5py = pytest.importorskip("h5py", reason="needs cordstasks[recordings]")
        rates = np.random.default_rng(2).normal(size=(3, 2, 4))
        # MATLAB's axes are reversed in the file, cells are references, and texts are numbers
        with h5py.File(tmp_path / "v.mat", "w", userblock_size=512) as file:
            file["rates"] = rates.T
            for name, values in (("time_bin_start", [0.0, 10.0]), ("time_bin_end", [10.0, 20.0])):
                file[name] = np.array([values])
            cells = []
            for place, text in enumerate(("owl", "cat", "fig")):
                file[f"#refs#/{place}"] = np.array([[ord(letter)] for letter in text], np.uint16)
                cells.append(file[f"#refs#/{place}"].ref)
            file["stimulus_id"] = np.array([cells], dtype=h5py.ref_dtype)
            file["stimulus_id"].attrs["MATLAB_class"] = np.bytes_("cell")
        found = read(tmp_path / "v.mat")
        np.testing.assert_array_equal(found.rates, rates)
        assert found.stimulus_ids.tolist() == ["owl", "cat", "fig"]

    def test_spikes_of_an_nwb_file_are_counted(self, tmp_path: Path):
        pynwb = pytest.importorskip("pynwb", reason="needs cordstasks[nwb]")
        from datetime import datetime, timezone

        file = pynwb.NWBFile("made", "made", datetime(2020, 1, 1, tzinfo=timezone.utc))
        file.add_trial_column("stimulus_id", "what was shown")
        file.add_unit_column("location", "area")
        for place, name in enumerate(("owl", "cat")):
            file.add_trial(start_time=1.0 + place, stop_time=1.5 + place, stimulus_id=name)
        file.add_unit(spike_times=[1.005, 1.015, 1.018, 2.001], location="IT")
        file.add_unit(spike_times=[0.5, 2.012], location="V4")
        with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "w") as stream:
            stream.write(file)
        found = read(tmp_path / "s.nwb", bins_ms=[(0, 10), (10, 20)])
        assert found.rates.tolist() == [[[100, 0], [200, 0]], [[100, 0], [0, 100]]]
        assert found.stimulus_ids.tolist() == ["owl", "cat"]
        assert found.regions.tolist() == ["IT", "V4"]
        with pytest.raises(InputError, match="holds spike times; give the bins"):
            read(tmp_path / "s.nwb")

    def test_brain_scores_names_axes_in_any_order_and_an_index(self):
        pytest.importorskip("xarray", reason="needs cordstasks[recordings]")
        recording = _recording()
        assembly = to_xarray(recording)
        assert assembly.dims == ("presentation", "time_bin", "neuroid")
        assert set(assembly.coords) == {
            "stimulus_id", "repetition", "object_name", "neuroid_id", "region", "time_bin_start", "time_bin_end"
        }  # fmt: skip
        turned = assembly.transpose("neuroid", "presentation", "time_bin").set_index(
            presentation=["stimulus_id", "repetition", "object_name"]
        )
        _same(from_xarray(turned), recording)
        single = assembly.isel(time_bin=1)
        assert from_xarray(single).bins_ms.tolist() == [[0, 10]]
        older = assembly.rename(stimulus_id="image_id")
        assert from_xarray(older).stimuli == recording.stimuli
        with pytest.raises(InputError, match="has the axes presentation, neuroid; give presentation, time_bin"):
            from_xarray(assembly.mean("time_bin"))

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.npz", b"nothing", "is not a .npz archive of arrays"),
            ("a.npy", b"nothing", "is not an array saved by numpy.save"),
            ("a.mat", b"nothing", "is not a MATLAB file"),
            ("a.nc", b"nothing", "is not a netCDF 4 file"),
            ("a.csv", b"1,2", "ending of a recording's file 'a.csv' is unknown"),
        ],
    )
    def test_other_files_are_refused_in_one_line(self, name: str, content: bytes, message: str, tmp_path: Path):
        if name.endswith("nc"):
            pytest.importorskip("xarray", reason="needs cordstasks[recordings]")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as raised:
            read(tmp_path / name)
        assert "\n" not in str(raised.value)

    def test_a_missing_file_and_missing_tables_are_named(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"gone\.npz: there is no such file"):
            read(tmp_path / "gone.npz")
        np.save(tmp_path / "bare.npy", np.ones((5, 4, 3)))
        with pytest.raises(InputError, match=r"needs the table bare.presentation.csv beside it.*: stimulus_id"):
            read(tmp_path / "bare.npy")
        (tmp_path / "bare.presentation.csv").write_text("id\nowl\n")
        with pytest.raises(InputError, match=r"bare.presentation.csv has no column 'stimulus_id'; it has id"):
            read(tmp_path / "bare.npy")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "stimulus_id\nstüm\n".encode("latin-1"),
                "its table r.presentation.csv is not in UTF-8 .*; save it as CSV UTF-8",
            ),
            ("stimulus_id\nowl\n".encode("utf-16"), "its table r.presentation.csv is not in UTF-8 .*; save it as CSV UTF-8"),
            (b"repetition;stimulus_id\n0;owl\n", "it has repetition;stimulus_id: give it, and separate columns by commas"),
        ],
    )
    def test_tables_of_other_programs_are_refused_with_what_to_do(self, content: bytes, message: str, tmp_path: Path):
        np.save(tmp_path / "r.npy", np.ones((5, 4, 3)))
        (tmp_path / "r.presentation.csv").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "r.npy")


class TestWhatIsLeftOut:
    def test_it_is_counted(self):
        fields = fields_of(_recording())
        rates = np.concatenate([fields["rates"], np.full((5, 4, 1), 2.5), np.zeros((5, 4, 1))], axis=2)
        rates[1, 2, 0] = np.nan
        rates[3] = np.nan
        changed = {**fields, "rates": rates, "neuroid_id": np.arange(5), "region": np.array(["V4", "IT", "V4", "IT", "IT"])}
        found = recording_of(changed, "x")
        assert found.unit_ids.tolist() == ["1", "2"]
        assert found.regions.tolist() == ["IT", "V4"]
        assert found.stimulus_ids.tolist() == ["owl", "cat", "owl", "fig"]
        assert found.notes == (
            "presentations without any finite value, left out: 1 of 5",
            "units with values that are not finite, left out: 1 of 5",
            "units that never vary (silent), left out: 2 of 5",
        )

    def test_spikes_that_are_there_or_not_are_rates_of_one_or_zero(self):
        fields = fields_of(_recording())
        found = recording_of({**fields, "rates": fields["rates"] > np.median(fields["rates"])}, "x")
        np.testing.assert_array_equal(found.rates, fields["rates"] > np.median(fields["rates"]))
        assert found.rates.dtype == np.float64

    def test_bins_in_another_order_are_sorted(self):
        fields = fields_of(_recording())
        order = [2, 0, 3, 1]
        turned = {**fields, "rates": fields["rates"][:, order]}
        turned |= {name: fields[name][order] for name in ("time_bin_start", "time_bin_end")}
        found = recording_of(turned, "made")
        np.testing.assert_array_equal(found.rates, fields["rates"])
        assert found.notes == ("time bins that were not in order, and have been sorted",)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"rates": np.zeros((5, 4, 3))}, "holds 3 units, none of which ever varies"),
            ({"rates": np.full((5, 4, 3), np.nan)}, "holds no finite value"),
            ({"rates": np.ones((4, 5, 3))}, "has 5 values of stimulus_id for an axis of 4"),
            ({"rates": np.array([["a"]])}, "has rates of shape"),
            ({"time_bin_start": np.array(list("abcd"))}, "has time bins of type"),
        ],
    )
    def test_nothing_usable_is_an_error(self, changes: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            recording_of({**fields_of(_recording()), **changes}, "x")

    def test_missing_fields_are_named(self):
        fields = fields_of(_recording())
        del fields["time_bin_end"]
        with pytest.raises(InputError, match="lacks 'time_bin_end'; it needs rates"):
            recording_of(fields, "x")
