"""The composition root: which adapter stands behind which port, and a policy that stays good."""

import os
import re
import stat

import pytest
import structlog
from structlog.testing import LogCapture

from remediations import services
from remediations.adapters.arm import NoWrites
from remediations.adapters.blobs import BlobStore
from remediations.adapters.folder import FolderStore
from remediations.errors import NotFound, PolicyError, SettingsError, UndeclaredWrite, WriteInDryRun
from remediations.model import ErrorDetail, Evidence, Mode
from remediations.services import EvidenceStore, Services, Writers
from remediations.settings import Settings
from tests.builders import DEPLOYMENT, ENDPOINT, NOON, WORKSPACE, MemoryStore, make_call, make_evidence

GOOD = "actions: {retry: {mode: ask}}\n"


def make_services(folder, *, policy=GOOD, **changes):
    path = folder / "policy.yaml"
    if policy is not None:
        path.write_text(policy)
    fields = {
        "store": str(folder / "store"),
        "policy": str(path),
        "arm_url": "http://127.0.0.1:9",
        "arm_token": "t",
    }
    return Services(Settings(**{**fields, **changes}), clock=lambda: NOON)


def rewrite(folder, text):
    """Change the policy's file, with a time that differs however coarse the file system's clock is."""
    path = folder / "policy.yaml"
    later = path.stat().st_mtime_ns + 5_000_000_000 if path.exists() else None
    path.write_text(text)
    if later is not None:
        os.utime(path, ns=(later, later))


# ------------------------------------------------------------------------------------------------- the policy


def test_a_policy_that_changes_is_read_again(tmp_path):
    own = make_services(tmp_path)
    before = own.policy.version
    rewrite(tmp_path, "actions: {retry: {mode: auto}}\n")
    assert own.policy.actions["retry"].mode is Mode.AUTO
    assert own.policy.version != before


@pytest.mark.parametrize("broken", ["actions: [", "actions: {retry: {mode: automatic}}", ""])
def test_a_running_app_keeps_the_last_good_policy(tmp_path, broken):
    own = make_services(tmp_path)
    good = own.policy
    rewrite(tmp_path, broken)
    assert own.policy == good
    assert own.policy == good
    rewrite(tmp_path, "actions: {retry: {mode: auto}}\n")
    assert own.policy.actions["retry"].mode is Mode.AUTO


def test_a_running_app_keeps_the_last_good_policy_when_the_file_goes_and_comes_back(tmp_path):
    own = make_services(tmp_path)
    good = own.policy
    (tmp_path / "policy.yaml").unlink()
    assert own.policy == good
    rewrite(tmp_path, "actions: {retry: {mode: auto}}\n")
    assert own.policy.actions["retry"].mode is Mode.AUTO


@pytest.mark.parametrize("policy", ["actions: [", None], ids=["broken", "missing"])
def test_an_app_without_any_good_policy_does_not_start(tmp_path, policy):
    own = make_services(tmp_path, policy=policy)
    with pytest.raises(PolicyError, match=re.escape(str(tmp_path))):
        own.policy  # noqa: B018 - reading it is what is tested


def test_the_journal_names_mode_and_policy(tmp_path):
    own = make_services(tmp_path, mode=Mode.ASK)
    assert (own.journal.mode, own.journal.policy_version, own.journal.clock()) == (Mode.ASK, own.policy.version, NOON)


# ------------------------------------------------------------------------------------------------- the writers


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.DRY_RUN])
def test_a_dry_run_has_no_client_that_could_write(tmp_path, mode):
    writes = make_services(tmp_path, mode=mode).writes
    assert isinstance(writes, NoWrites)
    with pytest.raises(WriteInDryRun):
        writes.send(make_call(), {}, request_id="medic-1")
    assert writes.refused == [make_call()]
    assert not [
        name for name, value in vars(writes).items() if "client" in name.lower() or hasattr(value, "send_request")
    ]


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.AUTO])
def test_only_a_mode_that_acts_has_a_client_that_writes(tmp_path, mode):
    assert isinstance(make_services(tmp_path, mode=mode).writes, Writers)


@pytest.mark.parametrize(
    ("method", "path", "via"),
    [
        pytest.param("POST", f"{WORKSPACE}/listKeys", "arm", id="show keys"),
        pytest.param("DELETE", ENDPOINT, "arm", id="delete an endpoint"),
        pytest.param("PUT", DEPLOYMENT, "roles", id="by the client of something else"),
        pytest.param("DELETE", f"{DEPLOYMENT}/..", "arm", id="by a path that means another"),
    ],
)
def test_a_write_that_no_right_declares_is_sent_by_nobody(tmp_path, method, path, via):
    own = make_services(tmp_path, mode=Mode.AUTO)
    call = make_call(method=method, path=path, via=via)
    with pytest.raises(UndeclaredWrite, match=r"was not sent: remediations/rights\.py lists no such write"):
        own.writes.ready(call)
    with pytest.raises(UndeclaredWrite) as refused:
        own.writes.send(call, {}, request_id="medic-1")
    assert (refused.value.method, refused.value.url, refused.value.via) == (method, path, via)
    assert {"_arm", "_ml", "_roles"} & set(vars(own.writes)) == set()  # not even a client was made


def test_the_default_is_a_dry_run():
    assert Settings().mode is Mode.DRY_RUN


