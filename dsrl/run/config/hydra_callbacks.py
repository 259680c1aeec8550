"""Hydra callbacks that check a sweep before anything is submitted or written to its folder, and then lock the folder.

Hydra calls them before it builds the sweeper, and only logs their exceptions: each ends the program with one sentence.
Those of conf/hydra/after_checks come last, when all checks have passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

from annotated_types import Ge
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dsrl.run.config import signatures
from dsrl.run.config.description import OF_NO_RESULT
from dsrl.run.config.named_files import digests
from dsrl.run.config.study import check_fixed, num_trials
from dsrl.run.config.swept_values import check_swept
from dsrl.run.config.typed_keys import check_config, check_once, searched_keys, typed_keys, without_effect
from dsrl.run.saved.folder_checks import check_entries, check_hard_links
from dsrl.run.saved.lock import locked
from dsrl.run.terminal import choices, ranges
from dsrl.run.terminal.errors import UserError, sentence, user_errors

HPARAMS: Mapping[str, Any] = {
    "study": str,
    "n_trials": Annotated[int, Ge(1)],
    "n_jobs": Annotated[int, Ge(1)],
    "n_startup_trials": Annotated[int, Ge(0)],
    "seed": Annotated[int, Ge(0)] | None,
}

OF_NO_VALIDATION = (*OF_NO_RESULT, "eval_episodes", "test_seed")
"""Groups and keys that change no score by which a search chooses: it never sees the final evaluation."""

NAMING_FILES = {"policy.path": "policy", "offline_data": "offline_data"}  # key -> what its files are called

LOCK = ".sweep.lock"  # not that of a run, whose folder a sweep of one run may name: hydra.sweep.subdir=.
WRITTEN_INTO = ("multirun.yaml", "study.db", "study.db-journal", "study.db-wal", "study.db-shm", LOCK)


class OutputSubdir(Callback):
    """Refuses a folder of Hydra's own in that of a run, which the run would take for something else."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the key before Hydra writes there."""
        found = config.hydra.output_subdir
        with _exiting():
            if found is not None:
                raise ValueError(
                    f"hydra.output_subdir={found} must be null, because a run writes .hydra itself; leave it out"
                )

    on_multirun_start = on_run_start


class SweepFolder(Callback):
    """Refuses a sweep's folder that leads elsewhere: Hydra and Optuna write through links."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the folder where it exists."""
        sweep = Path(str(config.hydra.sweep.dir))
        with _exiting():
            if sweep.exists() and not sweep.is_dir():
                raise ValueError(f"hydra.sweep.dir={sweep} is a file; name a folder")
            check_entries(sweep)
            check_hard_links(sweep, WRITTEN_INTO)
            if (sweep / "multirun.yaml").is_dir():
                raise ValueError(f"{sweep / 'multirun.yaml'} is a folder where a sweep has a file; remove it")


class TypedWords(Callback):
    """Checks what was typed for a sweep: the sweeper takes the later of two choices, and jobs see that one alone."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse two choices of one group, and values that no run can take."""
        with _exiting():
            check_once(config.hydra.overrides.task)
            check_swept(config, config.hydra.overrides.task, search="study_name" in config.hydra.sweeper)


class SharedValues(Callback):
    """Checks the values of a sweep over seeds alone, whose jobs all share them: one sentence in place of one a job."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check them, unless values that could mend them, or break them, are swept too."""
        with _exiting():
            searched = searched_keys(config.hydra)
            if {*searched, *_typed_ranges(config)} <= {"seed"}:
                typed = typed_keys(config.hydra.overrides.task)
                _check_shared(config, {key: text for key, text in typed.items() if key not in searched})


class ClusterOptions(Callback):
    """Checks the options of a cluster before anything is submitted: jobs check all others when they start."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the values with the types and ranges that the launcher declares."""
        cluster: Any = OmegaConf.to_container(config.cluster, resolve=True)
        with _exiting():
            target = cluster["_target_"]
            for name, option in signatures.options(target).items():
                if option.required and name not in cluster:
                    raise ValueError(f"cluster.{name} is missing and {target} needs it; type +cluster.{name}=…")
                if name in cluster:
                    ranges.check(f"cluster.{name}", cluster[name], option.type())


class SearchOptions(Callback):
    """Checks a search."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the options and all values that no trial changes, and leave out ranges without effect."""
        with _exiting():
            for name, declared in HPARAMS.items():
                ranges.check(f"hparams.{name}", config.hparams[name], declared)
            _check_search(config)


