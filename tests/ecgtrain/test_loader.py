from __future__ import annotations

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from ecgtrain.loader import loaders
from ecgtrain.reading import RowReader
from ecgtrain.rr import FEATURES
from ecgtrain.samplers import WINDOW_BLOCKS
from ecgtrain.sources import DirectSource, HostSource, StoredRows, StreamedSource, choose_place, make_source, moments
from store.codecs import native_codecs
from store.errors import DamagedStoreError, LeakError, UnknownNameError, UserError
from store.files import write_whole
from store.manifest import MANIFEST_NAME
from store.read import open_store
from store.vocabulary import AAMI_CLASSES, TEST, TRAIN, VALIDATION

from .conftest import BEATS_OF_RECORD, N_RECORDS, make_beats_store, make_records_store, split_values


def inputs_of(data, rows):
    """Return the model's tensors of some rows of the store."""
    return data.train.preparation.inputs(data.train.reader.take(np.asarray(rows)))


def batches(loader, epoch=0):
    return list(loader.shuffled(seed=3, epoch=epoch))


def test_a_protocol_that_only_tests_says_what_to_train_on(tmp_path):
    values = np.full(N_RECORDS * BEATS_OF_RECORD, TEST, np.int8)
    store = make_beats_store(tmp_path / "tests.zarr", {"split/noise-test": split_values(values, "aami", AAMI_CLASSES)})
    with pytest.raises(UserError, match=r"has test rows alone; .* --dataset mitdb,nstdb"):
        loaders(store, protocol="noise-test")


def test_parts_hold_the_split_s_rows_with_a_known_label_and_no_others(beats_store):
    data = loaders(beats_store)
    known = beats_store.label("aami").values >= 0
    values = beats_store.split("interpatient").values
    for part, loader in ((TRAIN, data.train), (VALIDATION, data.validation), (TEST, data.test)):
        np.testing.assert_array_equal(loader.rows, np.flatnonzero((values == part) & known))
    patients = beats_store.column("patient")
    assert not set(patients[data.train.rows]) & (set(patients[data.validation.rows]) | set(patients[data.test.rows]))


@pytest.mark.parametrize("multilabel", [False, True], ids=["beats", "records"])
def test_an_epoch_trains_on_each_training_row_once_with_its_own_target(multilabel, beats_store, records_store):
    data = loaders(records_store if multilabel else beats_store, batch_size=16)
    seen = batches(data.train)
    rows = np.concatenate([batch.rows for batch in seen])
    np.testing.assert_array_equal(np.sort(rows), data.train.rows)
    targets = data.label.values[rows]
    np.testing.assert_array_equal(torch.cat([batch.target for batch in seen]).numpy(), targets)


@pytest.fixture(scope="module", params=["rows a chunk", "a row a chunk"])
def chunked_store(request, records_store, tmp_path_factory):
    if request.param == "rows a chunk":
        return records_store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.schema.CHUNK_BYTES", 1)
        return make_records_store(tmp_path_factory.mktemp("chunks") / "store" / "records.zarr")


@pytest.mark.parametrize("inputs", [("signal",), ("cwt", "gaf"), ("signal", "gaf")], ids="+".join)
@pytest.mark.parametrize("channels", [None, ("V5", "II")], ids=["all-leads", "two-leads"])
def test_streamed_batches_equal_those_from_memory(chunked_store, inputs, channels):
    made = [
        loaders(chunked_store, inputs, batch_size=16, channels=channels, placement=placement)
        for placement in ("host", "streamed")
    ]
    for epoch in (0, 1):
        for ours, theirs in zip(*(batches(data.train, epoch) for data in made), strict=True):
            np.testing.assert_array_equal(ours.rows, theirs.rows)
            assert ours.inputs.keys() == theirs.inputs.keys()
            assert all(torch.equal(ours.inputs[name], theirs.inputs[name]) for name in ours.inputs)
    for ours, theirs in zip(*(data.test.in_order() for data in made), strict=True):
        assert all(torch.equal(ours.inputs[name], theirs.inputs[name]) for name in ours.inputs)


def test_the_order_does_not_depend_on_what_is_read(records_store):
    orders = [
        np.concatenate([batch.rows for batch in batches(loaders(records_store, inputs).train)])
        for inputs in (("signal",), ("gaf",))
    ]
    np.testing.assert_array_equal(*orders)


