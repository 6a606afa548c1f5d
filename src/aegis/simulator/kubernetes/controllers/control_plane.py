"""Everything that moves a cluster, in one pass that may be repeated at any pace."""

import random

from aegis.simulator.kubernetes.controllers.autoscaler import AutoscalerController
from aegis.simulator.kubernetes.controllers.cluster import Cluster
from aegis.simulator.kubernetes.controllers.deployment import DeploymentController
from aegis.simulator.kubernetes.controllers.endpoints import DisruptionController, EndpointsController
from aegis.simulator.kubernetes.controllers.kubelet import Kubelets
from aegis.simulator.kubernetes.controllers.nodes import LEASE_NAMESPACE, NodeController
from aegis.simulator.kubernetes.controllers.replicaset import ReplicaSetController
from aegis.simulator.kubernetes.controllers.runtime import ContainerRuntime
from aegis.simulator.kubernetes.controllers.scheduler import Scheduler
from aegis.simulator.kubernetes.controllers.statefulset import StatefulSetController
from aegis.simulator.kubernetes.resources import NAMESPACES
from aegis.simulator.kubernetes.store import Store

_ROUNDS = 12
_NAMESPACES = ("default", "kube-system", LEASE_NAMESPACE)


class ControlPlane:
    """The controllers, the scheduler and the kubelets of one store."""

    def __init__(self, store: Store, runtime: ContainerRuntime, rng: random.Random) -> None:
        self._store = store
        cluster = Cluster(store, rng)
        self._controllers = (
            DeploymentController(cluster),
            ReplicaSetController(cluster),
            StatefulSetController(cluster),
            NodeController(cluster),
            Scheduler(cluster),
            Kubelets(cluster, runtime),
            EndpointsController(cluster),
            DisruptionController(cluster),
            AutoscalerController(cluster, runtime),
        )
        for name in _NAMESPACES:
            if store.find(NAMESPACES, None, name) is None:
                store.create(NAMESPACES, {"metadata": {"name": name}})
        self._swept_at = -1

    def step(self) -> None:
        """Do all that is due at the store's time.

        Real controllers answer each other within milliseconds, so a pass goes round until all are content.
        """
        now = self._store.clock.now()
        for _ in range(_ROUNDS):
            before = self._store.resource_version
            if before != self._swept_at:
                self._store.collect_garbage()
                self._swept_at = self._store.resource_version
            for controller in self._controllers:
                controller.step(now)
            if self._store.resource_version == before:
                return
