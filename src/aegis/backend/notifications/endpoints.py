"""What people were told."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from aegis.backend.identity.access import Access
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.notifications import repository
from aegis.backend.ports import BackendPorts
from aegis.contracts.base import Moment


class Notification(BaseModel):
    id: str
    key: str
    kind: str
    severity: str
    title: str
    detail: dict[str, Any]
    at: Moment


class NotificationPage(BaseModel):
    notifications: list[Notification]


def router(ports: BackendPorts, access: Access) -> APIRouter:
    routes = APIRouter(prefix="/api/v1", tags=["notifications"])

    @routes.get("/notifications")
    async def page(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        _: Principal = access.everywhere(Permission.READ),
    ) -> NotificationPage:
        async with ports.database.reading() as tx:
            rows = await repository.page(tx, limit=limit)
        return NotificationPage(notifications=[Notification.model_validate(row) for row in rows])

    return routes
