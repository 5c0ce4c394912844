"""What an account lacks of what a spec asks for: asked before an apply, which would find it half way."""

from __future__ import annotations

from typing import NamedTuple

from generator import aws
from generator.aws.place import Place, lack
from generator.aws.questions import QUESTIONS
from generator.check import Finding
from generator.problems import MachineError
from generator.render.context import Context

_TITLE = "the credentials are those of the app's account"


class Asked(NamedTuple):
    """A question that was put: `why` says why there is no answer, where there is none."""

    rule: str
    title: str
    findings: tuple[Finding, ...]
    why: str = ""


def ask(context: Context) -> tuple[list[Asked], list[str]]:
    """Put every question; also names the environments that were not asked about: they are of another account.

    Raises:
        MachineError: no credentials, or AWS does not take them, or cannot be reached.
    """
    environments = context["environments"]
    mine = aws.caller_account(environments[0]["region"])
    wrong = [one for one in environments if one["account"] not in (None, mine)]
    others = [one["name"] for one in wrong]
    if len(others) == len(environments):
        accounts = ", ".join(sorted({one["account"] for one in wrong}))
        fix = f"Use credentials of {accounts} (AWS_PROFILE=…), or change account."
        message = f"these credentials belong to account {mine}, the app to {accounts}"
        return [
            Asked("aws-account", _TITLE, (lack("aws-account", message, fix, "account"),))
        ], others
    asked = [Asked("aws-account", _TITLE, ())]
    regions = sorted({one["region"] for one in environments if one not in wrong})
    places = [
        Place(
            context,
            aws.Clients(region),
            tuple(one for one in environments if one not in wrong and one["region"] == region),
        )
        for region in regions
    ]
    for rule, title, question in QUESTIONS:
        found: list[Finding] = []
        why = ""
        for place in places:
            try:
                found += question(place)
            except MachineError as error:
                why = error.problems[0].summary
        asked.append(Asked(rule, title, tuple(dict.fromkeys(found)), why))
    return asked, others


RULES = ("aws-account", *(rule for rule, _, _ in QUESTIONS))
