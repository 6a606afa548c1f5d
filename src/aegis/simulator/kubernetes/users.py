"""Who is asking: users by bearer token."""

from collections.abc import Mapping
from dataclasses import dataclass

from aegis.simulator.kubernetes.errors import ApiError

MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    def as_json(self) -> dict[str, object]:
        uid = {"uid": self.uid} if self.uid else {}
        return {"username": self.name, **uid, "groups": list(self.groups)}


ADMIN = User("admin", (MASTERS, "system:authenticated"), uid="1")
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def service_account(namespace: str, name: str) -> User:
    """Return the user a pod of that ServiceAccount is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


class Users:
    """The tokens this server knows. Without any, everybody is admin."""

    def __init__(self, tokens: Mapping[str, User] | None = None) -> None:
        self._tokens = dict(tokens or {})
        self._is_open = not self._tokens

    def add(self, token: str, user: User) -> None:
        """Let `token` mean `user`, and from now on ask everybody for theirs."""
        self._tokens[token] = user
        self._is_open = False

    def issue(self, token: str, user: User) -> None:
        """Let `token` mean `user`; a cluster open to all stays so."""
        self._tokens[token] = user

    def withdraw(self, token: str) -> None:
        """Let `token` mean nobody any more; whoever sends it is answered 401."""
        self._tokens.pop(token, None)

    def find(self, token: str) -> User | None:
        return self._tokens.get(token)

    def who_is(self, authorization: str) -> User:
        """Read an `Authorization` header.

        Raises:
            ApiError: 401, nobody has that token.
        """
        scheme, _, token = authorization.partition(" ")
        user = self.find(token.strip()) if scheme.lower() == "bearer" else None
        if user is not None:
            return user
        if self._is_open:
            return ADMIN
        if authorization:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return ANONYMOUS

    def all(self) -> list[tuple[str, User]]:
        """Return every token and whom it means."""
        return list(self._tokens.items())
