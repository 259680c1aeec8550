"""Launches runs as jobs of SLURM (cluster=slurm) or of this machine (cluster=local), or one after the other.

launch: copy the code -> compose all configs -> submit -> wait, report -> JobReturns        (submitting terminal)
a job:  launcher and its composed config, unpickled with the copied code -> run_job         (compute node)

Hydra imports this file at every start and finds launchers by its name: what is slow is imported by `launch`.
"""

from __future__ import annotations

import copy
import signal
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import DictConfig, open_dict

from dsrl.run.terminal.installed import typed_option
from hydra_plugins.dsrl_launcher._stretches import Stretches

if TYPE_CHECKING:
    from hydra_plugins.dsrl_launcher._outcome import Outcome, Run
    from hydra_plugins.dsrl_launcher._watch import Job, Queue


class SequentialLauncher(BasicLauncher):
    """Runs the jobs of a multirun one after the other in this process."""

    _ended: Sequence[Outcome] = ()  # of all launches: a search has several

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one job per list of overrides; prints the failed ones and the table of all, returns Hydra's results."""
        from hydra_plugins.dsrl_launcher import _report as report
        from hydra_plugins.dsrl_launcher._outcome import in_process

        assert self.config is not None
        sweep = Path(str(self.config.hydra.sweep.dir))  # now: jobs cut hydra's part of the config off from the rest
        searched, total = report.searched_keys(self.config.hydra), self.config.hydra.sweeper.get("n_trials")
        returns = super().launch(job_overrides, initial_job_idx)
        outcomes = [in_process(initial_job_idx + i, done, sweep) for i, done in enumerate(returns)]
        for outcome in outcomes:
            if outcome.problem is not None:
                print(report.failure_block(outcome, report.width()), flush=True)
        self._ended = [*self._ended, *outcomes]
        print(report.table(report.due(outcomes, self._ended, total), sweep, report.width(), searched), flush=True)
        return returns


class JobLauncher(BaseSubmititLauncher):  # type: ignore[misc]
    """Submits runs as jobs with a copy of the code: the part that both clusters share."""

    config: DictConfig
    hydra_context: HydraContext
    _at_once: int  # jobs that may be started before one has finished

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Path | None = None
        self._ended: Sequence[Outcome] = ()  # of all launches: a search has several

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a job, which needs no results of others."""
        return {**self.__dict__, "_ended": ()}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit one job per list of overrides and wait; returns the results of all, failed ones included."""
        from hydra_plugins.dsrl_launcher import _report as report
        from hydra_plugins.dsrl_launcher._private_files import make_private_folder
        from hydra_plugins.dsrl_launcher._watch import watch

        sweep = Path(str(self.config.hydra.sweep.dir))
        private = make_private_folder(sweep)
        snapshot = self._copy_code(sweep)
        count = f"{len(job_overrides)} jobs" if len(job_overrides) > 1 else "1 job"
        report.say(f"submitting {count}, logs in {report.whole(report.shown(private))}")
        calls = [self._arguments(initial_job_idx + i, overrides) for i, overrides in enumerate(job_overrides)]
        jobs, queue = self._submit(calls, folder=private, snapshot=snapshot)

        def on_outcome(outcome: Outcome) -> None:
            if outcome.problem is None:
                report.say(f"job {outcome.run.number} done: {report.whole(outcome.run.folder)}")
            else:
                print(report.failure_block(outcome, report.width()), flush=True)

        try:
            outcomes = watch(jobs, queue, self._at_once, on_outcome, report.say)
        except KeyboardInterrupt:
            self._interrupt(queue, report.whole(typed_option("hydra.sweep.dir", sweep)))
            raise SystemExit(128 + signal.SIGINT) from None
        self._ended = [*self._ended, *outcomes]
        rows = report.due(outcomes, self._ended, self.config.hydra.sweeper.get("n_trials"))
        print(report.table(rows, sweep, report.width(), report.searched_keys(self.config.hydra)), flush=True)
        return [_job_return(outcome, outcomes) for outcome in outcomes]

    def __call__(self, number: int, config: DictConfig, singletons: dict[type, Singleton]) -> JobReturn:
        """Run the task function inside the job; raises its exceptions again, so that the job fails."""
        import submitit

        Singleton.set_state(singletons)
        setup_globals()
        config = copy.deepcopy(config)  # submitit submits the original again when the job is preempted
        with open_dict(config.hydra.job):
            config.hydra.job.id = submitit.JobEnvironment().job_id
        self._handle_signals()
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        done.return_value  # noqa: B018  raises the run's exception
        return done

    def _copy_code(self, sweep: Path) -> Path:
        """Copy code and configs, once for all batches of a sweeper, and compose configs from the copy."""
        from hydra_plugins.dsrl_launcher._code_snapshot import loader_on, make_snapshot

        if self._snapshot is None:
            self._snapshot = make_snapshot(sweep)
            loader = loader_on(self._snapshot, self.hydra_context.config_loader)
            self.hydra_context = HydraContext(config_loader=loader, callbacks=self.hydra_context.callbacks)
        return self._snapshot

    def _arguments(self, number: int, overrides: Sequence[str]) -> tuple[int, DictConfig, dict[type, Singleton]]:
        """Return the arguments of `__call__` for one job."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config.hydra.job):
            config.hydra.job.num, config.hydra.job.id = number, f"job_id_for_{number}"
        return number, config, Singleton.get_state()

    @abstractmethod
    def _submit(self, calls: Sequence[tuple[Any, ...]], folder: Path, snapshot: Path) -> tuple[list[Job], Queue]:
        """Submit, or prepare, one job for each tuple of arguments; submitit's files go to `folder`, which exists."""

    def _handle_signals(self) -> None:
        """Install signal handlers inside the job."""

    @abstractmethod
    def _interrupt(self, queue: Any, sweep_dir: str) -> None:
        """Print a sentence about the jobs after Ctrl-C; `sweep_dir` is the override that continues the sweep."""


