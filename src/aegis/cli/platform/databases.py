"""Each service's database: migrated once into a template, cloned for each installation, used by a role of its own."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from aegis.kit.database import Database
from aegis.kit.embedded import PostgresServer

SERVICES = ("backend", "ai_engine", "executor")


@dataclass
class Databases:
    server: PostgresServer
    _passwords: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Make a template per service with its newest schema, and the role that its process connects as."""
        for service in SERVICES:
            template = _template(service)
            await self._execute(f'CREATE DATABASE "{template}"')
            owner = Database(self.server.url(template))
            await owner.migrate(f"aegis.{service}")
            await owner.close()
            password = secrets.token_urlsafe(24)
            self._passwords[service] = password
            await self._execute(f"CREATE ROLE {_login(service)} LOGIN PASSWORD '{password}' IN ROLE {_app(service)}")

    async def clone(self, name: str) -> Mapping[str, str]:
        """Return the URLs of fresh databases, by service."""
        urls = {}
        for service in SERVICES:
            database = f"aegis_{service}_{name}"
            await self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{_template(service)}"')
            urls[service] = self.server.url(database, user=_login(service), password=self._passwords[service])
        return urls

    async def drop(self, name: str) -> None:
        for service in SERVICES:
            await self._execute(f'DROP DATABASE IF EXISTS "aegis_{service}_{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _template(service: str) -> str:
    return f"aegis_{service}_template"


def _login(service: str) -> str:
    return f"aegis_{service}_login"


def _app(service: str) -> str:
    return f"aegis_{service}_app"
