"""Logins for OCI registries, where docker keeps them."""

import base64
import json
import os

import pytest

from glorext.hub.logins import BY_TOKEN, Login, keep_login, login_for
from glorext.runtime import UsageError


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "content, found",
    [
        ({"auths": {"host:5000": {"auth": encoded("anna:a:b")}}}, Login("anna", "a:b")),
        ({"auths": {"https://host:5000/v1/": {"auth": encoded("anna:x")}}}, Login("anna", "x")),
        ({"auths": {"host:5000": {"username": "anna", "password": "x"}}}, Login("anna", "x")),
        ({"auths": {"host:5000": {"identitytoken": "t"}}}, Login(BY_TOKEN, "t")),
        ({"auths": {"host": {"auth": encoded("anna:x")}}}, None),
        ({"auths": {"host:5000": {}}}, None),
        ({"auths": {"host:5000": {"auth": "%"}}}, None),
        ({"auths": 3, "credsStore": None}, None),
        ({}, None),
    ],
)
def test_logins_are_read_as_docker_writes_them(docker_config, content, found):
    write(docker_config, content)
    assert login_for("host:5000") == found


def test_dockers_helpers_are_asked_and_told(docker_config, tmp_path, monkeypatch):
    helper = tmp_path / "bin" / "docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        f'#!/bin/sh\ncat > {tmp_path}/given-$1\n[ "$1" = get ] || exit 0\n'
        f'[ "$(cat {tmp_path}/given-get)" = known ] || exit 1\necho \'{{"Username": "anna", "Secret": "x"}}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    write(
        docker_config,
        {"credHelpers": {"known": "test"}, "auths": {"other": {"auth": encoded("b:y")}}, "credsStore": "test"},
    )
    assert login_for("known") == Login("anna", "x") and login_for("other") == Login("b", "y")
    assert keep_login("new", Login("c", "z")) == "docker-credential-test"
    assert json.loads((tmp_path / "given-store").read_text()) == {"ServerURL": "new", "Username": "c", "Secret": "z"}
    write(docker_config, {"credsStore": "absent"})
    with pytest.raises(UsageError, match="docker-credential-absent.*Install it"):
        login_for("known")


def test_keeping_a_login_leaves_the_rest_of_the_file(docker_config):
    write(docker_config, {"auths": {"other": {"auth": encoded("b:y")}}, "proxies": {"default": {}}})
    keep_login("host", Login("anna", "x"))
    assert json.loads(docker_config.read_text()) == {
        "auths": {"other": {"auth": encoded("b:y")}, "host": {"auth": encoded("anna:x")}},
        "proxies": {"default": {}},
    }


def test_a_line_of_netrc_is_a_login_too(tmp_path):
    (tmp_path / "netrc").write_text("machine host login anna password x\n")
    (tmp_path / "netrc").chmod(0o600)
    assert login_for("host") == Login("anna", "x")


@pytest.mark.parametrize("text", ["[]", "{", '{"auths": {"a": 1, "a": 2}}'])
def test_a_configuration_that_is_none_is_named(docker_config, text):
    docker_config.parent.mkdir()
    docker_config.write_text(text)
    with pytest.raises(Exception, match=r"config\.json"):
        login_for("host")
