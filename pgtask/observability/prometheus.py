"""The system's figures as metrics of Prometheus. What the database knows is read anew for each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from pgtask.model.metrics import Measured, TaskTotals

_BY_TASK = ["queue", "task"]


def metrics_of(measured: Measured) -> Iterator[Metric]:
    """What was measured, as metrics. Counters are of the database: whichever process is asked gives the same."""
    yield CounterMetricFamily(
        "pgtask_jobs_created", "Ids of jobs given out; enqueues that were rolled back count, too.", measured.created
    )
    yield from _totals(measured.totals)
    yield GaugeMetricFamily(
        "pgtask_jobs_series_omitted",
        "Tasks of queues with few attempts, of which nothing is shown.",
        max((total.pairs for total in measured.totals), default=0) - len(measured.totals),
    )
    yield _durations(measured)
    yield from _queues(measured)
    yield from _workers(measured)
    yield from _health(measured)


def _totals(totals: Iterable[TaskTotals]) -> Iterator[Metric]:
    kinds = {
        "completed": "Attempts that completed.",
        "failed": "Attempts that failed for good.",
        "retried": "Attempts that failed and are tried again.",
        "cancelled": "Jobs that were cancelled.",
        "lost": "Attempts whose worker was lost.",
    }
    families = {
        kind: CounterMetricFamily(f"pgtask_jobs_{kind}", words, labels=_BY_TASK) for kind, words in kinds.items()
    }
    for total in totals:
        for kind, family in families.items():
            family.add_metric([total.queue, total.task], getattr(total, kind))
    yield from families.values()


def _durations(measured: Measured) -> Metric:
    family = HistogramMetricFamily("pgtask_job_duration_seconds", "How long attempts ran.", labels=_BY_TASK)
    bounds = [*(f"{bound:g}" for bound in measured.bounds), "+Inf"]
    for total in measured.totals:
        if total.run_buckets is not None:
            cumulative, buckets = 0, []
            for bound, number in zip(bounds, total.run_buckets, strict=True):
                cumulative += number
                buckets.append((bound, float(cumulative)))
            family.add_metric([total.queue, total.task], buckets, sum_value=total.run_seconds)
    return family


def _queues(measured: Measured) -> Iterator[Metric]:
    length = GaugeMetricFamily("pgtask_queue_length", "Jobs in a queue.", labels=["queue", "status"])
    paused = GaugeMetricFamily("pgtask_queue_paused", "Whether a queue is paused.", labels=["queue"])
    oldest = GaugeMetricFamily("pgtask_queue_oldest_seconds", "How long its oldest due job waits.", labels=["queue"])
    for queue in measured.queues:
        for status in ("pending", "scheduled", "retrying", "running"):
            length.add_metric([queue.name, status], getattr(queue, status))
        paused.add_metric([queue.name], float(queue.paused_at is not None))
        oldest.add_metric([queue.name], measured.queue_seconds.get(queue.name, 0.0))
    yield from (length, paused, oldest)


def _workers(measured: Measured) -> Iterator[Metric]:
    alive = [worker for worker in measured.workers if worker.state in ("running", "stopping")]
    yield GaugeMetricFamily("pgtask_workers_active", "Workers that are alive.", len(alive))
    labels = ["worker", "name"]
    jobs = CounterMetricFamily("pgtask_worker_jobs", "Attempts that ended there.", labels=[*labels, "outcome"])
    slots = GaugeMetricFamily("pgtask_worker_slots", "Jobs that it runs at once, at most.", labels=labels)
    running = GaugeMetricFamily("pgtask_worker_running", "Jobs that run there.", labels=labels)
    cpu = GaugeMetricFamily("pgtask_worker_cpu_percent", "Percent of one core that it uses.", labels=labels)
    memory = GaugeMetricFamily("pgtask_worker_rss_bytes", "Memory of all its processes.", labels=labels)
    for worker in alive:
        who = [str(worker.id), worker.name]
        jobs.add_metric([*who, "completed"], worker.completed)
        jobs.add_metric([*who, "unsuccessful"], worker.unsuccessful)
        slots.add_metric(who, worker.slots)
        running.add_metric(who, worker.running)
        cpu.add_metric(who, worker.cpu_percent or 0.0)
        memory.add_metric(who, worker.rss_bytes or 0)
    yield from (jobs, slots, running, cpu, memory)


def _health(measured: Measured) -> Iterator[Metric]:
    health = measured.health
    yield GaugeMetricFamily(
        "pgtask_database_oldest_snapshot_seconds",
        "Age of the oldest transaction that keeps dead rows from being removed; 0 without one.",
        health.oldest_snapshot_seconds or 0.0,
    )
    yield GaugeMetricFamily(
        "pgtask_database_notification_queue_ratio",
        "Share in use.",
        health.notification_queue,
    )
    yield GaugeMetricFamily("pgtask_database_sessions", "Sessions on the server.", health.sessions)
    yield GaugeMetricFamily("pgtask_database_transaction_age", "Transactions since the freeze.", health.transaction_age)
    dead = GaugeMetricFamily("pgtask_database_dead_rows", "Dead rows of a table.", labels=["table"])
    size = GaugeMetricFamily("pgtask_database_table_bytes", "Bytes of a table with its indexes.", labels=["table"])
    for table, rows in health.dead_rows.items():
        dead.add_metric([table], rows)
        size.add_metric([table], health.total_bytes[table])
    yield from (dead, size)
