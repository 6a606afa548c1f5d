"""What helps and what hurts: the obvious action is sometimes the wrong one."""

import pytest
from tests.unit.simulator.world.builders import Life, Object

from aegis.simulator.kubernetes.objects import dig, is_ready
from aegis.simulator.world.programs import Call, Program
from aegis.simulator.world.topologies import Part, Topology, a_node, draw, shop
from aegis.simulator.world.traffic import Traffic


def one_service(program: Program, *, rps: float = 20.0, replicas: int = 2, memory_mib: int = 128) -> Topology:
    part = Part("entry", "shop", "web", program, replicas, memory_mib=memory_mib)
    return Topology([part], [a_node("node1", cpu="16")], {"shop/web": Traffic(rps=rps)})


def last_exit(pod: Object) -> Object:
    container = pod["status"]["containerStatuses"][0]
    found: Object = dig(container, "lastState", "terminated") or dig(container, "state", "terminated")
    return found


def test_a_healthy_shop_serves_all_its_users() -> None:
    life = Life(shop())

    life.go(120)

    assert life.failing(60) == 0.0
    assert all(each.is_healthy for each in life.world.health())
    assert life.signal("error_ratio", "web") == 0.0
    assert life.signal("latency_seconds", "web") == pytest.approx(0.015, abs=0.01)


def test_scaling_out_helps_where_the_cpu_is_the_bottleneck() -> None:
    life = Life(one_service(Program(cpu_s_per_request=0.02), rps=80))
    life.go(90)
    before, throttled = life.failing(30), life.signal("cpu_throttled_ratio", "web")

    life.do("scale", target="shop/web", replicas=6)
    life.go(90)

    assert before > 0.3
    assert throttled is not None
    assert throttled > 0.4
    assert life.failing(30) < 0.01
    assert (life.signal("cpu_throttled_ratio", "web") or 0.0) < throttled / 2


def test_raising_a_cpu_limit_helps_as_well() -> None:
    life = Life(one_service(Program(cpu_s_per_request=0.02), rps=80))
    life.go(90)

    life.do("set_resources", target="shop/web", limits={"cpu": "2"})
    life.go(90)

    assert life.failing(30) < 0.01


def test_scaling_out_a_client_with_eager_pools_makes_an_exhausted_store_worse() -> None:
    """As recorded in pool-exhaustion-made-worse: 1.0 % of requests failed before, 29.6 % after."""
    life = Life(shop())
    life.go(60)
    life.do("behave", target="@store", changes={"latency_s": 0.33}, survives_restart=True)
    life.go(60)
    before, pool = life.failing(30), life.signal("pool_usage_ratio", "cart")

    life.do("scale", target="@client", replicas=6)
    life.go(60)
    after, connections = life.failing(30), life.signal("connections_usage_ratio", "store")
    refused = life.signal("connections_refused_total", "store")
    life.do("scale", target="@client", replicas=2)
    life.go(60)

    assert before < 0.03
    assert pool is not None
    assert pool > 0.7
    assert 0.2 < after < 0.45
    assert connections == pytest.approx(1.0)
    assert refused is not None
    assert refused > 0
    assert life.failing(30) < 0.03


def test_a_store_that_is_down_fails_everybody_above_it() -> None:
    life = Life(shop())
    life.go(60)

    life.do("deploy", target="@store", tag="2.0.0", behaviour={"exit_at_start": 1})
    life.go(60)

    assert life.failing(20) > 0.95
    assert (life.signal("error_ratio", "cart") or 0.0) > 0.9
    assert (life.signal("call_error_ratio", "cart", peer_workload="store") or 0.0) > 0.9
    assert all(is_ready(pod) for pod in life.pods("cart"))


@pytest.mark.parametrize("old_or_new", ["1.4.0", "1.4.1"])
def test_a_client_that_needs_its_store_becomes_unready_in_every_revision(old_or_new: str) -> None:
    life = Life(shop())
    life.do("deploy", target="@client", tag=old_or_new, behaviour={"ready_needs": ["store"]})
    life.go(60)

    life.do("behave", target="@store", changes={"exit_at_start": 1}, survives_restart=True)
    life.do("crash", target="@store")
    life.go(30)

    assert not any(is_ready(pod) for pod in life.pods("cart"))


