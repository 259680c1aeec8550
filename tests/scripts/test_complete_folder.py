"""A folder that a script cannot make is one sentence, before any work, and nothing is left of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from toys.mlp_checkpoints import make_mlp_checkpoint
from toys.odd_worlds import ID

from dsrl.run.terminal.errors import UserError
from scripts._complete_folder import complete_folder
from scripts.preflight import __main__ as preflight

NOWHERE = Path("/proc/x")  # in which not even root can make anything
SENTENCE = r"/proc/x cannot be made \(No such file or directory\); name another folder$"


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_cannot_be_made_ends_before_any_work(made: bool) -> None:
    with pytest.raises(UserError, match=SENTENCE), complete_folder(NOWHERE, made):
        pytest.fail("began")


@pytest.mark.parametrize("made", [True, False])
def test_the_folder_appears_at_the_end(made: bool, tmp_path: Path) -> None:
    out = tmp_path / "data" / "new"
    with complete_folder(out, made) as partial:
        assert (partial.is_dir(), out.exists()) == (made, False)
        partial.mkdir(exist_ok=made)
    assert list((tmp_path / "data").iterdir()) == [out]


@pytest.mark.parametrize("made", [True, False])
def test_sigterm_leaves_no_folder(made: bool, tmp_path: Path) -> None:
    def end() -> None:
        with complete_folder(tmp_path / "new", made) as partial:
            partial.mkdir(exist_ok=made)
            assert callable(signal.getsignal(signal.SIGTERM))  # or the tests would end here
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        end()
    assert ended.value.code == 143
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_preflight_makes_its_folder_before_it_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrl.run.components.final_evaluation.build_simulation", lambda *_: pytest.fail("played"))
    policy = make_mlp_checkpoint(tmp_path / "policy", "flow_mlp")
    chosen = ("task=gym", f"task.id={ID}", "policy=flow_mlp", f"policy.path={policy}", "noise=full", "num_envs=2")
    with pytest.raises(SystemExit, match=SENTENCE):
        preflight.main(["--out", str(NOWHERE), *chosen])
