"""Written against the generated client alone."""

import os

from stateward_client import AuthenticatedClient
from stateward_client.api.entities import create_entity, delete_entity, list_entities, replace_entity
from stateward_client.models import ChangeBody, ManifestBody

client = AuthenticatedClient(
    base_url=os.environ["STATEWARD_URL"], token=os.environ["STATEWARD_TOKEN"]
)
manifest = ManifestBody.from_dict(
    {"kind": "fake.thing", "name": "python", "backend": "sandbox", "desired": {"size": 1}}
)
created = create_entity.sync_detailed(client=client, body=manifest, prefer="wait=10")
assert created.status_code == 200, created.content
entity = created.parsed.entity.id
change = ChangeBody.from_dict({"desired": {"size": 2}})
updated = replace_entity.sync_detailed(entity, client=client, body=change, prefer="wait=10")
assert updated.status_code == 200, updated.content
listed = list_entities.sync(client=client, name="python")
assert [item.state for item in listed.items] == ["ok"], listed
gone = delete_entity.sync_detailed(entity, client=client, prefer="wait=10")
assert gone.status_code == 200, gone.content
print("python: created, waited, updated, listed, deleted", entity)