class SlurmLauncher(JobLauncher):
    """Submits a sweep as an array of SLURM jobs; conf/cluster/slurm.yaml explains the arguments."""

    def __init__(
        self,
        partition: str | None,
        account: str | None,
        qos: str | None,
        gpus: Annotated[int, Ge(0), Le(1024)] | None,
        cpus: Annotated[int, Ge(1), Le(4096)],
        memory: Annotated[float, Gt(0), Le(1_000_000)] | None,
        hours: Annotated[float, Gt(0), Le(100_000)],
        timeouts: Annotated[int, Ge(0), Le(1_000_000)],
        signal_delay: Annotated[int, Ge(1), Le(65535)],
        parallel: Annotated[int, Ge(1), Le(100_000)],
        setup: Sequence[str],
        more: Mapping[str, Any],
    ) -> None:
        """Check the signal against the time limit; `dsrl.run.config.hydra_callbacks` checks types and ranges."""
        super().__init__()
        self._timeouts, self._stretches = timeouts, Stretches(hours, signal_delay)
        parameters = {
            "timeout_min": max(1, round(60 * hours)),
            "cpus_per_task": cpus,
            "gpus_per_node": gpus or None,
            "mem_gb": memory,
            "slurm_partition": partition,
            "slurm_account": account,
            "slurm_qos": qos,
            "slurm_signal_delay_s": signal_delay,
            "slurm_array_parallelism": parallel,
            "slurm_setup": list(setup) or None,
            "slurm_additional_parameters": dict(more) or None,
            "slurm_srun_args": ["--cpus-per-task", str(cpus)],  # since SLURM 22.05 a step does not inherit it
        }
        self._parameters = {name: value for name, value in parameters.items() if value is not None}
        self._at_once = 2**31  # SLURM itself limits the array

    def _submit(self, calls: Sequence[tuple[Any, ...]], folder: Path, snapshot: Path) -> tuple[list[Job], Queue]:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from hydra_plugins.dsrl_launcher import _report, _slurm
        from hydra_plugins.dsrl_launcher._code_snapshot import python_on
        from hydra_plugins.dsrl_launcher._watch import Job

        init = {"slurm_python": python_on(snapshot), "slurm_max_num_timeout": self._timeouts}
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster="slurm", **init)
            executor.update_parameters(name=self.config.hydra.job.name, **self._parameters)
            handles = executor.map_array(self, *zip(*calls, strict=True))
        except (RuntimeError, FailedJobError, FailedSubmissionError) as error:
            raise _user_error(f"SLURM refused the jobs: {str(error).strip().splitlines()[-1]}") from error
        self._array = handles[0].job_id.partition("_")[0]
        _report.say(f"SLURM job {self._array}: squeue --jobs={self._array} lists it, scancel {self._array} cancels it")
        jobs = [Job(_run(*call[:2]), partial(_same, handle)) for call, handle in zip(calls, handles, strict=True)]
        return jobs, _slurm.Queue()

    def checkpoint(self, number: int, config: DictConfig, *arguments: Any) -> Any:
        """Return the next stretch of a job, for submitit. Raises UserError where none would bring progress."""
        self._stretches.end(_run(number, config).folder)
        return super().checkpoint(number, config, *arguments)

    def _handle_signals(self) -> None:
        """Requeue the job at SIGTERM, which submitit ignores, unless it is being cancelled."""
        import submitit

        from hydra_plugins.dsrl_launcher._slurm import states

        self._stretches.begin()
        requeue, job_id = signal.getsignal(signal.SIGUSR2), submitit.JobEnvironment().job_id

        def on_term(number: int, frame: FrameType | None) -> None:
            state, _ = (states([job_id]) or {}).get(job_id, ("UNKNOWN", ""))
            if state == "RUNNING" and callable(requeue):
                requeue(number, frame)
            raise SystemExit(128 + number)

        signal.signal(signal.SIGTERM, on_term)

    def _interrupt(self, queue: Any, sweep_dir: str) -> None:
        from hydra_plugins.dsrl_launcher import _report as report

        array = self._array
        report.say(f"the jobs go on in SLURM: squeue --jobs={array} lists them, scancel {array} cancels them")