def test_an_epoch_can_be_entered_at_any_batch(beats_store):
    train = loaders(beats_store, batch_size=32).train
    whole, rest = list(train.shuffled(0, 1)), list(train.shuffled(0, 1, first=5))
    for ours, theirs in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)


def test_scoring_passes_all_rows_in_order(beats_store):
    test = loaders(beats_store, batch_size=50).test
    passed = [batch.rows for batch in test.in_order()]
    np.testing.assert_array_equal(np.concatenate(passed), test.rows)
    assert len(test.rows) % 50
    assert len(passed[-1]) == len(test.rows) % 50


@pytest.mark.parametrize(
    ("n_bytes", "wanted", "place", "said"),
    [
        (10**6, "auto", "host", "0.00 GB held in memory"),
        (10**15, "auto", "streamed", "1000000.00 GB streamed from the store"),
        (10**6, "streamed", "streamed", "streamed"),
        (10**6, "device", "host", "held in memory"),
    ],
)
def test_rows_lie_where_there_is_memory_for_them_and_it_is_said(n_bytes, wanted, place, said):
    found, line = choose_place(n_bytes, wanted, torch.device("cpu"))
    assert found == place
    assert said in line


def test_a_streamed_epoch_reads_each_block_once(beats_store, monkeypatch):
    stored, reads = StoredRows(beats_store.signal, [0]), []
    whole = stored.read(slice(None))
    read = stored.read
    monkeypatch.setattr(stored, "read", lambda rows, out: reads.extend(rows) or read(rows, out))
    source = StreamedSource(stored, block_rows=64)
    rows = np.arange(stored.n_rows)
    for start in range(0, len(rows), 50):
        np.testing.assert_array_equal(source.take(rows[start : start + 50]).numpy(), whole[start : start + 50])
    assert reads == sorted(set(reads))


def test_expected_rows_are_read_once_and_never_in_place_of_those_in_use(beats_store, monkeypatch):
    stored, reads = StoredRows(beats_store.signal, [0]), []
    read = stored.read
    monkeypatch.setattr(stored, "read", lambda rows, out: reads.append(rows.tolist()) or read(rows, out))
    source, block = StreamedSource(stored, block_rows=1), np.arange(stored.n_rows)
    windows = [block[start : start + WINDOW_BLOCKS] for start in range(0, 4 * WINDOW_BLOCKS, WINDOW_BLOCKS)]
    for now, soon in itertools.pairwise(windows):
        source.take(now)
        source.expect(soon)
        source.expect(soon + WINDOW_BLOCKS)  # for which there is no room yet
        assert (source.kept_in[np.concatenate([now, soon])] >= 0).all()
    source.take(windows[-1])
    assert reads == [window.tolist() for window in windows]


def test_reading_ahead_takes_none_of_the_models_threads(beats_store, monkeypatch):
    seen, take, before = [], RowReader.take, torch.get_num_threads()
    monkeypatch.setattr(RowReader, "take", lambda self, rows: seen.append(torch.get_num_threads()) or take(self, rows))
    data = loaders(beats_store)
    torch.set_num_threads(2)
    try:
        batches(data.train)
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("read_bytes", "most_reads"), [(1, 1.0), (2**30, 0.2)], ids=["one by one", "together"])
@pytest.mark.parametrize("placement", ["host", "streamed"])
def test_small_batches_are_read_together_and_hold_the_same(placement, read_bytes, most_reads, beats_store, monkeypatch):
    some = {"batch_size": 7, "placement": placement}
    expected, n_reads, take = batches(loaders(beats_store, **some).train), [], RowReader.take
    monkeypatch.setattr("ecgtrain.loader.READ_BYTES", read_bytes)
    monkeypatch.setattr(RowReader, "take", lambda self, rows: n_reads.append(len(rows)) or take(self, rows))
    found = batches(loaders(beats_store, **some).train)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        assert torch.equal(ours.target, theirs.target)
        assert all(torch.equal(ours.inputs[name], theirs.inputs[name]) for name in theirs.inputs)
    assert len({len(batch.rows) for batch in found}) > 1
    assert sum(n_reads) == sum(len(batch.rows) for batch in found)
    assert len(n_reads) <= most_reads * len(found)