class SweepLock(Callback):
    """Locks a sweep's folder for the process that starts its runs; those of other processes lock folders of their own.

    A kill unlocks it, and so does the end of a process that leaves jobs to SLURM.
    """

    def __init__(self) -> None:
        self._file: TextIO | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for jobs, which get all callbacks with the launcher: without the lock."""
        return {"_file": None}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create the folder where it does not exist, and lock it."""
        sweep = Path(str(config.hydra.sweep.dir))
        with _exiting():
            try:
                sweep.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(f"hydra.sweep.dir={sweep} cannot be used ({error.strerror})") from error
            self._file = locked(sweep / LOCK, "hydra.sweep.dir")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Unlock the folder."""
        if self._file is not None:
            self._file.close()


class ContinuedStudy(Callback):
    """Lets a search that is typed again draw other values, and those alone, than its trials; comes after the lock."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare what all trials share, add their number to the seed, and end those that a killed search has left."""
        sweeper = config.hydra.sweeper
        storage = sweeper.get("storage")
        if not isinstance(storage, str):  # no search, or one in memory
            return
        own = storage == f"sqlite:///{config.hydra.sweep.dir}/study.db"  # which the lock guards
        with _exiting():
            direction = sweeper.get("direction", "maximize")
            directions = [direction] if not OmegaConf.is_list(direction) else direction
            named = [str(getattr(one, "name", one)) for one in directions]
            works = f"hparams.study={OmegaConf.select(config, 'hparams.study', default='search')}2"
            check_fixed(storage, sweeper.study_name, named, _fixed_values(config), works)
            trials = num_trials(storage, sweeper.study_name, end_running=own)
        if sweeper.sampler.get("seed") is not None:
            with read_write(config):
                sweeper.sampler.seed += trials


@contextmanager
def _exiting() -> Iterator[None]:
    """End the program with the sentence of a check, without the control characters of a foreign folder's names."""
    try:
        with user_errors():
            yield
    except UserError as error:
        raise SystemExit(f"error: {sentence(error)}") from None


def _check_search(config: DictConfig) -> None:
    """Check what all trials share, and remove ranges of files that have no effect with it.

    Raises UserError or ValueError for values that cannot work, whatever a trial draws.
    """
    typed = typed_keys(config.hydra.overrides.task)
    _check_searched(config, typed)
    shared = _check_shared(config, typed)
    params = config.hydra.sweeper.get("params") or {}
    for key in [key for key in params if key not in typed]:
        found = without_effect(shared, str(key))
        if found is not None and found.partition("=")[0] not in params and _is_value(config, found):
            print(f"{key} is not searched: it has no effect with {found}", flush=True)
            with read_write(config), open_dict(config):
                del params[key]


def _check_shared(config: DictConfig, typed: Mapping[str, str]) -> DictConfig:
    """Check a config without Hydra's own part, which it returns. Raises UserError or ValueError."""
    shared = config.copy()
    with open_dict(shared):
        del shared["hydra"]
        shared.logging = {}  # loggers write to the folder of a job, which is not known yet
    check_config(shared, typed, config.hydra)
    return shared


def _check_searched(config: DictConfig, typed: Mapping[str, str]) -> None:
    """Raise ValueError where trials would draw a seed, of which the luckiest would win, or the choice of a group.

    Choices have ranges and options of their own, which are fixed before the first trial.
    """
    params: Mapping[str, Any] = config.hydra.sweeper.get("params") or {}
    files = [key for key in map(str, params) if key not in typed]
    for key in (*files, *(key for key in typed if not _is_value(config, key))):
        text = typed.get(key, f"{key}={params.get(key)}")
        if key.rpartition(".")[2].rpartition("_")[2] == "seed":
            raise ValueError(
                f"{text} is not for hparams=optuna, which would search for the lucky one; type {key} with one value, "
                f"and afterwards run what the search has found without hparams and with several"
            )
        group = key.partition("@")[0]
        if group in choices.groups():
            raise ValueError(
                f"{text} is not for hparams=optuna, because every {group} has options of its own; "
                f"type one {group}, and run a search for each"
            )


def _fixed_values(config: DictConfig) -> dict[str, Any]:
    """Return the values of all trials by key, of a group its choice and its own keys, as they were typed: ${…} stays.

    Left out are those that a trial draws, and those by which no validation changes. Added are digests of the files that
    policy.path and offline_data name: one path may have other weights later. Raises ValueError.
    """
    chosen = config.hydra.runtime.choices
    searched = {*searched_keys(config.hydra), *_typed_ranges(config)}
    plain: Any = OmegaConf.to_container(config, resolve=False)
    found: dict[str, Any] = {}
    for key in plain.keys() - {"hydra", *OF_NO_VALIDATION}:
        own = plain[key] if isinstance(plain[key], dict) else {}
        found[key] = chosen.get(key) if own else plain[key]
        found |= {f"{key}.{name}": value for name, value in own.items() if name not in ("_target_", "_partial_")}
    found.pop("policy.device", None)
    named = {name: OmegaConf.select(config, key) for key, name in NAMING_FILES.items() if key not in searched}
    return {**{key: found[key] for key in sorted(found) if key not in searched}, **digests(named)}


def _is_value(config: DictConfig, found: str) -> bool:
    """Return whether other=value is the value of all trials, and no range was typed for it."""
    return found.partition("=")[0] not in _typed_ranges(config)


def _typed_ranges(config: DictConfig) -> set[str]:
    """Return the keys for which several values or a range were typed."""
    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    return {one.key_or_group for one in parsed if one.is_sweep_override()}
