"""What blocking and asyncio clients share of requests that a broker keeps."""

from __future__ import annotations

import uuid

from zmqkit.core.calls.call import CallOptions
from zmqkit.errors import CallTimeout, NoMethod, PeerError, PeerLost, UnknownRequest, UsageError
from zmqkit.wire.submission import COLLECT, STATE, SUBMIT, submission


def for_submission(options: CallOptions, method: str) -> tuple[CallOptions, str]:
    """Return the options with which a request is submitted, and its id. Raises UsageError."""
    if type(method) is not str or not method:
        raise UsageError(f"a method's name is text, not {method!r}")
    id = uuid.uuid4().hex if options.id is None else options.id
    about = submission(method, id, options.expires_s)
    return options.changed({"headers": {**options.headers, SUBMIT: about}, "id": id}), id


def explained(error: PeerError, method: str, name: str, id: str) -> PeerError:
    """Return the error of a submission or a collection in words of its user.

    method: by which the broker was asked: SUBMIT, COLLECT or STATE. id: of the request.
    """
    doubt, text = error.may_have_run, str(error)
    if isinstance(error, NoMethod) and any(each in text for each in (SUBMIT, COLLECT, STATE)):
        return NoMethod(
            f"nobody keeps requests to {name!r}: its service has to answer through a broker "
            "with a journal, such as `zmqkit run majordomo-durable --name majordomo`, with "
            "via='majordomo'"
        )
    if isinstance(error, UnknownRequest):
        return UnknownRequest(f"{text}; a broker of {name!r} that is down now may know it")
    if isinstance(error, CallTimeout):
        return CallTimeout(
            f"nothing was heard of request {id!r} in time; if it was submitted, it goes on, "
            "and its reply may be collected later",
            may_have_run=doubt,
        )
    if isinstance(error, PeerLost) and method == SUBMIT:
        return PeerLost(
            f"the broker that was to keep request {id!r} is gone; submit it again with this id",
            may_have_run=doubt,
        )
    if isinstance(error, PeerLost) and method == COLLECT and COLLECT not in text:
        # The text is the broker's. One of this side, whose broker is gone, names the method.
        return PeerLost(
            f"request {id!r} has no reply: {text}; `zmqkit queue dead {name}` shows it if it "
            "may be tried again",
            may_have_run=doubt,
        )
    return error