@pytest.mark.parametrize("ahead", [1, 3, WINDOW_BLOCKS, 3 * WINDOW_BLOCKS])
def test_rows_in_order_are_read_once_however_long_before_they_are_expected(ahead, beats_store, monkeypatch):
    stored, reads = StoredRows(beats_store.signal, [0]), []
    read = stored.read
    monkeypatch.setattr(stored, "read", lambda rows, out: reads.extend(rows.tolist()) or read(rows, out))
    source, rows = StreamedSource(stored, block_rows=1), np.arange(min(stored.n_rows, 100))
    for row in rows:
        source.take(rows[row : row + 1])
        source.expect(rows[row + ahead if row else 0 : row + ahead + 1])
    assert sorted(reads) == rows.tolist()


def test_several_passes_at_once_do_not_use_each_others_memory(records_store):
    stored = StoredRows(records_store.signal, [0, 1, 2])
    source, expected = StreamedSource(stored, block_rows=2), stored.read(slice(None))

    def all_right(seed):
        generator = np.random.default_rng(seed)
        for _ in range(100):
            rows, soon = (generator.choice(len(expected), 12, replace=False) for _ in range(2))
            taken = source.take(rows).numpy()
            source.expect(soon)
            if not np.array_equal(taken, expected[rows]):
                return False
        return True

    with ThreadPoolExecutor(max_workers=4) as passes:
        assert all(passes.map(all_right, range(4)))
    assert source.take(np.zeros(0, np.int64)).shape == (0, *stored.row_shape)


def test_what_was_used_last_is_kept(beats_store):
    source = StreamedSource(StoredRows(beats_store.signal, [0]), block_rows=1)
    for row in range(1, 3 * WINDOW_BLOCKS):
        source.take(np.array([0, row]))
    assert source.kept_in[0] == 0, "read once, with the first batch, and used by all"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_streamed_rows_are_the_stored_ones_in_any_order(records_store, scheme):
    """Blocks of two rows, more than are kept, also of a store at a URL and of some of its leads."""
    store = open_store(f"{scheme}{records_store.location}")
    for array, leads in ((store.signal, [0, 1, 2]), (store.signal, [2, 0]), (store.representation("gaf"), [1])):
        source = StreamedSource(StoredRows(array, leads), block_rows=2)
        expected, generator = np.asarray(array[:])[:, leads], np.random.default_rng(0)
        for n in (1, 5, 40, len(expected), 3, 40):
            rows = generator.permutation(len(expected))[:n]
            np.testing.assert_array_equal(source.take(rows).numpy(), expected[rows])
        assert sum(len(kept.result()) for kept in source.kept.values()) <= 2 * 2 * WINDOW_BLOCKS


@pytest.fixture
def rows_that_are_chunks(tmp_path):
    """Three leads of 40 rows, each a chunk, as the store opens them, and their values."""
    values = np.random.default_rng(0).integers(0, 255, (40, 3, 4, 5), dtype=np.uint8)
    shape = {"chunks": (1, 3, 4, 5), "shards": (16, 3, 4, 5)}
    zarr.create_array(tmp_path / "array", shape=values.shape, dtype="uint8", **shape)[:] = values
    with native_codecs(2):
        return zarr.open_array(tmp_path / "array", mode="r"), values


@pytest.mark.parametrize("leads", [[0, 1, 2], [2, 0], [1]])
def test_rows_that_are_chunks_are_read_alone(leads, rows_that_are_chunks):
    array, values = rows_that_are_chunks
    source = make_source(StoredRows(array, leads), "streamed", 16, torch.device("cpu"))
    assert isinstance(source, DirectSource)
    generator = np.random.default_rng(0)
    for n in (1, 20, 40, 0, 7):
        rows = generator.permutation(len(values))[:n]
        np.testing.assert_array_equal(source.take(rows).numpy(), values[rows][:, leads])


def test_a_batch_keeps_its_memory_as_long_as_a_part_of_it_is_held(rows_that_are_chunks):
    array, values = rows_that_are_chunks
    source = DirectSource(StoredRows(array, [0, 1, 2]))
    first = source.take(np.arange(8))
    second = source.take(np.arange(8, 16))
    kept, place = first[2:3], first.data_ptr()
    del first
    third = source.take(np.arange(16, 24))
    for taken, rows in ((kept, [2]), (second, range(8, 16)), (third, range(16, 24))):
        np.testing.assert_array_equal(taken.numpy(), values[list(rows)])
    del kept
    assert source.take(np.arange(7)).data_ptr() == place, "the memory of a batch that nobody holds is filled again"


