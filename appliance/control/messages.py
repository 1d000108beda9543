"""What all messages of the control interface are: frozen; answers ignore keys that they do not know, so that an older
command line can ask a newer core; requests refuse them, so that a typing error is not silently a default.
"""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """What the core says."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(BaseModel):
    """What the core is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")
