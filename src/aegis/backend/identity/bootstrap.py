"""The first admin and the services' keys, made known when the Backend starts."""

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.identity import repository
from aegis.backend.identity.credentials import KNOWN_KEYS, hash_secret
from aegis.backend.identity.roles import Grant, Role
from aegis.backend.ports import BackendPorts

FIRST_ADMIN = "admin"


async def bootstrap(ports: BackendPorts, trail: AuditTrail) -> None:
    """Add the first admin unless there is one, and take over the keys that the settings name.

    A key that is no longer in the settings stops working: rotating it is changing the Secret and restarting.
    """
    now = ports.clock.now()
    async with ports.database.transaction() as tx:
        password = ports.settings.first_admin_password
        if password is not None:
            added = await repository.add_person(
                tx,
                name=FIRST_ADMIN,
                password_hash=hash_secret(password.get_secret_value()),
                grants=[Grant(role=Role.ADMIN)],
                at=now,
            )
            if added:
                await trail.record(tx, actor="service:backend", event="person:added", subject=FIRST_ADMIN)
        for service, key in _keys(ports.settings.service_keys.get_secret_value()).items():
            hashes = await repository.live_key_hashes(tx, service)
            known = [hashed for hashed in hashes if await KNOWN_KEYS.matches(key, hashed)]
            if not known:
                await repository.add_service_key(tx, service=service, key_hash=(new := hash_secret(key)), at=now)
                KNOWN_KEYS.remember(key, new)
                known = [new]
                await trail.record(tx, actor="service:backend", event="service_key:added", subject=service)
            await repository.revoke_service_keys(tx, service, at=now, keep=known)


def _keys(setting: str) -> dict[str, str]:
    """Read `ai-engine=<key>,executor=<key>`."""
    pairs = (part.partition("=") for part in setting.split(",") if part.strip())
    return {service.strip(): key.strip() for service, _, key in pairs}