def test_threads_that_take_rows_side_by_side_share_no_memory(rows_that_are_chunks):
    array, values = rows_that_are_chunks
    source, generator = DirectSource(StoredRows(array, [0, 1, 2])), np.random.default_rng(0)
    wanted = [generator.permutation(len(values))[:9] for _ in range(60)]
    with ThreadPoolExecutor(2) as threads:
        for rows, taken in zip(wanted, threads.map(source.take, wanted), strict=True):
            np.testing.assert_array_equal(taken.numpy(), values[rows])


def test_beats_are_standardised_by_their_record(beats_store):
    data = loaders(beats_store, context=[])
    found = inputs_of(data, data.train.rows[:4])
    millivolts = beats_store.signal[:][data.train.rows[:4]] * beats_store.scale_mv
    np.testing.assert_allclose(found["signal"].numpy(), (millivolts - 0.1) / 0.3, rtol=1e-4, atol=1e-4)
    assert data.preprocessing["signal"] == {"by": "record"}


def test_records_are_standardised_by_training_rows_alone(records_store):
    data = loaders(records_store, ("signal", "gaf"))
    found = inputs_of(data, data.train.rows)
    for name, axes in (("signal", (0, 2)), ("picture", (0, 2, 3))):
        values = found[name].double()
        torch.testing.assert_close(values.mean(axes), torch.zeros(3, dtype=torch.float64), atol=1e-4, rtol=0)
        torch.testing.assert_close(values.std(axes), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)
    train_mv = records_store.signal[:][data.train.rows] * records_store.scale_mv
    np.testing.assert_allclose(data.preprocessing["signal"]["mean_mv"], train_mv.mean(axis=(0, 2)), atol=1e-9)


def test_rows_scaled_by_themselves_run_from_zero_to_one(beats_store):
    data = loaders(beats_store, standardise="row", context=[])
    signal = inputs_of(data, data.train.rows[:9])["signal"]
    assert torch.equal(signal.amin(dim=2), torch.zeros(9, 1))
    assert torch.equal(signal.amax(dim=2), torch.ones(9, 1))


def test_features_are_standardised_and_unknown_ones_flagged(beats_store):
    data = loaders(beats_store)
    values = inputs_of(data, data.train.rows)["features"].numpy()
    features, flags = np.split(values, 2, axis=1)
    assert features.shape[1] == len(FEATURES)
    assert set(np.unique(flags)) == {0.0, 1.0}
    assert (features[flags == 1] == 0).all()
    for column, flag in zip(features.T, flags.T, strict=True):
        np.testing.assert_allclose([column[flag == 0].mean(), column[flag == 0].std()], [0, 1], atol=1e-5)


def test_leads_go_by_name(records_store):
    both = loaders(records_store, ("signal", "gaf"), channels=("v5", "II"))
    assert both.leads == ("V5", "II")
    found = inputs_of(both, both.train.rows[:5])
    whole = loaders(records_store, ("signal", "gaf"))
    everything = inputs_of(whole, both.train.rows[:5])
    for name in ("signal", "picture"):
        torch.testing.assert_close(found[name], everything[name][:, [2, 0]])


def test_pictures_are_stacked_as_channels(records_store):
    data = loaders(records_store, ("gaf", "cwt"))
    assert data.shape.picture == (6, 32, 32)
    assert next(data.test.in_order()).inputs["picture"].shape[1:] == (6, 32, 32)


def test_a_leak_is_refused_unless_it_is_declared(beats_store):
    with pytest.raises(LeakError, match="undeclared"):
        loaders(beats_store, protocol="undeclared")
    assert loaders(beats_store, protocol="intrapatient").split.leaks == ("patient",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ("gfa",)}, "input of .*gaf"),
        ({"channels": ("V3",)}, "lead of .*V"),
        ({"protocol": "ptbxl-fold"}, "ptbxl-folds"),
    ],
)
def test_unknown_names_are_met_with_the_nearest(records_store, options, message):
    with pytest.raises(UnknownNameError, match=message):
        loaders(records_store, **options)


