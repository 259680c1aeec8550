"""CSV files of the published code, read and drawn beside our runs."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from toys.run_folders import write_run

from dsrl.interfaces import Observation
from dsrl.policy.diffusion_mlp import DiffusionMLP
from scripts.official import __main__ as run_official
from scripts.official.compare import main, table
from scripts.official.csv_files import Columns, Curve, read_curves
from scripts.official.published import ChunkWorld


def test_the_evaluations_of_a_wandb_history_are_read_without_the_rows_between_them(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "_step,train/timesteps,train/ep_rew_mean,eval/timesteps,eval/reward\n"
        "0,,,0,1400.5\n1,4000,1500.0,,\n2,8000,1600.0,NaN,NaN\n3,,,64000,2100.25\n"
    )
    assert read_curves(path, chunk=4) == [Curve((0.0, 64000.0), (1400.5, 2100.25))]


def test_an_exported_chart_gives_one_curve_per_run(tmp_path: Path) -> None:
    path = tmp_path / "wandb_export.csv"
    path.write_text(
        '"eval/timesteps","hopper_1 - eval/reward","hopper_1 - eval/reward__MIN","hopper_2 - eval/reward"\n'
        '"0","1400","1400",""\n"16","1500","1500",""\n"0","","","1300"\n'
    )
    assert read_curves(path, chunk=4) == [Curve((0.0, 16.0), (1400.0, 1500.0)), Curve((0.0,), (1300.0,))]


def test_progress_of_stable_baselines3_counts_chunks(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_text("rollout/ep_rew_mean,time/total_timesteps\n,100\n1450,1000\n1700,500\n")
    assert read_curves(path, chunk=4) == [Curve((2000.0, 4000.0), (1700.0, 1450.0))]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "any.csv"
    path.write_text("frames,score\n1,5\n2,6\n")
    assert read_curves(path, chunk=4, columns=Columns("frames", "score", 1000.0)) == [Curve((1000.0, 2000.0), (5, 6))]


def test_a_file_without_a_curve_is_one_sentence_that_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("step,loss\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv has no numbers in eval/timesteps with .* step, loss; name them"):
        read_curves(path, chunk=4)


def test_the_table_interpolates_curves_and_never_extrapolates() -> None:
    curves = {"ours": [Curve((0.0, 100.0), (0.0, 10.0)), Curve((0.0, 200.0), (10.0, 10.0))], "theirs": []}
    assert table(curves, [50.0, 150.0, 300.0]) == [
        "| control steps | ours (2) | theirs (0) |",
        "|---|---|---|",
        "| 50 | 8 (5 … 10) |  |",
        "| 150 | 10 |  |",
        "| 300 |  |  |",
    ]


def test_ours_and_the_official_curves_are_drawn_in_one_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        write_run(
            tmp_path / "runs" / str(seed),
            task="hopper",
            sac="dsrl_na",
            seed=seed,
            success=None,
            steered=2.0 + 2 * seed,
            base=None,
            curve=[10.0, 20.0 + 2 * seed],
        )
    played = {"results": {"base": {"returns": [4.0, 8.0]}}}
    (tmp_path / "runs" / "1" / "base.json").write_text(json.dumps(played))
    (tmp_path / "official.csv").write_text("eval/timesteps,eval/reward,of_the_mean\n0,1,2\n2000,30,40\n")
    out, csv = tmp_path / "curves.png", f"{tmp_path}/*.csv"
    official = [f"--official=drawn={csv}", f"--official=mean={csv}#of_the_mean"]
    main([f"--ours=ours={tmp_path}/runs", *official, f"--out={out}", "--marks", "2000"])
    assert out.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "| 2,000 | 21 (20 … 22) | 30 | 40 |" in printed
    assert "base policy, unsteered: 6 ± 4 in 2 test worlds" in printed
    assert "ours: 3 (2 … 4) on the test worlds after training; seeds 2, 4" in printed


def test_a_pattern_without_files_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: --official .*none\.csv matches no file; type"):
        main(["--official", str(tmp_path / "none.csv")])


def test_without_the_published_code_its_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: --fork .* does not contain the published DSRL .*ajwagen/stable-"):
        run_official.main(["--fork", str(tmp_path), "--out", str(tmp_path / "curve.csv")])


def test_a_world_of_the_published_code_plays_every_chunk_to_its_end_and_counts_the_clock_as_an_end() -> None:
    policy = DiffusionMLP("hopper/diffusion_mlp", "cpu")
    world = ChunkWorld("Hopper-v5", policy, max_steps=8)
    alone = gymnasium.make("Hopper-v5")
    seen, _ = world.reset(seed=3)
    state, _ = alone.reset(seed=3)
    chunk = np.full((4, 3), 0.1, np.float32)
    for over in (False, True):
        played = [alone.step(action) for action in chunk]
        after, reward, terminated, truncated, _ = world.step(chunk.ravel())
        assert reward == pytest.approx(sum(float(step[1]) for step in played))
        assert (terminated, truncated) == (over, False)
    expected = policy.encode(Observation(torch.tensor(played[-1][0], dtype=torch.float32)[None], {}, ("",)))
    assert after == pytest.approx(expected.features[0].numpy())
    assert seen == pytest.approx(policy.encode(Observation(torch.tensor(state)[None].float(), {}, ("",))).features[0])


@pytest.mark.parametrize("content", ["", "\x00", "a,b", "eval/timesteps,eval/reward\nx,y\n", '{"results": 1}'])
def test_a_file_without_numbers_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(SystemExit, match=r"^error: .*bad\.csv (has no numbers|is no readable CSV)"):
        main(["--official", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "curve.png")])


def test_a_damaged_base_json_is_one_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", curve=[0.1, 0.2])
    (run / "base.json").write_text('{"results": []}')
    with pytest.raises(SystemExit, match=r"^error: .*base\.json is damaged"):
        main(["--ours", str(tmp_path), "--out", str(tmp_path / "curve.png")])
