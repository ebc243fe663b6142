"""The Secrets of a service: the signing key, which the operator makes, and the API keys, which people make."""

from collections.abc import Callable

from sdxl_operator.cluster import Forbidden
from sdxl_operator.naming import API_VERSION, SERVICE, Object, Ref
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served

SIGNING = Ref("v1", "Secret", NAMESPACE, "studio-signing")
KEYS: Object = {"auth": {"apiKeysSecretRef": {"name": "studio-keys"}}}


def made(life: Life) -> list[str]:
    """The calls that would make a Secret."""
    return [write for write in life.cluster.writes if write.startswith("create Secret")]


def a_secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}


async def test_each_service_has_a_key_of_its_own_that_it_owns() -> None:
    life = await served()
    life.create(name="second")
    await life.settle()
    secrets = {obj["metadata"]["name"]: obj for obj in life.cluster.all("Secret")}
    assert set(secrets) == {"studio-signing", "second-signing"}
    assert len({obj["stringData"]["key"] for obj in secrets.values()}) == 2
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, "second"))
    assert [obj["metadata"]["name"] for obj in life.cluster.all("Secret")] == ["studio-signing"]


async def test_the_secret_is_asked_for_once_and_after_a_restart_once_more_and_stays_as_it_is() -> None:
    life = await served()
    before = life.cluster.named("Secret")
    life.change(replicas=2)
    await life.settle()
    assert len(made(life)) == 1
    life.restart()
    for replicas in (3, 4):
        life.change(replicas=replicas)
        await life.settle()
    assert len(made(life)) == 2
    assert life.cluster.named("Secret") == before


async def test_a_service_that_was_made_anew_gets_a_key_anew() -> None:
    life = await served()
    first = life.cluster.named("Secret")["stringData"]["key"]
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, "studio"))
    life.create()
    await life.settle()
    assert life.is_ready()
    assert life.cluster.named("Secret")["stringData"]["key"] != first


async def test_the_key_is_there_before_the_first_replica() -> None:
    life = await served()
    order = [change for change in life.cluster.changes if "Secret" in change or change.startswith("create Deployment")]
    assert order == ["create Secret studio-signing", "create Deployment studio"]


async def test_a_key_that_somebody_deleted_is_made_again_once_a_pod_misses_it() -> None:
    life = await served()
    life.cluster.remove(SIGNING)
    life.change(replicas=2)
    await until_missed(life, lambda: life.reason() == "SecretNotFound")
    assert "studio-signing" in life.condition()["message"]
    await life.until(life.is_ready, "ready with a new key")
    assert life.cluster.changes.count("create Secret studio-signing") == 2


async def test_an_operator_that_may_not_make_secrets_says_so_and_goes_on_once_it_may() -> None:
    life = Life()
    life.profile()
    life.cluster.refuse["Secret"] = Forbidden(403, "Forbidden", "cannot create resource secrets")
    life.create()
    await life.settle()
    assert life.reason() == "ChildRefused"
    assert "cannot create resource secrets" in life.condition()["message"]
    assert life.cluster.all("Deployment") == []
    del life.cluster.refuse["Secret"]
    await life.settle()
    assert life.is_ready()


async def until_missed(life: Life, holds: Callable[[], bool]) -> None:
    await life.until(holds, "the missing Secret is told")


async def test_a_missing_secret_of_api_keys_is_told_in_the_kubelets_words_and_making_it_is_enough() -> None:
    life = Life()
    life.profile()
    life.create(KEYS)
    await until_missed(life, lambda: life.reason() == "SecretNotFound")
    assert life.reason("Stalled") == "SecretNotFound"
    message = life.condition()["message"]
    assert 'MountVolume.SetUp failed for volume "api-keys" : secret "studio-keys" not found' in message
    assert "make a Secret studio-keys in this namespace" in message
    assert len(made(life)) == 1, "what is missing is not ours to make"
    life.cluster.put(a_secret("studio-keys"))
    await life.settle()
    assert life.is_ready()


async def test_a_secret_that_is_missing_after_an_edit_leaves_the_replicas_that_serve() -> None:
    life = await served({"replicas": 2})
    life.change(auth=KEYS["auth"])
    await until_missed(life, lambda: life.reason() == "SecretNotFound")
    assert life.reason("Available") == "MinimumAvailable"
    life.change(auth=None)
    await life.settle()
    assert life.is_ready()