def test_what_does_not_fit_is_refused(beats_store, records_store):
    with pytest.raises(UserError, match="has folds 0 to 2; name one of them"):
        loaders(beats_store, protocol="kfold-3")
    with pytest.raises(UserError, match="no RR intervals"):
        loaders(records_store, features="rr")


def test_moments_equal_those_of_the_rows(records_store):
    stored = StoredRows(records_store.signal, [0, 2])
    rows = np.arange(3, 80, 2)
    mean, sd = moments(stored, rows, block_rows=16)
    values = HostSource(stored).take(rows).numpy().astype(np.float64)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2)))
    np.testing.assert_allclose(sd, values.std(axis=(0, 2)))


@pytest.mark.parametrize("placement", ["host", "streamed"])
def test_neighbours_stand_beside_each_beat_and_the_beat_itself_where_there_is_none(linked_store, placement):
    data = loaders(linked_store, placement=placement, context=["neighbours"])
    alone = loaders(linked_store, context=[])
    assert (data.shape.n_leads, alone.shape.n_leads) == (3, 1)
    rows = np.array([0, 1, 59, 60])  # a record has sixty beats
    before, beat, after = inputs_of(data, rows)["signal"].split(1, dim=1)
    for found, of in ((before, [0, 0, 58, 60]), (beat, rows), (after, [1, 2, 59, 61])):
        assert torch.equal(found, inputs_of(alone, np.array(of))["signal"])


def test_the_typical_beat_of_its_record_stands_beside_each_beat(linked_store):
    data, alone = loaders(linked_store), loaders(linked_store, context=[])
    assert data.shape.n_leads == 4
    second_record = np.arange(60, 120)  # a record has sixty beats
    expected = np.median(inputs_of(alone, second_record)["signal"].numpy(), axis=0)
    found = inputs_of(data, np.array([60, 119, 90]))["signal"].numpy()[:, 3:]
    np.testing.assert_allclose(found, np.stack([expected] * 3), atol=0.501e-3 / 0.3)  # to half a count


def test_records_have_no_beats_beside_them(records_store):
    assert loaders(records_store).shape.n_leads == records_store.signal.shape[1]


def test_a_changed_byte_of_the_signals_is_named(beats_store, tmp_path):
    place = Path(shutil.copytree(beats_store.location, tmp_path / "beats.zarr"))
    shard = place / "signal" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"signal.*damaged"):
        loaders(open_store(place))


def test_a_store_that_is_removed_while_it_is_streamed_is_named(records_store, tmp_path):
    """Zarr reads what is gone as fill value."""
    place = Path(shutil.copytree(records_store.location, tmp_path / "records.zarr"))
    data = loaders(open_store(place), placement="streamed")
    shutil.rmtree(place)
    with pytest.raises(DamagedStoreError, match=r"records\.zarr: was removed"):
        batches(data.train)


def test_a_file_that_is_removed_while_it_is_streamed_is_named(chunked_store, tmp_path):
    place = Path(shutil.copytree(chunked_store.location, tmp_path / "records.zarr"))
    data = loaders(open_store(place), placement="streamed")
    shutil.rmtree(place / "signal" / "c")
    with pytest.raises(DamagedStoreError, match=r"records\.zarr: signal/c/0/0/0 is gone"):
        batches(data.train)


def test_a_store_may_be_added_to_while_it_is_streamed(records_store, tmp_path):
    place = Path(shutil.copytree(records_store.location, tmp_path / "records.zarr"))
    data = loaders(open_store(place), placement="streamed")
    manifest = (place / MANIFEST_NAME).read_text()
    write_whole(place / MANIFEST_NAME, f"{'0' * 64}  rep/another/zarr.json\n{manifest}")
    assert len(batches(data.train)) == data.train.n_batches


def test_a_store_that_is_built_anew_while_it_is_streamed_is_named(records_store, tmp_path):
    place = Path(shutil.copytree(records_store.location, tmp_path / "records.zarr"))
    data = loaders(open_store(place), placement="streamed")
    manifest = (place / MANIFEST_NAME).read_text()
    shard = next(line for line in manifest.splitlines() if line.endswith("signal/c/0/0/0"))
    write_whole(place / MANIFEST_NAME, manifest.replace(shard, f"{'0' * 64}  signal/c/0/0/0"))
    with pytest.raises(DamagedStoreError, match="built anew"):
        batches(data.train)
