"""What people were told."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from aegis.backend.identity.access import everywhere
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.notifications import repository
from aegis.backend.notifications.notifier import Notifier
from aegis.contracts.base import Moment
from aegis.kit.http import PROBLEMS, part


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


Here = Annotated[Notifier, part(Notifier)]
routes = APIRouter(prefix="/api/v1", tags=["notifications"], responses=PROBLEMS)


@routes.get("/notifications")
async def page(
    here: Here,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    _: Principal = everywhere(Permission.READ),
) -> NotificationPage:
    async with here.ports.database.reading() as tx:
        rows = await repository.page(tx, limit=limit)
    return NotificationPage(notifications=[Notification.model_validate(row) for row in rows])