def test_a_client_that_cannot_live_without_its_store_crashes_and_comes_back_with_it() -> None:
    life = Life(shop())
    life.do("deploy", target="@client", tag="1.4.1", behaviour={"needs": ["store"], "crash_without_s": 5})
    life.go(60)
    life.do("behave", target="@store", changes={"exit_at_start": 1}, survives_restart=True)
    life.do("crash", target="@store")
    life.go(60)
    restarts = life.signal("restarts_total", "cart")

    life.do("behave_normally", target="@store")
    life.go(180)

    assert restarts is not None
    assert restarts >= 2
    assert life.failing(20) < 0.05


def test_a_memory_limit_that_is_too_low_kills_and_a_raised_one_cures() -> None:
    life = Life(one_service(Program(memory_mib=100), memory_mib=192))
    life.go(60)
    life.do("set_resources", target="shop/web", limits={"memory": "64Mi"}, requests={"memory": "32Mi"})
    life.go(60)
    killed = [last_exit(pod) for pod in life.pods("web") if last_exit(pod)]

    life.do("set_resources", target="shop/web", limits={"memory": "192Mi"})
    life.go(60)

    assert [(each["reason"], each["exitCode"]) for each in killed] == [("OOMKilled", 137)]
    assert all(is_ready(pod) for pod in life.pods("web"))
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in life.pods("web")} == {0}


def test_a_leak_is_not_cured_by_a_raised_limit_only_delayed() -> None:
    life = Life(one_service(Program(leak_mib_per_s=1.0)))
    life.go(150)
    early = life.signal("restarts_total", "web")

    life.do("set_resources", target="shop/web", limits={"memory": "256Mi"})
    life.go(170)
    quiet = life.signal("restarts_total", "web")
    life.go(130)

    assert early is not None
    assert early >= 2
    assert quiet == early
    assert (life.signal("restarts_total", "web") or 0) > early


def test_a_leak_shows_as_rising_memory_before_it_kills() -> None:
    life = Life(one_service(Program(leak_mib_per_s=0.5)))
    seen = []

    for _ in range(6):
        life.go(20)
        seen.append(life.signal("memory_usage_ratio", "web") or 0.0)

    assert seen == sorted(seen)
    assert seen[-1] > 0.7


def test_too_many_errors_of_one_revision_show_in_that_revision_only() -> None:
    life = Life(one_service(Program(), replicas=4, rps=60))
    life.go(60)

    life.do("deploy", target="shop/web", tag="1.5.0", behaviour={"error_share": 0.3, "start_s": 8.0})
    life.go(18)
    ratios = {
        each.labels["revision"]: each.value
        for each in life.world.samples()
        if each.metric == "aegis:revision_error_ratio"
    }

    assert len(ratios) == 2
    assert min(ratios.values()) == 0.0
    assert max(ratios.values()) == pytest.approx(0.3, abs=0.1)


def test_a_panic_under_load_comes_with_the_surge() -> None:
    life = Life(one_service(Program(crash_above_rps=20.0), rps=20))
    life.go(60)
    before = life.signal("restarts_total", "web")

    life.do("surge", service="shop/web", factor=4.0, for_s=120)
    life.go(60)

    assert before == 0.0
    assert (life.signal("restarts_total", "web") or 0) >= 2
    assert {last_exit(pod)["exitCode"] for pod in life.pods("web")} == {2}


def test_a_selector_with_a_typo_leaves_the_pods_well_and_the_users_alone() -> None:
    life = Life(shop())
    life.go(60)

    life.do("set_selector", service="shop/cart", selector={"app": "carts"})
    life.go(30)

    assert life.failing(20) > 0.95
    assert all(is_ready(pod) for pod in life.pods("cart"))
    assert (life.signal("call_error_ratio", "web", peer_workload="cart") or 0.0) > 0.9


def test_a_node_without_power_fails_requests_until_the_cluster_notices() -> None:
    program = Program(cpu_s_per_request=0.004)
    part = Part("entry", "shop", "web", program, 4)
    nodes = [a_node("node1"), a_node("node2")]
    life = Life(Topology([part], nodes, {"shop/web": Traffic(rps=40)}))
    life.go(60)

    life.do("cut_power", node="node1")
    life.go(30)
    unnoticed = life.failing(15)
    life.go(60)

    assert unnoticed == pytest.approx(0.5, abs=0.05)
    assert life.failing(15) == 0.0


