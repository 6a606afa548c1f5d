"""Is it back to usual, is it worse, or can that not be told?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.ai_engine.correlation.neighbourhood import Neighbourhood
from aegis.ai_engine.detection.board import BY_METRIC, Band, Board, metric_name
from aegis.ai_engine.detection.history import History
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import WorkloadView
from aegis.catalogue.signals import REQUEST_RATE, Signal
from aegis.contracts.findings import Finding, Severity, Symptom
from aegis.contracts.targets import WorkloadRef
from aegis.contracts.verifications import Judgement, SignalCheck, Verification, VerificationRequest

# What acting itself stirs up is over by then.
ACTING = timedelta(seconds=30)
AT_ACTING = timedelta(seconds=60)
# Clearly worse: half as much again, and by more than twice what is worth a word.
WORSE_SHARE = 0.5
WORSE_FLOORS = 2.0
WORSE_COLUMNS = 2
CALM = timedelta(minutes=2)
# On a node they share, one workload harms another through what the node has to give, not through its code.
SCARCE = frozenset({"Evicted", "OOMKilled", "Unschedulable", "NodeNotReady"})


@dataclass(frozen=True)
class Scene:
    """What there is to judge by, at one moment."""

    inventory: Inventory
    history: History
    board: Board
    neighbourhood: Neighbourhood
    now: datetime
    active: Sequence[Finding]
    """All findings that hold now."""
    known: Sequence[Finding]
    """Those of the incident: what of them was there before acting is no news."""
    bands: Mapping[tuple[str, str], Band]
    """What was usual before the incident."""
    cluster_is_fresh: bool
    metrics: str
    """`fresh`, `stale`, or `none` where there is no metrics system."""


def judge(request: VerificationRequest, scene: Scene) -> Verification:
    """Judge by objects, signals and what is new near by. Missing data is unknown, never a guess."""
    if not scene.cluster_is_fresh:
        return _verdict(Judgement.UNKNOWN, scene, ["the cluster's objects are out of date"])
    if request.purpose == "release":
        return _release(request, scene)
    checks = [_check(name, request, scene) for name in request.signals]
    new = new_findings(request, scene)
    worse = [text for name in request.signals for text in _worse(name, request, scene)]
    worse += [f"new since it was acted on: {one.workload}: {one.summary}" for one in new]
    if worse:
        return _verdict(Judgement.WORSE, scene, worse, checks, new)
    unwell = _unwell(request.workload, scene)
    if unwell:
        return _verdict(Judgement.NOT_YET, scene, unwell, checks)
    return _by_signals(request, scene, checks)


def _by_signals(request: VerificationRequest, scene: Scene, checks: list[SignalCheck]) -> Verification:
    if not request.signals:
        return _verdict(Judgement.BETTER, scene, ["all is well by its objects alone: no signals were given"], checks)
    if scene.metrics == "none":
        reason = f"there is no metrics system, and {', '.join(request.signals)} should be usual again"
        return _verdict(Judgement.UNKNOWN, scene, [reason], checks)
    missing = [one.signal for one in checks if one.in_band is None]
    outside = [one for one in checks if one.in_band is False]
    if outside:
        reasons = [f"{one.signal} is {one.value:.4g}, usual up to {one.usual_high or 0:.4g}" for one in outside]
        return _verdict(Judgement.NOT_YET, scene, reasons, checks)
    if missing:
        return _verdict(Judgement.UNKNOWN, scene, [f"no data, or no baseline, for {', '.join(missing)}"], checks)
    return _verdict(Judgement.BETTER, scene, ["its pods are healthy and its signals are in their band"], checks)


# -- signals


def _check(name: str, request: VerificationRequest, scene: Scene) -> SignalCheck:
    signal = BY_METRIC.get(metric_name(name))
    if signal is None:
        return SignalCheck(signal=name, value=None, in_band=None)
    value = scene.board.latest(signal, request.workload, now=scene.now.timestamp())
    band = _band(signal, request.workload, scene)
    if value is None or band is None or scene.metrics != "fresh":
        return SignalCheck(signal=name, value=value, in_band=None)
    return SignalCheck(
        signal=name, value=value, usual_low=band.low, usual_high=band.high, in_band=_is_usual(signal, value, band)
    )


def _band(signal: Signal, workload: WorkloadRef, scene: Scene) -> Band | None:
    return scene.bands.get((str(workload), signal.name)) or scene.board.band(signal, workload)


def _is_usual(signal: Signal, value: float, band: Band) -> bool:
    """A value on the good side of its band is no trouble."""
    match signal.bad:
        case "high":
            return value <= max(band.high, signal.fine_below)
        case "low":
            return value >= band.low
        case "either":
            return band.holds(value)


def _worse(name: str, request: VerificationRequest, scene: Scene) -> list[str]:
    """Say that a signal is clearly worse than when it was acted on, and has been for two steps."""
    signal = BY_METRIC.get(metric_name(name))
    if signal is None or signal.bad != "high" or scene.now - request.acted_at < ACTING or scene.metrics != "fresh":
        return []
    acted, now = request.acted_at.timestamp(), scene.now.timestamp()
    then = scene.board.window(signal, request.workload, start=acted - AT_ACTING.total_seconds(), end=acted).median
    since = scene.board.window(signal, request.workload, start=acted + ACTING.total_seconds(), end=now)
    band = _band(signal, request.workload, scene)
    if then is None or band is None or len(since) < WORSE_COLUMNS:
        return []
    limit = max(then + max(WORSE_SHARE * then, WORSE_FLOORS * signal.floor), band.high, signal.fine_below)
    newest = since.values[-WORSE_COLUMNS:]
    if not bool((newest > limit).all()):
        return []
    return [f"{name} is {newest[-1]:.4g}, it was {then:.4g} when it was acted on"]


# -- objects


def _unwell(workload: WorkloadRef, scene: Scene) -> list[str]:
    view = scene.inventory.find(workload)
    if view is None:
        return [f"{workload} is not there"]
    reasons = [one.summary for one in scene.active if one.workload == workload and _still_counts(one, view, scene)]
    if view.ref.kind not in ("Job", "CronJob") and view.ready < view.replicas:
        reasons.append(f"{view.ready} of {view.replicas} pods are ready")
    if view.ref.kind == "Deployment" and _is_rolling(view, scene):
        reasons.append("pods of another revision are still there")
    return reasons


def _still_counts(finding: Finding, view: WorkloadView, scene: Scene) -> bool:
    """Symptoms of a revision that has no pods any more are history. Signals are judged by their bands."""
    if not isinstance(finding, Symptom) or finding.severity is Severity.INFO:
        return False
    alive = {one.revision for one in scene.inventory.pods_of(view) if not one.is_ending and not one.is_finished}
    return finding.revision is None or finding.revision in alive


def _is_rolling(view: WorkloadView, scene: Scene) -> bool:
    revisions = scene.inventory.revisions_of(view)
    return any(one.replicas > 0 for one in revisions[1:])


# -- next door


def new_findings(request: VerificationRequest, scene: Scene) -> list[Finding]:
    """Return what broke near the target since it was acted on, and has no cause of its own."""
    known = {one.fingerprint for one in scene.known if one.started_at <= request.acted_at}
    called = {request.workload} | set(scene.neighbourhood.dependencies(request.workload))
    called |= set(scene.neighbourhood.dependents(request.workload))
    near = scene.neighbourhood.near(request.workload)
    return [
        one
        for one in scene.active
        if one.workload in near
        and one.severity is not Severity.INFO
        and one.fingerprint not in known
        and one.started_at > request.acted_at
        and scene.now - request.acted_at >= ACTING
        and (one.workload in called or (isinstance(one, Symptom) and one.reason in SCARCE))
        and not _has_own_cause(one, request, scene)
    ]


def _has_own_cause(finding: Finding, request: VerificationRequest, scene: Scene) -> bool:
    """Somebody rolled out the neighbour itself meanwhile: that is more likely than our action."""
    if finding.workload == request.workload:
        return False
    view = scene.inventory.find(finding.workload)
    rollout = scene.history.last_rollout(view) if view is not None else None
    return rollout is not None and rollout.at >= request.acted_at - timedelta(minutes=10)


# -- may it be given back?


def _release(request: VerificationRequest, scene: Scene) -> Verification:
    """Say whether the traffic that made the change necessary has been gone for a while."""
    band = scene.bands.get((str(request.workload), REQUEST_RATE.name))
    if scene.metrics != "fresh" or band is None:
        return _verdict(Judgement.UNKNOWN, scene, ["the traffic, or what was usual of it, is not known"])
    now = scene.now.timestamp()
    window = scene.board.window(REQUEST_RATE, request.workload, start=now - CALM.total_seconds(), end=now)
    check = SignalCheck(
        signal=REQUEST_RATE.name,
        value=float(window.values[-1]) if len(window) else None,
        usual_low=band.low,
        usual_high=band.high,
        in_band=bool((window.values <= band.high).all()) if len(window) else None,
    )
    if len(window) < WORSE_COLUMNS or window.seconds < CALM.total_seconds() / 2:
        return _verdict(Judgement.UNKNOWN, scene, ["too little is known of the traffic lately"], [check])
    if check.in_band and not _unwell(request.workload, scene):
        return _verdict(Judgement.BETTER, scene, ["traffic is back to what was usual before"], [check])
    return _verdict(Judgement.NOT_YET, scene, ["traffic is still above what was usual before"], [check])


def _verdict(
    judgement: Judgement,
    scene: Scene,
    reasons: Sequence[str],
    checks: Sequence[SignalCheck] = (),
    new: Sequence[Finding] = (),
) -> Verification:
    return Verification(
        judgement=judgement,
        reasons=tuple(one[:4000] for one in reasons),
        signals=tuple(checks),
        new_findings=tuple(new),
        at=scene.now,
    )
