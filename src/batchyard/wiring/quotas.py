"""Each project's quota: the configuration knows projects by name, the services by id."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.errors import BatchyardError, Conflict
from batchyard.server.options import ServeOptions
from batchyard.service.access import OPERATOR, Access

LOOK_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Quotas:
    """Looks now and then which projects there are; at once where a project asks that it has never seen."""

    def __init__(self, options: ServeOptions) -> None:
        self._default = options.quota
        self._options = options.projects
        self._by_id: dict[ProjectId, Quota] = {}
        self._unknown = asyncio.Event()

    def of(self, project: ProjectId) -> Quota:
        """The quota of a project. The very first question of one that was just made may get everyone's."""
        quota = self._by_id.get(project)
        if quota is None:
            self._unknown.set()
            return self._default
        return quota

    async def begin(self, access: Access, say: Callable[[str], None]) -> None:
        """Make the projects that are to be made, and tell of those that there are not."""
        there = {project.name for project in await access.list_projects(OPERATOR)}
        for name, project in self._options.items():
            if name in there:
                continue
            if not project.create:
                say(f"The configuration has limits for the project {name}, which there is not.")
                continue
            with suppress(Conflict):
                await access.create_project(OPERATOR, name)
        await self._look(access)

    async def keep(self, access: Access) -> None:
        """Know new projects, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._unknown.wait()
            self._unknown.clear()
            try:
                await self._look(access)
            except BatchyardError as error:
                _log.warning("projects_not_known", extra={"reason": str(error)})
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, access: Access) -> None:
        for project in await access.list_projects(OPERATOR):
            own = self._options.get(project.name)
            self._by_id[project.id] = self._default if own is None else own.quota