def test_a_worker_that_is_too_slow_lets_the_queue_grow() -> None:
    life = Life(shop())
    life.go(120)
    before = life.signal("queue_length", "store")

    life.do("deploy", target="@worker", tag="1.5.0", behaviour={"cpu_s_per_request": 0.2})
    life.go(120)

    assert before is not None
    assert before < 20
    assert (life.signal("queue_length", "store") or 0) > 200


def test_a_config_map_takes_effect_with_the_next_start() -> None:
    life = Life(shop())
    life.go(60)

    life.do("set_config", namespace="shop", name="web-settings", data={"ERROR_SHARE": "0.4"})
    life.go(40)
    unread = life.failing(20)
    life.do("restart", target="shop/web")
    life.go(60)

    assert unread == 0.0
    assert life.failing(20) == pytest.approx(0.4, abs=0.1)


def test_settings_that_make_no_sense_keep_a_process_from_starting() -> None:
    life = Life(shop())
    life.go(60)

    life.do("set_env", target="shop/web", env={"ERROR_SHARE": "many"})
    life.go(60)

    newest = max(life.pods("web"), key=lambda pod: int(pod["metadata"]["resourceVersion"]))
    assert last_exit(newest)["exitCode"] == 1
    assert life.failing(20) == 0.0


def test_undo_brings_the_good_revision_back() -> None:
    life = Life(shop())
    life.go(60)
    life.do("deploy", target="shop/web", tag="1.5.0", behaviour={"error_share": 0.5})
    life.go(60)
    bad = life.failing(20)

    life.do("undo", target="shop/web")
    life.go(60)

    assert bad == pytest.approx(0.5, abs=0.1)
    assert life.failing(20) == 0.0


def test_saturation_times_out_probes_only_where_the_program_says_so() -> None:
    def life_with(program: Program) -> Life:
        life = Life(one_service(program, rps=80))
        return life.go(120)

    tight = life_with(Program(cpu_s_per_request=0.02, unlive_above=1.2))
    plain = life_with(Program(cpu_s_per_request=0.02))

    assert (tight.signal("restarts_total", "web") or 0) >= 2
    assert plain.signal("restarts_total", "web") == 0.0


def test_a_slow_callee_times_out_in_its_caller() -> None:
    store = Part("store", "shop", "store", Program(latency_s=3.0), 1)
    web = Part("entry", "shop", "web", Program(calls=(Call(service="store", timeout_s=1.0),)), 2)
    life = Life(Topology([web, store], [a_node("node1", cpu="8")], {"shop/web": Traffic(rps=5)}))

    life.go(90)

    assert life.failing(30) > 0.95
    assert life.signal("error_ratio", "store") == 0.0


def test_an_optional_call_may_fail() -> None:
    web = Part("entry", "shop", "web", Program(calls=(Call(service="ads", optional=True),)), 2)
    ads = Part("middle", "shop", "ads", Program(error_share=1.0), 2)
    life = Life(Topology([web, ads], [a_node("node1", cpu="8")], {"shop/web": Traffic(rps=5)}))

    life.go(60)

    assert life.failing(30) == 0.0


def test_without_requests_there_is_no_error_ratio() -> None:
    life = Life(one_service(Program(), rps=0.0))

    life.go(60)

    assert life.signal("error_ratio", "web") is None
    assert life.signal("request_rate", "web") is None
    assert life.signal("pool_usage_ratio", "web") is None
    assert life.signal("memory_usage_ratio", "web") is not None


def history(seed: int, *, world_seed: int = 3) -> list[object]:
    life = Life(draw(seed), seed=world_seed)
    life.go(20)
    life.do("deploy", target="@entry", tag="9.0.0", behaviour={"exit_after_s": 7})
    life.go(25)
    changes: list[object] = [
        (each.type, each.object["metadata"]["name"], each.object.get("status"))
        for each in life.world.store.changes(1000)
    ]
    return [*changes, life.world.samples(), list(life.world.telemetry.users)]


def test_one_seed_is_one_history() -> None:
    assert history(11) == history(11)


def test_two_seeds_are_two_histories() -> None:
    assert history(11) != history(12)
    assert history(11, world_seed=1) != history(11, world_seed=2)


@pytest.mark.parametrize("seed", range(10))
def test_every_drawn_shop_is_well_while_nobody_harms_it(seed: int) -> None:
    life = Life(draw(seed), seed=seed)

    life.go(150)

    assert [each for each in life.world.health() if not each.is_healthy] == []
    assert life.failing(60) < 0.01
    assert 3 <= len(life.world.health()) <= 12
