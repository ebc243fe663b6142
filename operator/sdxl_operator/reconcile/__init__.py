"""One turn for one key: get → plan → apply → observe → status. What a turn leaves undone, the next one does."""

from sdxl_operator.naming import BANK, MODEL, SERVICE, Key, is_paused, ref_of
from sdxl_operator.reconcile.bank import reconcile_bank
from sdxl_operator.reconcile.context import Context, Requeue
from sdxl_operator.reconcile.model import reconcile_model
from sdxl_operator.reconcile.paused import reconcile_paused
from sdxl_operator.reconcile.service import forget_service, reconcile_service
from sdxl_operator.reconcile.signing import SigningSecrets

__all__ = ["Context", "Requeue", "SigningSecrets", "reconcile"]


async def reconcile(key: Key, context: Context) -> Requeue | None:
    """Bring what a key names one step nearer to its spec, and say when to look again if no event will tell.

    Raises:
        ClusterError: the API server could not be reached or refused what a turn cannot do without.
    """
    obj = await context.cluster.get(ref_of(key))
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        if key.kind == SERVICE:
            await forget_service(key, context)
        return None
    turns = {
        SERVICE: reconcile_paused if is_paused(obj) else reconcile_service,
        MODEL: reconcile_model,
        BANK: reconcile_bank,
    }
    turn = turns.get(key.kind)
    return None if turn is None else await turn(obj, context)
