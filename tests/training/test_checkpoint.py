"""A checkpoint is whole or passed over."""

import torch

from volunet.training.checkpoint import (
    can_go_on,
    find_checkpoints,
    load_newest,
    save_checkpoint,
)

CPU = torch.device("cpu")


def test_what_is_saved_is_loaded(tmp_path):
    state = {"step": 3, "weights": {"w": torch.arange(4.0)}, "rng": {"state": 2**100}}
    save_checkpoint(tmp_path / "new", 3, state)
    loaded = load_newest(tmp_path / "new", CPU)
    assert loaded["step"] == 3
    assert loaded["rng"] == state["rng"]
    assert torch.equal(loaded["weights"]["w"], state["weights"]["w"])


def test_the_two_newest_are_kept(tmp_path):
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, {"step": step})
    assert [p.name[5:14] for p in find_checkpoints(tmp_path)] == ["000000030", "000000002"]


def test_one_of_the_same_step_takes_the_place_of_the_first(tmp_path):
    for step, score in ((1, None), (2, None), (2, 0.5)):
        save_checkpoint(tmp_path, step, {"step": step, "score": score})
    assert [p.name[5:14] for p in find_checkpoints(tmp_path)] == ["000000002", "000000001"]
    assert load_newest(tmp_path, CPU)["score"] == 0.5


def test_a_checkpoint_that_another_process_removes_meanwhile_is_none(tmp_path):
    gone = tmp_path / f"step_000000009_{'0' * 32}.pt"
    gone.symlink_to(tmp_path / "nowhere")
    assert find_checkpoints(tmp_path) == [gone]
    assert not can_go_on(tmp_path)
    save_checkpoint(tmp_path / "other", 1, {"step": 1})
    assert can_go_on(tmp_path / "other")


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog):
    save_checkpoint(tmp_path, 1, {"step": 1})
    newest = save_checkpoint(tmp_path, 2, {"step": 2})
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content))
    assert load_newest(tmp_path, CPU) == {"step": 1}
    assert "damaged" in caplog.text
    newest.write_bytes(bytes(content[:20]))
    assert load_newest(tmp_path, CPU) == {"step": 1}


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert load_newest(tmp_path / "nowhere", CPU) is None