class LocalLauncher(JobLauncher):
    """Starts a process of this machine for each run; conf/cluster/local.yaml explains the arguments."""

    def __init__(self, parallel: Annotated[int, Ge(1), Le(10_000)], gpus: Annotated[int, Ge(0), Le(1024)]) -> None:
        """Start nothing yet; `dsrl.run.config.hydra_callbacks` has checked types and ranges."""
        super().__init__()
        self._gpus, self._at_once = gpus, parallel

    def _submit(self, calls: Sequence[tuple[Any, ...]], folder: Path, snapshot: Path) -> tuple[list[Job], Queue]:
        from hydra_plugins.dsrl_launcher import _processes
        from hydra_plugins.dsrl_launcher._code_snapshot import python_on
        from hydra_plugins.dsrl_launcher._watch import Job

        _processes.check_none_left([_run(*call[:2]) for call in calls])
        _processes.restore_interrupts()
        queue, submit = _processes.Queue(), partial(_processes.submit, python_on(snapshot), self._gpus)
        starts = [partial(queue.start, partial(submit, folder / str(call[0]), self, *call)) for call in calls]
        return [Job(_run(*call[:2]), start) for call, start in zip(calls, starts, strict=True)], queue

    def _handle_signals(self) -> None:
        from hydra_plugins.dsrl_launcher._processes import exit_at_signals

        exit_at_signals()

    def _interrupt(self, queue: Any, sweep_dir: str) -> None:
        queue.stop(sweep_dir, search="n_trials" in self.config.hydra.sweeper)


def _run(number: int, config: DictConfig) -> Run:
    from hydra_plugins.dsrl_launcher._outcome import Run

    hydra = config.hydra
    folder = Path(str(hydra.sweep.dir)) / str(hydra.sweep.subdir)
    return Run(number, tuple(filter_overrides(list(hydra.overrides.task))), folder)


def _job_return(outcome: Outcome, outcomes: Sequence[Outcome]) -> JobReturn:
    """Return the result that Hydra's sweepers expect; its `return_value` raises where the job failed."""
    if outcome.problem is None:
        assert isinstance(outcome.value, JobReturn)
        return outcome.value
    failed = [one for one in outcomes if one.problem is not None]
    numbers = ", ".join(str(one.run.number) for one in failed)
    done = JobReturn(overrides=list(outcome.run.overrides), status=JobStatus.FAILED)
    done.return_value = _user_error(
        f"{len(failed)} of {len(outcomes)} jobs failed ({numbers}); the log of the first is {failed[0].log}"
    )
    return done


def _same(handle: Any) -> Any:
    return handle


def _user_error(sentence: str) -> Exception:
    from dsrl.run.terminal.errors import UserError

    return UserError(sentence)
