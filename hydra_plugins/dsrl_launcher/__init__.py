"""cluster=slurm and cluster=local: runs as submitit jobs, frozen as they were when they were submitted.

launch: copy the code -> compose all configs -> submit -> wait, report -> JobReturns        (submitting terminal)
a job:  launcher and its composed config, unpickled with the copied code -> run_job         (compute node)
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from hydra_plugins.dsrl_launcher._watch import Ended, Job


class FrozenLauncher(BaseSubmititLauncher):  # type: ignore[misc]
    """What both clusters share; submitit keeps logs and results in `.submitit/` of the sweep's folder."""

    config: DictConfig
    hydra_context: HydraContext
    _at_once: int  # jobs that may be started before one has ended

    def __init__(self, parallel: int) -> None:
        """`parallel` jobs may run at a time."""
        super().__init__()
        if parallel < 1:
            raise _user_error(f"cluster.parallel={parallel} lets no job run; type a number of at least 1")
        self._snapshot: Path | None = None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit one job per list of overrides, wait, and return how they ended, failed ones among them."""
        from hydra_plugins.dsrl_launcher import _report as report
        from hydra_plugins.dsrl_launcher import _watch as watch

        sweep = Path(str(self.config.hydra.sweep.dir))
        if self._snapshot is None:  # a sweeper that submits in batches keeps the code that it began with
            self._freeze(sweep)
        print(f"submitting {len(job_overrides)} jobs from {self._snapshot}", flush=True)
        calls = [self._call(initial_job_idx + i, overrides) for i, overrides in enumerate(job_overrides)]
        jobs, queue = self._submit(sweep, calls)

        def on_end(ended: Ended) -> None:
            told = f"job {ended.job.number} ended: {ended.job.folder}"
            print(told if ended.problem is None else report.failure_block(ended), flush=True)

        try:
            all_ended = watch.watch(jobs, queue, self._at_once, on_end, lambda text: print(text, flush=True))
        except KeyboardInterrupt:
            print(self._farewell(), flush=True)
            raise
        print(report.table(all_ended), flush=True)
        return [_job_return(ended, all_ended) for ended in all_ended]

    def __call__(self, number: int, config: DictConfig, singletons: dict[type, Singleton]) -> JobReturn:
        """In the job: run the task function; whatever it raises is raised again, so that the job fails."""
        import submitit

        Singleton.set_state(singletons)
        setup_globals()
        config = copy.deepcopy(config)  # submitit submits the original again when the job is preempted
        with open_dict(config.hydra.job):
            config.hydra.job.id = submitit.JobEnvironment().job_id
        self._listen()
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        done.return_value  # noqa: B018  raises what the run raised
        return done

    def _freeze(self, sweep: Path) -> None:
        """Copy code and configs, and read configs from the copy from now on."""
        from hydra_plugins.dsrl_launcher._code_snapshot import freeze

        self._snapshot = freeze(sweep)
        self.hydra_context = HydraContext(
            config_loader=_loader_on(self.hydra_context.config_loader, self._snapshot / "conf"),
            callbacks=self.hydra_context.callbacks,
        )

    def _call(self, number: int, overrides: Sequence[str]) -> tuple[int, DictConfig, dict[type, Singleton]]:
        """The arguments of `__call__` for one job."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config.hydra.job):
            config.hydra.job.num, config.hydra.job.id = number, f"job_id_for_{number}"
        return number, config, Singleton.get_state()

    def _executor(self, cluster: str, sweep: Path, **init: Any) -> Any:
        import submitit

        from hydra_plugins.dsrl_launcher._code_snapshot import python_on

        assert self._snapshot is not None
        init = {f"{cluster}_python": python_on(self._snapshot), **init}
        return submitit.AutoExecutor(folder=sweep / ".submitit" / "%j", cluster=cluster, **init)


