"""Reviews of tokens: what is asked, how long an answer holds, and what is said when there is none."""

from __future__ import annotations

import asyncio

import pytest

from kubesteer.clients.kubernetes.reviews import ALLOWED_S, REFUSED_S, Permit, Reviews
from tests.ops_access.fake_reviews import FakeReviews
from tests.service.harness import Clock

READ = ("prometheus", "get", "/metrics")
BEARER = ["Bearer good"]


@pytest.fixture
def api() -> FakeReviews:
    found = FakeReviews([READ])
    found.give("good", "prometheus")
    found.give("other", "somebody")
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reviews(api: FakeReviews, clock: Clock) -> Reviews:
    return Reviews(api, clock=clock)


async def test_what_the_api_server_is_asked_is_the_senders_whole_identity_and_the_very_path(
    reviews: Reviews, api: FakeReviews
) -> None:
    assert await reviews.ask(BEARER, "get", "/metrics") == Permit(200)
    assert api.reviews("TokenReview") == [{"token": "good"}]
    [access] = api.reviews("SubjectAccessReview")
    assert access == {
        "user": "system:serviceaccount:monitoring:prometheus",
        "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }


@pytest.mark.parametrize(
    ("headers", "verb", "path", "status"),
    [
        pytest.param(["Bearer good"], "get", "/metrics", 200, id="the right"),
        pytest.param(["bearer   good "], "get", "/metrics", 200, id="another spelling of the scheme"),
        pytest.param(["Bearer good"], "post", "/metrics", 403, id="another verb"),
        pytest.param(["Bearer good"], "get", "/metrics/", 403, id="a slash more"),
        pytest.param(["Bearer good"], "get", "//metrics", 403, id="a slash before"),
        pytest.param(["Bearer good"], "get", "/METRICS", 403, id="another case"),
        pytest.param(["Bearer other"], "get", "/metrics", 403, id="no right"),
        pytest.param(["Bearer wrong"], "get", "/metrics", 401, id="garbage"),
    ],
)
async def test_only_the_right_for_this_verb_and_path_lets_in(
    reviews: Reviews, headers: list[str], verb: str, path: str, status: int
) -> None:
    assert (await reviews.ask(headers, verb, path)).status == status


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([""], id="empty"),
        pytest.param(["Bearer"], id="a scheme alone"),
        pytest.param(["Bearer "], id="an empty token"),
        pytest.param(["good"], id="a token alone"),
        pytest.param(["Basic good"], id="another scheme"),
        pytest.param(["Bearer good", "Bearer good"], id="twice"),
        pytest.param(["Bearer other", "Bearer good"], id="two that differ"),
        pytest.param(["Bearer good\0"], id="a null byte"),
        pytest.param([f"Bearer {'x' * 16_385}"], id="longer than any token"),
        pytest.param(["Bearer g\u00f6\u00f6d"], id="not ASCII"),
    ],
)
async def test_what_is_no_single_bearer_token_is_refused_without_a_question(
    reviews: Reviews, api: FakeReviews, headers: list[str]
) -> None:
    assert (await reviews.ask(headers, "get", "/metrics")).status == 401
    assert api.posted == []


async def test_a_token_of_another_audience_is_refused(api: FakeReviews) -> None:
    api.give("ours", "prometheus", audiences=("kubesteer",))
    reviews = Reviews(api, audiences=("kubesteer",))
    assert (await reviews.ask(["Bearer good"], "get", "/metrics")).status == 401
    assert (await reviews.ask(["Bearer ours"], "get", "/metrics")).status == 200
    assert api.reviews("TokenReview")[-1] == {"token": "ours", "audiences": ["kubesteer"]}


async def test_an_authenticator_that_knows_no_audiences_does_not_let_in_where_one_is_wanted(api: FakeReviews) -> None:
    api.knows_audiences = False
    assert (await Reviews(api, audiences=("kubesteer",)).ask(BEARER, "get", "/metrics")).status == 401
    assert (await Reviews(api).ask(BEARER, "get", "/metrics")).status == 200


