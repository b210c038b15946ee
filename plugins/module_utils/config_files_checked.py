# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes a list of changes only where the checkers are content with the result."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils import checkers, private_view
from ansible_collections.webstack.django.plugins.module_utils.config_files import Change
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import Transaction


class Outcome(NamedTuple):
    """What the checkers said, and where they looked."""

    refusal: checkers.Refusal | None
    checked: str  # preview, live or no
    no_preview: str  # why they could not look before the change


def _rehearse(changes: list[Change], checks: list[dict[str, Any]]) -> checkers.Refusal | None:
    """Let the checkers see the result in a private view."""

    def work() -> dict[str, Any]:
        Transaction(rehearsal=True).apply(changes)
        refusal = checkers.run_all(checks)
        return {"refusal": refusal and [refusal.argv, refusal.reason, refusal.code, refusal.words]}

    answer = private_view.run([change.item.path for change in changes], work)
    return checkers.Refusal(*answer["refusal"]) if answer["refusal"] else None


def settle(changes: list[Change], checks: list[dict[str, Any]], transaction: Transaction, check_mode: bool) -> Outcome:
    """Make all changes, or none where a checker refuses them.

    The checkers look before the change where the kernel allows it, else after it. In check mode nothing is changed.
    """
    refusal, checked, no_preview = None, "no", ""
    if checks and changes:
        try:
            refusal = _rehearse(changes, checks)
            checked = "preview"
        except private_view.Unavailable as error:
            checked = "no" if check_mode else "live"
            no_preview = str(error)
    if changes and refusal is None and not check_mode:
        transaction.apply(changes)
        try:
            refusal = checkers.run_all(checks) if checked == "live" else None
        except BaseException:
            transaction.rollback()
            raise
        if refusal is None:
            transaction.commit()
        else:
            transaction.rollback()
    return Outcome(refusal, checked, no_preview)