class SlurmLauncher(FrozenLauncher):
    """One SLURM job per run; a sweep is one array. conf/cluster/slurm.yaml says what the arguments mean."""

    def __init__(
        self,
        partition: str | None,
        account: str | None,
        qos: str | None,
        gpus: int | None,
        cpus: int,
        memory: float | None,
        hours: float,
        timeouts: int,
        signal_delay: int,
        parallel: int,
        setup: Sequence[str],
        more: dict[str, Any],
    ) -> None:
        """Nothing is asked of SLURM before `launch`."""
        super().__init__(parallel)
        if signal_delay >= 3600 * hours:
            raise _user_error(
                f"cluster.signal_delay={signal_delay} s leaves nothing of cluster.hours={hours}; type a smaller one"
            )
        self._init = {"slurm_max_num_timeout": timeouts}
        asked = {
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
        self._asked = {name: value for name, value in asked.items() if value is not None}
        self._at_once = 2**31  # SLURM itself holds the others back

    def _submit(self, sweep: Path, calls: Sequence[tuple[Any, ...]]) -> tuple[list[Job], Any]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from hydra_plugins.dsrl_launcher._slurm import Queue

        try:
            executor = self._executor("slurm", sweep, **self._init)
            executor.update_parameters(name=self.config.hydra.job.name, **self._asked)
            handles = executor.map_array(self, *zip(*calls, strict=True))
        except (RuntimeError, FailedJobError, FailedSubmissionError) as error:
            raise _user_error(f"SLURM took no job: {str(error).strip().splitlines()[-1]}") from error
        self._ids = [handle.job_id for handle in handles]
        print(f"SLURM job {self._ids[0].partition('_')[0]}, logs in {sweep / '.submitit'}", flush=True)
        jobs = [_job(sweep, call, partial(_same, handle)) for call, handle in zip(calls, handles, strict=True)]
        return jobs, Queue()

    def _listen(self) -> None:
        """SIGTERM: submitit only notes it, but a job that is not being cancelled is to be queued again."""
        import submitit

        from hydra_plugins.dsrl_launcher._slurm import states

        requeue, job_id = signal.getsignal(signal.SIGUSR2), submitit.JobEnvironment().job_id

        def on_term(number: int, frame: FrameType | None) -> None:
            state, _ = (states([job_id]) or {}).get(job_id, ("UNKNOWN", ""))
            if state == "RUNNING" and callable(requeue):
                requeue(number, frame)
            raise SystemExit(128 + number)

        signal.signal(signal.SIGTERM, on_term)

    def _farewell(self) -> str:
        base = self._ids[0].partition("_")[0]
        return f"the jobs stay with SLURM: squeue --jobs={base} shows them, scancel {base} ends them"


class LocalLauncher(FrozenLauncher):
    """Processes of this machine. conf/cluster/local.yaml says what the arguments mean."""

    def __init__(self, parallel: int, gpus: int) -> None:
        """Nothing starts before `launch`."""
        super().__init__(parallel)
        self._gpus, self._at_once = gpus, parallel

    def _submit(self, sweep: Path, calls: Sequence[tuple[Any, ...]]) -> tuple[list[Job], Any]:
        from hydra_plugins.dsrl_launcher._processes import Queue

        executor = self._executor("local", sweep)
        executor.update_parameters(timeout_min=60 * 24 * 365, gpus_per_node=self._gpus)
        queue = Queue()

        def start(call: tuple[Any, ...]) -> Any:
            return queue.add(executor.submit(self, *call))

        return [_job(sweep, call, partial(start, call)) for call in calls], queue

    def _listen(self) -> None:
        pass

    def _farewell(self) -> str:
        return "the jobs end with this process; the same command with hydra.sweep.dir=… goes on with them"


def _job(sweep: Path, call: tuple[Any, ...], start: Callable[[], Any]) -> Job:
    from hydra_plugins.dsrl_launcher._watch import Job

    number, config, _ = call
    overrides = tuple(filter_overrides(list(config.hydra.overrides.task)))
    return Job(number, overrides, sweep / str(config.hydra.sweep.subdir), start)


def _job_return(ended: Ended, all_ended: Sequence[Ended]) -> JobReturn:
    """What Hydra's sweepers take; where the job failed, one that raises."""
    if ended.problem is None:
        assert isinstance(ended.value, JobReturn)
        return ended.value
    failed = [str(one.job.number) for one in all_ended if one.problem is not None]
    numbers = f"{len(failed)} of {len(all_ended)} jobs failed ({', '.join(failed)})"
    done = JobReturn(overrides=list(ended.job.overrides), status=JobStatus.FAILED)
    done.return_value = _user_error(f"{numbers}; the log of the first is {ended.log}")
    return done


def _same(handle: Any) -> Any:
    return handle


def _loader_on(loader: Any, conf: Path) -> ConfigLoaderImpl:
    """A loader that finds in `conf` what `loader` finds in the application's own config folder."""
    path = copy.deepcopy(loader.get_search_path())
    for element in path.get_path():
        if element.provider == "main":
            element.path = f"file://{conf}"
    return ConfigLoaderImpl(path)


def _user_error(sentence: str) -> Exception:
    from dsrl.run.errors import UserError

    return UserError(sentence)