async def test_a_right_that_is_taken_away_ends_when_the_answer_is_too_old(
    reviews: Reviews, api: FakeReviews, clock: Clock
) -> None:
    assert ALLOWED_S <= 60
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    api.rights.clear()
    clock.move(ALLOWED_S - 1)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    clock.move(1)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 403


async def test_a_revoked_token_ends_when_the_answer_is_too_old(
    reviews: Reviews, api: FakeReviews, clock: Clock
) -> None:
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    del api.accounts["good"]
    clock.move(ALLOWED_S)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 401


async def test_a_right_that_is_given_counts_ten_seconds_later(reviews: Reviews, api: FakeReviews, clock: Clock) -> None:
    assert (await reviews.ask(["Bearer other"], "get", "/metrics")).status == 403
    api.rights.add(("somebody", "get", "/metrics"))
    clock.move(REFUSED_S - 1)
    assert (await reviews.ask(["Bearer other"], "get", "/metrics")).status == 403
    clock.move(1)
    assert (await reviews.ask(["Bearer other"], "get", "/metrics")).status == 200


async def test_an_answer_counts_for_its_own_token_verb_and_path_alone(reviews: Reviews, api: FakeReviews) -> None:
    """No two questions look alike once they are joined: ("ab", "c") is not ("a", "bc")."""
    api.give("goodget", "somebody")
    assert (await reviews.ask(["Bearer good"], "get", "/metrics")).status == 200
    assert (await reviews.ask(["Bearer goodget"], "", "/metrics")).status == 403
    assert (await reviews.ask(["Bearer good"], "get", "/explain")).status == 403
    assert (await reviews.ask(["Bearer good"], "get", "/metrics")).status == 200
    assert len(api.posted) == 6  # two for each of three questions; the fourth is known


@pytest.mark.parametrize("failure", ["down", "refuses", "garbage", "silent"])
async def test_nobody_is_let_in_who_cannot_be_asked_about(
    api: FakeReviews, clock: Clock, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubesteer.clients.kubernetes.reviews._WITHIN_S", 0.05)
    reviews = Reviews(api, clock=clock)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    if failure == "garbage":
        api.body = b'{"status": {"authenticated": "yes"}}'
    elif failure == "silent":
        api.hold = asyncio.Event()
    else:
        setattr(api, failure, True)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200  # what is known counts on
    clock.move(ALLOWED_S)
    permit = await reviews.ask(BEARER, "get", "/metrics")
    assert permit.status == 503
    assert "10.96.0.1" not in permit.why  # how the API server is reached is for the log
    assert "tokens cannot be reviewed" in (reviews.fault() or "")
    api.body = api.hold = None
    api.down = api.refuses = False
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200  # a failure is not kept
    assert reviews.fault() is None


async def test_a_flood_of_wrong_tokens_has_few_reviews_under_way_and_pushes_out_nobody_who_was_let_in(
    reviews: Reviews, api: FakeReviews
) -> None:
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    flood = [reviews.ask([f"Bearer wrong-{number}"], "get", "/metrics") for number in range(2_000)]
    assert {permit.status for permit in await asyncio.gather(*flood)} == {401}
    assert api.most_under_way <= 4
    asked = len(api.posted)
    assert (await reviews.ask(BEARER, "get", "/metrics")).status == 200
    assert len(api.posted) == asked


async def test_one_wrong_token_many_times_at_once_is_asked_about_four_times_at_most(
    reviews: Reviews, api: FakeReviews
) -> None:
    await asyncio.gather(*(reviews.ask(["Bearer wrong"], "get", "/metrics") for _ in range(500)))
    assert len(api.posted) <= 4


async def test_a_token_is_in_no_answer_and_not_kept(reviews: Reviews, api: FakeReviews) -> None:
    secret = "s3cret-token"
    api.give(secret, "somebody")
    refused = [await reviews.ask([f"Bearer {token}"], "get", "/metrics") for token in (secret, f"{secret}-wrong")]
    assert [permit.status for permit in refused] == [403, 401]
    assert secret not in str(refused)
    kept = [vars(answers) for answers in (reviews._allowed, reviews._refused)]
    assert "403" in repr(kept)
    assert secret not in repr(kept)