# ----------------------------------------------------------------------------------------------- the channels

CHANNELS = {
    "teams_url": "https://flow.example/s3cret",
    "webhook_url": "https://page.example/s3cret",
    "outcome_topic": "https://t.westeurope-1.eventgrid.azure.net/api/events",
}


@pytest.mark.parametrize("mode", list(Mode))
def test_messages_go_wherever_it_is_set_in_every_mode(tmp_path, mode):
    own = make_services(tmp_path, mode=mode, **CHANNELS)
    assert [notifier.name for notifier in own.notifiers] == ["teams", "webhook", "topic", "folder"]
    assert own.notifiers is own.notifiers


@pytest.mark.parametrize(("setting", "name"), list(zip(CHANNELS, ["teams", "webhook", "topic"], strict=True)))
def test_a_channel_that_is_not_set_is_not_there(tmp_path, setting, name):
    own = make_services(tmp_path, is_azure=True, **{setting: CHANNELS[setting]})
    assert [notifier.name for notifier in own.notifiers] == [name]


def test_nothing_is_made_before_it_is_told(tmp_path):
    assert [notifier.name for notifier in make_services(tmp_path).notifiers] == ["folder"]
    assert not (tmp_path / "store").exists()
    assert make_services(tmp_path, is_azure=True).notifiers == ()


# ------------------------------------------------------------------------------------------------- the stores


def test_trail_and_evidence_lie_apart(tmp_path):
    own = make_services(tmp_path)
    assert isinstance(own.trail.store, FolderStore)
    assert own.trail.store.root == tmp_path / "store/trail"
    own.evidence.put(("x",))
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["evidence"]


def test_an_account_is_a_blob_store(tmp_path, monkeypatch):
    monkeypatch.setenv("AZURITE_ACCOUNTS", "medictest:a2V5a2V5a2V5")
    own = make_services(tmp_path, store="http://127.0.0.1:10000/medictest")
    assert isinstance(own.trail.store, BlobStore)


def test_a_store_on_loopback_needs_its_key(tmp_path, monkeypatch):
    monkeypatch.delenv("AZURITE_ACCOUNTS", raising=False)
    with pytest.raises(SettingsError, match="AZURITE_ACCOUNTS=<name>:<key>"):
        make_services(tmp_path, store="http://127.0.0.1:10000/medictest")


# ------------------------------------------------------------------------------------------------ the evidence


def test_evidence_is_found_by_the_digest_of_what_it_is():
    store = EvidenceStore(MemoryStore())
    digest = store.put(make_evidence())
    assert store.put(make_evidence()) == digest
    assert store.get(Evidence, digest) == make_evidence()


def test_evidence_that_was_changed_is_refused():
    memory = MemoryStore()
    store = EvidenceStore(memory)
    digest = store.put(make_evidence())
    memory._records[f"{digest[:2]}/{digest}"] += b" "
    with pytest.raises(ValueError, match="it was changed"):
        store.get(Evidence, digest)


def test_evidence_whose_time_is_over_is_none_to_who_can_go_on_without():
    store = EvidenceStore(MemoryStore())
    assert store.find(tuple[ErrorDetail, ...], "0" * 64) is None
    with pytest.raises(NotFound):
        store.get(Evidence, "0" * 64)


# -------------------------------------------------------------------------------------------------- who we are


def test_a_token_that_tells_nothing_leaves_us_unknown(tmp_path):
    assert make_services(tmp_path).own is None


def test_the_settings_say_who_we_are_where_the_token_does_not(tmp_path):
    client, principal = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
    own = make_services(tmp_path, client_id=client, principal_id=principal).own
    assert own is not None
    assert (own.appid, own.oid) == (client, principal)


def test_services_are_made_once_and_can_be_put_in_place(tmp_path):
    mine = make_services(tmp_path)
    services.use(mine)
    try:
        assert services.services() is mine
    finally:
        services.use(None)


def test_a_record_on_disk_is_nobody_s_to_run(tmp_path):
    own = make_services(tmp_path)
    own.trail.open_incident(make_evidence().incident, "n", NOON)
    modes = [path.stat().st_mode for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert modes
    assert not any(mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH) for mode in modes)


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        pytest.param("actions: {retrry: {mode: auto}}\n", "$.actions.retrry", id="a setting"),
        pytest.param("actions: {}\nrules: [{actions: [retrry], mode: 'off'}]\n", "$.rules[0].actions", id="a rule"),
    ],
)
def test_an_action_that_there_is_not_is_refused(tmp_path, policy, path):
    with pytest.raises(PolicyError) as error:
        _ = make_services(tmp_path, policy=policy).policy
    assert (error.value.path, error.value.value) == (path, "retrry")
    known = "delete-idle, grant-roles, retry, sync-keys, undo-delete, undo-grant"
    assert error.value.fix == f"There is no such action. Use one of {known}."


def test_a_policy_file_that_is_gone_is_told_once(tmp_path, monkeypatch):
    own = make_services(tmp_path)
    assert own.policy.actions["retry"].mode is Mode.ASK
    told = LogCapture()
    monkeypatch.setattr(services, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[told]))
    (tmp_path / "policy.yaml").unlink()
    versions = {own.policy.version for _ in range(3)}
    assert len(versions) == 1
    assert [line["event"] for line in told.entries] == ["policy.refused"]
